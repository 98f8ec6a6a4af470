"""Round trips: the prepared dataset has the content of the release, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from unisal_jax.data import synthetic
from unisal_jax.data.layouts.datasets import DATASETS
from unisal_jax.data.layouts.releases import held_out, split_into_folds
from unisal_jax.data.layouts.truth import read_mat
from unisal_jax.data.prepared import open_prepared, read_frames
from unisal_jax.data.synthetic import Amount
from unisal_jax.errors import UnisalError

SEED = 5
AMOUNT = Amount(train=2, validation=1, test=1, frames=3, size=(48, 64), observers=2)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _prepare(name, raw, tmp_path, config="full", **kwargs):
    builder = BUILDERS[name](data_dir=tmp_path / "prepared", config=config, partial=True, **kwargs)
    return prepare(builder, raw)


def _frames(prepared, split):
    data = open_prepared(prepared.path, split)
    return data, read_frames(data, range(len(data.records)))


def _encoded(prepared, split):
    """The stored bytes, not decoded."""
    skip = tfds.decode.SkipDecoding()
    source = tfds.builder_from_directory(prepared.path).as_data_source(
        split, decoders={"frame": skip, "map": skip}
    )
    return [source[i] for i in range(len(source))]


# The split of each synthetic clip, if the release defines it.
_OFFICIAL = {
    "dhf1k": {"train": ["0001", "0002"], "validation": ["0601"], "test": ["0701"]},
    "salicon": {
        "train": [f"COCO_train2014_{i:012d}" for i in (1, 2)],
        "validation": ["COCO_val2014_000000000001"],
        "test": ["COCO_test2014_000000000001"],
    },
    "mit1003": {"train": [f"i{i:010d}" for i in (1, 2, 3)]},
    "mit300": {"test": ["i1"]},
}
_SIZES = {
    "hollywood2": {"train": 4, "validation": 2, "test": 2},
    "ucf_sports": {"train": 2, "validation": 1, "test": 1},
}


@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_every_frame_map_and_fixation_is_stored(tmp_path, layout):
    name = layout.split("-")[0]
    raw = tmp_path / "raw"
    synthetic.make(layout, raw, SEED, AMOUNT)
    assert [other for other, dataset in DATASETS.items() if dataset.recognise(raw)] == [name]
    prepared = _prepare(name, raw, tmp_path)
    splits = {split: [v["id"] for v in videos] for split, videos in prepared.manifest["splits"].items()}
    if name in _OFFICIAL:
        assert splits == _OFFICIAL[name]
    else:
        assert {split: len(ids) for split, ids in splits.items()} == _SIZES[name]
    lossless = name not in ("salicon", "mit1003", "mit300")
    for split, ids in splits.items():
        data, frames = _frames(prepared, split)
        assert [f"{v.id}/{i}" for v in data.videos for i in range(v.frames)] == [
            f.id.split("/", 2)[2] for f in frames
        ]
        assert len(frames) == len(ids) * data.videos[0].frames
        for video in data.videos:
            for index, frame in enumerate(frames[video.start : video.start + video.frames]):
                assert frame.id.endswith(f"/{index}") and frame.pixels.shape[:2] == video.size
                turned = Amount(size=video.size, observers=AMOUNT.observers)
                drawn = synthetic.draw(SEED, video.id, index, turned)
                if lossless:
                    np.testing.assert_array_equal(frame.pixels, drawn.frame)
                truth = frame.truth
                assert (truth is None) == (split == "test" and name in ("dhf1k", "salicon", "mit300"))
                if truth is None:
                    continue
                assert truth.fixation_size == video.size
                if name != "mit1003":
                    np.testing.assert_array_equal(truth.map, drawn.map)
                    assert set(map(tuple, truth.fixations)) == set(map(tuple, np.argwhere(drawn.marks)))
                if layout == "salicon":
                    np.testing.assert_array_equal(truth.fixations, np.concatenate(drawn.fixations))
                    np.testing.assert_array_equal(truth.observers, [0, 0, 1, 1])
                else:
                    assert (truth.observers == -1).all() and len(truth.observers) == len(truth.fixations)


@pytest.mark.parametrize(
    ("layout", "frame", "mapped"),
    [
        ("dhf1k", "annotation/{id}/images/{n:04d}.png", "annotation/{id}/maps/{n:04d}.png"),
        ("salicon", "images/{id}.jpg", "maps/train/{id}.png"),
        ("mit1003", "ALLSTIMULI/ALLSTIMULI/{id}.jpeg", "ALLFIXATIONMAPS/ALLFIXATIONMAPS/{id}_fixMap.jpg"),
    ],
)
def test_released_bytes_are_stored_unchanged(tmp_path, layout, frame, mapped):
    raw = tmp_path / "raw"
    synthetic.make(layout, raw, SEED, AMOUNT)
    prepared = _prepare(layout, raw, tmp_path)
    for record in _encoded(prepared, "train"):
        where = {"id": record["video"].decode(), "n": int(record["index"]) + 1}
        assert record["frame"] == (raw / frame.format(**where)).read_bytes()
        assert record["map"] == (raw / mapped.format(**where)).read_bytes()


def test_mit1003_fixations_equal_the_released_map(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("mit1003", raw, SEED, AMOUNT)
    _, frames = _frames(_prepare("mit1003", raw, tmp_path), "train")
    for frame in frames:
        name = frame.id.split("/")[2]
        marks = np.array(Image.open(raw / "ALLFIXATIONMAPS" / "ALLFIXATIONMAPS" / f"{name}_fixPts.jpg"))
        np.testing.assert_array_equal(frame.truth.fixations, np.argwhere(marks / 255 > 0.5))


def test_plain_tfds_reads_the_images(tmp_path):
    """The decoders of tensorflow-datasets return uint8 RGB and grey."""
    synthetic.make("ucf_sports", tmp_path / "raw", SEED, AMOUNT)
    prepared = _prepare("ucf_sports", tmp_path / "raw", tmp_path)
    source = tfds.builder_from_directory(prepared.path).as_data_source("train")
    record = source[0]
    drawn = synthetic.draw(SEED, record["video"].decode(), 0, AMOUNT)
    np.testing.assert_array_equal(record["frame"], drawn.frame)
    np.testing.assert_array_equal(record["map"][..., 0], drawn.map)


@pytest.mark.parametrize("name", ["dhf1k", "hollywood2", "ucf_sports", "salicon"])
def test_input_resolution_equals_plain_pillow(tmp_path, name):
    raw = tmp_path / "raw"
    synthetic.make(name, raw, SEED, AMOUNT)
    full = _frames(_prepare(name, raw, tmp_path), "train")[1]
    stored = _frames(_prepare(name, raw, tmp_path, "input"), "train")[1]
    height, width = DATASETS[name].domain.input_size
    # 48x64 is narrower than all sizes: Hollywood-2 gets borders, UCF Sports loses rows.
    resized = {
        "dhf1k": (width, height),
        "salicon": (width, height),
        "hollywood2": (64 * height // 48, height),
        "ucf_sports": (width, int(width / (64 / 48))),
    }[name]
    left, top = (resized[0] - width) // 2, round((resized[1] - height) / 2)
    box = (left, top, left + width, top + height)
    for before, after in zip(full, stored, strict=True):
        image = Image.fromarray(before.pixels).resize(resized, Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(after.pixels, np.array(image.crop(box)))
        if name in ("dhf1k", "salicon"):
            np.testing.assert_array_equal(after.truth.map, before.truth.map)
            np.testing.assert_array_equal(after.truth.fixations, before.truth.fixations)
            continue
        image = Image.fromarray(before.truth.map).resize(resized, Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(after.truth.map, np.array(image.crop(box)))
        marks = np.zeros((48, 64), np.uint8)
        marks[tuple(before.truth.fixations.T)] = 255
        marks = np.array(Image.fromarray(marks).resize(resized, Image.Resampling.NEAREST).crop(box))
        np.testing.assert_array_equal(after.truth.fixations, np.argwhere(marks))
        assert after.truth.fixation_size == (height, width)


def test_test_split_is_stored_as_released_at_input_resolution(tmp_path):
    synthetic.make("ucf_sports", tmp_path / "raw", SEED, AMOUNT)
    frames = _frames(_prepare("ucf_sports", tmp_path / "raw", tmp_path, "input"), "test")[1]
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real clip in ../shared/data is not here")
def test_real_ucf_sports_clip(tmp_path):
    raw = SHARED / "ucf_sports"
    prepared = _prepare("ucf_sports", raw, tmp_path)
    assert prepared.manifest["counts"] == {
        "test": {"videos": 1, "frames": 54, "fixations": 19706, "outside": 0}
    }
    folder = raw / "testing" / "Diving-Side-001"
    records = _encoded(prepared, "test")
    for number, (record, frame) in enumerate(zip(records, _frames(prepared, "test")[1], strict=True), 1):
        name = f"Diving-Side_001_{number:03d}.png"
        assert record["frame"] == (folder / "images" / name).read_bytes()
        assert record["map"] == (folder / "maps" / name).read_bytes()
        marks = np.zeros((404, 720), np.uint8)
        marks[tuple(frame.truth.fixations.T)] = 255
        np.testing.assert_array_equal(marks, np.array(Image.open(folder / "fixation" / name)))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real files in ../shared/data are not here")
def test_real_salicon_mat():
    path = SHARED / "salicon" / "COCO_train2014_000000000009.mat"
    points, observers, size = read_mat(path)
    gaze = scipy.io.loadmat(path)["gaze"][:, 0]
    assert size == (480, 640) and len(gaze) == 54
    for number, person in enumerate(gaze):
        xy = person[2].reshape(-1, 2).astype(int)
        np.testing.assert_array_equal(points[observers == number], xy[:, ::-1] - 1)
    with pytest.raises(UnisalError, match="not SALICON's layout"):
        read_mat(SHARED / "salicon" / "Fixation_1.mat")


def test_ucf_validation_equals_the_original():
    """The authors number the sorted videos, shuffle the numbers with seed 27 and select ten."""
    names = [f"v{i:03d}" for i in range(1, 104)]
    numbers = np.arange(1, 104)
    np.random.seed(27)
    np.random.shuffle(numbers)
    assert held_out(names, 27) == {f"v{i:03d}" for i in numbers[92:102]}


def test_held_out_is_a_seeded_tenth():
    names = [f"{i:05d}" for i in range(1, 824)]
    held = held_out(names, 42)
    assert len(held) == 82 and held == held_out(names[::-1], 42) and held != held_out(names, 43)
    assert held_out(["only"], 0) == frozenset()


def test_mit1003_folds_equal_the_original():
    names = [f"i{i}" for i in range(1003)]
    cut = split_into_folds(names, 10, 27)
    order = np.arange(1003)
    np.random.seed(27)
    np.random.shuffle(order)
    assert cut[3] == tuple(names[i] for i in order[300:401])
    assert sorted(name for fold in cut for name in fold) == sorted(names)


def test_shots_stay_in_order_and_videos_in_one_split(tmp_path):
    raw = tmp_path / "raw"
    synthetic.make("hollywood2", raw, SEED, Amount(train=19, validation=1, test=0, frames=1, size=(24, 32)))
    # The tenth shot follows the second.
    (raw / "training" / "actioncliptrain00001_2").rename(raw / "training" / "actioncliptrain00001_10")
    splits = _prepare("hollywood2", raw, tmp_path).manifest["splits"]
    ids = {split: [video["id"] for video in videos] for split, videos in splits.items()}
    videos = {split: {name.split("_")[0] for name in some} for split, some in ids.items()}
    assert not videos["train"] & videos["validation"] and len(videos["validation"]) == 2
    every = [name for some in ids.values() for name in some]
    assert every.index("actioncliptrain00001_10") == every.index("actioncliptrain00001_1") + 1
