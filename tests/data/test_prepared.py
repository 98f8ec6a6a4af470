"""Untrusted prepared datasets: nothing in them is imported, and every declared value is checked."""

import json
import shutil
import sys

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from tests.helpers.prepared_data import Clip, encode, make_clip, write_prepared
from unisal_jax.data.chunks import check_chunks
from unisal_jax.data.prepared import open_prepared, read_frames
from unisal_jax.data.stored import FEATURES
from unisal_jax.errors import UnisalError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("made"), "mine", {"train": [make_clip("a", 3, (24, 32))]})


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("place", ["video", "index", "frame", "added", "the whole"])
def test_classes_named_by_the_features_are_not_imported(folder, tmp_path, monkeypatch, place):
    (tmp_path / "payload.py").write_text(f"open({str(tmp_path / 'CODE_RAN')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)

    def change(content):
        features = content["featuresDict"]["features"]
        target = content if place == "the whole" else features.setdefault(place, {"text": {}})
        target["pythonClassName"] = "payload.X"

    _edit(folder / "features.json", change)
    with pytest.raises(UnisalError, match=r"copy: not a prepared dataset \(features.json: "):
        open_prepared(folder, "train")
    assert not (tmp_path / "CODE_RAN").exists() and "payload" not in sys.modules


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info["splits"][0].update(filepathTemplate="/etc/{SPLIT}"),
        lambda info: info["splits"][0].update(filepathTemplate="../{DATASET}-{SPLIT}.x-{SHARD_X_OF_Y}"),
        lambda info: info["splits"][0].update(name="../train"),
        lambda info: info.update(name="/etc/passwd"),
        lambda info: info.update(fileFormat="parquet"),
        lambda info: info["splits"][0].update(shardLengths=["-3"]),
        lambda info: info["splits"][0].update(shardLengths=[str(10**9)]),
        lambda info: info["splits"][0].update(shardLengths=[{}]),
        lambda info: info.update(splits=7),
    ],
)
def test_files_outside_and_false_lengths_are_refused(folder, change):
    _edit(folder / "dataset_info.json", change)
    with pytest.raises(UnisalError, match=r"copy: (not a prepared dataset|split 'train' cannot be read)"):
        open_prepared(folder, "train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", [10**6, 10**6]),
        ("size", [-1, 5]),
        ("size", [24]),
        ("size", [24.5, 32]),
        ("frames", -3),
        ("frames", 10**12),
        ("frames", True),
        ("start", None),
        ("id", "../../../etc/passwd"),
        ("id", ".."),
        ("id", "a\nb"),
        ("id", ""),
        ("id", ["a"]),
    ],
)
def test_invalid_tables_of_videos_are_refused(folder, key, value):
    _edit(folder / "videos.json", lambda table: table["splits"]["train"][0].update({key: value}))
    with pytest.raises(UnisalError, match=r"copy/videos.json: (damaged|lists)") as caught:
        open_prepared(folder, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"splits": NaN}', "1" * 9000, "[]", "\x00", "7"])
def test_invalid_json(folder, text):
    for name in ("videos.json", "features.json", "dataset_info.json"):
        before = (folder / name).read_text()
        (folder / name).write_text(text)
        with pytest.raises(UnisalError, match=r"copy.*: (damaged|not a prepared dataset)"):
            open_prepared(folder, "train")
        (folder / name).write_text(before)


def _stored(folder, **changes):
    """A dataset of one frame with changes to its record."""
    clip = Clip("a", np.zeros((1, 24, 32, 3), np.uint8), np.zeros((1, 24, 32), np.uint8), [[]], (24, 32))
    path = write_prepared(folder, "mine", {"train": [clip]})
    record = {
        "frame": encode(clip.frames[0]),
        "map": encode(clip.maps[0]),
        "fixations": np.zeros((0, 2), np.int32),
        "observers": np.zeros(0, np.int32),
        "fixation_size": np.array((24, 32), np.int32),
        "has_truth": True,
        "video": "a",
        "index": 0,
    }
    (file,) = path.glob("*array_record*")
    writer = ArrayRecordWriter(str(file), "group_size:1,uncompressed")
    writer.write(FEATURES.serialize_example(FEATURES.encode_example({**record, **changes})))
    writer.close()
    return open_prepared(path, "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixation_size": np.array((2**31 - 1, 2**31 - 1), np.int32)}, "mine/train/a/0 is damaged"),
        ({"fixation_size": np.array((0, -5), np.int32)}, "mine/train/a/0 is damaged"),
        ({"observers": np.zeros(7, np.int32)}, "mine/train/a/0 is damaged"),
        ({"frame": b"GIF89a"}, "frame is damaged or cut off"),
        ({"map": b""}, "map is damaged or cut off"),
        (
            {"fixations": np.full((1, 2), -9, np.int32), "observers": np.zeros(1, np.int32)},
            "a fixation is outside",
        ),
    ],
)
def test_invalid_records_are_refused(tmp_path, changes, message):
    prepared = _stored(tmp_path, **changes)
    with pytest.raises(UnisalError, match=message):
        read_frames(prepared, [0])


def test_a_record_that_unpacks_to_much_more_is_refused(folder):
    (file,) = folder.glob("*array_record*")
    writer = ArrayRecordWriter(str(file), "group_size:1,zstd:1")
    for size in (9, 100 << 20, 9):
        writer.write(b"0" * size)
    writer.close()
    assert file.stat().st_size < 1 << 20
    with pytest.raises(UnisalError, match=r"records 1 to 1 .* cannot be read .*that unpacks to 104857600"):
        read_frames(open_prepared(folder, "train"), [1])


def test_chunks_are_followed_across_blocks(tmp_path, rng):
    path = tmp_path / "records"
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for size in rng.choice([0, 1, 40, 65_470, 65_496, 65_512, 200_000], 100):
        writer.write(rng.bytes(int(size)))
    writer.close()
    check_chunks(path)
    # The last chunk, which unpacks to too much, is found only if all chunks before it are parsed.
    writer = ArrayRecordWriter(str(tmp_path / "bomb"), "group_size:1,zstd:1")
    writer.write(b"0" * (65 << 20))
    writer.close()
    with path.open("ab") as file:
        content = (tmp_path / "bomb").read_bytes()
        file.write(content[:24] + content[64:200])  # a block's header, and the chunk
    with pytest.raises(ValueError, match=r"unpacks to 68157440"):
        check_chunks(path)
