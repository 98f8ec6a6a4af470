"""The last stage of a fine-tuning: interpolation to the initial weights, and a temperature."""

import dataclasses

import jax
import numpy as np
import scipy.special

from unisal_jax.domains import SALICON
from unisal_jax.finetune import blend
from unisal_jax.predict.model import SaliencyModel
from unisal_jax.train.config import BestConfig, DomainConfig, TrainConfig


def test_weights_between_start_and_end():
    start = {"params": {"a": np.float32([0, 4]), "b": np.float32([1])}, "other": {"c": np.float32([7])}}
    end = {"params": {"a": np.float32([1, 0]), "b": np.float32([1])}}
    mixed = blend.mixed(start, end, 0.25)
    np.testing.assert_array_equal(mixed["params"]["a"], np.float32([0.25, 3]))
    assert mixed["params"]["a"].dtype == np.float32 and mixed.keys() == end.keys()
    assert blend.mixed(start, end, 1.0) is end
    np.testing.assert_array_equal(blend.mean([start, start | end])["params"]["a"], np.float32([0.5, 2]))


def test_a_factor_on_the_fusion_is_a_temperature_of_the_density(golden):
    weights = golden(11)
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)

    def predicted(variables):
        model = SaliencyModel(dataclasses.replace(weights, variables=variables), "float32", "onnxruntime")
        return [model.predict(image, domain=d, input_size=(32, 64), log=True) for d in ("salicon", "dhf1k")]

    before, after = (
        predicted(v) for v in (weights.variables, blend.sharpened(weights.variables, SALICON, 0.7))
    )
    expected = 0.7 * before[0] - scipy.special.logsumexp(0.7 * before[0])
    np.testing.assert_allclose(after[0], expected, atol=2e-4)
    assert np.abs(after[0] - before[0]).max() > 0.01
    np.testing.assert_array_equal(after[1], before[1])


def test_the_choice_is_the_best_of_all_pairs_by_the_score_of_the_config(golden, monkeypatch, tmp_path):
    """Scores computed from the interpolation and the factor, so that the best pair is known."""
    end = golden(11)
    start = jax.tree.map(np.zeros_like, end.variables)
    kernel = end.variables["salicon"]["fusion"]["kernel"]

    def means(_score, variables, _source):
        share = float(variables["salicon"]["fusion"]["kernel"].ravel()[0] / kernel.ravel()[0])
        cost = [abs(share - 0.7) + abs(factor - 0.85) for factor in blend.FACTORS]
        return [{"loss": each, "nss": 10 * factor} for each, factor in zip(cost, blend.FACTORS, strict=True)]

    @dataclasses.dataclass
    class Opened:
        domain = SALICON

    monkeypatch.setattr(blend, "open_sources", lambda *_: ([Opened()], [Opened()]))
    monkeypatch.setattr(blend, "initial", lambda *_: (end.config, start))
    monkeypatch.setattr(blend, "_means", means)
    config = TrainConfig(domains={"salicon": DomainConfig("data")})
    weights, chosen = blend.blend([end], config, tmp_path)
    assert (chosen.share, chosen.factor) == (0.7, 0.85)
    np.testing.assert_allclose(
        weights.variables["salicon"]["fusion"]["kernel"], 0.7 * 0.85 * kernel, rtol=1e-6
    )
    assert chosen.before["loss"] > chosen.after["loss"]
    # A higher NSS is better.
    config = dataclasses.replace(config, best=BestConfig(metric="nss"))
    assert blend.blend([end], config, tmp_path)[1].factor == max(blend.FACTORS)
