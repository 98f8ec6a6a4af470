"""Preparation end to end: damage, kills, full disks, second runs, the command."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from data_prep import shards
from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from data_prep.preview import write_contact_sheet
from unisal_jax.cli import prepare as command
from unisal_jax.cli.main import Parser
from unisal_jax.data import synthetic
from unisal_jax.data.prepared import open_prepared, read_frames
from unisal_jax.data.synthetic import Amount
from unisal_jax.errors import UnisalError

AMOUNT = Amount(train=3, validation=1, test=1, frames=3, size=(48, 64))


@pytest.fixture
def raw(tmp_path):
    """A complete UCF Sports release, except for the number of videos."""
    synthetic.make("ucf_sports", tmp_path / "raw", 0, AMOUNT)
    return tmp_path / "raw"


@pytest.fixture
def small_shards(monkeypatch):
    """Makes one shard per clip."""
    monkeypatch.setattr(shards, "_SHARD_BYTES", 1)


def _run(raw, tmp_path, name="ucf_sports", **kwargs):
    return prepare(BUILDERS[name](data_dir=tmp_path / "data", partial=True), raw, **kwargs)


def _visible(tmp_path):
    """Folders that look like a dataset or part of one."""
    return [path for path in (tmp_path / "data").rglob("*_info.json")]


def _check_whole(prepared):
    for split, videos in prepared.manifest["splits"].items():
        data = open_prepared(prepared.path, split)
        for frame in read_frames(data, range(len(data.records))):
            _, _, video, index = frame.id.split("/")
            drawn = synthetic.draw(0, video, int(index), AMOUNT)
            np.testing.assert_array_equal(frame.pixels, drawn.frame)
        assert len(data.records) == sum(video["frames"] for video in videos)


# --- Missing files are reported before preparation starts.


def test_lists_what_is_missing_by_name_and_count(raw, tmp_path):
    for name in (
        "maps/Diving-Side_001_002.png",
        "fixation/Diving-Side_001_003.png",
        "maps/Diving-Side_001_003.png",
    ):
        (raw / "training" / "Diving-Side-001" / name).unlink()
    with pytest.raises(UnisalError) as caught:
        _run(raw, tmp_path)
    message = str(caught.value)
    assert "2 maps missing (training/Diving-Side-001/maps/Diving-Side_001_002.png, " in message
    assert "1 fixation maps missing (training/Diving-Side-001/fixation/Diving-Side_001_003.png)" in message
    assert "\n" not in message and not _visible(tmp_path)


def test_a_release_must_be_complete_unless_partial(raw, tmp_path):
    builder = BUILDERS["ucf_sports"](data_dir=tmp_path / "data")
    with pytest.raises(UnisalError, match=r"99 videos of training/ missing \(4 of 103 found\); 46 videos"):
        prepare(builder, raw)


def test_names_of_missing_dhf1k_videos(tmp_path):
    synthetic.make("dhf1k", tmp_path / "raw", 0, AMOUNT)
    with pytest.raises(UnisalError, match=r"995 videos missing \(0004, 0005, .* and 990 more\)"):
        prepare(BUILDERS["dhf1k"](data_dir=tmp_path / "data"), tmp_path / "raw")


def test_a_gap_in_the_frames(raw, tmp_path):
    for part in ("images", "maps", "fixation"):
        (raw / "training" / "Diving-Side-002" / part / "Diving-Side_002_002.png").unlink()
    with pytest.raises(UnisalError, match=r"1 frames missing \(training/.*/images/Diving-Side_002_002.png\)"):
        _run(raw, tmp_path)


def test_another_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnisalError, match="empty: contains nothing in the layout of UCF Sports"):
        _run(tmp_path / "empty", tmp_path)
    with pytest.raises(UnisalError, match="nowhere: no such folder"):
        _run(tmp_path / "nowhere", tmp_path)


# --- Errors name the damaged file, and partial output is never mistaken for a dataset.


def test_all_damage_is_reported_at_once(raw, tmp_path, small_shards):
    cut = raw / "training" / "Diving-Side-001" / "images" / "Diving-Side_001_002.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    odd = raw / "training" / "Diving-Side-002" / "maps" / "Diving-Side_002_001.png"
    Image.new("L", (10, 20)).save(odd)
    with pytest.raises(UnisalError) as caught:
        _run(raw, tmp_path)
    message = str(caught.value)
    assert re.search(r"images/Diving-Side_001_002.png: the image is damaged or cut off", message)
    assert "maps/Diving-Side_002_001.png: 10x20, but its frame is 64x48" in message
    assert "\n" not in message and not _visible(tmp_path)
    # Once repaired, it resumes with the finished shards.
    synthetic.make("ucf_sports", raw, 0, AMOUNT)
    written = []
    original = shards.read_records
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "read_records", lambda c, f: written.append(c[0].id) or original(c, f))
        _check_whole(_run(raw, tmp_path))
    assert sorted(written) == ["Diving-Side-001", "Diving-Side-002"]


def test_a_frame_of_another_size(raw, tmp_path):
    for part, mode in (("images", "RGB"), ("maps", "L"), ("fixation", "L")):
        Image.new(mode, (32, 24)).save(raw / "testing" / "Run-Side-001" / part / "Run-Side_001_002.png")
    with pytest.raises(UnisalError, match=r"Run-Side_001_002.png: 32x24 among frames of 64x48"):
        _run(raw, tmp_path)
    assert not _visible(tmp_path)


def test_a_frame_count_that_disagrees(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("dhf1k-videos", raw, 0, AMOUNT)
    for part in ("maps", "fixation"):
        (raw / "annotation" / "0002" / part / "0003.png").unlink()
    with pytest.raises(UnisalError, match=r"video/002.AVI: 3 frames, but 2 maps in .*annotation/0002/maps"):
        _run(raw, tmp_path, "dhf1k")
    assert not _visible(tmp_path)


def test_a_damaged_mat_file(tmp_path):
    synthetic.make("salicon", tmp_path / "raw", 0, AMOUNT)
    path = tmp_path / "raw" / "fixations" / "val" / "COCO_val2014_000000000001.mat"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnisalError, match=r"COCO_val2014_000000000001.mat: not a MATLAB file, or cut off"):
        _run(tmp_path / "raw", tmp_path, "salicon")


def test_grey_frames_become_rgb(tmp_path):
    """Some released photographs are greyscale; stored frames must have three channels."""
    synthetic.make("mit300", tmp_path / "raw", 0, AMOUNT)
    path = tmp_path / "raw" / "BenchmarkIMAGES" / "i1.jpg"
    Image.open(path).convert("L").save(path)
    prepared = _run(tmp_path / "raw", tmp_path, "mit300")
    grey = np.array(Image.open(path))
    frame = read_frames(open_prepared(prepared.path, "test"), [0])[0]
    np.testing.assert_array_equal(frame.pixels, np.repeat(grey[..., None], 3, axis=2))


# --- Prepared once, with a lock, and verified.


def test_a_second_run_does_nothing(raw, tmp_path):
    first = _run(raw, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = _run(raw, tmp_path)
    assert first.made and not second.made and second.manifest == json.loads(json.dumps(first.manifest))
    assert before == {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    # The only hidden file left is the lock.
    assert {path.name for path in first.path.parent.iterdir()} == {"1.0.0", ".lock"}


_PREPARE = """
import sys
from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from data_prep.preview import write_contact_sheet
prepare(BUILDERS["ucf_sports"](data_dir=sys.argv[2], partial=True), sys.argv[1])
"""


def test_same_data_same_bytes_in_another_process(raw, tmp_path):
    here = _run(raw, tmp_path)
    script = [sys.executable, "-c", _PREPARE, str(raw), str(tmp_path / "other")]
    subprocess.run(script, check=True, cwd=Path.cwd())
    there = tmp_path / "other" / here.path.relative_to(tmp_path / "data")
    for path in here.path.iterdir():
        assert path.suffix == ".json" or path.read_bytes() == (there / path.name).read_bytes()
    assert (here.path / "videos.json").read_bytes() == (there / "videos.json").read_bytes()


def test_other_data_is_refused(raw, tmp_path):
    _run(raw, tmp_path)
    shutil.rmtree(raw / "training" / "Diving-Side-002")
    with pytest.raises(UnisalError, match=r"prepared from other files than those in .*--data-dir"):
        _run(raw, tmp_path)


def test_damage_to_the_prepared_data_is_detected(raw, tmp_path):
    prepared = _run(raw, tmp_path)
    shard = next(prepared.path.glob("*array_record*"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    _run(raw, tmp_path)
    with pytest.raises(
        UnisalError, match=r"array_record.*: changed since it was written; remove .* prepare again"
    ):
        _run(raw, tmp_path, verify=True)
    shard.write_bytes(data[:-1])
    with pytest.raises(UnisalError, match="changed since it was written"):
        _run(raw, tmp_path)


def test_two_at_once(raw, tmp_path):
    folder = tmp_path / "data" / "ucf_sports" / "full"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(UnisalError, match="another process is preparing it"):
        _run(raw, tmp_path)


def test_manifest_has_counts_and_checksums(raw, tmp_path):
    manifest = _run(raw, tmp_path).manifest
    assert manifest["resolution"] == "full" and manifest["fps"] == 24 and manifest["seed"] == 27
    assert manifest["counts"]["train"]["frames"] == 9 and manifest["counts"]["test"]["videos"] == 1
    assert [video["start"] for video in manifest["splits"]["train"]] == [0, 3, 6]
    for name, file in manifest["files"].items():
        path = tmp_path / "data" / "ucf_sports" / "full" / "1.0.0" / name
        assert file == {"bytes": path.stat().st_size, "sha256": shards.file_digest(path)}


# --- Interruptions and full disks.

_SLOW = """
import sys, time
from data_prep import shards
from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from data_prep.preview import write_contact_sheet
shards._SHARD_BYTES = 1
original = shards.read_records
def slowly(clips, fitting):
    for record in original(clips, fitting):
        time.sleep(0.15)
        yield record
