"""`unisal finetune`: what it chooses, what it tells, that it resumes and refuses, and one real run."""

import dataclasses
import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.prepared_data import make_clip, write_prepared
from tests.test_report import HOSTILE, Page
from unisal_jax.data.prepared import Video, open_prepared, read_frames, split_names, write_division
from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData, open_data
from unisal_jax.finetune import chart, folder, plan, report, report_html, run, scores
from unisal_jax.finetune.effort import Effort
from unisal_jax.finetune.recipe import Material, recipe
from unisal_jax.train import loop
from unisal_jax.train.logs import SCALARS
from unisal_jax.train.workdir import VALIDATIONS
from unisal_jax.trees import flatten
from unisal_jax.weights.packs import load_pack
from unisal_jax.weights.store import load_weights

SIZE = (48, 64)


def videos(count, frames=1, size=(600, 800), prefix="a"):
    return tuple(Video(f"{prefix}{n:03}", n * frames, frames, size) for n in range(count))


def facts(kind="image", stride=1, **splits):
    return plan.Facts(Path("data/own/mine/1.0.0"), "mine", kind, splits, stride)


def ids(division, split):
    return set(division.parts[split][1])


# What is chosen.


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
    """At stride 5 a clip of 12 frames is 56 frames long. Of ten that are: seven, one and two."""
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
        (facts("video", 5, train=videos(9, 56), test=videos(9, 5, prefix="b")), "leaves no video for test"),
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
        for asked in ("all", "domain"):
            assert plan.what_to_train(found, division, asked)[0] == asked


def test_the_most_common_shape_is_the_input():
    mixed = (*videos(5, size=(480, 640)), *videos(4, size=(600, 800), prefix="b"))
    wide = videos(6, size=(360, 640), prefix="c")
    size, line = plan.frame_size(facts(train=mixed, test=wide))
    assert size == (480, 640) and "288x384" in line and "6 of 15 images have another shape" in line
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
    if moved == "domain":  # the pack goes beside these
        assert config.init.weights == "unisal"


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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    clips = [make_clip(f"image{n}", 1, SIZE, seed=n) for n in range(24)]
    films = [make_clip(f"film{n}", 3, SIZE, seed=n) for n in range(4)]
    base = tmp_path_factory.mktemp("prepared")
    images = write_prepared(base, "pictures", {"train": clips})
    return images, write_prepared(base, "films", {"train": films, "other": [clips[0]]})


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
        ({"division_of": "/no/such/folder", "splits": {"train": {"split": "train", "ids": []}}}, "not there"),
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
    assert (found.kind, found.name, found.stride) == ("image", "pictures", 1)
    assert [video.id for video in found.splits["train"]] == [f"image{n}" for n in range(24)]
    film = plan.read_facts(prepared[1], fps=25)
    assert (film.kind, film.stride) == ("video", 4)
    assert "frame rate is not known" in plan.read_facts(prepared[1]).lines[0]
    with pytest.raises(UnisalError, match="no split 'train' with maps and fixations"):
        clip = dataclasses.replace(make_clip("a", 1, SIZE), maps=None)
        plan.read_facts(write_prepared(tmp_path, "bare", {"train": [clip]}))


def test_a_stimulus_in_two_splits_is_told(tmp_path):
    """The same image; another image of the same name is none."""
    train = [make_clip("same", 1, SIZE, seed=1), make_clip("name", 1, SIZE, seed=2)]
    test = [make_clip("same", 1, SIZE, seed=1), make_clip("name", 1, SIZE, seed=3)]
    found = plan.read_facts(write_prepared(tmp_path, "twice", {"train": train, "test": test}))
    assert found.lines == ("1 is in both test and train, such as same: what is held out was seen",) or (
        found.lines == ("1 is in both train and test, such as same: what is held out was seen",)
    )


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
    return folder.Plan(chosen, plan.divide(facts(train=videos(40)), chosen["seed"]), config, ("a line",))


