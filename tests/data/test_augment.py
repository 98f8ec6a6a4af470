"""Random crops and colors of training examples; test_geometry.py tests mirroring."""

import numpy as np
import pytest

from tests.helpers.prepared_data import make_clip, write_prepared
from unisal_jax.data.augment import (
    Augmentation,
    Change,
    blur_of,
    cropped_points,
    draw,
    pixel_box,
    recolored,
    redrawn,
)
from unisal_jax.data.examples import DomainSource, find_examples, read_batch
from unisal_jax.data.prepared import open_prepared
from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.train.config import DomainConfig, TrainConfig


def test_draws_are_within_their_bounds_and_depend_only_on_the_key():
    how = Augmentation(flip=True, crop=0.6, jitter=0.3)
    drawn = [draw(how, 1, 2, "own", 0, place) for place in range(300)]
    assert drawn[7] == draw(how, 1, 2, "own", 0, 7) != draw(how, 1, 3, "own", 0, 7)
    sides = np.array([change.box for change in drawn])
    np.testing.assert_array_equal(sides[:, 2], sides[:, 3])  # the aspect ratio does not change
    assert 0.6 <= sides[:, 2].min() < 0.62 and 0.98 < sides[:, 2].max() <= 1
    assert sides[:, :2].min() >= 0 and (sides[:, :2] + sides[:, 2:]).max() <= 1
    factors = np.array([change.factors for change in drawn])
    assert 0.7 <= factors.min() < 0.71 and 1.29 < factors.max() <= 1.3
    assert 100 < sum(change.mirrored for change in drawn) < 200
    assert {draw(Augmentation(), place) for place in range(20)} == {Change()}


def test_a_crop_is_the_same_for_pixels_and_points():
    change = Change(box=(0.25, 0.5, 0.5, 0.5))
    assert pixel_box(change, (8, 12)) == (slice(2, 6), slice(6, 12))
    points, size = cropped_points(np.array([[1, 7], [2, 6], [5, 11], [6, 8], [3, 5]]), (8, 12), change)
    assert size == (4, 6)
    np.testing.assert_array_equal(points, [[0, 0], [3, 5]])
    assert pixel_box(Change(box=(0.99, 0.99, 0.001, 0.001)), (3, 3)) == (slice(2, 3), slice(2, 3))


def test_colors_change_by_their_definition():
    pixels = np.array([[[100, 100, 100], [200, 100, 0]]], np.uint8)
    np.testing.assert_array_equal(recolored(pixels, Change()), pixels)
    brighter = recolored(pixels, Change(factors=(1.5, 1, 1)))
    np.testing.assert_array_equal(brighter, [[[150, 150, 150], [255, 150, 0]]])
    # The grey of the second pixel is 0.299 * 200 + 0.587 * 100 = 118.5; it moves halfway to it.
    duller = recolored(pixels, Change(factors=(1, 1, 0.5)))
    np.testing.assert_array_equal(duller, [[[100, 100, 100], [159, 109, 59]]])
    # The mean grey is (100 + 118.5) / 2 = 109.25; it moves halfway to it.
    flatter = recolored(pixels, Change(factors=(1, 0.5, 1)))
    np.testing.assert_array_equal(flatter, [[[105, 105, 105], [155, 105, 55]]])


def test_all_frames_have_the_same_crop_and_validation_has_none(tmp_path):
    prepared = open_prepared(
        write_prepared(tmp_path, "mine", {"train": [make_clip("v", 3, (64, 96))]}), "train"
    )
    domain = Domain("tiny", (32, 64), target_size=(64, 96), stride=1)

    def read(augmentation, **options):
        source = DomainSource(domain, prepared, 1, clip_frames=3, augmentation=augmentation, **options)
        return read_batch(find_examples(source), [(0, 0)], 0, 0)[0]

    plain, cropped = read(Augmentation()), read(Augmentation(crop=0.5, jitter=0.2))
    assert [part.shape for part in cropped] == [part.shape for part in plain]
    points = [np.unpackbits(part.fixations, axis=-1).sum((-2, -1)) for part in (plain, cropped)]
    assert (points[1] <= points[0]).all() and not np.array_equal(plain.frames, cropped.frames)
    fixed = read(Augmentation(flip=True, crop=0.5, jitter=0.2), fixed_clips=1)
    for part, other in zip(plain, fixed, strict=True):
        np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize(
    "values", [{"map_sigma": 0.0}, {"crop": 0.0}, {"crop": 1.5}, {"jitter": 1.0}, {"jitter": -0.1}]
)
def test_invalid_values_are_refused(values):
    with pytest.raises(UnisalError, match=rf"config\.domains\.a\.{next(iter(values))}"):
        TrainConfig(domains={"a": DomainConfig("data", **values)})


def test_a_map_of_a_crop_has_the_blur_of_the_frame():
    point = np.array([[30, 40]])
    whole, half = Change(), Change(box=(0.25, 0.25, 0.5, 0.5))
    drawn = [redrawn(point, (60, 80), change, (120, 160), 0.05).astype(float) for change in (whole, half)]
    for density, (row, column) in zip(drawn, ((61, 81), (62, 82)), strict=True):
        # The pixel's centre is at (30.5, 40.5) in the frame, and at (15.5, 20.5) in the crop of (30, 40).
        assert np.unravel_index(density.argmax(), density.shape) == (row, column)
        rows = density.sum(1) / density.sum()
        places = np.arange(120)
        deviation = np.sqrt((rows * (places - (rows * places).sum()) ** 2).sum())
        assert deviation == pytest.approx(0.05 * 120, rel=0.02)
    # A fixation next to the crop affects it.
    beside = redrawn(np.array([[14, 40]]), (60, 80), half, (120, 160), 0.05)
    assert beside[0].max() == 255 and beside[0].argmax() == 82
    assert redrawn(np.zeros((0, 2), int), (60, 80), half, (12, 16), 0.05).max() == 0


def test_the_blur_of_a_map_is_found():
    points = np.random.default_rng(0).integers((0, 0), (600, 800), (100, 2))
    density = redrawn(points, (600, 800), Change(), (600, 800), 0.04)
    assert blur_of(density, points, (600, 800)) == pytest.approx(0.04, rel=0.02)
    assert blur_of(density, points[::2] // 2, (600, 800)) is None
    assert blur_of(density, points[:0], (600, 800)) is None
    assert blur_of(np.zeros_like(density), points, (600, 800)) is None
