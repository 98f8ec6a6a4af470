"""Cuts in synthetic videos: all are detected, and none in pans, flashes, fades and noise."""

import functools

import cv2
import numpy as np
import pytest

from unisal_jax.media.cuts import CutDetector
from unisal_jax.media.images import read_image
from unisal_jax.samples import moving_clip, photograph_path

SIZE = (224, 384)


@functools.cache
def scene(seed, size=(400, 1200)):
    """An image of large and small coloured patches, uint8 RGB."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), rng.integers(40, 200, 3), np.uint8)
    for _ in range(150):
        centre, axes = rng.integers(0, size[::-1]), rng.integers(6, 70, 2)
        colour = rng.integers(0, 256, 3).tolist()
        cv2.ellipse(image, centre.tolist(), axes.tolist(), rng.integers(180), 0, 360, colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


def shot(seed, frames, speed=0.0, start=100):
    """Frames of a scene with a camera that moves right by a share of the width per frame."""
    image = scene(seed)
    for n in range(frames):
        left = round(start + n * speed * SIZE[1])
        yield image[100 : 100 + SIZE[0], left : left + SIZE[1]]


def noisy(frames, rng, spread):
    for frame in frames:
        yield np.clip(frame + rng.normal(0, spread, frame.shape), 0, 255).astype(np.uint8)


def found(frames):
    detector = CutDetector()
    return [number for number, frame in enumerate(frames) if detector.add(frame)]


@pytest.mark.parametrize("speed, spread", [(0, 0), (0.01, 0), (0.03, 12), (0.08, 0)])
def test_every_cut_is_found(rng, speed, spread):
    shots = [frame for seed in range(6) for frame in shot(seed, 8 + seed, speed)]
    assert found(noisy(shots, rng, spread)) == list(np.cumsum([8, 9, 10, 11, 12]))


def test_upright_frames_and_small_ones():
    shots = [frame for seed in range(4) for frame in shot(seed, 8, 0.01)]
    assert found(frame.transpose(1, 0, 2) for frame in shots) == [8, 16, 24]
    assert found(cv2.resize(frame, (64, 36), interpolation=cv2.INTER_AREA) for frame in shots) == [8, 16, 24]
    strip = [frame[:20] for frame in shots]
    assert found(strip) == [8, 16, 24]


def test_cuts_with_a_blended_frame_between():
    frames = []
    for seed in range(0, 8, 2):
        one, two = list(shot(seed, 9)), list(shot(seed + 1, 9))
        frames += [*one, cv2.addWeighted(one[-1], 0.5, two[0], 0.5, 0), *two]
    cuts = found(frames)
    assert [any(abs(cut - at) <= 1 for cut in cuts) for at in (9, 28, 47, 66)] == [True] * 4
    assert [any(abs(cut - at) <= 1 for cut in cuts) for at in (19, 38, 57)] == [True] * 3
    assert len(cuts) == 7


def test_a_photograph_and_part_of_it():
    photograph = read_image(photograph_path())
    close = cv2.resize(photograph[60:260, 200:400], photograph.shape[1::-1])
    assert found([photograph] * 5 + [close] * 5 + [photograph] * 5) == [5, 10]


def plain(colour, left, steps, frames=10):
    """A ball moving over a plain background."""
    for n in range(frames):
        frame = np.full((*SIZE, 3), colour, np.uint8)
        yield cv2.circle(frame, (left + steps * n, 110), 25, (230, 200, 40), -1)


@pytest.mark.parametrize(
    "one, two",
    [((90, 90, 90), (170, 170, 170)), ((40, 90, 160), (60, 130, 40)), ((20, 20, 20), (240, 240, 240))],
)
def test_plain_backgrounds(one, two):
    assert found([*plain(one, 60, 8), *plain(two, 300, -8)]) == [10]
    assert found(plain(one, 60, 8)) == []


def test_titles_that_appear_on_black_are_no_cuts():
    frames = []
    for number in range(30):
        frame = np.zeros((*SIZE, 3), np.uint8)
        for line in range(number // 10):
            cv2.putText(frame, "somebody", (90, 90 + 50 * line), 0, 1, (255, 255, 255), 2)
        frames.append(frame)
    assert found(frames) == []


@pytest.mark.parametrize("speed", [0.0, 0.02, 0.06, 0.1])
@pytest.mark.parametrize("spread", [0, 20])
def test_pans_are_no_cuts(rng, speed, spread):
    """Pans of up to 2.5 frame widths per second at 25 fps, starting abruptly."""
    still, moving = [next(shot(3, 1))] * 8, list(shot(3, min(12, round(0.9 / max(speed, 0.01))), speed))
    assert found(noisy([*still, *moving, *[moving[-1]] * 8], rng, spread)) == []


def test_a_large_thing_that_passes_is_no_cut():
    frames, thing = [], scene(8)[:, :300]
    for n, frame in enumerate(shot(2, 34)):
        left = -300 + 20 * n
        shown = slice(max(left, 0), min(left + 300, SIZE[1]))
        frame = frame.copy()
        frame[:, shown] = thing[: SIZE[0], shown.start - left : shown.stop - left]
        frames.append(frame)
    assert found(frames) == []


@pytest.mark.parametrize("white", [0.6, 0.9, 1.0])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_flashes_are_no_cuts(white, length):
    frames = list(shot(5, 24, 0.01))
    for number in range(10, 10 + length):
        frames[number] = cv2.addWeighted(frames[number], 1.5 * (1 - white), frames[number], 0, 255 * white)
    assert found(frames) == []


def test_changing_light_is_no_cut():
    strobe = [
        (frame * (0.25 if n // 2 % 2 else 1.0)).astype(np.uint8) for n, frame in enumerate(shot(6, 24, 0.01))
    ]
    assert found(strobe) == []


@pytest.mark.parametrize("spread", [0, 10, 20])
def test_fades_of_a_noisy_film_are_no_cuts(rng, spread):
    image = next(shot(7, 1))
    light = np.concatenate(
        [np.ones(5), np.linspace(1, 0, 16), np.zeros(6), np.linspace(0, 1, 16), np.ones(5)]
    )
    assert found(noisy((image * each for each in light), rng, spread)) == []


def test_another_shot_after_black_or_white_is_a_cut():
    for level in (0, 255):
        between = [np.full((*SIZE, 3), level, np.uint8)] * 5
        assert found([*shot(1, 8), *between, *shot(2, 8)]) == [13]
        assert found([*shot(1, 8), *between, *shot(1, 8)]) == []
    assert found(between) == []


def test_the_sample_clip_is_one_shot():
    assert found(moving_clip()) == []
