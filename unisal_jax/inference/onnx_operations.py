"""The operations of the folded network as nodes of an ONNX graph, on maps [batch, channels, height, width].

Only `onnx`'s own helpers are needed to write one, so what is exported does not hang on a converter's
coverage, and the graph holds what runtimes have fused kernels for: convolutions with their bias, clips,
resizes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from unisal_jax.version import __version__

# The oldest versions that have every operation used here in its present meaning, for old runtimes.
OPSET, _IR_VERSION = 13, 8

Value = str
"""A tensor of the graph is known by its name."""

Types = Mapping[str, tuple[str, Sequence[int | str]]]
"""By a tensor's name: its type, as numpy calls it, and its axes; those without a number take any."""


class OnnxOperations:
    """See `network.Operations`. Nodes and constants come in the order in which they are asked for."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._shared: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def node(self, operation: str, *inputs: Value, name: str = "", **attributes: Any) -> Value:
        """Adds an operation with one output, which is called `name` or after the operation."""
        output = name or f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [output], output, **attributes))
        return output

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Value:
        """Adds a constant; equal ones are one."""
        array = np.array(values, dtype, order="C")
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._shared:
            self._shared[key] = f"constant_{len(self._constants)}"
            self._constants.append(numpy_helper.from_array(array, self._shared[key]))
        return self._shared[key]

    def conv(
        self,
        x: Value,
        kernel: np.ndarray,
        bias: np.ndarray | Value | None = None,
        stride: int = 1,
        padding: int | None = None,
    ) -> Value:
        """A convolution. A bias that is a tensor of the graph, [1, out, height, width], is added to it."""
        kernel = kernel[None, None] if kernel.ndim == 2 else kernel
        return self._conv(x, kernel, bias, stride, kernel.shape[0] // 2 if padding is None else padding, 1)

    def depthwise(self, x: Value, kernel: np.ndarray, bias: np.ndarray, stride: int = 1) -> Value:
        """A 3x3 convolution of each channel alone."""
        return self._conv(x, kernel, bias, stride, 1, kernel.shape[-1])

    def _conv(
        self,
        x: Value,
        kernel: np.ndarray,
        bias: np.ndarray | Value | None,
        stride: int,
        padding: int,
        groups: int,
    ) -> Value:
        of_channels = [self.constant(bias)] if isinstance(bias, np.ndarray) and bias.ndim == 1 else []
        out = self.node(
            "Conv",
            x,
            self.constant(kernel.transpose(3, 2, 0, 1)),
            *of_channels,
            group=groups,
            kernel_shape=kernel.shape[:2],
            pads=[padding] * 4,
            strides=[stride, stride],
        )
        if bias is None or of_channels:
            return out
        return self.add(out, bias if isinstance(bias, str) else self.constant(bias.transpose(2, 0, 1)[None]))

    def transposed(self, x: Value, kernel: np.ndarray) -> Value:
        """Twice the size by a 4x4 transposed convolution, whose kernel ONNX turns by 180 degrees."""
        turned = self.constant(kernel[::-1, ::-1].transpose(2, 3, 0, 1))
        return self.node("ConvTranspose", x, turned, kernel_shape=[4, 4], pads=[1] * 4, strides=[2, 2])

    def relu6(self, x: Value) -> Value:
        """min(max(x, 0), 6)."""
        return self.node("Clip", x, self.constant(0), self.constant(6))

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return self.node("Sigmoid", x)

    def tanh(self, x: Value) -> Value:
        """Hyperbolic tangent."""
        return self.node("Tanh", x)

    def add(self, a: Value, b: Value) -> Value:
        """Sum."""
        return self.node("Add", a, b)

    def subtract(self, a: Value, b: Value) -> Value:
        """Difference."""
        return self.node("Sub", a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """Product."""
        return self.node("Mul", a, b)

    def subsampled(self, x: Value, stride: int) -> Value:
        """Every `stride`-th row and column; as a pooling of single pixels, which stays in any layout."""
        return self.node("MaxPool", x, kernel_shape=[1, 1], strides=[stride, stride])

    def upsampled(self, x: Value) -> Value:
        """Twice the size, bilinear with half-pixel centres."""
        return self._resized(x, 2, "linear")

    def repeated(self, x: Value, factor: int) -> Value:
        """Each pixel `factor` times in both directions."""
        return self._resized(x, factor, "nearest")

    def _resized(self, x: Value, factor: int, mode: str) -> Value:
        scales = self.constant([1, 1, factor, factor])
        # With centres at half a pixel, rounding to the nearest is the same for any tie rule: there is no tie.
        return self.node("Resize", x, "", scales, mode=mode, coordinate_transformation_mode="half_pixel")

    def edge_padded(self, x: Value, reach: int) -> Value:
        """With the outermost pixels repeated."""
        pads = self.constant([0, 0, reach, reach, 0, 0, reach, reach], np.int64)
        return self.node("Pad", x, pads, mode="edge")

    def cells_to_pixels(self, x: Value, side: int) -> Value:
        """Channels become cells."""
        return self.node("DepthToSpace", x, blocksize=side)

    def exact(self, x: Value) -> Value:
        """Everything is float32."""
        return x

    def reshape(self, x: Value, shape: tuple[int, ...], name: str = "") -> Value:
        """A reshape; -1 takes what is left."""
        return self.node("Reshape", x, self.constant(shape, np.int64), name=name)

    def model(self, inputs: Types, outputs: Types, metadata: Mapping[str, str]) -> ModelProto:
        """The finished model.

        Args:
          inputs: the graph's inputs.
          outputs: the graph's outputs.
          metadata: text by name.
        """
        graph = helper.make_graph(self._nodes, "unisal", _infos(inputs), _infos(outputs), self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="unisal-jax",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(metadata))
        return model


def _infos(values: Types) -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        for name, (dtype, shape) in values.items()
    ]
