"""Means do not depend on the grouping or order of the scores."""

import functools
import math
import operator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.accumulate import ExactMean, ScoreTable, bootstrap_ci

floats = st.floats(-1e12, 1e12)


@settings(max_examples=100, deadline=None)
@given(st.lists(floats, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_a_mean_is_exact_in_any_order_and_split(values, random):
    exact = float(sum(map(Fraction, values)))
    whole = ExactMean().add(values).compute()
    assert whole == exact / len(values)
    random.shuffle(values)
    cut, cut_again = sorted(random.randrange(len(values) + 1) for _ in range(2))
    a, b, c = (ExactMean().add(part) for part in (values[:cut], values[cut:cut_again], values[cut_again:]))
    assert a.merge(b).merge(c).compute() == whole
    assert c.merge(a.merge(b)).compute() == whole


def test_a_naive_sum_would_have_failed():
    values = [1e16, 1.0, -1e16, 1.0]
    # Not `sum`, which compensates rounding errors from Python 3.12 on.
    assert ExactMean().add(values).compute() == 0.5 != functools.reduce(operator.add, values) / 4


def test_means_of_nothing_and_of_nonsense():
    assert math.isnan(ExactMean().compute())
    for value in (math.nan, math.inf):
        with pytest.raises(UnisalError, match="cannot average"):
            ExactMean().add([value])


frames = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.fixed_dictionaries({"nss": st.floats(-3, 9) | st.just(math.nan), "cc": st.floats(-1, 1)}),
        st.sampled_from([(), ("no_fixations",)]),
    ),
    max_size=20,
)


@settings(max_examples=100, deadline=None)
@given(frames, st.randoms(use_true_random=False))
@pytest.mark.parametrize("over", ["groups", "frames"])
def test_the_order_of_the_frames_changes_no_digit(over, rows, random):
    whole = repr(ScoreTable.of(rows).compute(over))
    assert repr(ScoreTable.of(random.sample(rows, len(rows))).compute(over)) == whole


def test_per_video_and_per_frame_means_and_what_was_left_out():
    summary = ScoreTable.of(
        [
            ("long", {"nss": 1.0, "cc": 0.5}, ()),
            ("long", {"nss": 3.0, "cc": 0.5}, ()),
            ("long", {"nss": math.nan, "cc": 0.5}, ("no_fixations",)),
            ("short", {"nss": 8.0, "cc": 0.1}, ("constant_prediction",)),
            ("blind", {"nss": math.nan, "cc": 0.3}, ("no_fixations",)),
        ]
    )
    videos, per_frame = summary.compute("groups"), summary.compute("frames")
    assert videos.mean == {"cc": pytest.approx(0.3), "nss": 5.0}
    assert per_frame.mean == {"cc": pytest.approx(1.9 / 5), "nss": 4.0}
    assert videos.frames == {"cc": 5, "nss": 3}
    assert videos.left_out == {"constant_prediction": 1, "no_fixations": 2}
    assert list(videos.groups) == ["blind", "long", "short"]
    assert videos.groups["long"] == {"cc": 0.5, "nss": 2.0} and math.isnan(videos.groups["blind"]["nss"])


def test_the_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        low, high = bootstrap_ci(rng.normal(2, 1, 60), level=0.9, resamples=400, seed=seed)
        hits += low <= 2 <= high
    assert 0.82 < hits / 200 < 0.96  # three standard errors around 0.9, minus the bias of the bootstrap


def test_the_bootstrap_interval():
    values = np.random.default_rng(1).normal(0, 1, 400)
    low, high = bootstrap_ci(values)
    assert (low, high) == bootstrap_ci(values) != bootstrap_ci(values, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_ci([*values, math.nan]) == (low, high)
    # A video with four times the frames has four times the weight; two videos give three possible means.
    assert bootstrap_ci([0.0, 1.0], weights=[4, 1], level=0.2) == (0.2, 0.2)
    assert bootstrap_ci([5.0]) == (5.0, 5.0)
    assert all(map(math.isnan, bootstrap_ci([math.nan])))
    with pytest.raises(UnisalError, match="2 values cannot have 1"):
        bootstrap_ci([0.0, 1.0], weights=[1])
