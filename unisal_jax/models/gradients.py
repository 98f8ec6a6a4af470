"""Layers with custom gradients, where autodiff is slow on XLA's CPU backend or emits a long program.

Values and gradients equal those of the plain form up to the order of the sums. Reverse mode only. Functions
that the network calls many times with the same shapes are under `jax.jit`: the program then holds one copy of
each instead of one per call.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.models.architecture import EPSILON
from unisal_jax.models.depthwise import TAPS, padded


@jax.custom_vjp
def stem_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution of stride 2 with one pixel of zero padding, for images with few channels.

    Args:
      x: [batch, height, width, channels], even sizes.
      kernel: [3, 3, channels, features], of the same dtype.

    Returns:
      [batch, height / 2, width / 2, features].
    """
    return _stem(x, kernel)


def _stem(x: jax.Array, kernel: jax.Array) -> jax.Array:
    out: jax.Array = jax.lax.platform_dependent(x, kernel, tpu=_stem_by_planes, default=_stem_by_conv)
    return out


def _stem_by_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


def _stem_by_planes(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution with pixels, not the three channels, along a TPU's lanes.

    By the TPU compiler's estimate the stem and the block after it take a sixth of the time.
    """
    flat = kernel.reshape(-1, kernel.shape[-1])
    return jnp.einsum("kbhw,kf->bhwf", _planes(x), flat, precision="highest")


def _planes(x: jax.Array) -> jax.Array:
    """The pixels that each weight of the kernel reads, [9 * channels, batch, height / 2, width / 2]."""
    height, width = x.shape[1:3]
    planes = jnp.moveaxis(padded(x), -1, 0)
    return jnp.concatenate([planes[:, :, i : i + height : 2, j : j + width : 2] for i, j in TAPS])


def _stem_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    (of_input,) = jax.vjp(lambda x: _stem_by_conv(x, kernel), x)[1](gradient)
    of_kernel = jax.lax.platform_dependent(
        x, gradient, tpu=_stem_kernel_gradient_by_planes, default=_stem_kernel_gradient
    )
    return of_input, of_kernel.reshape(kernel.shape)


def _stem_kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    # One matrix product: 0.04 s of a DHF1K step on two cores. Autodiff's convolution takes 0.28 s.
    height, width = x.shape[1:3]
    around = padded(x)
    patches = jnp.concatenate([around[:, i : i + height : 2, j : j + width : 2] for i, j in TAPS], axis=-1)
    # Set explicitly: the backward pass runs outside the precision context.
    return jnp.matmul(
        patches.reshape(-1, patches.shape[-1]).T,
        gradient.reshape(-1, gradient.shape[-1]),
        precision="highest",
    )


def _stem_kernel_gradient_by_planes(x: jax.Array, gradient: jax.Array) -> jax.Array:
    return jnp.einsum("kbhw,bhwf->kf", _planes(x), gradient, precision="highest")


stem_conv.defvjp(lambda x, kernel: (stem_conv(x, kernel), (x, kernel)), _stem_backward)


@jax.custom_vjp
def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6). The gradient at 0 and at 6 is 0, as in PyTorch."""
    clamped: jax.Array = _clamped(x)
    return clamped


@jax.jit
def _clamped(x: jax.Array) -> jax.Array:
    return jax.lax.clamp(x.dtype.type(0), x, x.dtype.type(6))


def _relu6_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Saves y instead of x: y determines the gradient, and the next layer keeps it anyway.
    y = relu6(x)
    return y, y


@jax.jit
def _relu6_backward(y: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    # One comparison suffices, as y is in 0 to 6. With two, a TPU stores two masks.
    return (jnp.where(y * (6 - y) > 0, gradient, 0),)


relu6.defvjp(_relu6_forward, _relu6_backward)


def along_channels(values: jax.Array, x: jax.Array) -> jax.Array:
    """Broadcasts [channels] to the shape of x [..., channels] by one operation; `+` and `*` emit two."""
    return jax.lax.broadcast_in_dim(values, x.shape, (x.ndim - 1,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalized(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Batch norm with the statistics of each time step over batch, height and width.

    The returned statistics have no gradient.

    Args:
      x: [batch, time, height, width, channels].
      scale: [channels].
      bias: [channels].
      axis_name: mapped axis (devices) to compute the statistics over as well.

    Returns:
      (normalised x; mean and biased variance [time, channels] in at least float32).
    """
    out: tuple[jax.Array, jax.Array, jax.Array] = _normalize_forward(x, scale, bias, axis_name)[0]
    return out


_OVER = (0, 2, 3)


def _over_time(values: jax.Array, x: jax.Array) -> jax.Array:
    """Broadcasts [time, channels] to the shape of x."""
    return jax.lax.broadcast_in_dim(values, x.shape, (1, 4))


def _step_mean(values: jax.Array, axis_name: str | None) -> jax.Array:
    mean = jnp.mean(values, _OVER)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


@functools.partial(jax.jit, static_argnums=3)
def _normalize_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
    values = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = _step_mean(values, axis_name)
    centred = values - _over_time(mean, x)
    # Two passes: E[x^2] - E[x]^2 cancels in float32.
    var = _step_mean(jnp.square(centred), axis_name)
    inverse = jax.lax.rsqrt(var + EPSILON)
    out = centred * _over_time(inverse * scale, x) + along_channels(bias, x)
    return (out.astype(x.dtype), mean, var), (x, scale, mean, inverse)


@functools.partial(jax.jit, static_argnums=0)
def _normalize_backward(
    axis_name: str | None, saved: tuple[jax.Array, ...], gradients: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, mean, inverse = saved
    gradient = gradients[0].astype(mean.dtype)
    unit = (x.astype(mean.dtype) - _over_time(mean, x)) * _over_time(inverse, x)
    of_scale, of_bias = jnp.sum(gradient * unit, _OVER), jnp.sum(gradient, _OVER)
    # The gradient through the statistics, the same for all pixels that they were computed from.
    shares = 1 / (x.size // mean.size) * jnp.stack([of_scale, of_bias])
    if axis_name is not None:
        shares = jax.lax.pmean(shares, axis_name)
    inner = gradient - _over_time(shares[1], x) - unit * _over_time(shares[0], x)
    of_x = (inner * _over_time(inverse * scale, x)).astype(x.dtype)
    return of_x, of_scale.sum(0).astype(scale.dtype), of_bias.sum(0).astype(scale.dtype)


normalized.defvjp(_normalize_forward, _normalize_backward)


@jax.custom_vjp
def upsample2x(x: jax.Array) -> jax.Array:
    """Bilinear upsampling by two with half-pixel centres, [..., h, w, c] -> [..., 2h, 2w, c].

    Equals `layers.resize_bilinear`. A CPU adds two shifted copies per axis. Other platforms multiply by a
    constant matrix per axis, because a TPU interleaves rows and columns slowly.
    """
    upsampled: jax.Array = jax.lax.platform_dependent(
        x, cpu=_upsampled_by_shifts, default=_upsampled_by_products
    )
    return upsampled


def _upsampled_by_shifts(x: jax.Array) -> jax.Array:
    for axis in (x.ndim - 3, x.ndim - 2):
        before = _joined(_part(x, axis, 0, 1), _part(x, axis, 0, -1), axis)
        after = _joined(_part(x, axis, 1, None), _part(x, axis, -1, None), axis)
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def _upsampled_by_products(x: jax.Array) -> jax.Array:
    rows, columns = (jnp.asarray(_doubling(size), x.dtype) for size in x.shape[-3:-1])
    x = jnp.einsum("...hwc,Hh->...Hwc", x, rows, precision="highest")
    return jnp.einsum("...hwc,Ww->...hWc", x, columns, precision="highest")


def _doubling(size: int) -> np.ndarray:
    """The matrix [2 * size, size] that upsamples one axis."""
    out = np.arange(2 * size)
    near = out // 2
    far = np.clip(near + np.where(out % 2, 1, -1), 0, size - 1)
    matrix = np.zeros((2 * size, size))
    np.add.at(matrix, (out, near), 0.75)
    np.add.at(matrix, (out, far), 0.25)
    return matrix


def _upsample_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    return (
        jax.lax.platform_dependent(gradient, cpu=_downsampled_by_shifts, default=_downsampled_by_products),
    )


def _downsampled_by_products(gradient: jax.Array) -> jax.Array:
    rows, columns = (jnp.asarray(_doubling(size // 2), gradient.dtype) for size in gradient.shape[-3:-1])
    gradient = jnp.einsum("...hWc,Ww->...hwc", gradient, columns, precision="highest")
    return jnp.einsum("...Hwc,Hh->...hwc", gradient, rows, precision="highest")


def _downsampled_by_shifts(gradient: jax.Array) -> jax.Array:
    for axis in (gradient.ndim - 2, gradient.ndim - 3):
        shape = gradient.shape
        pair = gradient.reshape(*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :])
        even, odd = (jax.lax.index_in_dim(pair, number, axis + 1, keepdims=False) for number in (0, 1))
        # A pixel contributes to its own pair, to the next pair's even pixel and to the previous pair's odd
        # one. At the ends, its own pair takes the weight of the missing neighbour.
        after = _joined(_part(even, axis, 1, None), _part(odd, axis, -1, None), axis)
        before = _joined(_part(even, axis, 0, 1), _part(odd, axis, 0, -1), axis)
        gradient = 0.75 * (even + odd) + 0.25 * (after + before)
    return gradient


upsample2x.defvjp(lambda x: (upsample2x(x), None), _upsample_backward)


def _part(x: jax.Array, axis: int, start: int, stop: int | None) -> jax.Array:
    return jax.lax.slice_in_dim(x, start, stop, axis=axis)


def _joined(first: jax.Array, second: jax.Array, axis: int) -> jax.Array:
    return jnp.concatenate([first, second], axis)
