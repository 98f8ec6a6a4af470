"""The operations of the folded network as nodes of an ONNX graph, on maps [batch, channels, height, width].

The graph is written with the helpers of `onnx`, not by a converter. It uses operations that runtimes have
fused kernels for: convolutions with bias, clips and resizes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from unisal_jax.version import __version__

# The oldest versions in which every operation used here has its current meaning, to support old runtimes.
OPSET, _IR_VERSION = 13, 8

Value = str
"""The name of a tensor of the graph."""

Types = Mapping[str, tuple[str, Sequence[int | str]]]
"""Name of a tensor -> (NumPy dtype, axes); an axis given as a name may have any length."""


class OnnxOperations:
    """See `network.Operations`. Nodes and constants are stored in the order of the calls."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._shared: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def node(self, operation: str, *inputs: Value, name: str = "", **attributes: Any) -> Value:
        """Adds an operation with one output, named `name` or after the operation."""
        output = name or f"{operation.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operation, list(inputs), [output], output, **attributes))
        return output

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> Value:
        """Adds a constant; equal constants are stored once."""
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
        """A 3x3 depthwise convolution."""
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
        """A 4x4 transposed convolution to twice the size. ONNX rotates its kernel by 180 degrees."""
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
        """Every `stride`-th row and column, as a pooling of single pixels, which suits any memory layout."""
        return self.node("MaxPool", x, kernel_shape=[1, 1], strides=[stride, stride])

    def upsampled(self, x: Value) -> Value:
        """Bilinear upsampling to twice the size with half-pixel centres."""
        return self._resized(x, 2, "linear")

    def repeated(self, x: Value, factor: int) -> Value:
        """Nearest-neighbour upsampling by `factor`."""
        return self._resized(x, factor, "nearest")

    def _resized(self, x: Value, factor: int, mode: str) -> Value:
        scales = self.constant([1, 1, factor, factor])
        # With half-pixel centres there are no ties, so the rounding rule does not matter.
        return self.node("Resize", x, "", scales, mode=mode, coordinate_transformation_mode="half_pixel")

    def edge_padded(self, x: Value, reach: int) -> Value:
        """Padding by repetition of the outermost pixels."""
        pads = self.constant([0, 0, reach, reach, 0, 0, reach, reach], np.int64)
        return self.node("Pad", x, pads, mode="edge")

    def cells_to_pixels(self, x: Value, side: int) -> Value:
        """Rearranges channels into cells of pixels."""
        return self.node("DepthToSpace", x, blocksize=side)

    def exact(self, x: Value) -> Value:
        """The value itself: everything is float32."""
        return x

    def reshape(self, x: Value, shape: tuple[int, ...], name: str = "") -> Value:
        """A reshape; -1 stands for the remaining length."""
        return self.node("Reshape", x, self.constant(shape, np.int64), name=name)

    def model(self, inputs: Types, outputs: Types, metadata: Mapping[str, str]) -> ModelProto:
        """The finished model.

        Args:
          inputs: the graph's inputs.
          outputs: the graph's outputs.
          metadata: the model's metadata, text by name.
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
