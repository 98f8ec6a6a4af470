"""The folded network (`fold`), written once in terms of `Operations`, which JAX and ONNX implement.

The structure is the paper's (section 3.2, Figure 3). A value is a batch of maps with channels. Its type and
axis order depend on the implementation: an array for JAX, the name of a tensor for an ONNX graph.
"""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from unisal_jax.models.architecture import BLOCKS, GATES, SMOOTHING_FACTOR, TAP_8, TAP_16
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.maps import SMOOTHING_REACH

Value = TypeVar("Value")
_Params = Mapping[str, Any]


class Operations(Protocol[Value]):
    """The operations that the folded network consists of."""

    def conv(
        self, x: Value, kernel: Any, bias: Any = None, stride: int = 1, padding: int | None = None
    ) -> Value:
        """A convolution with zero padding.

        Args:
          x: maps.
          kernel: [in, out] for a 1x1 convolution, else [rows, columns, in, out].
          bias: [out], or [height, width, out] if it includes constant maps; None for no bias.
          stride: stride in both directions.
          padding: pixels on each side; None for half the kernel's side.
        """

    def depthwise(self, x: Value, kernel: Any, bias: Any, stride: int = 1) -> Value:
        """A 3x3 depthwise convolution with zero padding; the kernel is [3, 3, 1, channels]."""

    def transposed(self, x: Value, kernel: Any) -> Value:
        """A 4x4 transposed convolution to twice the size, as in Flax; the kernel is [4, 4, in, out]."""

    def relu6(self, x: Value) -> Value:
        """min(max(x, 0), 6)."""

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""

    def tanh(self, x: Value) -> Value:
        """Hyperbolic tangent."""

    def add(self, a: Value, b: Value) -> Value:
        """Sum; a batch of one is broadcast."""

    def subtract(self, a: Value, b: Value) -> Value:
        """Difference."""

    def multiply(self, a: Value, b: Value) -> Value:
        """Product."""

    def subsampled(self, x: Value, stride: int) -> Value:
        """Every `stride`-th row and column."""

    def upsampled(self, x: Value) -> Value:
        """Bilinear upsampling to twice the size with half-pixel centres."""

    def repeated(self, x: Value, factor: int) -> Value:
        """Nearest-neighbour upsampling by `factor`."""

    def edge_padded(self, x: Value, reach: int) -> Value:
        """Padding by repetition of the outermost pixels, `reach` times on each side."""

    def cells_to_pixels(self, x: Value, side: int) -> Value:
        """Rearranges side * side channels into a cell of side x side pixels of one channel."""

    def exact(self, x: Value) -> Value:
        """Casts to at least float32."""


class Maps(NamedTuple, Generic[Value]):
    """The outputs of the network.

    Attributes:
      logits: the log-density up to a constant, one channel, at the input size.
      state: the next hidden state, 256 channels at 1/32; None if the recurrence was bypassed.
      features: feature maps by name, see `FEATURES`.
    """

    logits: Value
    state: Value | None
    features: dict[str, Value]


FEATURES = (
    "encoder_8",
    "encoder_16",
    "encoder_32",
    "bottleneck",
    "recurrent",
    "decoder_16",
    "decoder_8",
    "fused",
)
"""Names of the feature maps. The number is the downsampling factor; `recurrent` requires the recurrence."""


def network(
    ops: Operations[Value], config: UnisalConfig, params: _Params, x: Value, state: Value | None
) -> Maps[Value]:
    """Runs the folded network, or builds its graph.

    Args:
      ops: the operations.
      config: the config of the folded model.
      params: the parameters from `Folded.sized`.
      x: normalised RGB; height and width are multiples of 32.
      state: hidden state, 256 channels at 1/32; None bypasses the recurrence.
    """
    at_8, at_16, at_32 = _encoder(ops, params["encoder"], x)
    features = _block(ops, params["post_cnn"], at_32)
    found = {"encoder_8": at_8, "encoder_16": at_16, "encoder_32": at_32, "bottleneck": features}
    if state is not None:
        state = _gru(ops, params["rnn"], features, state)
        out = ops.relu6(_conv(ops, params, "post_rnn", state))
        features = ops.add(features, out) if config.rnn_residual else out
        found["recurrent"] = features
    x = found["decoder_16"] = _up(ops, config, params, "16", features, at_16)
    x = found["decoder_8"] = _up(ops, config, params, "8", x, at_8)
    # From here on x is a log-density up to a constant, with values of 30 and more: the three digits of half
    # precision would make visible steps.
    fusion = params["fusion"]
    fused = found["fused"] = ops.conv(ops.exact(x), fusion["kernel"], fusion["bias"])
    return Maps(_smoothed(ops, config, params, fused), state, found)


