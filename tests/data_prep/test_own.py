"""Own data: folders, tables of fixations, and the readers of the two example scripts."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from data_prep.builders import Own
from data_prep.examples import osie
from data_prep.examples import run as run_example
from data_prep.prepare import prepare
from data_prep.preview import describe
from unisal_jax.data import synthetic
from unisal_jax.data.layouts.fixation_tables import _observer_numbers, read_table
from unisal_jax.data.layouts.own import scan_folders, scan_table
from unisal_jax.data.layouts.truth import gaussian_map
from unisal_jax.data.prepared import open_prepared, read_frames
from unisal_jax.data.synthetic import Amount, draw
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import map_to_grey
from unisal_jax.media.video_writer import VideoWriter

AMOUNT = Amount(size=(40, 56), observers=2)


def _prepare(root, tmp_path, scan=scan_folders):
    prepared = prepare(Own(config="mine", scan=scan, data_dir=tmp_path / "data"), root)
    assert prepared.path == tmp_path / "data" / "own" / "mine" / "1.0.0"
    return prepared


def _frames(prepared, split="train"):
    data = open_prepared(prepared.path, split)
    return read_frames(data, range(len(data.records)))


def _write_set(folder, names, clip="", fixations="fixations"):
    for number, name in enumerate(names):
        drawn = draw(0, clip or name, number if clip else 0, AMOUNT)
        parts = {"images": drawn.frame, "maps": drawn.map, fixations: drawn.marks}
        for part, pixels in parts.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")


def _check(frame, drawn):
    np.testing.assert_array_equal(frame.pixels, drawn.frame)
    np.testing.assert_array_equal(frame.truth.map, drawn.map)
    np.testing.assert_array_equal(frame.truth.fixations, np.argwhere(drawn.marks))


def test_folder_of_images(tmp_path):
    _write_set(tmp_path / "raw", ["b", "a10", "a2"], fixations="fixation")
    frames = _frames(_prepare(tmp_path / "raw", tmp_path))
    assert [frame.id for frame in frames] == [f"own/train/{name}/0" for name in ("a2", "a10", "b")]
    for frame in frames:
        _check(frame, draw(0, frame.id.split("/")[2], 0, AMOUNT))


def test_a_folder_per_clip_in_splits(tmp_path):
    for split, clips in {"train": ["one", "two"], "test": ["three"]}.items():
        for clip in clips:
            _write_set(tmp_path / "raw" / split / clip, ["f1", "f2", "f3"], clip)
    prepared = _prepare(tmp_path / "raw", tmp_path, lambda root: scan_folders(root, 12.5))
    assert prepared.manifest["fps"] == 12.5 and prepared.manifest["dataset"] == "own/mine"
    assert prepared.manifest["counts"]["train"]["frames"] == 6
    for split in ("train", "test"):
        for frame in _frames(prepared, split):
            _, _, clip, index = frame.id.split("/")
            _check(frame, draw(0, clip, int(index), AMOUNT))


def test_images_without_truth(tmp_path):
    (tmp_path / "raw" / "images").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "raw" / "images" / "x.png")
    assert _frames(_prepare(tmp_path / "raw", tmp_path))[0].truth is None


def test_missing_maps_and_equal_stems(tmp_path):
    raw = tmp_path / "raw"
    _write_set(raw, ["a", "b"])
    (raw / "maps" / "b.png").unlink()
    with pytest.raises(UnisalError, match=r"1 maps missing \(maps/b\)"):
        _prepare(raw, tmp_path)
    Image.new("RGB", (8, 6)).save(raw / "images" / "a.jpg")
    with pytest.raises(UnisalError, match="same stem as"):
        _prepare(raw, tmp_path)


def _write_table(path, rows, header=("stimulus", "frame", "observer", "x", "y")):
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def test_table_of_images(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("p", "q"):
        Image.fromarray(draw(0, name, 0, AMOUNT).frame).save(raw / f"{name}.png")
    table = tmp_path / "gaze.csv.gz"
    rows = [
        ("p.png", "ann", 10.9, 3.2),
        ("p.png", "bob", 55.99, 39.5),
        ("p.png", "ann", 56.0, 5),
        ("q", "bob", 0, 0),
    ]
    _write_table(table, rows, ("stimulus", "observer", "x", "y"))
    prepared = _prepare(raw, tmp_path, lambda root: scan_table(root, table, 5.0))
    p, q = _frames(prepared)
    np.testing.assert_array_equal(p.truth.fixations, [[3, 10], [39, 55]])
    np.testing.assert_array_equal(p.truth.observers, [0, 1])
    np.testing.assert_array_equal(q.truth.fixations, [[0, 0]])
    # x = 56 is the first column outside the image.
    assert prepared.manifest["counts"]["train"]["outside"] == 1
    y, x = np.mgrid[:40, :56]
    expected = sum(np.exp(-((y - r) ** 2 + (x - c) ** 2) / 50) for r, c in ((3, 10), (39, 55)))
    assert np.abs(p.truth.map.astype(int) - map_to_grey(expected)).max() <= 1


def test_table_of_videos(tmp_path):
    raw = tmp_path / "raw"
    (raw / "test").mkdir(parents=True)
    with VideoWriter(raw / "test" / "v.mp4", (40, 56), 10) as video:
        for index in range(4):
            video.write(draw(0, "v", index, AMOUNT).frame)
    table = tmp_path / "gaze.csv.gz"
    _write_table(table, [("v", 1, 7, 5, 6), ("v", 3, 9, 50, 30), ("v", 3, 7, 20, 10)])
    prepared = _prepare(raw, tmp_path, lambda root: scan_table(root, table, 3.0, first_frame=1))
    frames = _frames(prepared, "test")
    assert prepared.manifest["fps"] == 10 and len(frames) == 4
    assert [len(frame.truth.fixations) for frame in frames] == [1, 0, 2, 0]
    np.testing.assert_array_equal(frames[2].truth.fixations, [[30, 50], [10, 20]])
    np.testing.assert_array_equal(frames[2].truth.observers, [9, 7])
    assert frames[1].truth.map.max() == 0 and frames[2].truth.map[30, 50] == 255
    _write_table(table, [("v", 5, 7, 5, 6)])
    with pytest.raises(UnisalError, match=r"v.mp4: 4 frames, but 1 fixations are on later frames \(frame 4"):
        prepare(
            Own(config="late", scan=lambda r: scan_table(r, table, 3.0, 1), data_dir=tmp_path / "data"), raw
        )


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("a", 0, "x", 1, 2)], ("stimulus", "frame", "observer", "x", "z"), "no column 'y'"),
        ([("a", 0, "x", 1, 2), ("a", 0, "x", "", 2)], None, "line 3: could not convert"),
        ([("a", -1, "x", 1, 2)], None, "line 2: frame -1 before the first, 0"),
        ([("a", 0, "x", "nan", 2)], None, "line 2: x or y is not a finite number"),
        ([("a", 0, "x", "1,5", 2)], None, "line 2: '1,5' is not a number with a decimal point"),
        ([], None, "contains no fixations"),
    ],
)
def test_damaged_tables(tmp_path, rows, header, message):
    path = tmp_path / "t.csv.gz"
    _write_table(path, rows, header or ("stimulus", "frame", "observer", "x", "y"))
    with pytest.raises(UnisalError, match=message):
        read_table(path)


def test_a_truncated_or_missing_table(tmp_path):
    path = tmp_path / "t.csv.gz"
    _write_table(path, [("a", 0, "x", 1, 2)] * 100)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UnisalError, match=r"t.csv.gz: cannot be read"):
        read_table(path)
    with pytest.raises(UnisalError, match=r"none.csv: cannot be read"):
        read_table(tmp_path / "none.csv")


def test_a_table_of_other_stimuli(tmp_path):
    synthetic.make("mit300", tmp_path / "raw", 0, Amount(size=(24, 32)))
    table = tmp_path / "t.csv.gz"
    _write_table(table, [("i1", 0, "x", 1, 2), ("i7", 0, "x", 1, 2)])
    with pytest.raises(UnisalError, match=r"t.csv.gz: 1 stimuli are not in .*BenchmarkIMAGES, such as 'i7'"):
        scan_table(tmp_path / "raw" / "BenchmarkIMAGES", table, 3.0)


@pytest.fixture
def stimuli(tmp_path):
    """A folder of three images with hidden system files."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("im0.png", "im1.PNG", "Été.jpg"):
        Image.new("RGB", (30, 20)).save(raw / name)
    for name in ("Thumbs.db", ".DS_Store", "._im0.png", "desktop.ini"):
        (raw / name).write_bytes(b"x")
    (raw / "__MACOSX").mkdir()
    return raw


