"""Layers whose gradient is written out, because what JAX derives is slow on XLA's CPU backend, or long.

Values are those of the plain form, and gradients too, up to the order of the sums; reverse mode only.
What the network calls many times with the same shapes is under `jax.jit`, which makes it one function of the
program instead of a copy a call.
"""

import functools
import operator

import jax
import jax.numpy as jnp

from unisal_jax.models.architecture import EPSILON

_TAPS = [(i, j) for i in range(3) for j in range(3)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def shifted_depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """3x3 depthwise convolution with one pixel of zero padding, as nine shifted multiply-adds.

    Args:
      x: [batch, height, width, channels].
      kernel: [3, 3, 1, channels], of the same type.
      stride: in both directions.
    Returns:
      [batch, ceil(height / stride), ceil(width / stride), channels].
    """
    return _shifted(x, kernel, stride)


@functools.partial(jax.jit, static_argnums=2)
def _shifted(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    height, width = x.shape[1:3]
    padded = _padded(x)
    shifted = (kernel[i, j, 0] * padded[:, i : i + height : stride, j : j + width : stride] for i, j in _TAPS)
    return functools.reduce(operator.add, shifted)


def _depthwise_forward(
    x: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return shifted_depthwise(x, kernel, stride), (x, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _depthwise_backward(
    stride: int, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    if stride == 2:
        of_input = _input_gradient_of_stride_2(kernel, gradient)[:, : x.shape[1], : x.shape[2]]
    else:
        # Derived, it is nine paddings, and XLA asks of every pixel of each whether it lies inside.
        of_input = _shifted(gradient, kernel[::-1, ::-1], 1)
    return of_input, _kernel_gradient(x, gradient, stride)


shifted_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _input_gradient_of_stride_2(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
    """[batch, 2 h, 2 w, channels] from [batch, h, w, channels].

    An even row was read by one output row, an odd one by two, and columns likewise: nine products of the
    small size. Derived, they are nine of the large size, mostly zeros.
    """
    height, width = gradient.shape[1:3]
    after = jnp.pad(gradient, ((0, 0), (0, 1), (0, 1), (0, 0)))
    taps = {0: ((1, 0),), 1: ((2, 0), (0, 1))}  # parity -> (tap, by how many output rows further)

    def pixels(down: int, right: int) -> jax.Array:
        return functools.reduce(
            operator.add,
            (
                kernel[i, j, 0] * after[:, row : row + height, column : column + width]
                for i, row in taps[down]
                for j, column in taps[right]
            ),
        )

    rows = [jnp.stack([pixels(down, 0), pixels(down, 1)], 3) for down in (0, 1)]
    full = jnp.stack(rows, 2)
    return full.reshape(gradient.shape[0], 2 * height, 2 * width, -1)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    """Sums over rows, one after the other: derived, eight products as large as x would be held at once."""
    width, channels = x.shape[2:]
    batch, out_height, out_width = gradient.shape[:3]
    padded = _padded(x)

    def add_row(number: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        picture, row = number // out_height, number % out_height
        above = jax.lax.dynamic_slice(gradient, (picture, row, 0, 0), (1, 1, out_width, channels))[0, 0]
        below = jax.lax.dynamic_slice(padded, (picture, stride * row, 0, 0), (1, 3, width + 2, channels))[0]
        return tuple(
            total + below[i, j : j + width : stride] * above
            for total, (i, j) in zip(sums, _TAPS, strict=True)
        )

    # In at least float32: a bfloat16 sum of so many rows would lose most of them.
    kind = jnp.promote_types(x.dtype, jnp.float32)
    zeros = tuple(jnp.zeros((out_width, channels), kind) for _ in _TAPS)
    sums = jax.lax.fori_loop(0, batch * out_height, add_row, zeros)
    return jnp.stack([total.sum(0) for total in sums]).reshape(3, 3, 1, channels).astype(x.dtype)


@jax.custom_vjp
def stem_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution of stride 2 with one pixel of zero padding, of pictures with few channels.

    Args:
      x: [batch, height, width, channels], even sizes.
      kernel: [3, 3, channels, features], of the same type.
    Returns:
      [batch, height / 2, width / 2, features].
    """
    return _stem(x, kernel)


def _stem(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


def _stem_backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    (of_input,) = jax.vjp(lambda x: _stem(x, kernel), x)[1](gradient)
    # One matrix product, 0.04 s of a DHF1K step on two cores: the convolution that JAX derives took 0.28 s.
    height, width = x.shape[1:3]
    padded = _padded(x)
    patches = jnp.concatenate([padded[:, i : i + height : 2, j : j + width : 2] for i, j in _TAPS], axis=-1)
    # Said here: the gradient is not made within the network's call, which asks for it.
    product = jnp.matmul(
        patches.reshape(-1, patches.shape[-1]).T,
        gradient.reshape(-1, gradient.shape[-1]),
        precision="highest",
    )
    return of_input, product.reshape(kernel.shape)


stem_conv.defvjp(lambda x, kernel: (stem_conv(x, kernel), (x, kernel)), _stem_backward)


@jax.custom_vjp
def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6); its gradient at 0 and at 6 is 0, as PyTorch's."""
    return _clamped(x)


@jax.jit
def _clamped(x: jax.Array) -> jax.Array:
    return jax.lax.clamp(x.dtype.type(0), x, x.dtype.type(6))


def _relu6_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    # The result tells where the gradient passes, and the next layer keeps it anyway: x can go.
    y = relu6(x)
    return y, y


@jax.jit
def _relu6_backward(y: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    return (jnp.where((y > 0) & (y < 6), gradient, 0),)


relu6.defvjp(_relu6_forward, _relu6_backward)


def along_channels(values: jax.Array, x: jax.Array) -> jax.Array:
    """[channels] for every pixel of x [..., channels], by one operation; `+` and `*` take two to do so."""
    return jax.lax.broadcast_in_dim(values, x.shape, (x.ndim - 1,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalized(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Batch norm with the statistics of each time step over batch, height and width; these have no gradient.

    Args:
      x: [batch, time, height, width, channels].
      scale, bias: [channels].
      axis_name: take the statistics over this mapped axis (devices) too.
    Returns:
      (normalised x; mean and biased variance [time, channels] in at least float32).
    """
    return _normalize_forward(x, scale, bias, axis_name)[0]


_OVER = (0, 2, 3)


def _over_time(values: jax.Array, x: jax.Array) -> jax.Array:
    """[time, channels] for every pixel of x."""
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
    # What moves the statistics: all pixels that they were taken over share it.
    shares = 1 / (x.size // mean.size) * jnp.stack([of_scale, of_bias])
    if axis_name is not None:
        shares = jax.lax.pmean(shares, axis_name)
    inner = gradient - _over_time(shares[1], x) - unit * _over_time(shares[0], x)
    of_x = (inner * _over_time(inverse * scale, x)).astype(x.dtype)
    return of_x, of_scale.sum(0).astype(scale.dtype), of_bias.sum(0).astype(scale.dtype)


normalized.defvjp(_normalize_forward, _normalize_backward)


def _padded(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


@jax.custom_vjp
def upsample2x(x: jax.Array) -> jax.Array:
    """Bilinear upsampling by two with half-pixel centres, [..., h, w, c] -> [..., 2h, 2w, c].

    The same as `layers.resize_bilinear`, from two shifted copies an axis.
    """
    for axis in (x.ndim - 3, x.ndim - 2):
        before = _joined(_part(x, axis, 0, 1), _part(x, axis, 0, -1), axis)
        after = _joined(_part(x, axis, 1, None), _part(x, axis, -1, None), axis)
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def _upsample_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    for axis in (gradient.ndim - 2, gradient.ndim - 3):
        shape = gradient.shape
        pair = gradient.reshape(*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :])
        even, odd = (jax.lax.index_in_dim(pair, number, axis + 1, keepdims=False) for number in (0, 1))
        # A pixel is in its own pair, in the next pair's even pixel and in the odd one of the pair before;
        # at the ends, where there is none, its own takes that share.
        after = _joined(_part(even, axis, 1, None), _part(odd, axis, -1, None), axis)
        before = _joined(_part(even, axis, 0, 1), _part(odd, axis, 0, -1), axis)
        gradient = 0.75 * (even + odd) + 0.25 * (after + before)
    return (gradient,)


upsample2x.defvjp(lambda x: (upsample2x(x), None), _upsample_backward)


def _part(x: jax.Array, axis: int, start: int, stop: int | None) -> jax.Array:
    return jax.lax.slice_in_dim(x, start, stop, axis=axis)


def _joined(first: jax.Array, second: jax.Array, axis: int) -> jax.Array:
    return jnp.concatenate([first, second], axis)
