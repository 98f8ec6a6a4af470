"""ONNX graphs for images of any size: the parts that depend on the size are computed in the graph."""

import dataclasses

import numpy as np
import onnx

from unisal_jax.domains import SIZE_UNIT
from unisal_jax.inference.fold import Folded, Params, with_prior_share
from unisal_jax.inference.onnx_operations import OnnxOperations, Value
from unisal_jax.models.architecture import HIDDEN_FEATURES, PRIOR_SCALE


@dataclasses.dataclass(frozen=True)
class AnySize:
    """The size of a graph's images, as nodes of the graph.

    Attributes:
      ops: the graph.
      cells: number of rows, and of columns, at 1/32 of the images' size: int64 [1] each.
    """

    ops: OnnxOperations
    cells: tuple[Value, Value]

    @classmethod
    def of(cls, ops: OnnxOperations, x: Value) -> "AnySize":
        """Reads the size of images [batch, 3, height, width]."""
        shape, unit = ops.node("Shape", x), ops.constant([SIZE_UNIT], np.int64)
        sides = (ops.node("Gather", shape, ops.constant([axis], np.int64), axis=0) for axis in (2, 3))
        rows, columns = (ops.node("Div", side, unit) for side in sides)
        return cls(ops, (rows, columns))

    def zero_state(self) -> Value:
        """A state of zeros, [1, 256, rows, columns]."""
        shape = self.ops.node(
            "Concat", self.ops.constant([1, HIDDEN_FEATURES], np.int64), *self.cells, axis=0
        )
        return self.ops.node("ConstantOfShape", shape)

    def params(self, folded: Folded) -> Params:
        """Like `Folded.sized`, but the prior maps add a tensor of the graph, [1, 256, rows, columns]."""
        if not folded.priors:
            return folded.params
        ops, priors = self.ops, folded.priors
        maps = ops.multiply(
            ops.multiply(self._profile(priors["gaussians"], 0), self._profile(priors["gaussians"], 1)),
            ops.constant(PRIOR_SCALE),
        )
        spatial = ops.relu6(ops.depthwise(maps, priors["spatial"], priors["bias"]))
        last = folded.params["post_cnn"]["project_norm"]["bias"]
        return with_prior_share(folded.params, ops.conv(spatial, priors["project"], last))

    def _profile(self, gaussians: np.ndarray, axis: int) -> Value:
        """Returns one factor of `models.maps.gaussian_maps`: [1, map, rows, 1] or [1, map, 1, columns]."""
        ops, (zero, one) = self.ops, (self.ops.constant(number, np.int64) for number in (0, 1))
        count = ops.reshape(self.cells[axis], ())
        numbers = ops.node("Range", zero, count, one)
        last = ops.node("Sub", count, one)
        numbers, last = (ops.node("Cast", each, to=onnx.TensorProto.FLOAT) for each in (numbers, last))
        at = ops.node("Div", numbers, ops.node("Max", last, ops.constant(1)))
        at = ops.reshape(at, (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1))
        mean, log_std = (gaussians[:, axis, number, None, None][None] for number in (0, 1))
        from_mean = ops.multiply(ops.subtract(at, ops.constant(mean)), ops.constant(np.exp(-log_std)))
        square = ops.multiply(from_mean, from_mean)
        return ops.node("Exp", ops.multiply(square, ops.constant(-0.5)))