def _counts(raw, tmp_path, text, first_frame=0):
    """The fixations of each stimulus, prepared from a table."""
    table = tmp_path / "gaze.csv"
    table.write_text(text, encoding="utf-8")
    made = Own(config="t", scan=lambda r: scan_table(r, table, 3.0, first_frame), data_dir=tmp_path / "data")
    prepared = prepare(made, raw)
    videos = [video for some in prepared.manifest["splits"].values() for video in some]
    return {video["id"]: video["fixations"] + video["outside"] for video in videos}, prepared


@pytest.mark.parametrize(("frame", "first"), [(0, 0), (1, 0), (0, 1), (1, 1), (7, 7), ("", 0), ("1.0", 0)])
def test_the_one_frame_of_an_image(stimuli, tmp_path, frame, first):
    rows = "".join(f"im0.png,{frame},{person},5,5\n" for person in range(4))
    counts, _ = _counts(stimuli, tmp_path, "stimulus,frame,observer,x,y\n" + rows, first)
    assert counts == {"im0": 4, "im1": 0, "Été": 0}


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ((0, 1, 2, 3), "4 rows of im0.png are on 4 frames, such as 0 and 3, but it is an image"),
        ((0, 0, 0, 1), "4 rows of im0.png are on 2 frames"),
        ((7, 7, 7, 7), "4 rows of im0.png are on frame 7, but it is an image; .* --first-frame 7"),
        ((0.5,), "line 2: frame 0.5 is not a whole number"),
        (("9" * 400,), "line 2: frame 999"),
        (("1_0",), "line 2: could not convert"),
    ],
)
def test_frames_that_an_image_does_not_have(stimuli, tmp_path, frames, message):
    rows = "".join(f"im0,{frame},1,5,5\n" for frame in frames)
    with pytest.raises(UnisalError, match=message):
        _counts(stimuli, tmp_path, "stimulus,frame,observer,x,y\n" + rows)
    assert not (tmp_path / "data").exists()


