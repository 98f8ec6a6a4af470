"""Plausibility checks: correct recordings, each changed to be wrong in one way."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.gaze_recordings import HD, recording
from unisal_jax.gaze.doubts import find_doubts
from unisal_jax.gaze.imports import import_recordings
from unisal_jax.gaze.recording import Recording
from unisal_jax.gaze.settings import Settings


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Ten grey images of 96x72 with noise in their upper right."""
    folder = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(0)
    for number in range(10):
        pixels = np.full((72, 96, 3), 128, np.uint8)
        pixels[6:30, 30:84] = random.integers(0, 256, (24, 54, 1), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def looks(where=lambda x, y: (x, y), **facts) -> Recording:
    """Four people with twelve fixations on the noise of each scene; 10 screen pixels per image pixel."""
    random = np.random.default_rng(1)
    rows = []
    for number in range(10):
        for person in range(4):
            x, y = random.uniform((320, 80), (820, 280), (12, 2)).T
            x, y = where(x, y)
            rows += [(f"{number}", f"P{person}", 300 * i, 250, x[i], y[i]) for i in range(12)]
    return recording(rows, **({"screen": (720, 960)} | facts))


def doubts(recorded: Recording, scenes: Path, settings=None) -> list[str]:
    settings = settings or Settings()
    return find_doubts(import_recordings([recorded], scenes, settings), settings)


def test_nothing_looks_wrong(scenes):
    assert doubts(looks(), scenes) == []


@pytest.mark.parametrize(
    ("where", "facts", "told"),
    [
        (lambda x, y: (x, 720 - y), {}, "y may be flipped"),
        (lambda x, y: (960 - x, y), {}, "x may be flipped"),
        (lambda x, y: (y, x), {}, "x and y may be swapped"),
        (lambda x, y: (y / 10, x / 10), {"space": "stimulus", "screen": None}, "x and y may be swapped"),
        (lambda x, y: (x / 3, y / 3), {}, "upper left quarter"),
        (lambda x, y: (x, y), {"screen": (1440, 1920)}, "from its upper left corner"),
        (lambda x, y: (x + 500, y), {}, "fixations off the screen"),
        (lambda x, y: (2 * x, 1.5 * y), {"screen": HD}, "With --shown stretch"),
    ],
)
def test_points_that_look_wrong(scenes, where, facts, told):
    assert [line for line in doubts(looks(where, **facts), scenes) if told in line]


def test_times_that_run_backwards(scenes):
    rows = [("0", "P1", 300 * (3 - i), 250, 500, 100) for i in range(4)]
    twice = [("1", "P1", 300 * (i % 2), 250, 500, 100) for i in range(4)]
    told = doubts(recording(rows + twice, screen=(720, 960)), scenes)
    assert [line for line in told if "4 rows are earlier than the row before" in line]


def test_people_that_look_wrong(scenes):
    whole = looks()
    third = np.array([name == "P2" for name in whole.observers])

    def changed(**facts):
        return "; ".join(doubts(dataclasses.replace(whole, **facts), scenes))

    def only(rows):
        return {
            name: np.array(getattr(whole, name), object if isinstance(getattr(whole, name), list) else float)[
                rows
            ].tolist()
            for name in ("stimuli", "observers", "trials")
        } | {name: getattr(whole, name)[rows] for name in ("start", "duration", "x", "y")}

    turned = changed(y=np.where(third, 720 - whole.y, whole.y))
    assert "observer P2 does not look where the others do" in turned and "with y flipped" in turned
    assert "the median fixation lasts 0.25 ms" in changed(duration=whole.duration / 1000)
    half = np.array([int(name) < 4 for name in whole.stimuli])
    assert "as many viewings as others: observer P2" in changed(**only(half | ~third))
    assert "fixations per viewing as others: observer P2" in changed(**only((whole.start < 600) | ~third))
    assert "no fixations remain of observer P2" in changed(x=np.where(third, np.nan, whole.x))
