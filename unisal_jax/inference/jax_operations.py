"""The operations of the folded network in JAX, on maps [batch, height, width, channels].

A table lists the fastest form of each layer for each backend. `python -m benchmarks.forms` measures all forms
and prints the table's rows. All forms compute the same sums, in different orders.
"""

import functools
import operator
from collections.abc import Iterable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

DepthwiseForm = Literal["shifted", "rows", "grouped"]
"""Forms of a 3x3 depthwise convolution: nine shifted multiply-adds in one pass ("shifted"), one pass for each
of the kernel's three rows ("rows"), or XLA's grouped convolution ("grouped")."""

StemForm = Literal["convolution", "shifted"]
"""Forms of the encoder's first convolution, 3 to 32 channels: XLA's own, or 27 shifted multiply-adds."""

_NHWC = ("NHWC", "HWIO", "NHWC")


class Forms(NamedTuple):
    """The forms of a network's layers."""

    depthwise: DepthwiseForm
    stem: StemForm


# CPU: benchmarks/results/forms_cpu.json. GPU, on an H200 in bfloat16: all forms take about the same time, but
# XLA compiles the network with the shifted ones twice as fast. TPU: not measured; XLA's native forms.
_NATIVE = Forms("grouped", "convolution")
FORMS = {"cpu": Forms("rows", "shifted"), "gpu": Forms("shifted", "shifted")}


def forms_of(backend: str | None = None) -> Forms:
    """The fastest forms for a backend, "cpu", "gpu" or "tpu"; None for the default backend."""
    return FORMS.get(backend or jax.default_backend(), _NATIVE)


class JaxOperations:
    """See `network.Operations`. Parameters are cast to the dtype of the maps.

    Args:
      forms: the forms of the layers.
    """

    def __init__(self, forms: Forms):
        self._forms = forms

    def conv(
        self,
        x: jax.Array,
        kernel: jax.Array,
        bias: jax.Array | None = None,
        stride: int = 1,
        padding: int | None = None,
    ) -> jax.Array:
        """A convolution."""
        kernel = kernel.astype(x.dtype)
        if kernel.ndim == 2:
            out = jnp.matmul(x, kernel)
        elif self._forms.stem == "shifted" and kernel.shape[2] == 3:
            out = shifted_conv(x, kernel, stride)
        else:
            pad = kernel.shape[0] // 2 if padding is None else padding
            out = jax.lax.conv_general_dilated(
                x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=_NHWC
            )
        return out if bias is None else out + bias.astype(x.dtype)

    def depthwise(self, x: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int = 1) -> jax.Array:
        """A 3x3 depthwise convolution."""
        return depthwise_conv(x, kernel.astype(x.dtype), stride, self._forms.depthwise) + bias.astype(x.dtype)

    def transposed(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """A 4x4 transposed convolution to twice the size."""
        return jax.lax.conv_transpose(x, kernel.astype(x.dtype), (2, 2), "SAME", dimension_numbers=_NHWC)

    def relu6(self, x: jax.Array) -> jax.Array:
        """min(max(x, 0), 6)."""
        return jnp.clip(x, 0, 6)

    sigmoid = staticmethod(jax.nn.sigmoid)
    tanh = staticmethod(jnp.tanh)
    add = staticmethod(operator.add)
    subtract = staticmethod(operator.sub)
    multiply = staticmethod(operator.mul)

    def subsampled(self, x: jax.Array, stride: int) -> jax.Array:
        """Every `stride`-th row and column."""
        return x[:, ::stride, ::stride]

    def upsampled(self, x: jax.Array) -> jax.Array:
        """Bilinear upsampling to twice the size with half-pixel centres, from two shifted copies per axis."""
        for axis in (1, 2):
            length = x.shape[axis]
            before, after = (
                jnp.take(x, jnp.clip(jnp.arange(length) + step, 0, length - 1), axis) for step in (-1, 1)
            )
            pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
            x = pair.reshape(*x.shape[:axis], 2 * length, *x.shape[axis + 1 :])
        return x

    def repeated(self, x: jax.Array, factor: int) -> jax.Array:
        """Nearest-neighbour upsampling by `factor`."""
        return jnp.repeat(jnp.repeat(x, factor, 1), factor, 2)

    def edge_padded(self, x: jax.Array, reach: int) -> jax.Array:
        """Padding by repetition of the outermost pixels."""
        return jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")

    def cells_to_pixels(self, x: jax.Array, side: int) -> jax.Array:
        """Rearranges channels into cells of pixels."""
        batch, height, width, _ = x.shape
        cells = x.reshape(batch, height, width, side, side).swapaxes(2, 3)
        return cells.reshape(batch, side * height, side * width, 1)

    def exact(self, x: jax.Array) -> jax.Array:
        """Casts to at least float32."""
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, form: DepthwiseForm) -> jax.Array:
    """3x3 depthwise convolution with one pixel of zero padding.

    Args:
      x: [batch, height, width, channels].
      kernel: [3, 3, 1, channels], of the same dtype.
      stride: stride in both directions; output pixel i is centred on input pixel stride * i.
      form: how to compute it.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), channels].
    """
    height, width, channels = x.shape[1:]
    if form == "grouped":
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((1, 1), (1, 1)),
            dimension_numbers=_NHWC,
            feature_group_count=channels,
        )
    padded = _zero_padded(x)
    if form == "shifted":
        return _sum(
            kernel[i, j, 0] * padded[:, i : i + height : stride, j : j + width : stride]
            for i in range(3)
            for j in range(3)
        )
    # Three passes of three weights: a pass of nine needs more registers than there are.
    rows = [_sum(kernel[i, j, 0] * padded[:, :, j : j + width : stride] for j in range(3)) for i in range(3)]
    rows = jax.lax.optimization_barrier(rows)  # prevents XLA from fusing the three passes into one
    return _sum(row[:, i : i + height : stride] for i, row in enumerate(rows))


def shifted_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """3x3 convolution of few channels as shifted multiply-adds, with one pixel of zero padding.

    Args:
      x: [batch, height, width, channels].
      kernel: [3, 3, channels, features], of the same dtype.
      stride: stride in both directions.

    Returns:
      [batch, ceil(height / stride), ceil(width / stride), features].
    """
    height, width, channels = x.shape[1:]
    padded = _zero_padded(x)
    return _sum(
        padded[:, i : i + height : stride, j : j + width : stride, c, None] * kernel[i, j, c]
        for i in range(3)
        for j in range(3)
        for c in range(channels)
    )


def _zero_padded(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _sum(terms: Iterable[jax.Array]) -> jax.Array:
    """The sum, from left to right."""
    return functools.reduce(operator.add, terms)
