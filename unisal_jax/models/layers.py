"""Convolutions, resizing and the inverted residual block that encoder and decoder are made of.

Feature maps are [batch, time, height, width, channels]; every layer here takes any leading axes.
"""

import functools
import operator
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import Domain
from unisal_jax.models.config import DepthwiseForm
from unisal_jax.models.forms import StemForm, forms
from unisal_jax.models.gradients import relu6, shifted_depthwise, stem_conv, upsample2x

# PyTorch's default for convolutions: uniform in +-1/sqrt(fan_in).
default_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# tonylins' MobileNetV2: normal with variance 2 / (kernel area * channels out).
fan_out_init = nn.initializers.variance_scaling(2, "fan_out", "normal")


def bias_init(fan_in: int) -> Callable[..., jax.Array]:
    """PyTorch's default for the bias of a convolution: uniform in +-1/sqrt(fan_in)."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -1, 1) / np.sqrt(fan_in)

    return init


def sum_of(terms: Iterable[jax.Array]) -> jax.Array:
    """Their sum, from left to right."""
    return functools.reduce(operator.add, terms)


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, form: DepthwiseForm = "auto"
) -> jax.Array:
    """3x3 depthwise convolution with one pixel of zero padding.

    On XLA's CPU backend the grouped convolution is 11 to 37 times slower than shifted multiply-adds, in
    value and gradient; elsewhere it is the native form.

    Args:
      x: [..., height, width, channels].
      kernel: [3, 3, 1, channels].
      stride: of the output, in both directions; output pixel i is centred on input pixel stride * i.
      form: see `forms.DepthwiseForm`; "auto" for training's on the default backend.
    Returns:
      [..., ceil(height / stride), ceil(width / stride), channels].
    """
    if form == "auto":
        form = forms(prediction=False).depthwise
    height, width, channels = x.shape[-3:]
    flat = x.reshape(-1, height, width, channels)
    if form == "grouped":
        out = jax.lax.conv_general_dilated(
            flat,
            kernel.astype(x.dtype),
            (stride, stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=channels,
        )
    elif form == "rows":
        padded = jnp.pad(flat, ((0, 0), (1, 1), (1, 1), (0, 0)))
        taps = kernel.astype(x.dtype)
        # Three passes of three taps: a pass of nine has more to hold than there are registers.
        rows = [
            sum_of(taps[i, j, 0] * padded[:, :, j : j + width : stride] for j in range(3)) for i in range(3)
        ]
        rows = jax.lax.optimization_barrier(rows)  # or the three would be fused into one again
        out = sum_of(row[:, i : i + height : stride] for i, row in enumerate(rows))
    else:
        out = shifted_depthwise(flat, kernel.astype(x.dtype), stride)
    return out.reshape(*x.shape[:-3], *out.shape[1:])


class Stem(nn.Module):
    """The encoder's first convolution: 3x3, stride 2, one pixel of zero padding, no bias."""

    features: int
    form: StemForm = "convolution"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., height, width, channels] -> [..., height / 2, width / 2, features], even sizes."""
        height, width, channels = x.shape[-3:]
        kernel = self.param("kernel", fan_out_init, (3, 3, channels, self.features))
        flat = x.reshape(-1, height, width, channels)
        kernel = kernel.astype(x.dtype)
        if self.form == "convolution":
            out = stem_conv(flat, kernel)
        else:
            padded = jnp.pad(flat, ((0, 0), (1, 1), (1, 1), (0, 0)))
            out = sum_of(
                padded[:, i : i + height : 2, j : j + width : 2, c, None] * kernel[i, j, c]
                for i in range(3)
                for j in range(3)
                for c in range(channels)
            )
        return out.reshape(*x.shape[:-3], *out.shape[1:])


class Conv3x3(nn.Module):
    """3x3 convolution with zero padding and no bias: depthwise, or dense for the ablation.

    The kernel is [3, 3, 1, channels] depthwise and [3, 3, channels, channels] dense.
    """

    stride: int = 1
    dense: bool = False
    form: DepthwiseForm = "auto"
    kernel_init: Callable[..., jax.Array] = default_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., height, width, channels] -> [..., ceil(height / stride), ceil(width / stride), channels]."""
        channels = x.shape[-1]
        shape = (3, 3, channels if self.dense else 1, channels)
        kernel = self.param("kernel", self.kernel_init, shape)
        if not self.dense:
            return depthwise_conv(x, kernel, self.stride, self.form)
        flat = x.reshape(-1, *x.shape[-3:])
        out = jax.lax.conv_general_dilated(
            flat,
            kernel.astype(x.dtype),
            (self.stride, self.stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return out.reshape(*x.shape[:-3], *out.shape[1:])


class Pointwise(nn.Module):
    """1x1 convolution, as a matrix product, of one map or of several of different size.

    A 1x1 convolution commutes with bilinear upsampling. So where the maps to be concatenated have
    half the size of the last one, each is multiplied at its own size, upsampled and added: the same
    sum on a quarter of the pixels.

    Attributes:
      split: the matrix lies in one piece a map, `kernel_0` and so on, so that none has to be cut out.
    """

    features: int
    bias: bool = False
    kernel_init: Callable[..., jax.Array] = default_init
    split: bool = False

    @nn.compact
    def __call__(self, *maps: jax.Array) -> jax.Array:
        """Maps [..., height, width, channels] of the full or half size -> [..., height, width, features]."""
        fan_in = sum(x.shape[-1] for x in maps)
        if self.split:
            kernels: Iterable[jax.Array] = (
                jnp.asarray(self.get_variable("params", f"kernel_{number}"), x.dtype)
                for number, x in enumerate(maps)
            )
        else:
            kernel = self.param("kernel", self.kernel_init, (fan_in, self.features)).astype(maps[0].dtype)
            ends = np.cumsum([x.shape[-1] for x in maps])
            kernels = (kernel[end - x.shape[-1] : end] for x, end in zip(maps, ends, strict=True))
        parts = []
        for x, piece in zip(maps, kernels, strict=True):
            # As a matrix: the kernel's gradient is then one product, and not one for each row.
            flat = jnp.matmul(x.reshape(-1, x.shape[-1]), piece)
            part = flat.reshape(*x.shape[:-1], self.features)
            parts.append(part if x.shape[-3] == maps[-1].shape[-3] else upsample2x(part))
        total = functools.reduce(operator.add, parts)
        if self.bias:
            total = total + self.param("bias", bias_init(fan_in), (self.features,)).astype(total.dtype)
        return total


class InvertedResidual(nn.Module):
    """MobileNetV2's block: 1x1 up, 3x3 depthwise, 1x1 down, each with a batch norm (paper, Table 1).

    Attributes:
      features: channels out.
      expansion: channels between, as a multiple of those in; 1 leaves out the first 1x1.
      norm: makes a batch norm, called as norm(name=...).
      stride: of the 3x3 convolution.
      residual: add the input.
      dense: a dense 3x3 convolution in place of the depthwise one.
      split: see `Pointwise`, for the first 1x1.
      form: of the depthwise convolution.
      kernel_init: of the kernels.
    """

    features: int
    expansion: int
    norm: Callable[..., nn.Module]
    stride: int = 1
    residual: bool = False
    dense: bool = False
    form: DepthwiseForm = "auto"
    kernel_init: Callable[..., jax.Array] = fan_out_init
    split: bool = False

    @nn.compact
    def __call__(self, *maps: jax.Array, domain: Domain, train: bool) -> jax.Array:
        """Maps as for `Pointwise` (one only if expansion is 1) -> [..., height, width, features]."""
        x = maps[-1]
        if self.expansion != 1:
            hidden = self.expansion * sum(m.shape[-1] for m in maps)
            expand = Pointwise(hidden, kernel_init=self.kernel_init, split=self.split, name="expand")
            x = expand(*maps)
            x = relu6(self.norm(name="expand_norm")(x, domain, train))
        x = Conv3x3(self.stride, self.dense, self.form, self.kernel_init, name="spatial")(x)
        x = relu6(self.norm(name="spatial_norm")(x, domain, train))
        x = Pointwise(self.features, kernel_init=self.kernel_init, name="project")(x)
        x = self.norm(name="project_norm")(x, domain, train)
        return x + maps[-1] if self.residual else x


def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Bilinear resize with half-pixel centres and no antialiasing, as PyTorch's `interpolate`.

    Args:
      x: [..., height, width].
      size: (height, width) out.
    """
    for axis, out in ((x.ndim - 2, size[0]), (x.ndim - 1, size[1])):
        length = x.shape[axis]
        if out == length:
            continue
        at = np.clip((np.arange(out) + 0.5) * (length / out) - 0.5, 0, length - 1)
        low = np.floor(at).astype(np.int32)
        high = np.minimum(low + 1, length - 1)
        shape = [1] * x.ndim
        shape[axis] = out
        weight = jnp.asarray((at - low).reshape(shape), x.dtype)
        x = jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight
    return x