shards.read_records = slowly
prepare(BUILDERS["ucf_sports"](data_dir=sys.argv[2], partial=True), sys.argv[1])
"""


def test_a_killed_preparation_resumes(raw, tmp_path, small_shards, monkeypatch):
    data = tmp_path / "data"
    process = subprocess.Popen([sys.executable, "-c", _SLOW, str(raw), str(data)], cwd=Path.cwd())
    stage = data / "ucf_sports" / "full" / ".1.0.0.shards"
    deadline = time.monotonic() + 40
    while len(list(stage.glob("*.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (stage.parent / "1.0.0").exists() and not _visible(tmp_path)
    done = len(list(stage.glob("*.json")))
    assert 2 <= done < 5
    written = []
    original = shards.read_records
    monkeypatch.setattr(shards, "read_records", lambda c, f: written.append(c[0].id) or original(c, f))
    prepared = _run(raw, tmp_path)
    assert len(written) == 5 - done
    _check_whole(prepared)
    assert {path.name for path in stage.parent.iterdir()} == {"1.0.0", ".lock"}


_SMALL_FILES = """
import resource, signal, sys
from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from data_prep.preview import write_contact_sheet
from unisal_jax.errors import UnisalError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    prepare(BUILDERS["ucf_sports"](data_dir=sys.argv[2], partial=True), sys.argv[1])
except UnisalError as error:
    print(error)