def test_a_begun_folder_keeps_its_plan(tmp_path):
    first = planned()
    assert folder.start(tmp_path / "out", first, frozenset()) == first
    (tmp_path / "out" / folder.SCORES).mkdir()
    # A later version's recipe, and its choice of what to train.
    later = dataclasses.replace(planned(train="domain"), config=dataclasses.replace(first.config, epochs=99))
    assert folder.start(tmp_path / "out", later, frozenset()) == first
    with pytest.raises(UnisalError, match="--train all, not --train domain; name another --out"):
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
    with pytest.raises(UnisalError, match=r"holds letter\.txt and no fine-tuning"):
        folder.start(tmp_path, planned(), frozenset())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 1, "config": {}}', "\udcff"])
def test_a_damaged_plan_is_told(tmp_path, content):
    (tmp_path / folder.PLAN).write_text(content, errors="surrogateescape")
    (tmp_path / folder.SCORES).mkdir()
    with pytest.raises(UnisalError, match=folder.PLAN) as error:
        folder.start(tmp_path, planned(), frozenset())
    assert "\n" not in str(error.value)


# Scores.


def evaluated(rows, baselines=(), kind="image"):
    """What `unisal evaluate --json` writes of these scores by stimulus."""
    names = sorted({name for row in rows.values() for name in row})
    mean = {name: float(np.mean([row[name] for row in rows.values() if name in row])) for name in names}
    ci = {name: [value - 0.1, value + 0.1] for name, value in mean.items()}
    return {
        "mean": mean,
        "ci": ci,
        "baselines": {name: {"mean": {"nss": value}, "ci": {}} for name, value in baselines},
        "counts": {"frames": len(rows)},
        "about": {"weights": "unisal", "domain": "salicon"},
        f"per_{kind}": rows,
    }


def scored(changes, **others):
    """Before and after of stimuli whose NSS changes by `changes`."""
    before = {f"i{n}": {"nss": 1.0 + n, **others} for n in range(len(changes))}
    after = {f"i{n}": {"nss": 1.0 + n + change, **others} for n, change in enumerate(changes)}
    return evaluated(before, [("centre_prior", 0.5)]), evaluated(after)


def test_the_difference_is_paired():
    """However the stimuli differ from each other, an equal gain on each has no spread."""
    found = scores.differences(*scored([0.25] * 12))["nss"]
    assert found.mean == pytest.approx(0.25) and found.ci == pytest.approx((0.25, 0.25))
    assert found.stimuli == 12
    spread = scores.differences(*scored([0.0, 0.5] * 6))["nss"]
    # The mean of twelve such draws has a standard deviation of 0.25 / sqrt(12).
    half = 1.96 * 0.25 / math.sqrt(12)
    assert spread.ci == pytest.approx((0.25 - half, 0.25 + half), abs=0.03)


def test_a_stimulus_without_one_of_the_scores_is_left_out():
    before, after = scored([0.1, 0.2, 0.3])
    del after["per_image"]["i2"]["nss"]
    found = scores.differences(before, after)["nss"]
    assert found.stimuli == 2 and found.mean == pytest.approx(0.15)
    alone = scores.differences(*scored([0.1]))["nss"]
    assert alone.stimuli == 1 and all(map(math.isnan, alone.ci))


def group(name, frames, people, rng):
    """Made-up truth: each person looks at the same spot, with some spread."""
    spots = rng.uniform(0.3, 0.7, (frames, 2)) * SIZE
    points = [
        np.int32(np.clip(rng.normal(spot, 2, (4 * people, 2)), 0, np.array(SIZE) - 1)) for spot in spots
    ]

    def truth(index):
        density = np.zeros(SIZE, np.uint8)
        density[tuple(points[index].T)] = 255
        return FrameTruth(density, points[index], np.int32(np.repeat(np.arange(people), 4)))

    def pixels():
        yield from (np.full((*SIZE, 3), number, np.uint8) for number in range(frames))

    return Group(name, tuple(f"{n:04}" for n in range(frames)), pixels, truth)


