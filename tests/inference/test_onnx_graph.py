"""The ONNX graph for images of any size is the one for each size."""

import dataclasses

import numpy as np
import onnxruntime
import pytest

from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.inference import onnx_graph
from unisal_jax.inference.fold import fold
from unisal_jax.inference.onnx_plan import Plan


@pytest.mark.parametrize("form", ["image", "streaming", "no bypass", "no prior maps"])
def test_any_size(golden, rng, form):
    weights, streaming = golden(11), form == "streaming"
    changed = {"no bypass": {"rnn_bypass": False}, "no prior maps": {"prior_maps": False}}.get(form, {})
    config = dataclasses.replace(weights.config, **changed)
    folded = fold(weights.variables, weights.config, DHF1K if streaming else SALICON)
    folded = dataclasses.replace(
        folded, config=config, priors={} if "prior_maps" in changed else folded.priors
    )

    def session(size):
        plan = Plan(size, None, streaming=streaming, uint8=True, log=True)
        return onnxruntime.InferenceSession(onnx_graph.build(folded, plan, {}))

    any_size = session(None)
    # One cell high: the prior maps' means are then at its top.
    for size, batch in (((32, 64), 2), ((96, 64), 1)):
        inputs = {"frames": rng.integers(0, 256, (batch, *size, 3), np.uint8)}
        if streaming:
            state = rng.standard_normal((batch, 256, size[0] // 32, size[1] // 32))
            inputs["state"] = state.astype(np.float32)
        for found, wanted in zip(any_size.run(None, inputs), session(size).run(None, inputs), strict=True):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
