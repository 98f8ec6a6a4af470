"""Information gain and the baselines."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import information_gain as ig
from unisal_jax.evaluate.metrics import count_map

densities = arrays(np.float64, (6, 8), elements=st.floats(0.01, 1)).map(lambda a: a / a.sum())
counts_of = arrays(np.uint8, (6, 8), elements=st.integers(0, 2)).filter(np.any)


@settings(max_examples=50, deadline=None)
@given(densities, densities, counts_of)
def test_information_gain_is_the_mean_log_ratio(pred, baseline, counts):
    values = np.repeat(np.log2(pred / baseline).ravel(), counts.ravel())
    assert ig.information_gain(pred, baseline, counts) == pytest.approx(values.mean(), abs=1e-9)
    unique = np.log2(pred / baseline)[counts > 0].mean()
    assert ig.information_gain(pred, baseline, counts, unique=True) == pytest.approx(unique, abs=1e-9)
    assert ig.information_gain(pred, pred, counts) == 0
    assert ig.information_gain(baseline, pred, counts) == pytest.approx(-values.mean(), abs=1e-9)


def test_half_the_image_is_one_bit():
    pred = np.zeros((4, 6))
    pred[:2] = 7
    counts = count_map([(0, 0), (1, 5)], (4, 6))
    assert ig.information_gain(pred, ig.uniform((4, 6)), counts) == pytest.approx(1)


def test_edges():
    pred, counts = np.zeros((4, 6)), count_map([(3, 3)], (4, 6))
    pred[0, 0] = 1
    assert -130 < ig.information_gain(pred, ig.uniform((4, 6)), counts) < -100
    assert np.isnan(ig.information_gain(pred, pred, np.zeros((4, 6))))
    with pytest.raises(UnisalError, match=r"baseline \(6, 4\)"):
        ig.information_gain(pred, ig.uniform((6, 4)), counts)


def test_jit_and_numpy_agree_on_a_batch():
    rng = np.random.default_rng(0)
    pred = rng.random((3, 20, 30)).astype(np.float32)
    counts = rng.integers(0, 3, (3, 20, 30)).astype(np.uint8)
    counts[1] = 0
    baseline = ig.centre_prior((20, 30), ig.CentreGaussian(0.5, 0.5, 0.2, 0.2)).astype(np.float32)
    expected = ig.information_gain(pred, baseline, counts)
    found = jax.jit(ig.information_gain)(pred, baseline, counts)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(expected[1])


def test_the_fit_finds_the_gaussian_that_it_was_drawn_from():
    truth = ig.CentreGaussian(mean_y=0.55, mean_x=0.453, std_y=0.08, std_x=0.1)
    # Two sizes with the same distribution: positions are fractions of each image.
    fitted = ig.fit_centre_gaussian(ig.centre_prior(size, truth) for size in [(90, 160), (120, 100)])
    np.testing.assert_allclose(
        [fitted.mean_y, fitted.mean_x, fitted.std_y, fitted.std_x],
        [truth.mean_y, truth.mean_x, truth.std_y, truth.std_x],
        rtol=1e-3,
    )
    prior = ig.centre_prior((90, 160), fitted)
    assert prior.sum() == pytest.approx(1)
    assert np.unravel_index(prior.argmax(), prior.shape) == (49, 72)  # 0.55 of 90, 0.453 of 160


def test_the_fit_needs_fixations_off_one_line():
    with pytest.raises(UnisalError, match="no fixations"):
        ig.fit_centre_gaussian([np.zeros((4, 6))])
    with pytest.raises(UnisalError, match="one row"):
        ig.fit_centre_gaussian([count_map([(2, 1), (2, 5)], (4, 6))])


def test_mean_map_weighs_images_the_same_and_takes_any_size():
    bright, dim = np.full((8, 10), 200, np.uint8), np.zeros((4, 5), np.uint8)
    dim[:, :2] = 1
    mean = ig.mean_map([bright, dim], (8, 10))
    assert mean.sum() == pytest.approx(1)
    assert mean[:, :3].sum() == pytest.approx(0.5 * 0.3 + 0.5 * 6 / 8, abs=0.05)
    with pytest.raises(UnisalError, match="at least one"):
        ig.mean_map([], (8, 10))


def test_gaussian_map_is_a_gaussian_filter():
    rng = np.random.default_rng(1)
    counts = count_map(rng.uniform(0, (60, 80), (40, 2)), (60, 80)) * 2
    expected = gaussian_filter(counts.astype(float), 5, mode="constant", truncate=30)
    found = ig.gaussian_map(counts, 5)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9, atol=1e-18)
    np.testing.assert_allclose(ig.gaussian_map(np.zeros((6, 8)), 2), ig.uniform((6, 8)))


def test_inter_observer_leaves_each_observer_out():
    counts = np.stack([count_map(points, (20, 30)) for points in ([(5, 5)], [(15, 20), (15, 20)], [])])
    pairs = list(ig.inter_observer_maps(counts, 2.0))
    assert len(pairs) == 2  # the third has no fixations
    for (density, own), others in zip(pairs, ([(15, 20)], [(5, 5)]), strict=True):
        np.testing.assert_allclose(density, ig.gaussian_map(count_map(others, (20, 30)), 2.0))
        assert not own[tuple(others[0])]
    assert list(ig.inter_observer_maps(counts[:1], 2.0)) == []
