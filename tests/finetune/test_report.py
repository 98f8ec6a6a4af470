"""Scores and report of `unisal finetune`: paired differences, warnings, a page with escaped names."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.evaluate.test_report import HOSTILE, Page
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData
from unisal_jax.finetune import chart, plan, report, report_html, scores
from unisal_jax.finetune.effort import Effort
from unisal_jax.finetune.recipe import Material, recipe

SIZE = (48, 64)


# Scores.


def evaluated(rows, baselines=(), kind="image"):
    """The JSON of `unisal evaluate` for these scores by stimulus."""
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
    """An equal gain on each stimulus has no spread, however the stimuli differ."""
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
    """Synthetic truth: each observer looks at the same place, with some spread."""
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
        ([-0.4, 0.41] * 6, [], ["no significant gain: NSS +0.005 ("]),
        ([-0.2, -0.3] * 6, [], ["worse than before: NSS -0.250 ("]),
        ([0.2, 0.3], ["NSS +0.250 ("], ["the test has only 2 images"]),
        ([0.2], [], ["NSS +0.200 on one held-out image", "the test has only 1 images"]),
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
    """Mean NSS: prior 0.5, before 1, after 1.5, people 2.5."""
    assert report.share_of_ceiling(made([0.5], people=2.5)).endswith("NSS was at 25%, is at 50%")
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
        "Gain: NSS +0.250",
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
    """One stimulus, unknown observers, no logged validation, no example."""
    curves = report.Curves((), (), 0)
    page = Page(report_html.page(made([0.2], people=None, curves=curves)))
    assert page.open == [] and "svg" not in page.tags and "other people" not in {t for t in page.tags}


def test_a_curve_stays_inside_and_marks_the_best():
    svg = chart.curve_svg([(1, 2.0), (2, 1.0), (3, 1.5)], "loss", 2, [(0.1, 90.0), (2.9, -90.0)])
    page = Page(svg)
    assert svg.count('class="dot"') == 2 and svg.count('class="best"') == 1 and page.open == []
    centres = [float(part.split('"')[0]) for part in svg.split('cy="')[1:]]
    assert centres[1] > centres[2] > centres[0]  # the lowest value is lowest in the chart
    assert "nan" not in svg and "M" in svg and chart.curve_svg([(1, 0.0)], "loss", None)


def test_the_effort_is_told_when_it_is_known():
    """Two epochs of ten steps with a frozen encoder at 2 s per step, then two at 3 s."""
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
    # 13 more steps at 2 s, 20 at 1.75 times that: 96 s; then 13 at 3 s.
    assert lines[0] == "step 7 of 40: about 2 minutes of training left, 2.0 s per step"
    assert lines[1] == "step 27 of 40: about 1 minute of training left, 3.0 s per step"
