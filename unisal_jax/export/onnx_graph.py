"""An ONNX graph in the making: operations of maps [batch, channels, height, width], one by one.

Only `onnx`'s own helpers are needed to write one, so what is exported does not hang on a converter's
coverage, and the graph holds what runtimes have fused kernels for: convolutions with their bias, clips,
resizes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Value = str
"""A tensor of the graph is known by its name."""

_Types = Mapping[str, tuple[int, Sequence[int | str]]]


class Graph:
    """Nodes and constants, in the order in which they are asked for."""

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
        bias: np.ndarray | None = None,
        stride: int = 1,
        reach: int | None = None,
        depthwise: bool = False,
    ) -> Value:
        """A convolution.

        Args:
          x: [batch, channels in, height, width].
          kernel: [in, out] of a 1x1 convolution, or [rows, columns, in, out]; a depthwise one's `in` is 1.
          bias: [out], or [height, width, out] where constant maps are in it; None for none.
          stride: in both directions.
          reach: pixels of zero padding; None for half the kernel's side.
          depthwise: each channel has its own kernel.
        """
        kernel = kernel[None, None] if kernel.ndim == 2 else kernel
        side, features = kernel.shape[0], kernel.shape[-1]
        pad = side // 2 if reach is None else reach
        of_channels = bias is not None and bias.ndim == 1
        out = self.node(
            "Conv",
            x,
            self.constant(kernel.transpose(3, 2, 0, 1)),
            *([self.constant(bias)] if bias is not None and of_channels else []),
            group=features if depthwise else 1,
            kernel_shape=[side, side],
            pads=[pad] * 4,
            strides=[stride, stride],
        )
        if bias is None or of_channels:
            return out
        return self.node("Add", out, self.constant(bias.transpose(2, 0, 1)[None]))

    def relu6(self, x: Value) -> Value:
        """min(max(x, 0), 6)."""
        return self.node("Clip", x, self.constant(0), self.constant(6))

    def add(self, a: Value, b: Value) -> Value:
        """Their sum."""
        return self.node("Add", a, b)

    def subsampled(self, x: Value, stride: int) -> Value:
        """Every `stride`-th row and column; as a pooling of single pixels, which stays in any layout."""
        return self.node("MaxPool", x, kernel_shape=[1, 1], strides=[stride, stride])

    def upsampled(self, x: Value, factor: int, mode: str) -> Value:
        """Upsampling with half-pixel centres: "linear" or "nearest"."""
        scales = self.constant([1, 1, factor, factor])
        # With centres at half a pixel, rounding to the nearest is the same for any tie rule: there is no tie.
        return self.node("Resize", x, "", scales, mode=mode, coordinate_transformation_mode="half_pixel")

    def reshape(self, x: Value, shape: tuple[int, ...], name: str = "") -> Value:
        """A reshape; -1 takes what is left."""
        return self.node("Reshape", x, self.constant(shape, np.int64), name=name)

    def model(
        self,
        inputs: _Types,
        outputs: _Types,
        opset: int,
        ir_version: int,
        version: str,
        metadata: dict[str, str],
    ) -> ModelProto:
        """The finished model.

        Args:
          inputs, outputs: by name, as `helper.make_tensor_value_info` takes them.
          opset, ir_version: of ONNX.
          version: of this package.
          metadata: text by name.
        """
        graph = helper.make_graph(self._nodes, "unisal", _infos(inputs), _infos(outputs), self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=ir_version,
            producer_name="unisal-jax",
            producer_version=version,
        )
        helper.set_model_props(model, metadata)
        return model


def _infos(values: _Types) -> list[ValueInfoProto]:
    return [helper.make_tensor_value_info(name, *value) for name, value in values.items()]