def _conv(ops: Operations[Value], params: _Params, name: str, x: Value, stride: int = 1) -> Value:
    """The convolution of that name, with the bias of its folded batch norm."""
    return ops.conv(x, params[name]["kernel"], params[f"{name}_norm"]["bias"], stride)


def _filtered(ops: Operations[Value], params: _Params, x: Value, last: str, stride: int = 1) -> Value:
    """Depthwise 3x3, ReLU6 and 1x1; or, in a cGRU with dense convolutions, one dense 3x3."""
    kernel, depthwise = params["spatial"]["kernel"], params["spatial"]["kernel"].shape[2] == 1
    if "project" not in params:
        return ops.conv(x, kernel, params[last]["bias"], stride)
    conv = ops.depthwise if depthwise else ops.conv
    x = ops.relu6(conv(x, kernel, params["spatial_norm"]["bias"], stride))
    return ops.conv(x, params["project"]["kernel"], params[last]["bias"])


def _block(ops: Operations[Value], params: _Params, x: Value, stride: int = 1) -> Value:
    """An inverted residual block of one map, without the residual sum."""
    if "expand" in params:
        x = ops.relu6(_conv(ops, params, "expand", x))
    return _filtered(ops, params, x, "project_norm", stride)


def _encoder(ops: Operations[Value], params: _Params, x: Value) -> tuple[Value, Value, Value]:
    """The maps at 1/8, 1/16 and 1/32."""
    taps = {}
    x = ops.relu6(_conv(ops, params, "stem", x, 2))
    for number, block in enumerate(BLOCKS, 1):
        tapped = number in (TAP_8, TAP_16)
        out = _block(ops, params[f"block_{number}"], x, 1 if tapped else block.stride)
        x = ops.add(x, out) if block.residual else out
        if tapped:
            taps[number] = x
            x = ops.subsampled(x, block.stride)
    return taps[TAP_8], taps[TAP_16], ops.relu6(_conv(ops, params, "head", x))


def _gru(ops: Operations[Value], params: _Params, x: Value, state: Value) -> Value:
    """One step of the cGRU (reference.md, "cGRU")."""

    def shares(of: str, source: Value) -> list[Value]:
        return [_filtered(ops, params[f"{gate}_{of}"], source, "norm") for gate in GATES]

    ours, theirs = shares("input", x), shares("hidden", state)
    reset, update = (ops.sigmoid(ops.add(ours[gate], theirs[gate])) for gate in (0, 1))
    candidate = ops.tanh(ops.add(ours[2], ops.multiply(reset, theirs[2])))
    return ops.add(state, ops.multiply(update, ops.subtract(candidate, state)))


def _up(
    ops: Operations[Value], config: UnisalConfig, params: _Params, level: str, below: Value, tap: Value
) -> Value:
    """A block of the decoder. Its first 1x1 commutes with bilinear upsampling, so it runs before it."""
    block = params[f"upsampling_{level}"]
    kernel, bias = block["expand"]["kernel_0"], block["expand_norm"]["bias"]
    if config.bilinear:
        x = ops.upsampled(ops.conv(below, kernel, None if config.skips else bias))
    else:
        learned = params[f"learned_upsampling_{level}"]["kernel"]
        x = ops.conv(ops.transposed(below, learned), kernel, None if config.skips else bias)
    if config.skips:
        skip = ops.relu6(_conv(ops, params, f"skip_{level}_expand", tap))
        skip = _conv(ops, params, f"skip_{level}_reduce", skip)
        x = ops.add(ops.conv(skip, block["expand"]["kernel_1"], bias), x)
    return _filtered(ops, block, ops.relu6(x), "project_norm")


def _smoothed(ops: Operations[Value], config: UnisalConfig, params: _Params, x: Value) -> Value:
    """The map at eight times the size, smoothed with `maps.cell_kernel` if the config has smoothing."""
    if not config.smoothing:
        return ops.repeated(x, SMOOTHING_FACTOR)
    kernel = params["smoothing"]["kernel"]
    cells = ops.conv(ops.edge_padded(x, SMOOTHING_REACH), kernel, padding=0)
    return ops.cells_to_pixels(cells, SMOOTHING_FACTOR)
