import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest

from data_prep.builders import BUILDERS
from data_prep.prepare import prepare
from tests.helpers.prepared_data import Clip, encode, make_clip, write_prepared
from unisal_jax.data import clips as clips_module
from unisal_jax.data.augment import Augmentation
from unisal_jax.data.clips import ClipShape, below, fixed_clip, permutation, random_clip
from unisal_jax.data.examples import DomainSource, find_examples
from unisal_jax.data.loader import Loader
from unisal_jax.data.prepared import Video, cross_validation, frame_rate, open_prepared, read_frames
from unisal_jax.data.synthetic import Amount, make
from unisal_jax.domains import HOLLYWOOD2, SALICON, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import open_data

VIDEO = Domain("video", (32, 64), target_size=(36, 60), stride=2)
IMAGE = Domain("image", (32, 32), target_size=(40, 40), static=True)
LENGTHS = (3, 5, 6, 9, 12, 4, 7, 8)  # clips of 3 frames at stride 2 span 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    videos = [make_clip(f"v{i}", length, (36, 60)) for i, length in enumerate(LENGTHS)]
    images = [make_clip(f"i{i}", 1, (40, 40)) for i in range(11)]
    return {
        "video": write_prepared(root, "my_videos", {"train": videos, "validation": videos[3:5]}),
        "image": write_prepared(root, "my_images", {"train": images}),
    }


FLIP = Augmentation(flip=True)


def sources(folders, **options):
    return [
        DomainSource(VIDEO, open_prepared(folders["video"], "train"), 2, clip_frames=3, **options),
        DomainSource(IMAGE, open_prepared(folders["image"], "train"), 4, **options),
    ]


def contents(batches):
    return [
        (b.epoch, b.step, b.domain, b.ids, *((a.shape, a.dtype, a.tobytes()) for a in b.arrays))
        for b in batches
    ]


def load(folders, **options):
    return Loader(sources(folders, augmentation=FLIP), seed=5, epochs=2, **{"threads": 0, **options})


def test_batches_are_of_one_domain_with_static_shapes_and_no_example_twice_an_epoch(folders):
    loader = load(folders)
    batches = list(loader)
    assert loader.steps_per_epoch == 3 + 2 and len(batches) == 10
    assert [(b.epoch, b.step) for b in batches] == [(e, s) for e in (0, 1) for s in range(5)]
    shapes = {(b.domain.name, *(a.shape for a in b.arrays)) for b in batches}
    assert shapes == {
        ("video", (2, 3, 32, 64, 3), (2, 3, 36, 60), (2, 3, 36, 8)),
        ("image", (4, 1, 32, 32, 3), (4, 1, 40, 40), (4, 1, 40, 5)),
    }
    assert all(a.dtype == np.uint8 for b in batches for a in b.arrays)
    for epoch in (0, 1):
        seen = [i.rsplit("/", 1)[0] for b in batches if b.epoch == epoch for i in b.ids]
        assert len(seen) == len(set(seen)) == 3 * 2 + 2 * 4
    assert contents(batches[:5]) != contents(batches[5:])