def test_people_are_scored_by_each_other(tmp_path, rng):
    data = ScoringData("made", "test", "image", tuple(group(f"i{n}", 1, 5, rng) for n in range(4)))
    prior = scores.prior_map(data)
    found = scores.score_people(tmp_path / "scores" / "people.json", data, prior)
    ceiling = found["baselines"]["inter_observer"]["mean"]
    assert ceiling["nss"] > 1 and "cc" not in ceiling
    assert scores.stored(tmp_path / "scores" / "people.json") == found
    alone = ScoringData("made", "test", "image", (group("i", 1, 1, rng),))
    assert scores.score_people(tmp_path / "none.json", alone, prior) is None
    assert scores.stored(tmp_path / "none.json") is None


def test_many_frames_are_thinned_evenly(rng):
    films = ScoringData("made", "test", "video", (group("a", 20, 1, rng), group("b", 7, 1, rng)))
    part = scores.thinned(films, 9)
    shown = [[int(frame[0, 0, 0]) for frame in each.pixels()] for each in part.groups]
    assert shown == [[1, 4, 7, 10, 13, 16, 19], [1, 4]]
    for each, whole in zip(part.groups, films.groups, strict=True):
        assert len(each.frame_names) == len(list(each.pixels()))
        np.testing.assert_array_equal(each.truth(1).points, whole.truth(4).points)
    images = dataclasses.replace(
        films, kind="image", groups=tuple(group(str(n), 1, 1, rng) for n in range(9))
    )
    assert [each.id for each in scores.thinned(images, 3).groups] == ["0", "3", "6"]
    assert scores.thinned(images, 9) is images


# The report.


def made(changes, people=2.0, names=None, **extra):
    before, after = scored(changes)
    if names is not None:
        for document in (before, after):
            document["per_image"] = dict(zip(names, document["per_image"].values(), strict=True))
    stimuli = tuple(before["per_image"])
    division = plan.Division(
        {"train": ("train", ("t",)), "validation": ("train", ("v",)), "test": ("train", stimuli)},
        False,
        1,
        (),
    )
    curves = report.Curves(
        tuple((step, 2.0 / step) for step in range(1, 9)),
        tuple(
            {"epoch": e, "step": 4 * e, "loss": 1.0 / e, "kld": 1.0 / e, "cc": 0.1 * e, "nss": 1.0 * e}
            for e in (1, 2)
        ),
        8,
    )
    values = {
        "title": "mine",
        "kind": "image",
        "about": {"domain": "mine", "data": "mine"},
        "lines": ("what was chosen",),
        "division": division,
        "before": before,
        "after": after,
        "people": people and evaluated({"i0": {"nss": 0.0}}, [("inter_observer", people)]),
        "curves": curves,
        "commands": {"predict": "unisal predict"},
        "files": {"the report": "out/report.html"},
    }
    return report.Report(**values | extra)


@pytest.mark.parametrize(
    ("changes", "gains", "warnings"),
    [
        ([0.2, 0.3] * 6, ["NSS +0.250 ("], []),
        ([-0.4, 0.41] * 6, [], ["no gain is shown: NSS +0.005 ("]),
        ([-0.2, -0.3] * 6, [], ["worse than before: NSS -0.250 ("]),
        ([0.2, 0.3], ["NSS +0.250 ("], ["the test has 2 images alone"]),
        ([0.2], [], ["NSS +0.200 on one held-out image", "the test has 1 images alone"]),
    ],
)
def test_the_verdict(changes, gains, warnings):
    found = report.verdict(made(changes))
    for lines, starts in zip(found, (gains, warnings), strict=True):
        assert len(lines) == len(starts) and all(map(str.startswith, lines, starts)), lines


def test_a_distance_gains_by_falling():
    before = evaluated({f"i{n}": {"kld": 0.6} for n in range(12)})
    after = evaluated({f"i{n}": {"kld": 0.5} for n in range(12)})
    gains, warnings = report.verdict(made([0] * 12, before=before, after=after, people=None))
    assert gains == ["KLD -0.100 (-0.100 to -0.100) on 12 held-out images"] and not warnings


def test_the_share_of_the_ceiling():
    """Means of NSS: prior 0.5, before 1, after 1.5, people 2.5."""
    assert report.share_of_ceiling(made([0.5], people=2.5)).endswith("NSS was at 25% and is at 50%")
    assert report.share_of_ceiling(made([0.5], people=None)) == ""
    assert report.share_of_ceiling(made([0.5], people=0.5)) == ""


