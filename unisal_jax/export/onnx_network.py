"""The folded network (`models.inference`) as an ONNX graph, channels first."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import SIZE_UNIT, Size
from unisal_jax.export.onnx_graph import Graph, Value
from unisal_jax.models.architecture import BLOCKS, GATES, SMOOTHING_FACTOR, TAP_8, TAP_16
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.maps import gaussian_maps

_Params = Mapping[str, Any]


def logits(
    graph: Graph,
    config: UnisalConfig,
    params: _Params,
    size: Size,
    x: Value,
    state: Value | None,
    next_state: str,
) -> Value:
    """Adds the network to a graph.

    Args:
      graph: to add to.
      config: of the folded network.
      params: its `params` for pictures of `size`, float32.
      size: (height, width).
      x: normalised RGB [batch, 3, height, width].
      state: hidden state [batch, 256, height / 32, width / 32]; None bypasses the recurrence.
      next_state: name of the next one.
    Returns:
      What the softmax over each picture makes its density of, [batch, 1, height, width].
    """
    at_8, at_16, at_32 = _encoder(graph, params["encoder"], x)
    if config.prior_maps:  # those that folding has left
        at_32 = _with_priors(graph, params["prior_maps"]["gaussians"], size, at_32, x)
    features = _block(graph, params["post_cnn"], at_32)
    if state is not None:
        state = _gru(graph, params["rnn"], features, state, next_state)
        out = graph.relu6(_conv(graph, params["post_rnn"], state, params["post_rnn_norm"]))
        features = graph.add(features, out) if config.rnn_residual else out
    x = _up(graph, params["upsampling_16"], features, _skip(graph, config, params, "skip_16", at_16))
    x = _up(graph, params["upsampling_8"], x, _skip(graph, config, params, "skip_8", at_8))
    fused = _conv(graph, params["fusion"], x, params["fusion"])
    if not config.smoothing:
        return graph.upsampled(fused, SMOOTHING_FACTOR, "nearest")
    return _smoothed(graph, params["smoothing"]["kernel"], fused)


def _conv(graph: Graph, conv: _Params, x: Value, norm: _Params, stride: int = 1) -> Value:
    kernel = conv["kernel"]
    depthwise = kernel.ndim == 4 and kernel.shape[2] == 1
    return graph.conv(x, kernel, norm["bias"], stride, depthwise=depthwise)


def _block(graph: Graph, params: _Params, x: Value, stride: int = 1) -> Value:
    """`layers.InvertedResidual` of one map, without the sum at its end."""
    if "expand" in params:
        x = graph.relu6(_conv(graph, params["expand"], x, params["expand_norm"]))
    return _filtered(graph, params, x, stride)


def _filtered(graph: Graph, params: _Params, x: Value, stride: int = 1) -> Value:
    x = graph.relu6(_conv(graph, params["spatial"], x, params["spatial_norm"], stride))
    return _conv(graph, params["project"], x, params["project_norm"])


def _encoder(graph: Graph, params: _Params, x: Value) -> tuple[Value, Value, Value]:
    """The maps at 1/8, 1/16 and 1/32."""
    taps = {}
    x = graph.relu6(_conv(graph, params["stem"], x, params["stem_norm"], 2))
    for number, block in enumerate(BLOCKS, 1):
        tapped = number in (TAP_8, TAP_16)
        out = _block(graph, params[f"block_{number}"], x, 1 if tapped else block.stride)
        x = graph.add(x, out) if block.residual else out
        if tapped:
            taps[number] = x
            x = graph.subsampled(x, block.stride)
    return taps[TAP_8], taps[TAP_16], graph.relu6(_conv(graph, params["head"], x, params["head_norm"]))


def _with_priors(graph: Graph, gaussians: np.ndarray, size: Size, at_32: Value, x: Value) -> Value:
    """The maps beside the encoder's output, once for each picture."""
    maps = np.asarray(gaussian_maps(jnp.asarray(gaussians), (size[0] // SIZE_UNIT, size[1] // SIZE_UNIT)))
    batch = graph.node("Slice", graph.node("Shape", x), *(graph.constant([i], np.int64) for i in (0, 1)))
    one_each = graph.node("Concat", batch, graph.constant([1, 1, 1], np.int64), axis=0)
    maps_each = graph.node("Expand", graph.constant(maps.transpose(2, 0, 1)[None]), one_each)
    return graph.node("Concat", at_32, maps_each, axis=1)


def _gru(graph: Graph, params: _Params, x: Value, state: Value, next_state: str) -> Value:
    """One step of `conv_gru.ConvGRU`."""

    def share(weights: _Params, source: Value) -> Value:
        if "project" not in weights:  # dense
            return _conv(graph, weights["spatial"], source, weights["norm"])
        source = graph.relu6(_conv(graph, weights["spatial"], source, weights["spatial_norm"]))
        return _conv(graph, weights["project"], source, weights["norm"])

    ours = [share(params[f"{gate}_input"], x) for gate in GATES]
    theirs = [share(params[f"{gate}_hidden"], state) for gate in GATES]
    reset, update = (graph.node("Sigmoid", graph.add(ours[i], theirs[i])) for i in (0, 1))
    candidate = graph.node("Tanh", graph.add(ours[2], graph.node("Mul", reset, theirs[2])))
    change = graph.node("Mul", update, graph.node("Sub", candidate, state))
    return graph.node("Add", state, change, name=next_state)


def _skip(graph: Graph, config: UnisalConfig, params: _Params, name: str, x: Value) -> Value | None:
    if not config.skips:
        return None
    x = graph.relu6(_conv(graph, params[f"{name}_expand"], x, params[f"{name}_expand_norm"]))
    return _conv(graph, params[f"{name}_reduce"], x, params[f"{name}_reduce_norm"])


def _up(graph: Graph, params: _Params, below: Value, skip: Value | None) -> Value:
    """A block of the decoder, its first 1x1 on each map at the map's own size."""
    bias = params["expand_norm"]["bias"]
    if skip is None:
        x = graph.upsampled(graph.conv(below, params["expand"]["kernel_0"], bias), 2, "linear")
    else:
        x = graph.upsampled(graph.conv(below, params["expand"]["kernel_0"]), 2, "linear")
        x = graph.add(graph.conv(skip, params["expand"]["kernel_1"], bias), x)
    return _filtered(graph, params, graph.relu6(x))


def _smoothed(graph: Graph, kernel: np.ndarray, x: Value) -> Value:
    """`smoothing.upsample_and_smooth` with the kernel of `cell_kernel`."""
    reach = kernel.shape[0] // 2
    pads = graph.constant([0, 0, reach, reach, 0, 0, reach, reach], np.int64)
    cells = graph.conv(graph.node("Pad", x, pads, mode="edge"), kernel, reach=0)
    return graph.node("DepthToSpace", cells, blocksize=SMOOTHING_FACTOR)