def test_short_videos_are_dropped_and_counted(folders):
    video, image = (find_examples(source) for source in sources(folders))
    assert video.dropped == ("v0", "v5") and video.batches == 3 and video.left_out == 0
    assert image.dropped == () and image.batches == 2 and image.left_out == 3
    assert video.summary == (
        "video: 3 batches of 2 from 6 examples, 0 left out; 2 of 8 videos dropped (shorter than 5 frames)"
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_stream(folders, threads):
    assert contents(load(folders, threads=threads)) == contents(load(folders))


@pytest.mark.parametrize("order", ["random", "alternating"])
def test_restart_in_mid_epoch_gives_the_remaining_batches(folders, order):
    whole = contents(load(folders, order=order))
    for taken in (0, 3, 5, 7, 10):
        first = load(folders, order=order, threads=2)
        assert contents(next(first) for _ in range(taken)) == whole[:taken]
        state = json.loads(json.dumps(first.get_state()))
        first.close()
        again = load(folders, order=order, threads=1)
        again.set_state(state)
        assert contents(again) == whole[taken:]


def test_restart_in_mid_epoch_with_other_numbers_of_worker_processes(folders):
    whole = contents(load(folders))
    read, state = [], load(folders).get_state()
    for workers, count in ((1, 3), (4, 4), (0, 3)):
        loader = load(folders, workers=workers, threads=1)
        loader.set_state(state)
        batches = [next(loader) for _ in range(count)]
        assert all(type(array) is np.ndarray for batch in batches for array in batch.arrays)
        read += contents(batches)
        state = loader.get_state()
        loader.close()
    assert read == whole


def test_two_processes_share_each_batch_also_after_a_restart(folders):
    whole = list(load(folders))
    parts = [load(folders, shard_index=i, shard_count=2, threads=i) for i in range(2)]
    halves = [[next(part) for _ in range(4)] for part in parts]
    assert parts[0].get_state() == parts[1].get_state()
    for i, part in enumerate(parts):
        again = load(folders, shard_index=i, shard_count=2)
        again.set_state(part.get_state())
        part.close()
        halves[i] += list(again)
    for batch, first, second in zip(whole, *halves, strict=True):
        assert batch.ids == first.ids + second.ids and batch[:3] == first[:3] == second[:3]
        for joined, a, b in zip(batch.arrays, first.arrays, second.arrays, strict=True):
            np.testing.assert_array_equal(joined, np.concatenate([a, b]))


def test_one_process_resumes_the_stream_of_two(folders):
    two = load(folders, shard_index=1, shard_count=2)
    for _ in range(6):
        next(two)
    one = load(folders)
    one.set_state(two.get_state())
    assert contents(one) == contents(load(folders))[6:]


def test_a_state_of_another_stream_is_refused(folders):
    state = load(folders).get_state()
    others = [
        Loader(sources(folders, augmentation=FLIP), seed=6),
        Loader(sources(folders), seed=5),
        Loader(sources(folders, augmentation=FLIP)[:1], seed=5),
        load(folders, order="alternating"),
    ]
    for other in others:
        with pytest.raises(UnisalError, match="for other data, or another seed"):
            other.set_state(state)


def test_loader_refuses_invalid_arguments(folders):
    video, image = sources(folders)
    with pytest.raises(UnisalError, match="two sources for the domain 'video'"):
        Loader([video, video], seed=0)
    with pytest.raises(UnisalError, match="domain video: a batch of 2 cannot be divided among 3"):
        Loader([video], seed=0, shard_count=3)
    with pytest.raises(UnisalError, match="process 2 of 2: processes are numbered from 0"):
        Loader([video], seed=0, shard_index=2, shard_count=2)
    with pytest.raises(UnisalError, match="does not fill a batch of 12: 11 of 11 videos have 1 frames"):
        Loader([DomainSource(IMAGE, image.prepared, 12)], seed=0)


def test_images_of_several_sizes_share_batches_by_size(tmp_path):
    sizes = {"wide": (60, 80), "tall": (80, 60)}
    images = [make_clip(f"{kind}{i}", 1, size) for i in range(5) for kind, size in sizes.items()]
    prepared = open_prepared(write_prepared(tmp_path, "mit1003", {"train": images}), "train")
    loader = Loader([DomainSource(IMAGE, prepared, 2)], seed=0, epochs=6)
    batches = list(loader)
    shapes = [batch.arrays.frames.shape[2:4] for batch in batches]
    assert Counter(shapes) == {(288, 384): 12, (384, 288): 12}
    assert len({tuple(shapes[e * 4 : e * 4 + 4]) for e in range(6)}) > 1
    for batch in batches:
        assert len({name.split("/")[2][:4] for name in batch.ids}) == 1
        assert batch.arrays.maps.shape[2:] == tuple(2 * side for side in batch.arrays.frames.shape[2:4])


def test_folds_partition_the_videos(tmp_path):
    clips = [make_clip(f"v{i}", 5, (36, 60)) for i in range(4)]
    path = write_prepared(tmp_path, "mine", {"train": clips}, cross_validation_folds=[["v2"], ["v0", "v3"]])
    prepared = open_prepared(path, "train")
    training, validation = cross_validation(prepared, 1)
    assert [video.id for video in training.videos] == ["v1", "v2"]
    assert [video.id for video in validation.videos] == ["v0", "v3"]
    batch = next(Loader([DomainSource(VIDEO, training, 2, clip_frames=3)], seed=0))
    assert sorted(name.split("/")[2] for name in batch.ids) == ["v1", "v2"]
    with pytest.raises(UnisalError, match="no fold 2, only 2 folds from 0"):
        cross_validation(prepared, 2)


def test_validation_clips_are_evenly_spaced_and_in_order(folders):
    prepared = open_prepared(folders["video"], "validation")
    source = DomainSource(VIDEO, prepared, 2, clip_frames=3, fixed_clips=2, augmentation=FLIP)
    batches = list(Loader([source], seed=0, epochs=2, order="alternating"))
    # 9 frames: clips of 5 around 2 and 6; 12 frames: around 3 and 9, the second moved to fit.
    starts = ["v3/0", "v3/4", "v4/1", "v4/7"]
    assert [i.split("/", 2)[2] for b in batches for i in b.ids] == starts * 2
    assert contents(batches[:2])[0][4:] == contents(batches[2:])[0][4:]


def test_evaluation_gives_whole_videos_in_order(folders):
    groups = open_data(folders["video"], "train").groups
    assert [group.id for group in groups] == [f"v{i}" for i in range(len(LENGTHS))]
    assert tuple(len(list(group.pixels())) for group in groups) == LENGTHS
    expected = make_clip("v3", 9, (36, 60))
    for i, pixels in enumerate(groups[3].pixels()):
        truth = groups[3].truth(i)
        np.testing.assert_array_equal(pixels, expected.frames[i])
        np.testing.assert_array_equal(truth.map, expected.maps[i])
        np.testing.assert_array_equal(truth.points, expected.fixations[i])


@pytest.mark.parametrize("domain", [HOLLYWOOD2, SALICON], ids=lambda domain: domain.name)
def test_reads_prepared_datasets(tmp_path, domain):
    raw = tmp_path / "raw"
    make(domain.name, raw, amount=Amount(train=4, size=(96, 170)))
    batches = []
    for config in ("full", "input"):
        builder = BUILDERS[domain.name](data_dir=tmp_path, config=config, partial=True)
        path = prepare(builder, raw).path
        prepared = open_prepared(path, "train")
        assert (prepared.name, prepared.resolution) == (domain.name, config)
        batches.append(contents(Loader([DomainSource(domain, prepared, 2, clip_frames=3)], seed=0)))
        # The test split is stored as released in either case.
        test = open_prepared(path, "test")
        frames = read_frames(test, range(sum(video.frames for video in test.videos)))
        assert {frame.pixels.shape[:2] for frame in frames} == {video.size for video in test.videos}
        assert test.videos[0].size == (96, 170)
    assert batches[0] == batches[1]


def test_reads_prepared_folds(tmp_path):
    make("mit1003", tmp_path / "raw", amount=Amount(train=30, validation=10))
    prepared = prepare(BUILDERS["mit1003"](data_dir=tmp_path, partial=True), tmp_path / "raw")
    (split,) = prepared.manifest["splits"]
    everything = open_prepared(prepared.path, split)
    assert len(everything.cross_validation_folds) == 10
    training, validation = cross_validation(everything, 3)
    assert len(training.videos) == 36 and len(validation.videos) == 4
    batch = next(Loader([DomainSource(SALICON, training, 4)], seed=0))
    assert batch.arrays.maps.shape[2:] == tuple(2 * side for side in batch.arrays.frames.shape[2:4])


def test_starts_are_uniform():
    shape = ClipShape(3, 2)
    video = Video("v", 100, 8, (36, 60))
    starts = Counter(random_clip(video, shape, 0, epoch)[0] for epoch in range(2000))
    assert sorted(starts) == [100, 101, 102, 103]
    assert all(430 < count < 570 for count in starts.values())
    assert list(random_clip(Video("w", 7, 5, (36, 60)), shape, 0)) == [7, 9, 11]
    assert clips_module.clip_shape(Domain("d", (32, 32), stride=5)).span == 56
    assert [fixed_clip(Video("w", 7, 5, (36, 60)), shape, i, 3)[0] for i in range(3)] == [7, 7, 7]


def test_draws_are_pinned():
    # A run must resume with the same clips under another version of NumPy.
    assert permutation(8, 1, 2, "x").tolist() == [6, 5, 3, 4, 0, 1, 7, 2]
    assert [below(1000, 0, i) for i in range(4)] == [636, 889, 80, 894]


def damaged(folders, tmp_path, edit):
    path = tmp_path / "damaged"
    shutil.copytree(folders["video"], path)
    edit(path)
    return path


def edit_table(change):
    def edit(path):
        table = json.loads((path / "videos.json").read_text())
        change(table)
        (path / "videos.json").write_text(json.dumps(table))

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda path: (path / "videos.json").unlink(),
            "videos.json: missing; the preparation did not finish",
        ),
        (lambda path: (path / "videos.json").write_text("{"), "videos.json: damaged"),
        (edit_table(lambda t: t.pop("splits")), "videos.json: damaged"),
        (edit_table(lambda t: t.update(resolution="half")), "resolution 'half', known: full, input"),
        (edit_table(lambda t: t["splits"].pop("train")), "no split 'train', only validation"),
        (
            edit_table(lambda t: t["splits"]["train"].pop()),
            "lists 46 frames in split 'train', which has 54 records",
        ),
        (
            edit_table(lambda t: t["splits"]["train"].pop(2)),
            "video 'v3' starts at record 14 instead of",
        ),
        (lambda path: (path / "dataset_info.json").unlink(), "damaged: not a prepared dataset"),
        (lambda path: (path / "features.json").write_text("{"), "damaged: not a prepared dataset"),
    ],
)
def test_a_damaged_folder_is_named(folders, tmp_path, edit, message):
    with pytest.raises(UnisalError, match=message):
        open_prepared(damaged(folders, tmp_path, edit), "train")


