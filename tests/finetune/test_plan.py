"""The choices of `unisal finetune` by the data, the division of a dataset, and the folder."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.prepared_data import Clip, make_clip, write_prepared
from unisal_jax.data.augment import Change, redrawn
from unisal_jax.data.prepared import Video, open_prepared, read_frames, split_names, write_division
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import open_data
from unisal_jax.finetune import folder, plan
from unisal_jax.finetune.recipe import Material, recipe, runs, variant

SIZE = (48, 64)


def videos(count, frames=1, size=(600, 800), prefix="a"):
    return tuple(Video(f"{prefix}{n:03}", n * frames, frames, size) for n in range(count))


def facts(kind="image", stride=1, **splits):
    return plan.Facts(Path("data/own/mine/1.0.0"), "mine", kind, splits, stride)


def ids(division, split):
    return set(division.parts[split][1])


# Choices.


def test_the_datasets_own_splits_are_kept():
    own = {"train": videos(30), "validation": videos(4, prefix="b"), "test": videos(5, prefix="c")}
    division = plan.divide(facts(**own), seed=0)
    assert division.own
    assert division.parts == {split: (split, tuple(v.id for v in own[split])) for split in own}
    assert "the dataset's own splits" in division.lines[0]


@pytest.mark.parametrize(("count", "parts"), [(20, (13, 2, 5)), (100, (70, 10, 20)), (700, (560, 70, 70))])
def test_one_split_is_drawn_from_by_image(count, parts):
    division = plan.divide(facts(train=videos(count)), seed=3)
    drawn = [ids(division, split) for split in plan.SPLITS]
    assert tuple(map(len, drawn)) == parts and len(set().union(*drawn)) == count
    assert not division.own and {old for old, _ in division.parts.values()} == {"train"}
    assert plan.divide(facts(train=videos(count)), seed=3) == division
    assert ids(plan.divide(facts(train=videos(count)), seed=4), "test") != drawn[2]


@pytest.mark.parametrize(("missing", "own"), [("test", "validation"), ("validation", "test")])
def test_what_is_missing_is_drawn_from_train(missing, own):
    held = videos(6, prefix="b")
    division = plan.divide(facts(**{"train": videos(50), own: held}), seed=0)
    assert division.parts[own] == (own, tuple(video.id for video in held))
    assert ids(division, missing) and not ids(division, missing) & ids(division, "train")
    assert ids(division, missing) | ids(division, "train") == {video.id for video in videos(50)}
    assert f"{missing} drawn from train" in division.lines[0] and own in division.lines[0]


def test_short_videos_are_neither_drawn_nor_trained_on():
    """At stride 5, a clip of 12 frames spans 56 frames. Ten such videos divide into seven, one and two."""
    clips = (*videos(10, frames=56), *(Video(f"short{n}", 560 + 55 * n, 55, (600, 800)) for n in range(40)))
    division = plan.divide(facts("video", 5, train=clips), seed=0)
    assert [len(division.parts[split][1]) for split in plan.SPLITS] == [47, 1, 2]
    assert not any(name.startswith("short") for name in ids(division, "validation") | ids(division, "test"))
    assert division.usable == 7
    assert "40 videos are shorter than a clip" in division.lines[1]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (facts(train=videos(19)), "19 images with ground truth; .* at least 20"),
        (facts("video", 5, train=videos(4, 56)), "4 videos with ground truth; .* at least 5"),
        (facts("video", 5, train=videos(9, 55)), "0 videos .*9 more are shorter than a clip"),
        (facts("video", 5, train=videos(9, 56), test=videos(9, 5, prefix="b")), "no video is left for test"),
    ],
)
def test_too_little_is_told_in_a_line(found, reason):
    with pytest.raises(UnisalError, match=reason) as error:
        plan.divide(found, seed=0)
    assert "\n" not in str(error.value)


def test_what_is_trained_follows_the_amount():
    few, many = facts(train=videos(60)), facts(train=videos(400))
    for found, moved in ((few, "domain"), (many, "all")):
        division = plan.divide(found, 0)
        assert plan.what_to_train(found, division, None)[0] == moved
        for requested in ("all", "domain"):
            assert plan.what_to_train(found, division, requested)[0] == requested


def test_the_most_common_shape_is_the_input():
    mixed = (*videos(5, size=(480, 640)), *videos(4, size=(600, 800), prefix="b"))
    wide = videos(6, size=(360, 640), prefix="c")
    size, line = plan.frame_size(facts(train=mixed, test=wide))
    assert size == (480, 640) and "288x384" in line and "6 of 15 images have another aspect ratio" in line
    assert plan.frame_size(facts(train=wide))[0] == (360, 640)


@pytest.mark.parametrize(
    ("dataset", "domain"),
    [("osie", "osie"), ("My data-2", "my_data_2"), ("salicon", "own"), ("2nd", "own"), ("眼", "own")],
)
def test_the_domains_name(dataset, domain):
    found = dataclasses.replace(facts(train=videos(20)), name=dataset)
    assert plan.domain_name(found, None) == domain
    assert plan.domain_name(found, "mine") == "mine"


def test_a_released_domain_is_not_trained():
    with pytest.raises(UnisalError, match="--domain salicon: is a released domain"):
        plan.check_domain("salicon")


@pytest.mark.parametrize("moved", ["all", "domain"])
@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("stimuli", [2, 13, 40, 560, 10_000])
def test_the_recipe_fits_any_amount(kind, moved, stimuli):
    material = Material(Path("data"), "mine", kind, stimuli, (600, 800), 5 if kind == "video" else 1)
    config = recipe(material, moved, seed=7)
    domain = config.domains["mine"]
    examples = stimuli * domain.clips_per_video
    assert 1 <= domain.batch_size <= examples and config.seed == 7
    assert config.optimizer.domain_only == (moved == "domain")
    assert domain.static == (kind == "image") and domain.like == {"image": "salicon", "video": "dhf1k"}[kind]
    assert domain.stride == (5 if kind == "video" else None) and domain.input_size == (288, 384)
    assert config.patience is not None and config.epochs >= 3
    if moved == "domain":  # the pack is written next to these
        assert config.init.weights == "unisal"
    assert runs(material, moved) == (2 if (kind, moved) == ("image", "all") else 1)


def test_the_blur_of_the_maps_is_found_for_crops(tmp_path):
    rng = np.random.default_rng(3)
    clips = []
    for n in range(6):
        points = np.stack([rng.integers(5, 55, 9), rng.integers(5, 75, 9)], 1)
        drawn = redrawn(points, (60, 80), Change(), (60, 80), 0.06)
        clips.append(Clip(f"image{n}", np.zeros((1, 60, 80, 3), np.uint8), drawn[None], [points], (60, 80)))
    blur, line = plan.map_blur(plan.read_facts(write_prepared(tmp_path, "gaussians", {"train": clips})))
    assert blur == pytest.approx(0.06, rel=0.03) and "Gaussians of the fixations" in line
    # Made from other points than its own.
    other = dataclasses.replace(clips[0], id="other", fixations=[59 - clips[0].fixations[0] // 2])
    found = plan.read_facts(write_prepared(tmp_path / "b", "others", {"train": [*clips, other]}))
    blur, line = plan.map_blur(found)
    assert blur is None and "not Gaussians" in line
    config = recipe(Material(Path("data"), "mine", "image", 100, (60, 80), 1, 0.06), "all", 3)
    first, second = variant(config, 0), variant(config, 1)
    assert first == config and first.domains["mine"].map_sigma == 0.06 and first.domains["mine"].crop < 1
    assert (second.seed, second.domains["mine"].crop, second.domains["mine"].map_sigma) == (4, 1.0, None)
    assert second.domains["mine"].flip


def test_little_data_is_shown_more_often():
    steps = []
    for stimuli in (20, 100, 560, 10_000):
        config = recipe(Material(Path("data"), "mine", "image", stimuli, (600, 800), 1), "all")
        steps.append(config.epochs)
    assert steps == sorted(steps, reverse=True) and steps[0] > 2 * steps[2]


def test_small_images_are_not_enlarged_for_the_loss():
    small, large = (
        recipe(Material(Path("data"), "mine", "image", 100, size, 1), "all").domains["mine"]
        for size in ((300, 400), (600, 800))
    )
    assert small.target_size is None and large.target_size == (480, 640)


# A division of a prepared dataset.


def test_a_division_is_read_as_a_dataset(prepared, tmp_path):
    folder_ = tmp_path / "data"
    write_division(
        folder_, prepared[1], {"train": ("train", ["film3", "film0"]), "test": ("train", ["film2"])}
    )
    assert split_names(folder_) == ("test", "train") and [f.name for f in folder_.iterdir()] == [
        "videos.json"
    ]
    whole, part = open_prepared(prepared[1], "train"), open_prepared(folder_, "train")
    assert [video.id for video in part.videos] == ["film0", "film3"] and part.split == "train"
    for video in open_prepared(folder_, "test").videos:
        frames = read_frames(open_prepared(folder_, "test"), range(video.start, video.start + video.frames))
        expected = read_frames(whole, range(6, 9))
        assert [f.id.split("/")[2] for f in frames] == ["film2"] * 3
        assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(frames, expected, strict=True))
    data = open_data(folder_, "test")
    assert (data.name, data.kind, [group.id for group in data.groups]) == ("films", "video", ["film2"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            {"division_of": "SOURCE", "splits": {"train": {"split": "train", "ids": ["image0", "x"]}}},
            "names 1 videos",
        ),
        ({"division_of": "SOURCE", "splits": {"train": {"split": "new", "ids": []}}}, "no split 'new'"),
        ({"division_of": "SOURCE", "splits": {"train": {"split": "train", "ids": [["a"]]}}}, "damaged"),
        ({"division_of": "SOURCE", "splits": {"train": {"split": "train", "ids": ["a", "a"]}}}, "damaged"),
        ({"division_of": "SOURCE", "splits": {"train": ["image0"]}}, "damaged"),
        ({"division_of": "SOURCE", "splits": {"test": {"split": "train", "ids": []}}}, "no split 'train'"),
        ({"division_of": ["SOURCE"], "splits": {"train": {}}}, "damaged"),
        (
            {"division_of": "/no/such/folder", "splits": {"train": {"split": "train", "ids": []}}},
            "does not exist",
        ),
        ({"division_of": "ITSELF", "splits": {"train": {"split": "train", "ids": []}}}, "a division itself"),
    ],
)
def test_a_damaged_division_is_refused(prepared, tmp_path, content, reason):
    text = json.dumps(content).replace("SOURCE", str(prepared[0])).replace("ITSELF", str(tmp_path))
    (tmp_path / "videos.json").write_text(text)
    with pytest.raises(UnisalError, match=reason) as error:
        open_prepared(tmp_path, "train")
    assert "\n" not in str(error.value)


def test_a_division_protects_what_it_reads(prepared, tmp_path, command):
    write_division(tmp_path / "data", prepared[0], {"test": ("train", ["image0"])})
    target = prepared[0] / "videos.json"
    before = target.read_bytes()
    status, _, err = command(
        "evaluate", "--data", tmp_path / "data", "--predictions", tmp_path, "--json", target
    )
    assert status == 1 and "would overwrite" in err and target.read_bytes() == before


def test_the_facts_of_a_dataset(prepared, tmp_path):
    found = plan.read_facts(prepared[0].parent)
    assert (found.kind, found.name, found.stride) == ("image", "images", 1)
    assert [video.id for video in found.splits["train"]] == [f"image{n}" for n in range(24)]
    film = plan.read_facts(prepared[1], fps=25)
    assert (film.kind, film.stride) == ("video", 4)
    assert "frame rate of the videos is unknown" in plan.read_facts(prepared[1]).lines[0]
    with pytest.raises(UnisalError, match="no split 'train' with maps and fixations"):
        clip = dataclasses.replace(make_clip("a", 1, SIZE), maps=None)
        plan.read_facts(write_prepared(tmp_path, "bare", {"train": [clip]}))


def test_a_stimulus_in_two_splits_is_told(tmp_path):
    """Finds the same image in two splits; another image of the same name does not count."""
    train = [make_clip("same", 1, SIZE, seed=1), make_clip("name", 1, SIZE, seed=2)]
    test = [make_clip("same", 1, SIZE, seed=1), make_clip("name", 1, SIZE, seed=3)]
    found = plan.read_facts(write_prepared(tmp_path, "twice", {"train": train, "test": test}))
    assert found.lines == (
        "1 is in both test and train, such as same: the held-out data were trained on",
    ) or (found.lines == ("1 is in both train and test, such as same: the held-out data were trained on",))


# The folder.


def planned(**settings):
    config = recipe(Material(Path("data"), "mine", "image", 40, (600, 800), 1), "all")
    chosen = {
        "data": "/d",
        "domain": "mine",
        "train": "all",
        "seed": 0,
        "stride": 1,
        "overrides": [],
    } | settings
    return folder.FinetunePlan(
        chosen, plan.divide(facts(train=videos(40)), chosen["seed"]), config, 2, ("a line",)
    )


def test_a_begun_folder_keeps_its_plan(tmp_path):
    first = planned()
    assert folder.start(tmp_path / "out", first, frozenset()) == first
    (tmp_path / "out" / folder.SCORES).mkdir()
    # A later version's recipe, and its choice of what to train.
    later = dataclasses.replace(planned(train="domain"), config=dataclasses.replace(first.config, epochs=99))
    assert folder.start(tmp_path / "out", later, frozenset()) == first
    with pytest.raises(UnisalError, match="--train all, not --train domain; choose another --out"):
        folder.start(tmp_path / "out", later, frozenset({"train"}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": "/other"}, "--data /d, not --data /other"),
        ({"seed": 5}, "--seed 0, not --seed 5"),
        ({"stride": 4}, "a frame stride of 1, not a frame stride of 4"),
        ({"overrides": ["--config.epochs=2"]}, "no --config.NAME=VALUE, not --config.epochs=2"),
    ],
)
def test_another_fine_tuning_is_refused(tmp_path, change, reason):
    folder.start(tmp_path, planned(), frozenset())
    (tmp_path / folder.SCORES).mkdir()
    with pytest.raises(UnisalError, match=reason):
        folder.start(tmp_path, planned(**change), frozenset())


def test_a_plan_that_nothing_was_done_by_gives_way(tmp_path):
    folder.start(tmp_path, planned(), frozenset())
    assert folder.start(tmp_path, planned(seed=5), frozenset()).settings["seed"] == 5


def test_other_stimuli_are_refused(tmp_path):
    folder.start(tmp_path, planned(), frozenset())
    (tmp_path / folder.SCORES).mkdir()
    grown = dataclasses.replace(planned(), division=plan.divide(facts(train=videos(41)), 0))
    with pytest.raises(UnisalError, match="other stimuli"):
        folder.start(tmp_path, grown, frozenset())


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UnisalError, match=r"contains letter\.txt but no fine-tuning"):
        folder.start(tmp_path, planned(), frozenset())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 1, "config": {}}', "\udcff"])
def test_a_damaged_plan_is_told(tmp_path, content):
    (tmp_path / folder.PLAN).write_text(content, errors="surrogateescape")
    (tmp_path / folder.SCORES).mkdir()
    with pytest.raises(UnisalError, match=folder.PLAN) as error:
        folder.start(tmp_path, planned(), frozenset())
    assert "\n" not in str(error.value)