"""


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _noisy(raw):
    """Frames that are too large for the small disk."""
    noise = np.random.default_rng(0)
    for path in raw.rglob("images/*.png"):
        Image.fromarray(noise.integers(0, 256, (48, 64, 3), np.uint8)).save(path)


def test_a_full_disk(raw, tiny_disk):
    _noisy(raw)
    with pytest.raises(
        UnisalError, match=r"cannot be written .*No space left.*free some disk space and run it again"
    ):
        prepare(BUILDERS["ucf_sports"](data_dir=tiny_disk, partial=True), raw)
    assert not list(tiny_disk.rglob("*_info.json")) and not list(tiny_disk.rglob("*.tmp"))
    assert not list(tiny_disk.rglob("*array_record-*"))


def test_a_file_that_cannot_grow(raw, tmp_path):
    """The same without mounting a disk."""
    _noisy(raw)
    command = [sys.executable, "-c", _SMALL_FILES, str(raw), str(tmp_path / "data")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert "cannot be written (File too large" in result.stdout and "free some disk space" in result.stdout
    assert not _visible(tmp_path) and not list((tmp_path / "data").rglob("*.tmp"))


# --- The command.


def _command(*words):
    parser = Parser("unisal prepare")
    command.configure(parser)
    args = parser.parse_args([str(word) for word in words])
    return args.run(args)


def test_command(raw, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = ("UCF_Sports", "--raw", raw, "--data-dir", tmp_path / "data", "--partial", "--preview", sheet)
    assert _command(*words) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"prepared: {tmp_path / 'data' / 'ucf_sports' / 'full' / '1.0.0'}\n")
    assert "train: 3 videos, 9 frames (3 to 3 each, median 3); 48x64 (height x width)" in out
    pixels = np.array(Image.open(sheet))
    # Three images in a row, of more than one colour.
    assert pixels.shape[1] > 900 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000
    assert _command(*words) == 0
    assert capsys.readouterr().out.startswith("already prepared: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mit1003", "--resolution", "input"), "--resolution input: the images of mit1003 differ in size"),
        (("ucf_sports", "--sigma", "3"), "--sigma: applies to own data only"),
        (("own", "--sigma", "3"), "--sigma: .* required with --table"),
        (("own", "--resolution", "input"), "--resolution input: own data"),
        (("own", "--name", "../x"), "--name '../x'"),
        (("own", "--name", "a\nb"), r"--name 'a\\nb'"),
        (("own", "--name", "a" * 300), "at most 200 bytes"),
        (("own", "--fps", "nan"), "--fps: must be above 0"),
        (("own", "--sigma", "inf", "--table", "t.csv"), "--sigma"),
        (("own", "--pixels-per-degree", "0"), "--pixels-per-degree: must be above 0"),
    ],
)
def test_flags_that_do_not_go_together(raw, tmp_path, words, message):
    with pytest.raises(UnisalError, match=message):
        _command(*words, "--raw", raw, "--data-dir", tmp_path / "data")


def test_output_in_the_input_folder_is_refused(raw, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "link").symlink_to(raw)
    for data_dir in (raw, raw / "training", tmp_path / "link" / "new"):
        builder = BUILDERS["ucf_sports"](data_dir=data_dir, partial=True)
        with pytest.raises(UnisalError, match="one is in the other; use another --data-dir"):
            prepare(builder, raw)
    (tmp_path / "link").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_dir_that_is_not_utf8_is_refused(raw, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(
        UnisalError, match=r"--data-dir: the path .*caf\\udce9.* is not UTF-8; rename"
    ) as caught:
        prepare(BUILDERS["ucf_sports"](data_dir=folder, partial=True), raw)
    assert str(caught.value).isascii() and not folder.exists()
    folder.mkdir()
    with pytest.raises(UnisalError, match="is not UTF-8"):
        open_prepared(folder, "train")


@pytest.mark.parametrize("name", ["videos.json", "dataset_info.json", "features.json"])
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"files": {"../../x": {"bytes": 1, "sha256": ""}}}'])
def test_a_damaged_dataset_is_not_considered_prepared(raw, tmp_path, name, text):
    (_run(raw, tmp_path).path / name).write_text(text)
    with pytest.raises(UnisalError, match=r"damaged|not a prepared dataset"):
        _run(raw, tmp_path)


def test_a_contact_sheet_does_not_overwrite_its_dataset(raw, tmp_path):
    prepared = _run(raw, tmp_path)
    with pytest.raises(UnisalError, match=r"videos.json: would overwrite"):
        write_contact_sheet(prepared.path / "videos.json", prepared.path, prepared.manifest)


def test_command_knows_all_datasets():
    assert tuple(BUILDERS) == command.RELEASED


def test_shards_contain_whole_clips_up_to_a_size(raw, monkeypatch):
    folders = sorted((raw / "training").iterdir())[:2]
    two = sum(path.stat().st_size for folder in folders for path in folder.rglob("*.png"))
    # Videos have similar sizes.
    monkeypatch.setattr(shards, "_SHARD_BYTES", two * 5 // 4)
    builder = BUILDERS["ucf_sports"](data_dir=raw / "unused", partial=True)
    release, plan = builder.plan(raw)
    for split, some in plan.items():
        assert tuple(itertools.chain.from_iterable(shard.clips for shard in some)) == release.splits[split]
    assert len(plan["train"]) == 2
    assert len({shard.digest for some in plan.values() for shard in some}) == sum(map(len, plan.values()))


def test_beam_writes_the_same(raw, tmp_path, small_shards):
    pytest.importorskip("apache_beam", reason="the beam extra is not installed")
    here = _run(raw, tmp_path / "here").manifest
    assert _run(raw, tmp_path / "beam", beam_runner="DirectRunner").manifest == here


def test_beam_is_an_extra(raw, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UnisalError, match=r"--beam-runner requires apache-beam; install it with: pip"):
        _run(raw, tmp_path, beam_runner="DirectRunner")