def test_a_missing_folder_or_split_is_named(folders, tmp_path):
    with pytest.raises(UnisalError, match="nowhere: no such folder; `unisal prepare` makes it"):
        open_prepared(tmp_path / "nowhere", "train")
    (tmp_path / "mine" / "images").mkdir(parents=True)
    with pytest.raises(UnisalError, match="mine: not a prepared dataset; `unisal prepare` makes one"):
        frame_rate(tmp_path / "mine")
    with pytest.raises(UnisalError, match="no split 'test', only train, validation"):
        open_prepared(folders["video"], "test")


def test_missing_records_are_named(folders, tmp_path):
    def cut(path):
        (records,) = path.glob("*-train.array_record*")
        os.truncate(records, 1000)

    path = damaged(folders, tmp_path, cut)
    with pytest.raises(UnisalError, match=r"damaged: .*split 'train'.* cannot be read"):
        read_frames(open_prepared(path, "train"), [3, 4])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named(tmp_path, monkeypatch, workers):
    monkeypatch.setattr("tests.helpers.prepared_data.encode", lambda pixels: encode(pixels)[:-40])
    clips = [make_clip("v0", 5, (36, 60))]
    prepared = open_prepared(write_prepared(tmp_path, "mine", {"train": clips}), "train")
    loader = Loader([DomainSource(VIDEO, prepared, 1, clip_frames=3)], seed=0, workers=workers)
    with pytest.raises(UnisalError, match="mine/train/v0/0: map is damaged or cut off"):
        next(loader)
    loader.close()
    with pytest.raises(UnisalError, match="mine/train/v0/0: map is damaged or cut off"):
        open_data(prepared.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": None}, "mine/train/v0/0: has no ground truth, which training requires"),
        (
            {"fixations": [np.array([[36, 0]])] * 5},
            "mine/train/v0/0: a fixation is outside its 36x60 image",
        ),
    ],
)
def test_frames_that_training_cannot_use_are_named(tmp_path, change, message):
    clip = make_clip("v0", 5, (36, 60))
    clip = Clip(**{**vars(clip), **change})
    prepared = open_prepared(write_prepared(tmp_path, "mine", {"train": [clip]}), "train")
    with pytest.raises(UnisalError, match=message):
        next(Loader([DomainSource(VIDEO, prepared, 1, clip_frames=3)], seed=0))