def test_the_json_of_a_report():
    found = made([0.1, 0.2, 0.6])
    text = report.to_json(found)
    document = json.loads(text)
    assert report.to_json(made([0.1, 0.2, 0.6])) == text and text.endswith("}\n")
    assert (
        document["stimuli"]["test"] == ["i0", "i1", "i2"] and document["stimuli"]["split"]["test"] == "train"
    )
    assert document["scores"].keys() == {"centre_prior", "before", "after", "other_people"}
    assert document["difference"]["nss"]["mean"] == pytest.approx(0.3)
    assert document["per_stimulus"]["i2"] == {"before": {"nss": 3.0}, "after": {"nss": 3.6}}
    assert "ci" not in json.loads(report.to_json(made([0.1])))["difference"]["nss"]


def test_the_table_of_a_report():
    rows = {line[:15].strip(): line[15:].split() for line in report.table_text(made([0.1, 0.2])).splitlines()}
    assert rows[""] == ["NSS"] and rows["before"] == ["1.5000"] and rows["after"] == ["1.6500"]
    assert rows["after - before"] == ["+0.1500"] and rows["other people"] == ["2.0000"]


def shown(name):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    maps = rng.random((3, *SIZE))
    return report.Shown(name, {"nss": (1.0, 2.0)}, image, *maps)


def test_the_page_trusts_no_name():
    names = ["a", HOSTILE, '"><img src=x onerror=alert(1)>']
    found = made(
        [0.1, 0.2, 0.3],
        names=names,
        title=HOSTILE,
        about={"data": HOSTILE, "domain": HOSTILE},
        lines=(HOSTILE,),
        commands={HOSTILE: HOSTILE},
        shown=tuple(map(shown, names)),
    )
    text = report_html.page(found)
    page = Page(text)
    assert page.open == [] and not {"script", "link", "iframe"} & set(page.tags)
    assert page.links and all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert len(page.images) == 12 and all(image.keys() == {"src", "alt"} for image in page.images)
    assert '<script>alert("1")</script>' in page.text and "\x1b" not in text and "\udcff" not in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_the_page_tells_all(tmp_path):
    found = made([0.2, 0.3] * 6, shown=(shown("i3"),))
    page = Page(report_html.page(found))
    for words in (
        "before and after fine-tuning",
        "Gained: NSS +0.250",
        "12 images",
        "what was chosen",
        "centre prior",
        "other people",
        "after minus before",
        "i11",
        "unisal predict",
    ):
        assert words in page.text, words
    assert page.tags.count("svg") == 5 and "Warning" not in page.text
    worse = Page(report_html.page(made([-0.2, -0.3] * 6))).text
    assert "Warning: worse than before: NSS -0.250" in worse


def test_a_report_with_little_in_it():
    """One stimulus, nobody known, no validation logged, nothing to look at."""
    curves = report.Curves((), (), 0)
    page = Page(report_html.page(made([0.2], people=None, curves=curves)))
    assert page.open == [] and "svg" not in page.tags and "other people" not in {t for t in page.tags}


def test_a_curve_stays_inside_and_marks_the_best():
    svg = chart.curve_svg([(1, 2.0), (2, 1.0), (3, 1.5)], "loss", 2, [(0.1, 90.0), (2.9, -90.0)])
    page = Page(svg)
    assert svg.count('class="dot"') == 2 and svg.count('class="best"') == 1 and page.open == []
    centres = [float(part.split('"')[0]) for part in svg.split('cy="')[1:]]
    assert centres[1] > centres[2] > centres[0]  # the lowest value lies lowest
    assert "nan" not in svg and "M" in svg and chart.curve_svg([(1, 0.0)], "loss", None)


def test_the_effort_is_told_when_it_is_known():
    """Two epochs of ten steps with the encoder frozen, at 2 s a step; then two at 3 s."""
    config = recipe(Material(Path("data"), "mine", "image", 160, (600, 800), 1), "all")
    config = dataclasses.replace(
        config, epochs=4, optimizer=dataclasses.replace(config.optimizer, frozen_encoder_epochs=2)
    )
    lines, now = [], [0.0]
    effort = Effort(config, 10, lines.append, lambda: now[0])
    for step in range(1, 41):
        now[0] += 100 if step in (1, 21, 5) else 2 if step <= 20 else 3
        effort(step)
    assert len(lines) == 2
    # 13 more at 2 s, 20 at 1.75 times that: 96 s. Then 13 at 3 s.
    assert lines[0] == "step 7 of 40: about 2 minutes of training to go, 2.0 s a step"
    assert lines[1] == "step 27 of 40: about 1 minute of training to go, 3.0 s a step"


