"""Variants of released layouts: names in any case, frames and videos in other formats."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from unisal_jax.data import synthetic
from unisal_jax.data.layouts.datasets import DATASETS
from unisal_jax.data.synthetic import Amount
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import open_data
from unisal_jax.media.video_writer import VideoWriter

AMOUNT = Amount(train=2, validation=1, test=1, frames=3, size=(40, 56), observers=2)
LAYOUTS = ("dhf1k", "dhf1k-videos", "hollywood2", "ucf_sports", "salicon", "salicon-png", "mit1003")


def truths(root):
    """(split, frame) -> map and fixations."""
    found = {}
    for split in ("train", "validation", "test"):
        try:
            data = open_data(root, split)
        except UnisalError:
            continue
        for group in data.groups:
            frames = list(group.pixels())
            assert len(frames) == len(group.frame_names)
            for index in range(len(frames)):
                truth = group.truth(index)
                assert truth.faults == ()
                found[split, group.id, index] = truth
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, truth in found.items():
        np.testing.assert_array_equal(truth.map, expected[key].map)
        np.testing.assert_array_equal(truth.points, expected[key].points)
        np.testing.assert_array_equal(truth.observers, expected[key].observers)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_upper_case_changes_nothing(tmp_path, layout):
    """All suffixes and folders of the layout in upper case, for evaluation and preparation."""
    raw = tmp_path / "raw"
    synthetic.make(layout, raw, 3, AMOUNT)
    name = layout.split("-")[0]
    expected = truths(raw)
    for path in sorted(raw.rglob("*"), key=lambda path: -len(path.parts)):
        if path.is_file():
            end = (
                "_FIXMAP.JPG" if "_fixMap" in path.name else "_FIXPTS.JPG" if "_fixPts" in path.name else None
            )
            upper = f"{path.name[: -len(end)]}{end}" if end else f"{path.stem}{path.suffix.upper()}"
            path.rename(path.with_name(upper))
        elif path.name.islower() and not any(letter.isdigit() for letter in path.name):
            path.rename(path.with_name(path.name.upper()))
    assert [other for other, dataset in DATASETS.items() if dataset.recognise(raw)] == [name]
    assert_same(truths(raw), expected)
    builder = BUILDERS[name](data_dir=tmp_path / "prepared", config="full", partial=True)
    counts = prepare(builder, raw).manifest["counts"]
    assert sum(count["fixations"] for count in counts.values()) == sum(
        len(truth.points) for truth in expected.values()
    )


@pytest.mark.parametrize("layout", ["dhf1k", "hollywood2", "ucf_sports"])
@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp"])
def test_frames_in_other_formats(tmp_path, layout, suffix):
    raw = tmp_path / "raw"
    synthetic.make(layout, raw, 3, AMOUNT)
    expected = truths(raw)
    for path in list(raw.rglob("images/*.png")):
        Image.open(path).save(path.with_suffix(suffix))
        path.unlink()
    assert_same(truths(raw), expected)


def test_dhf1k_frames_numbered_without_zeros(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("dhf1k", raw, 3, AMOUNT)
    expected = truths(raw)
    for path in list(raw.rglob("images/*.png")):
        path.rename(path.with_name(f"{int(path.stem)}.png"))
    assert_same(truths(raw), expected)


def test_dhf1k_videos_as_mp4(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("dhf1k-videos", raw, 3, AMOUNT)
    expected = truths(raw)
    for path in list((raw / "video").iterdir()):
        with VideoWriter(path.with_suffix(".mp4"), AMOUNT.size, 30) as video:
            for _ in range(AMOUNT.frames):
                video.write(np.zeros((*AMOUNT.size, 3), np.uint8))
        path.unlink()
    assert_same(truths(raw), expected)


def test_two_files_of_one_frame_are_refused(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("salicon", raw, 3, AMOUNT)
    path = next((raw / "images").glob("COCO_train*.jpg"))
    path.with_suffix(".JPEG").write_bytes(path.read_bytes())
    with pytest.raises(UnisalError, match="same stem"):
        open_data(raw)
    raw = tmp_path / "dhf1k"
    synthetic.make("dhf1k", raw, 3, AMOUNT)
    for twin, message in (("0001.bmp", "same stem"), ("1.png", "same number")):
        path = raw / "annotation" / "0001" / "maps" / "0001.png"
        path.with_name(twin).write_bytes(path.read_bytes())
        with pytest.raises(UnisalError, match=message):
            open_data(raw)
        path.with_name(twin).unlink()


def test_a_mat_file_of_version_7_3_is_named(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("salicon", raw, 3, AMOUNT)
    for path in (raw / "fixations").rglob("*.mat"):
        path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UnisalError, match=r"COCO_\w+\.mat: MATLAB files of version 7.3 \(HDF5\)"):
        open_data(raw).groups[0].truth(0)


def test_a_matrix_instead_of_salicons_struct(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("salicon", raw, 3, AMOUNT)
    before = truths(raw)
    for path in (raw / "fixations").rglob("*.mat"):
        truth = next(truth for (_, name, _), truth in before.items() if name == path.stem)
        scipy.io.savemat(path, {"fixLocs": truth.counts() > 0})
    for key, truth in truths(raw).items():
        np.testing.assert_array_equal(truth.counts() > 0, before[key].counts() > 0)


def test_preparation_reports_doubtful_fixations(tmp_path):
    from data_prep.builders import Own
    from data_prep.preview import describe
    from unisal_jax.data.layouts.own import scan_folders

    for name in ("a", "b"):
        drawn = synthetic.draw(0, name, 0, AMOUNT)
        for part, pixels in {"images": drawn.frame, "maps": drawn.map, "fixations": drawn.marks}.items():
            (tmp_path / "raw" / part).mkdir(parents=True, exist_ok=True)
            suffix = "jpg" if part == "fixations" and name == "a" else "png"
            Image.fromarray(pixels).save(tmp_path / "raw" / part / f"{name}.{suffix}", quality=95)
    prepared = prepare(Own(config="mine", scan=scan_folders, data_dir=tmp_path / "data"), tmp_path / "raw")
    assert "those of 1 frame from JPEG files or files that look like blurred" in describe(prepared.manifest)
