"""3x3 depthwise convolution and its gradients, in the form that is fastest on each platform.

There are two forms of the same sums: XLA's grouped convolution, and nine shifted multiply-adds with a custom
gradient (reverse mode only). "auto" selects one by the platform that a program is lowered for:

- CPU: shifted. The grouped form is 11 to 37 times slower (benchmarks/results/forms_cpu.json).
- GPU: grouped. The gradient of the shifted form is 14 to 54 times slower (forms_h200.json).
- TPU, by the compiler's estimate (tpu_layers.json): shifted at stride 1, where a block compiles in half the
  time and moves fewer bytes, the first block a quarter; grouped at stride 2, where the shifted form moves
  twice as many.

Functions that the network calls many times with the same shapes are under `jax.jit`: the program then holds
one copy of each instead of one per call.
"""

import functools
import operator

import jax
import jax.numpy as jnp

from unisal_jax.models.config import DepthwiseForm

TAPS = [(i, j) for i in range(3) for j in range(3)]
"""Row and column of each weight of a 3x3 kernel."""


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, form: DepthwiseForm = "auto"
) -> jax.Array:
    """3x3 depthwise convolution with one pixel of zero padding.

    Args:
      x: [..., height, width, channels].
      kernel: [3, 3, 1, channels].
      stride: stride in both directions; output pixel i is centred on input pixel stride * i.
      form: see `config.DepthwiseForm`.

    Returns:
      [..., ceil(height / stride), ceil(width / stride), channels].
    """
    flat, kernel = x.reshape(-1, *x.shape[-3:]), kernel.astype(x.dtype)
    out = _grouped(flat, kernel, stride) if form == "grouped" else _depthwise(flat, kernel, stride, form)
    return out.reshape(*x.shape[:-3], *out.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, form: DepthwiseForm) -> jax.Array:
    """As `depthwise_conv`, for x [batch, height, width, channels] and a kernel of the same dtype."""
    if form == "shifted":
        out: jax.Array = _shifted(x, kernel, stride)
        return out
    shifted, grouped = (functools.partial(each, stride=stride) for each in (_shifted, _grouped))
    out = jax.lax.platform_dependent(
        x, kernel, cpu=shifted, tpu=shifted if stride == 1 else grouped, default=grouped
    )
    return out


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, form: DepthwiseForm
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, stride, form), (x, kernel)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _backward(
    stride: int, form: DepthwiseForm, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved

    def by_rows(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _input_gradient(x, kernel, gradient, stride), _kernel_gradient_by_rows(x, gradient, stride)

    def by_taps(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _input_gradient(x, kernel, gradient, stride), _kernel_gradient_by_taps(x, gradient, stride)

    def grouped(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_x, of_kernel = jax.vjp(lambda x, kernel: _grouped(x, kernel, stride), x, kernel)[1](gradient)
        return of_x, of_kernel

    elsewhere = by_taps if form == "shifted" else grouped
    on_tpu = by_taps if stride == 1 else elsewhere
    of_x, of_kernel = jax.lax.platform_dependent(
        x, kernel, gradient, cpu=by_rows, tpu=on_tpu, default=elsewhere
    )
    return of_x, of_kernel


_depthwise.defvjp(_forward, _backward)


def _grouped(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
        # Set explicitly: the backward pass runs outside the precision context.
        precision="highest",
    )


@functools.partial(jax.jit, static_argnames="stride")
def _shifted(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return functools.reduce(
        operator.add, (kernel[i, j, 0] * part for (i, j), part in zip(TAPS, _taps(x, stride), strict=True))
    )


def _taps(x: jax.Array, stride: int) -> list[jax.Array]:
    """For each weight of the kernel, the pixels that it reads, at the output's size."""
    height, width = x.shape[1:3]
    around = padded(x)
    return [around[:, i : i + height : stride, j : j + width : stride] for i, j in TAPS]


def padded(x: jax.Array) -> jax.Array:
    """[batch, height, width, channels], padded by one pixel of zeros on each side."""
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _input_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    if stride == 2:
        return _input_gradient_of_stride_2(kernel, gradient)[:, : x.shape[1], : x.shape[2]]
    # Autodiff emits nine pads, each with per-pixel bounds checks on XLA's CPU backend.
    out: jax.Array = _shifted(gradient, kernel[::-1, ::-1], 1)
    return out


def _input_gradient_of_stride_2(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
    """[batch, 2 h, 2 w, channels] from [batch, h, w, channels].

    One output row reads each even input row, two read each odd one, and likewise for columns: that makes nine
    products of the small size. Autodiff emits nine products of the large size, mostly of zeros.
    """
    height, width = gradient.shape[1:3]
    after = jnp.pad(gradient, ((0, 0), (0, 1), (0, 1), (0, 0)))
    taps = {0: ((1, 0),), 1: ((2, 0), (0, 1))}  # parity -> (kernel row, offset in output rows)

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


def _wide(x: jax.Array) -> jnp.dtype:
    # A bfloat16 accumulator would lose most of the sum over so many pixels.
    return jnp.promote_types(x.dtype, jnp.float32)


def _kernel_gradient_by_taps(x: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    """Nine sums of products, which XLA fuses into one pass over x and the gradient."""
    wide = _wide(x)
    gradient = gradient.astype(wide)
    sums = [jnp.sum(part.astype(wide) * gradient, (0, 1, 2)) for part in _taps(x, stride)]
    return jnp.stack(sums).reshape(3, 3, 1, -1).astype(x.dtype)


def _kernel_gradient_by_rows(x: jax.Array, gradient: jax.Array, stride: int) -> jax.Array:
    """Accumulates over rows: on a CPU, `_kernel_gradient_by_taps` allocates eight products as large as x."""
    width, channels = x.shape[2:]
    batch, out_height, out_width = gradient.shape[:3]
    around = padded(x)

    def add_row(number: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        image, row = number // out_height, number % out_height
        above = jax.lax.dynamic_slice(gradient, (image, row, 0, 0), (1, 1, out_width, channels))[0, 0]
        below = jax.lax.dynamic_slice(around, (image, stride * row, 0, 0), (1, 3, width + 2, channels))[0]
        return tuple(
            total + below[i, j : j + width : stride] * above for total, (i, j) in zip(sums, TAPS, strict=True)
        )

    zeros = tuple(jnp.zeros((out_width, channels), _wide(x)) for _ in TAPS)
    sums = jax.lax.fori_loop(0, batch * out_height, add_row, zeros)
    return jnp.stack([total.sum(0) for total in sums]).reshape(3, 3, 1, channels).astype(x.dtype)
