"""AUC-Judd and shuffled AUC, against plain forms and by properties of every AUC."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.evaluate.test_metrics import golden_cases
from tests.helpers import reference_metrics as plain
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import auc
from unisal_jax.evaluate.protocols import unit_jitter

# Tenths give ties, and lie on the thresholds of the sampled shuffled AUC.
tenths = arrays(np.int64, (6, 8), elements=st.integers(0, 10)).map(lambda a: a / 10)
counts_of = arrays(np.uint8, (6, 8), elements=st.sampled_from([0, 0, 0, 1, 2]))


@pytest.mark.parametrize("case", range(5))
def test_auc_judd_is_the_originals(case):
    pred, _, fixations, _, expected = golden_cases()[case]
    found = auc.auc_judd(pred, fixations)
    assert found == pytest.approx(expected["auc_judd"], abs=2e-4)  # the original code rounds
    assert found == pytest.approx(plain.auc_judd(pred, fixations), abs=1e-9)


@pytest.mark.parametrize("unique", [True, False])
@settings(max_examples=100, deadline=None)
@given(pred=tenths, counts=counts_of)
def test_auc_judd_with_ties_and_repeats_is_the_plain_one(unique, pred, counts):
    if not counts.any() or counts.all():
        assert np.isnan(auc.auc_judd(pred, counts, unique=unique))
    elif np.ptp(pred) == 0:
        assert auc.auc_judd(pred, counts, unique=unique) == 0.5
    else:
        expected = plain.auc_judd(pred, counts, unique)
        assert auc.auc_judd(pred, counts, unique=unique) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(pred=tenths, counts=counts_of, others=counts_of)
def test_exact_aucs_are_the_plain_ones(pred, counts, others):
    positives = np.repeat(pred.ravel(), counts.ravel())
    negatives = np.repeat(pred.ravel(), others.ravel())
    if not positives.size:
        assert np.isnan(auc.auc_all_pixels(pred, counts)) and np.isnan(auc.s_auc_exact(pred, counts, others))
        return
    assert auc.auc_all_pixels(pred, counts) == pytest.approx(plain.auc_pairs(positives, pred), abs=1e-9)
    if not negatives.size:
        assert np.isnan(auc.s_auc_exact(pred, counts, others))
        return
    expected = plain.auc_pairs(positives, negatives)
    assert auc.s_auc_exact(pred, counts, others) == pytest.approx(expected, abs=1e-9)
    assert auc.s_auc_exact(pred, others, counts) == pytest.approx(1 - expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(pred=tenths, counts=counts_of, others=counts_of)
def test_aucs_depend_on_order_alone(pred, counts, others):
    for bent in (np.exp(3 * pred), pred**3 - 5, (pred * 250).astype(np.uint8), pred.astype(np.float32)):
        np.testing.assert_array_equal(auc.auc_judd(bent, counts), auc.auc_judd(pred, counts))
        np.testing.assert_array_equal(auc.auc_all_pixels(bent, counts), auc.auc_all_pixels(pred, counts))
        np.testing.assert_array_equal(
            auc.s_auc_exact(bent, counts, others), auc.s_auc_exact(pred, counts, others)
        )


@settings(max_examples=200, deadline=None)
@given(pred=tenths | tenths.map(lambda a: a**1.5), counts=counts_of, others=counts_of)
def test_sampled_s_auc_is_the_plain_one_where_nothing_is_left_to_chance(pred, counts, others):
    # With at most as many candidates as fixations, each split draws all of them.
    few = np.flatnonzero(others)[: np.count_nonzero(counts)]
    others = np.zeros_like(others)
    others.ravel()[few] = 1
    found = auc.s_auc_sampled(pred, counts, others, splits=3, seed=0)
    if not few.size:
        assert np.isnan(found)
    elif np.ptp(pred) == 0:
        assert found == 0.5
    else:
        assert found == pytest.approx(plain.s_auc_splits(pred, counts, others, splits=1)[0], abs=1e-12)


@pytest.mark.parametrize("case", range(5))
def test_sampled_s_auc_has_the_originals_mean_and_spread(case):
    pred, _, fixations, others, expected = golden_cases()[case]
    repeats = np.array([expected["s_auc"], *expected["s_auc_repeat"]])
    ours = np.array([float(auc.s_auc_sampled(pred, fixations, others, seed=seed)) for seed in range(100)])
    spread = ours.std(ddof=1)
    # The original's five runs have the same distribution as our hundred: their mean lies within
    # three standard errors, each within four deviations, and their spread is ours (a chi-squared
    # with four degrees of freedom lies within these bounds with a chance of 99.8 %).
    assert abs(repeats.mean() - ours.mean()) < 3 * spread * np.sqrt(1 / 5 + 1 / 100)
    assert (abs(repeats - ours.mean()) < 4 * spread).all()
    assert 0.09 / 4 < repeats.var(ddof=1) / spread**2 < 18.5 / 4


def test_drawing_counts_is_drawing_splits():
    pred, _, fixations, others, _ = golden_cases()[0]
    splits = plain.s_auc_splits(pred, fixations, others, splits=4000, seed=1)
    singles = [float(auc.s_auc_sampled(pred, fixations, others, splits=1, seed=seed)) for seed in range(2000)]
    error = np.sqrt(splits.var() / splits.size + np.var(singles) / len(singles))
    assert abs(splits.mean() - np.mean(singles)) < 3 * error
    assert np.std(singles) == pytest.approx(splits.std(), rel=0.08)


def test_chance_is_a_half_and_a_perfect_map_one():
    rng = np.random.default_rng(0)
    fixations = (rng.random((60, 80)) < 0.03).astype(np.uint8)
    others = (rng.random((60, 80)) < 0.1) & (fixations == 0)
    perfect = fixations.astype(np.float64)
    assert auc.auc_judd(perfect, fixations) == 1
    assert auc.s_auc_exact(perfect, fixations, others) == 1
    assert auc.s_auc_sampled(perfect, fixations, others, seed=0) == 1
    assert auc.s_auc_exact(-perfect, fixations, others) == 0
    # AUC-Judd has no threshold above the highest fixated value; its curve is linear there.
    assert auc.auc_judd(-perfect, fixations) == 0.5
    random = [auc.auc_judd(rng.random((60, 80)), fixations) for _ in range(50)]
    assert np.mean(random) == pytest.approx(0.5, abs=0.02)


def test_jitter_only_breaks_ties():
    pred, _, fixations, _, _ = golden_cases()[1]
    jittered = unit_jitter(pred, 0)
    assert auc.auc_judd(jittered, fixations) == pytest.approx(float(auc.auc_judd(pred, fixations)), abs=1e-5)
    shown = np.round(pred / pred.max() * 20)
    broken = unit_jitter(shown, 0)
    assert np.unique(broken).size == shown.size and broken.min() >= 0 and broken.max() <= 1 + 1e-7
    assert (np.diff(shown.ravel()[broken.ravel().argsort()]) >= 0).all()


def test_batches_are_scored_frame_by_frame():
    rng = np.random.default_rng(3)
    pred = rng.random((2, 3, 12, 16))
    counts, others = rng.integers(0, 2, (2, 2, 3, 12, 16))
    counts[1, 1] = 0
    assert auc.auc_judd(pred, counts).shape == (2, 3)
    assert np.isnan(auc.auc_judd(pred, counts)[1, 1]) and np.isnan(auc.auc_judd(pred, counts)).sum() == 1
    assert auc.auc_judd(pred, counts)[0, 2] == auc.auc_judd(pred[0, 2], counts[0, 2])
    assert auc.s_auc_exact(pred, counts, others)[0, 2] == auc.s_auc_exact(
        pred[0, 2], counts[0, 2], others[0, 2]
    )
    assert auc.s_auc_sampled(pred, counts, others, seed=0).shape == (2, 3)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(UnisalError, match=r"\(4, 5\).*\(5, 4\)"):
        auc.auc_judd(np.ones((4, 5)), np.ones((5, 4)))
    pred, counts = np.arange(20.0).reshape(4, 5), np.eye(4, 5)
    pred[1, 1] = np.nan
    for refused in (
        lambda: auc.auc_judd(pred, counts),
        lambda: auc.auc_all_pixels(pred, counts),
        lambda: auc.s_auc_exact(pred, counts, counts),
        lambda: auc.s_auc_sampled(pred, counts, counts, seed=0),
    ):
        with pytest.raises(UnisalError, match="NaN"):
            refused()