def stored_at(clip, size, target):
    """The clip with frames cropped to another size than the released one."""
    frames, maps = clip.frames[:, : size[0], : size[1]], clip.maps[:, : target[0], : target[1]]
    return Clip(clip.id, frames, maps, [np.zeros((0, 2))] * len(frames), clip.size)


def test_data_prepared_at_another_size_is_named(tmp_path):
    clip = stored_at(make_clip("v0", 5, (36, 60)), (32, 60), (36, 60))
    for resolution in ("full", "input"):
        path = write_prepared(tmp_path / resolution, "mine", {"train": [clip]}, resolution)
        prepared = open_prepared(path, "train")
        message = "mine/train/v0/0: is stored at 32x60, not at 32x64 or the released 36x60"
        with pytest.raises(UnisalError, match=message):
            next(Loader([DomainSource(VIDEO, prepared, 1, clip_frames=3)], seed=0))


def test_maps_cropped_for_training_cannot_be_scored(tmp_path):
    clip = stored_at(make_clip("v0", 5, (40, 70)), (32, 64), (36, 60))
    prepared = open_prepared(write_prepared(tmp_path, "mine", {"train": [clip]}, "input"), "train")
    assert next(Loader([DomainSource(VIDEO, prepared, 1, clip_frames=3)], seed=0)).step == 0
    (group,) = open_data(prepared.path).groups
    with pytest.raises(
        UnisalError, match="v0/0: its map is 36x60, but the released frame 40x70; scoring requires"
    ):
        group.truth(0)


def test_test_splits_have_frames_and_no_truth(tmp_path):
    clip = Clip(**{**vars(make_clip("v0", 2, (36, 60))), "maps": None, "fixations": [np.zeros((0, 2))] * 2})
    prepared = open_prepared(write_prepared(tmp_path, "mine", {"test": [clip]}), "test")
    assert [frame.truth for frame in read_frames(prepared, [0, 1])] == [None, None]
