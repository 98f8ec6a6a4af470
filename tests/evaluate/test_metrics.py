"""KLD, CC, SIM and NSS, and a frame's scores under each protocol."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tests.helpers import pysaliency_reference
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import metrics, protocols
from unisal_jax.evaluate.auc import auc_all_pixels

GOLDEN = Path(__file__).parents[1] / "golden"
DENSE = ("kld", "cc", "sim", "nss")
maps = arrays(np.float64, (7, 9), elements=st.floats(0, 1, allow_subnormal=False))
fixation_maps = arrays(np.uint8, (7, 9), elements=st.integers(0, 2))


def golden_cases():
    """Cases of the original code.

    The maps of the large one are stored compactly: the prediction in float32, and the ground truth, a sum of
    three separable Gaussians, as their factors.
    """
    stored = np.load(GOLDEN / "metrics.npz")
    cases = []
    for i, scores in enumerate(json.loads((GOLDEN / "metrics.json").read_text())):
        if scores.pop("big", False):
            gt = np.maximum(stored[f"{i}/gt_rows"] @ stored[f"{i}/gt_columns"], 0)
        else:
            gt = stored[f"{i}/gt"]
        pred = stored[f"{i}/pred"].astype(np.float64)
        cases.append((pred, gt, stored[f"{i}/fix"], stored[f"{i}/other"], scores))
    return cases


@pytest.mark.parametrize("case", range(5))
def test_unisal_protocol_gives_the_originals_values(case):
    pred, gt, fixations, _, expected = golden_cases()[case]
    found = protocols.score_frame(protocols.get_protocol("unisal"), pred, gt, fixations)
    for name in DENSE:
        assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=0), name
    assert np.isnan([found["s_auc"], found["ig"]]).all()


@pytest.mark.parametrize("kind", ["density", "eight_bit"])
@pytest.mark.parametrize("case", range(4))
def test_pysaliency_protocol_gives_the_librarys_values(case, kind):
    pred, gt, fixations, others, _ = golden_cases()[case]
    expected = json.loads((GOLDEN / "pysaliency.json").read_text())[case][kind]
    compare_with_pysaliency(pred, gt, fixations, others, kind, expected)


@pytest.mark.parametrize("kind", ["density", "eight_bit"])
def test_pysaliency_protocol_against_the_library_itself(kind):
    pytest.importorskip("pysaliency", exc_type=ImportError)
    if not hasattr(np, "trapz"):
        pytest.skip("pysaliency 0.2.22 needs numpy < 2.4")
    pred, gt, fixations, others, _ = golden_cases()[1]
    counts = pysaliency_reference.doubled(fixations)
    shown = pysaliency_reference.eight_bit(pred) if kind == "eight_bit" else pred
    expected = pysaliency_reference.library_scores(shown, gt, counts, others)
    compare_with_pysaliency(pred, gt, fixations, others, kind, expected)


def compare_with_pysaliency(pred, gt, fixations, others, kind, expected):
    counts = pysaliency_reference.doubled(fixations)
    shown = pysaliency_reference.eight_bit(pred) if kind == "eight_bit" else pred
    protocol = protocols.get_protocol("pysaliency")
    found = protocols.score_frame(protocol, shown, gt, counts, others=others, baseline=gt)
    found["auc"] = auc_all_pixels(shown, counts)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_the_protocols_differ_where_their_definitions_do():
    pred, gt, fixations, others, _ = golden_cases()[1]
    gt = gt + gt.mean()  # far from zero, so that min-max scaling has an effect
    counts = fixations * 3
    counts[np.unravel_index(pred.argmax(), pred.shape)] = 9
    scores = {
        name: protocols.score_frame(protocol, pred, gt, counts, others=others)
        for name, protocol in protocols.PROTOCOLS.items()
    }
    assert scores["unisal"]["sim"] == scores["pysaliency"]["sim"] != scores["dhf1k"]["sim"]
    assert scores["unisal"]["nss"] == scores["dhf1k"]["nss"] != scores["pysaliency"]["nss"]
    assert scores["unisal"]["auc_judd"] == pytest.approx(scores["dhf1k"]["auc_judd"], abs=1e-5)
    assert scores["unisal"]["cc"] == scores["dhf1k"]["cc"] == scores["pysaliency"]["cc"]
    # The two epsilons differ in the fifth digit; the plain form has none.
    assert scores["dhf1k"]["kld"] == pytest.approx(scores["pysaliency"]["kld"], abs=1e-9)
    assert scores["unisal"]["kld"] == pytest.approx(scores["dhf1k"]["kld"], abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"kld_eps": 1e-7, "sim_rescale": True, "unique_fixations": False}])
def test_jit_and_numpy_agree_on_a_batch(options):
    rng = np.random.default_rng(0)
    pred, gt = rng.random((2, 2, 3, 40, 50))
    counts = rng.integers(0, 3, (2, 3, 40, 50)).astype(np.uint8)
    expected = metrics.dense_scores(pred, gt, counts, names=DENSE, **options)

    @jax.jit
    def on_device(pred, gt, counts):
        return metrics.dense_scores(pred, gt, counts, names=DENSE, **options)

    found = on_device(pred, gt, counts)
    for name in DENSE:
        assert isinstance(found[name], jax.Array) and found[name].shape == (2, 3)
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, atol=2e-6, err_msg=name)
        single = metrics.dense_scores(pred[1, 2], gt[1, 2], counts[1, 2], names=(name,), **options)[name]
        np.testing.assert_allclose(single, expected[name][1, 2], rtol=1e-12)


@pytest.mark.parametrize("case", range(5))
def test_float32_maps_cost_no_digit_that_is_shown(case):
    pred, gt, fixations, _, _ = golden_cases()[case]
    pred, gt = pred.astype(np.float32), gt.astype(np.float32)
    narrow = metrics.dense_scores(pred, gt, fixations, names=DENSE)
    wide = metrics.dense_scores(pred.astype(np.float64), gt, fixations, names=DENSE)
    for name in DENSE:
        np.testing.assert_allclose(narrow[name], wide[name], atol=1e-6, rtol=0, err_msg=name)


def test_each_function_is_its_part_of_dense_scores():
    pred, gt, fixations, _, _ = golden_cases()[0]
    together = metrics.dense_scores(pred, gt, fixations, names=DENSE)
    assert metrics.kld(pred, gt) == together["kld"]
    assert metrics.cc(pred, gt) == together["cc"]
    assert metrics.sim(pred, gt) == together["sim"]
    assert metrics.nss(pred, fixations) == pytest.approx(float(together["nss"]), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(maps, maps)
def test_ranges_and_self_agreement(pred, gt):
    if not gt.any():
        assert np.isnan([metrics.sim(pred, gt), metrics.kld(pred, gt), metrics.cc(pred, gt)]).all()
        return
    assert -1e-12 <= metrics.sim(pred, gt) <= 1 + 1e-12
    assert metrics.kld(pred, gt) >= -1e-12
    assert metrics.sim(gt, gt) == pytest.approx(1)
    assert metrics.kld(gt, gt) == pytest.approx(0, abs=1e-12)
    if np.ptp(gt) > 1e-6:
        assert abs(metrics.cc(pred, gt)) <= 1 + 1e-9
        assert metrics.cc(gt, gt) == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(maps, fixation_maps, st.floats(0.5, 2), st.floats(-1, 1))
def test_nss_and_cc_ignore_scale_and_shift(pred, counts, scale, shift):
    if np.ptp(pred) < 1e-3:
        return
    moved = scale * pred + shift
    np.testing.assert_allclose(metrics.nss(moved, counts), metrics.nss(pred, counts), atol=1e-9)
    gt = np.arange(63.0).reshape(7, 9)
    np.testing.assert_allclose(metrics.cc(moved, gt), metrics.cc(pred, gt), atol=1e-9)


@pytest.mark.parametrize("namespace", [np, jnp])
def test_edges_are_defined(namespace):
    ramp = namespace.arange(63.0).reshape(7, 9)
    zeros, constant = namespace.zeros((7, 9)), namespace.full((7, 9), 0.1)
    one = namespace.zeros((7, 9)).at[3, 4].set(1) if namespace is jnp else np.eye(7, 9)
    assert np.isnan(metrics.nss(ramp, zeros))
    assert metrics.nss(constant, one) == 0 and metrics.nss(zeros, one) == 0
    assert metrics.cc(constant, ramp) == 0
    assert np.isnan(metrics.cc(ramp, constant)) and np.isnan(metrics.cc(constant, constant))
    assert np.isnan(metrics.kld(ramp, zeros)) and np.isnan(metrics.sim(ramp, zeros))
    # All-zero means uniform; a zero where the ground truth has mass has a large, finite cost.
    np.testing.assert_allclose(metrics.to_density(zeros), 1 / 63, rtol=1e-6)
    np.testing.assert_allclose(metrics.kld(zeros, ramp), metrics.kld(constant, ramp), rtol=1e-5)
    assert 50 < metrics.kld(one, ramp) < 100
    assert metrics.kld(one, ramp, eps=metrics.MATLAB_EPS) < 50
    for flat in (zeros, constant, -constant, constant * 7):
        np.testing.assert_allclose(metrics.to_density(flat, rescale=True), 1 / 63, rtol=1e-6)
        np.testing.assert_allclose(metrics.to_density(flat), 1 / 63, rtol=1e-6)
    np.testing.assert_allclose(
        metrics.to_density(ramp + 1e4, rescale=True), metrics.to_density(ramp), rtol=1e-6
    )
    # Negative values, as in a log-scale map, are shifted; the minimum becomes 0.
    np.testing.assert_allclose(metrics.to_density(ramp - 10), metrics.to_density(ramp), rtol=1e-5, atol=1e-8)


def test_frames_of_a_batch_keep_their_own_edges():
    rng = np.random.default_rng(1)
    pred, counts = rng.random((3, 7, 9)), np.zeros((3, 7, 9), np.uint8)
    pred[1] = 0.3
    counts[:2, 2, 3] = 1
    found = metrics.nss(pred, counts)
    assert np.isfinite(found[0]) and found[1] == 0 and np.isnan(found[2])


def test_shapes_must_agree():
    with pytest.raises(UnisalError, match=r"\(4, 5\), \(5, 4\)"):
        metrics.kld(np.ones((4, 5)), np.ones((5, 4)))
    with pytest.raises(UnisalError, match="must share"):
        metrics.nss(np.ones(4), np.ones(4))


def test_count_map_counts_scales_and_refuses_what_lies_outside():
    counts = metrics.count_map([(0, 0), (0.9, 0.2), (3, 4)], (4, 5))
    assert counts[0, 0] == 2 and counts[3, 4] == 1 and counts.sum() == 3
    assert metrics.count_map([(7, 9)], (4, 5), source_size=(8, 10))[3, 4] == 1
    assert metrics.count_map([], (4, 5)).sum() == 0
    for outside in [(4, 0), (0, 5), (-1, 0), (np.nan, 0)]:
        with pytest.raises(UnisalError, match="outside the 4x5"):
            metrics.count_map([outside], (4, 5))


def test_unknown_protocol_names_the_known_ones():
    with pytest.raises(UnisalError, match=r"'mit'.*unisal, dhf1k, pysaliency"):
        protocols.get_protocol("mit")


def test_sizes_differ():
    pred, gt, fixations, others, _ = golden_cases()[0]
    half = protocols.resize_bicubic(pred, (18, 32))
    unisal, dhf1k = protocols.get_protocol("unisal"), protocols.get_protocol("dhf1k")
    with pytest.raises(UnisalError, match=r"\(18, 32\).*\(36, 64\)"):
        protocols.score_frame(unisal, half, gt, fixations)
    with pytest.raises(UnisalError, match="sizes differ: ground truth"):
        protocols.score_frame(dhf1k, pred, gt, fixations[:-1], others=others)
    resized = protocols.score_frame(dhf1k, half, gt, fixations)
    assert resized["cc"] == protocols.score_frame(unisal, half, gt, fixations, resize=True)["cc"]
    assert resized["cc"] == metrics.cc(protocols.resize_bicubic(half, (36, 64)), gt)


@pytest.mark.parametrize("size", [(20, 60), (90, 100), (40, 50)])
def test_bicubic_resizing_is_matlabs(size):
    # Pillow's bicubic filter has the same kernel and antialiasing; it only treats borders differently.
    image = np.random.default_rng(2).random((40, 50)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
    found = protocols.resize_bicubic(image, size)
    inner = tuple(slice(n // 8 + 2, n - n // 8 - 2) for n in size)
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)
    np.testing.assert_allclose(protocols.resize_bicubic(np.ones((40, 50)), size), 1, rtol=1e-12)


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_degenerate_frames_are_flagged_and_never_scored_high(name):
    pred, gt, fixations, others, _ = golden_cases()[0]
    protocol = protocols.get_protocol(name)
    none = np.zeros_like(fixations)

    found = protocols.score_frame(protocol, pred, gt, none, others=others, baseline=gt)
    assert np.isnan([found[s] for s in ("auc_judd", "s_auc", "nss", "ig")]).all()
    assert np.isfinite([found[s] for s in ("cc", "sim", "kld")]).all()
    assert protocols.frame_faults(pred, gt, none, others) == ("no_fixations",)

    constant = np.zeros_like(pred)
    found = protocols.score_frame(protocol, constant, gt, fixations, others=others, baseline=gt)
    assert found["nss"] == found["cc"] == 0 and found["s_auc"] == 0.5 and np.isfinite(found["kld"])
    if protocol.jitter is None:
        assert found["auc_judd"] == 0.5
    assert protocols.frame_faults(constant, gt, fixations, others) == ("constant_prediction",)

    found = protocols.score_frame(protocol, pred, none, fixations, others=none)
    assert np.isnan([found[s] for s in ("cc", "sim", "kld", "s_auc")]).all() and np.isfinite(found["nss"])
    assert protocols.frame_faults(pred, none, fixations, none) == ("empty_ground_truth", "no_other_fixations")
    assert protocols.frame_faults(pred, none + 1, None, None) == ("constant_ground_truth",)
    assert protocols.frame_faults(pred, None, None, None) == ()

    with pytest.raises(UnisalError, match="finite"):
        protocols.score_frame(protocol, np.full_like(pred, np.nan), gt, fixations)


def test_scores_repeat_with_the_seed():
    pred, gt, fixations, others, _ = golden_cases()[0]
    for protocol in protocols.PROTOCOLS.values():
        first, again, other = (
            protocols.score_frame(protocol, pred, gt, fixations, others=others, baseline=gt, seed=seed)
            for seed in ([7, 1], [7, 1], [7, 2])
        )
        assert first == again
        assert (first["s_auc"] != other["s_auc"]) == protocol.sampled_s_auc


def test_drawing_other_frames_and_scored_frames():
    drawn = protocols.draw_other_frames([3] * 20, seed=0)
    assert len({video for video, _ in drawn}) == 10 and {frame for _, frame in drawn} <= {0, 1, 2}
    assert drawn == protocols.draw_other_frames([3] * 20, seed=0)
    assert sorted(protocols.draw_other_frames([1, 1], seed=0)) == [(0, 0), (1, 0)]

    dhf1k, unisal = protocols.get_protocol("dhf1k"), protocols.get_protocol("unisal")
    chosen = protocols.draw_frames(60_000, dhf1k, seed=0)
    assert len(np.unique(chosen)) == 50_000 and (np.diff(chosen) > 0).all() and chosen.max() < 60_000
    assert len(protocols.draw_frames(60_000, unisal, seed=0)) == 60_000