def test_every_row_is_assigned_to_the_file_that_it_names(stimuli, tmp_path):
    names = ["im0", "im0.png", "IM0.PNG", "im1", "im1.png", "Im1", "été", "E\u0301te\u0301.jpg", "ÉTÉ"]
    rows = "".join(f"{name},{person},5,5\n" for person, name in enumerate(names))
    counts, prepared = _counts(stimuli, tmp_path, "Stimulus,Observer,X,Y\n" + rows)
    assert counts == {"im0": 3, "im1": 3, "Été": 3}
    observers = [frame.truth.observers.tolist() for frame in _frames(prepared)]
    assert sorted(observers) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_a_name_may_include_the_folder(stimuli, tmp_path):
    counts, _ = _counts(stimuli, tmp_path, "stimulus,observer,x,y\n./im0.png,0,1,2\nim1,0,1,2\n")
    assert counts == {"im0": 1, "im1": 1, "Été": 0}


def test_a_name_that_matches_two_files_is_refused(tmp_path):
    raw = tmp_path / "raw"
    for name in ("train/a.png", "validation/a.png", "train/B.png", "train/b.jpg"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20)).save(raw / name)
    header = "stimulus,observer,x,y\n"
    for name in ("a", "a.png", "A.PNG"):
        with pytest.raises(UnisalError, match=r"rows of .* matches train/a.png and validation/a.png; write"):
            _counts(raw, tmp_path, f"{header}{name},1,5,5\n")
    rows = "train/a.png,1,5,5\nvalidation/a,1,6,6\nvalidation/a.png,2,6,6\nB,1,7,7\nb,1,7,7\nb.jpg,1,7,7\n"
    _, prepared = _counts(raw, tmp_path, header + rows)
    found = {
        split: {video["id"]: video["fixations"] for video in videos}
        for split, videos in prepared.manifest["splits"].items()
    }
    assert found == {"train": {"a": 1, "B": 1, "b": 2}, "validation": {"a": 2}}
    with pytest.raises(UnisalError, match=r"fits train/B\.png and train/b\.PNG"):
        (raw / "train" / "b.jpg").rename(raw / "train" / "b.PNG")
        _counts(raw, tmp_path, f"{header}b.png,1,5,5\n")


def test_files_that_are_left_out_are_reported(stimuli, tmp_path, capsys):
    (stimuli / "notes.txt").write_text("x")
    (stimuli / "photo.jxl").write_text("x")
    (stimuli / "more").mkdir()
    text = "stimulus,observer,x,y\nim0.png,1,5,5\nim0.png,1,1e300,5\nim0.png,2,5,-1\n"
    _, prepared = _counts(stimuli, tmp_path, text)
    assert prepared.notes == ("1 folder (more)", "2 files in an unsupported format (notes.txt, photo.jxl)")
    assert "0.3 fixations per frame, 2 outside the image left out; 2 of 3 without any" in describe(
        prepared.manifest
    )