# All stages.


class Network:
    """Predicts the brightness of the image, or its reverse in the new domain."""

    def __init__(self, weights):
        self.weights = Path(weights).name

    def domain(self, name, *, video):
        return Domain(name, (32, 64), static=not video)

    def predict_resized(self, frames, domain):
        grey = frames.mean(-1) / 255
        density = np.exp(grey if domain.name == "salicon" else -grey)
        return np.log(density / density.sum((1, 2), keepdims=True)).astype(np.float32)


class Killed(Exception):
    pass


@pytest.fixture
def stages(monkeypatch, golden, prepared, tmp_path):
    """A fine-tuning of 24 images whose training is made up; what it computed is in `done`."""
    done = []
    state = {"train": "kill"}

    def train(config, workdir, on_step):
        done.append("train")
        if state["train"] == "kill":
            workdir.mkdir(parents=True, exist_ok=True)
            raise Killed
        if state["train"] == "stop":
            return loop.Outcome(3, False, None, [])
        entry = {"loss": 0.5, "kld": 0.6, "cc": 0.7, "nss": 0.8}
        rows = [{"epoch": 1, "step": 3, "scores": {"pictures": entry}}]
        (workdir / VALIDATIONS).write_text(json.dumps(rows))
        (workdir / SCALARS).write_text('{"kind": "train", "step": 3, "loss": 0.9}\n')
        return loop.Outcome(3, True, 3, rows)

    original = scores.score_network

    def score_network(path, *rest):
        done.append(path.stem)
        return original(path, *rest)

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(run, "load", Network)
    monkeypatch.setattr(run, "fetched", lambda source: done.append(source.name))
    monkeypatch.setattr(run, "load_weights", lambda path: golden(11))
    monkeypatch.setattr(scores, "score_network", score_network)
    asked = run.Asked(prepared[0], tmp_path / "out", moved="all")
    lines = []

    def again(**changes):
        done.clear()
        lines.clear()
        return run.finetune(dataclasses.replace(asked, **changes), lines.append)

    return again, state, done, lines, tmp_path / "out"


def test_an_interrupted_fine_tuning_resumes(stages):
    again, state, done, lines, out = stages
    with pytest.raises(Killed):
        again()
    assert done == ["unisal-mit1003", "before", "train"] and not (out / folder.PAGE).exists()
    state["train"] = "stop"
    assert again() is None and done[1:] == ["train"] and "the same command resumes" in lines[-1]
    with pytest.raises(UnisalError, match="--seed 0, not --seed 2"):
        again(seed=2)
    state["train"] = "finish"
    found = again()
    assert done[1:] == ["train", "after"]
    assert {path.name for path in out.iterdir()} == {
        "plan.json", "data", "scores", "training", "weights.safetensors", "report.json", "report.html"
    }  # fmt: skip
    written = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    # It was told that it is finished, and nothing is done again.
    assert again().differences == found.differences and done == []
    assert any("is finished" in line for line in lines)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == written


def test_what_is_held_out_is_scored_alone(stages):
    again, state, _, lines, out = stages
    with pytest.raises(Killed):
        again()
    state["train"] = "finish"
    again()
    document = json.loads((out / folder.REPORT).read_text())
    test = document["stimuli"]["test"]
    assert document["per_stimulus"].keys() == set(test)
    assert not set(test) & {*document["stimuli"]["train"], *document["stimuli"]["validation"]}
    assert [group.id for group in open_data(out / "data", "test").groups] == test
    assert document["scores"].keys() == {
        "centre_prior",
        "before",
        "after",
    }  # no other people: nobody is known
    # Information gain of both is over the training split's prior.
    assert document["scores"]["centre_prior"]["mean"]["ig"] == 0 and "ig" in document["difference"]
    assert f"unisal evaluate --data {out}/data --split test" in document["commands"]["score after"]
    assert len(Page((out / folder.PAGE).read_text()).images) == 4 * 5
    assert any(line.startswith("training: at most") for line in lines)