def test_fixations_that_are_all_outside_are_refused(stimuli, tmp_path):
    text = "stimulus,observer,x,y\nim0.png,1,500,5\nim1.PNG,1,5,-700\n"
    with pytest.raises(UnisalError, match=r"raw: all 2 fixations are outside their images"):
        _counts(stimuli, tmp_path, text)
    assert not list((tmp_path / "data").iterdir())


def test_names_that_cannot_be_ids_are_refused(stimuli, tmp_path):
    for name in (b"a\nb.png", b"a\xe9.png"):
        path = Path(os.fsdecode(os.fsencode(stimuli) + b"/" + name))
        Image.new("RGB", (30, 20)).save(path)
        with pytest.raises(UnisalError, match="is not a plain file name; rename the file") as caught:
            _counts(stimuli, tmp_path, "stimulus,observer,x,y\nim0.png,1,5,5\n")
        assert "\n" not in str(caught.value)
        path.unlink()
    folders = tmp_path / "sets"
    _write_set(folders / os.fsdecode(b"clip\xe9"), ["f1", "f2"], "clip")
    with pytest.raises(UnisalError, match="is not a plain file name; rename the file or folder"):
        _prepare(folders, tmp_path)
    # Names of other files do not become ids.
    _write_set(tmp_path / "fine" / "clip", [os.fsdecode(b"f1\xe9")], "clip")
    assert _prepare(tmp_path / "fine", tmp_path).manifest["counts"]["train"]["frames"] == 1


def test_labels_of_observers_stay_distinct():
    assert _observer_numbers({"7", "12"}) == {"7": 7, "12": 12}
    for labels in ({"7", "07"}, {"", "1"}, {"9" * 5000}, {"²", "2"}, {"\u0663", "3"}):
        assert sorted(_observer_numbers(labels).values()) == list(range(len(labels)))


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("unisal_jax.data.layouts.fixation_tables.MAX_TABLE_ROWS", 3)
    (tmp_path / "t.csv").write_text("stimulus,observer,x,y\n" + "a,1,2,3\n" * 4)
    with pytest.raises(UnisalError, match="line 5: more than 3 fixations"):
        read_table(tmp_path / "t.csv")
    monkeypatch.setattr("unisal_jax.data.layouts.fixation_tables.MAX_TABLE_NAMES", 1)
    for column in range(2):
        rows = [["a", "1", "2", "3"] for _ in range(3)]
        rows[1][column] = "b"
        (tmp_path / "t.csv").write_text("stimulus,observer,x,y\n" + "".join(",".join(r) + "\n" for r in rows))
        with pytest.raises(UnisalError, match="line 4: more than 1 stimulus or observer"):
            read_table(tmp_path / "t.csv")


def test_gaussian_map_is_the_sum_of_its_points():
    points = np.array([[5, 8], [5, 8], [20, 3]])
    density = gaussian_map(points, (32, 24), 4.0)
    y, x = np.mgrid[:32, :24]
    expected = sum(np.exp(-((y - r) ** 2 + (x - c) ** 2) / 32) for r, c in points)
    np.testing.assert_allclose(density, expected, atol=1e-6)


def test_osie_with_a_subset_of_its_images(tmp_path, monkeypatch, capsys):
    raw = tmp_path / "raw"
    (raw / "stimuli").mkdir(parents=True)
    person = {"fix_x": [3.0, 5.0], "fix_y": [7.0, 9.0]}
    fixations = [{"img": f"{name}.jpg", "subjects": [person, person]} for name in ("a", "b", "c")]
    scipy.io.savemat(raw / "fixations.mat", {"fixations": fixations})
    for name in ("a", "c"):
        Image.fromarray(draw(0, name, 0, AMOUNT).frame).save(raw / "stimuli" / f"{name}.jpg")
    arguments = ["osie", str(raw), "--data-dir", str(tmp_path / "data")]
    monkeypatch.setattr("sys.argv", arguments)
    run_example("osie", osie.scan, "")
    told = capsys.readouterr().out
    assert "train: 2 images" in told and "4.0 fixations per frame" in told
    assert "left out: 1 of 3 images in fixations.mat, not in stimuli/" in told
    (raw / "stimuli" / "a.jpg").write_bytes(b"cut off")
    monkeypatch.setattr("sys.argv", [*arguments[:-1], str(tmp_path / "other")])
    with pytest.raises(SystemExit, match=r"a\.jpg"):
        run_example("osie", osie.scan, "")