@pytest.mark.parametrize("name", ["before.json", "people.json"])
def test_damaged_scores_are_told(stages, name):
    again, *_, out = stages
    with pytest.raises(Killed):
        again()
    (out / "scores" / name).write_text("{")
    with pytest.raises(UnisalError, match=name):
        again()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--domain", "salicon"], "--domain salicon: is a released domain"),
        (["--domain", "A b"], "domain name 'A b'"),
        (["--seed", "-1"], "--seed"),
        (["--fps", "nan"], "--fps"),
        (["--train", "some"], "--train"),
        (["--config.domains.pictures.hold_out=0.1"], "the fine-tuning's own choice"),
        (["--config.domains.more={'data': 'x'}"], "config.domains: the fine-tuning has one"),
        (["--config.epoch=1"], "config.epoch: no such field"),
        (["--config.epochs=0"], "config.epochs: 0 is not above 0"),
        (["--out", "DATA/runs"], "is in the data's folder"),
        (["--out", "gs://bucket/x"], "must be on a disk"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(command, prepared, tmp_path, monkeypatch, flags, reason):
    monkeypatch.chdir(tmp_path)
    flags = [flag.replace("DATA", str(prepared[0])) for flag in flags]
    status, _, err = command("finetune", "--data", prepared[0], "--out", "out", *flags)
    assert status == 1 and reason in err and err.count("\n") == 1, err
    assert list(tmp_path.iterdir()) == [] and not (prepared[0] / "runs").exists()


def test_a_stopped_training_is_no_success(stages, command, prepared, tmp_path):
    """What comes after the command in a script must not run."""
    _, state, *_ = stages
    state["train"] = "stop"
    status, out, _ = command("finetune", "--data", prepared[0], "--out", tmp_path / "cli")
    assert status == 128 + signal.SIGTERM and "the same command resumes" in out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "video"])
def test_a_whole_fine_tuning(command, released, tmp_path, monkeypatch, kind):
    """Few steps at a tiny size, killed in the second one: then the same command, to the report."""
    count, frames = (20, 1) if kind == "images" else (5, 14)
    clips = [make_clip(f"clip{n}", frames, SIZE, seed=n) for n in range(count)]
    data = write_prepared(tmp_path, "mine", {"train": clips})
    out = tmp_path / "out"
    tiny = ("--config.epochs=2", "--config.domains.mine.input_size=(32, 64)", "--fps", "6")
    arguments = ("finetune", "--data", data, "--out", out, "--train", "domain", *tiny)
    with monkeypatch.context() as patch:
        original, calls = loop.encoder_frozen, iter(range(100))

        def kill(*each):
            if next(calls) == 1:
                raise KeyboardInterrupt
            return original(*each)

        patch.setattr(loop, "encoder_frozen", kill)
        assert command(*arguments)[0] == 130
    before = (out / "scores" / "before.json").stat().st_mtime_ns
    status, text, err = command(*arguments)
    assert status == 0, err
    assert (out / "scores" / "before.json").stat().st_mtime_ns == before
    document = json.loads((out / folder.REPORT).read_text())
    # The command that the report names gives its scores.
    words = document["commands"]["score after"].split()[1:]
    assert command(*words, "--json", tmp_path / "again.json")[0] == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["mean"] == pytest.approx(document["scores"]["after"]["mean"], rel=1e-4)
    tuned = load_weights(out / folder.WEIGHTS)
    assert "mine" in {domain.name for domain in tuned.config.domains}
    # What domains share, and the others' own, are the release's.
    for name in ("params", "salicon", "dhf1k"):
        for path, leaf in flatten(released.variables[name]).items():
            np.testing.assert_array_equal(flatten(tuned.variables[name])[path], leaf)
    assert load_pack(out / "mine.pack.safetensors").domain.name == "mine"
    assert Page((out / folder.PAGE).read_text()).images and "gain" in text
