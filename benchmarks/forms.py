"""Compares all forms of the network's layers, at the shapes of a 224x384 frame.

    python -m benchmarks.forms [--repeats 30] [--json benchmarks/results/forms_cpu.json]
    python -m benchmarks.forms --batch 48 --dtype bfloat16 --only depthwise,gradient,stem

Prints the milliseconds of each form for each layer (minimum and median of alternating rounds), then sums over
layers. Prediction uses the forms with the smallest sums (`inference.jax_operations.FORMS`), and training the
form of the depthwise convolution with the fastest value and gradient (`models.depthwise.depthwise_conv`). The
1x1 convolutions show why they are matrix products; the code has no other form of them.
"""

import argparse
import functools
import json
import typing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.benchmark import measure, xla
from unisal_jax.files import atomic_path
from unisal_jax.inference.jax_operations import DepthwiseForm, Forms, JaxOperations, StemForm, depthwise_conv
from unisal_jax.models import depthwise, layers
from unisal_jax.models.architecture import STEM_FEATURES

# Layers of the network: (height, width, channels, stride), or (pixels, channels in, channels out), each with
# the number of such layers.
DEPTHWISE = {
    (112, 192, 32, 1): 1,
    (112, 192, 96, 2): 1,
    (56, 96, 144, 1): 1,
    (56, 96, 144, 2): 1,
    (28, 48, 192, 1): 3,
    (28, 48, 384, 1): 1,
    (14, 24, 384, 1): 4,
    (14, 24, 576, 1): 3,
    (14, 24, 768, 1): 1,
    (7, 12, 960, 1): 3,
    (7, 12, 1280, 1): 1,
    (7, 12, 256, 1): 6,
}
POINTWISE = {
    (21504, 16, 96): 1,
    (5376, 24, 144): 2,
    (1344, 192, 32): 2,
    (336, 64, 384): 4,
    (336, 576, 96): 2,
    (84, 960, 160): 2,
    (84, 320, 1280): 1,
    (1344, 384, 64): 1,
}
KINDS: dict[str, dict] = {
    "depthwise": DEPTHWISE,
    "gradient": DEPTHWISE,
    "pointwise": POINTWISE,
    "stem": {(224, 384, 3): 1},
}
TRAINING_FORMS: tuple[layers.DepthwiseForm, ...] = ("shifted", "grouped")


def fastest(forms: dict[str, measure.Step], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each form."""
    rows = {name: measure.summary(taken / calls()) for name, taken in xla.interleave(forms, repeats).items()}
    return {name: {"median_ms": row["median_ms"], "min_ms": row["min_ms"]} for name, row in rows.items()}


def step(function, *args: jax.Array) -> measure.Step:
    """Compiles a function; returns a step that calls it and waits for the result of the last call."""
    compiled = jax.jit(function)

    def run() -> None:
        for _ in range(calls()):
            out = compiled(*args)
        jax.block_until_ready(out)

    return run


def calls() -> int:
    """Number of calls timed together, as launching and awaiting one on a GPU takes longer than running it."""
    return 1 if jax.default_backend() == "cpu" else 50


class Layers:
    """Makes the forms of each type of layer, on `batch` frames of `dtype`."""

    def __init__(self, batch: int, dtype: str):
        self.batch, self.dtype = batch, dtype
        self.rng = np.random.default_rng(0)

    def noise(self, *shape: int) -> jax.Array:
        """Normal noise."""
        return jnp.asarray(self.rng.standard_normal(shape, np.float32), self.dtype)

    def depthwise(self, shape: tuple[int, int, int, int]) -> dict[str, measure.Step]:
        """The 3x3 depthwise convolution between its two clips, as in a block."""
        *size, stride = shape
        x, kernel = self.noise(self.batch, *size), self.noise(3, 3, 1, size[2])

        def block(form, x, kernel):
            return jnp.clip(depthwise_conv(jnp.clip(x, 0, 6), kernel, stride, form), 0, 6)

        forms = typing.get_args(DepthwiseForm)
        return {form: step(functools.partial(block, form), x, kernel) for form in forms}

    def gradient(self, shape: tuple[int, int, int, int]) -> dict[str, measure.Step]:
        """The same with both gradients, as in a training step."""
        *size, stride = shape
        x, kernel = self.noise(self.batch, *size), self.noise(3, 3, 1, size[2])
        after = self.noise(self.batch, -(-size[0] // stride), -(-size[1] // stride), size[2])

        def both(form, x, kernel, after):
            def block(x, kernel):
                return layers.relu6(depthwise.depthwise_conv(layers.relu6(x), kernel, stride, form))

            out, back = jax.vjp(block, x, kernel)
            return out, *back(after)

        return {form: step(functools.partial(both, form), x, kernel, after) for form in TRAINING_FORMS}

    def pointwise(self, shape: tuple[int, int, int]) -> dict[str, measure.Step]:
        """The 1x1 convolution as a matrix product and as a convolution."""
        pixels, inner, outer = shape
        x, kernel = self.noise(self.batch, pixels, inner), self.noise(inner, outer)

        def convolution(x, kernel):
            numbers = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(
                x[:, None], kernel[None, None], (1, 1), "VALID", dimension_numbers=numbers
            )

        return {"product": step(jnp.matmul, x, kernel), "convolution": step(convolution, x, kernel)}

    def stem(self, size: tuple[int, int, int]) -> dict[str, measure.Step]:
        """The first convolution of the encoder."""
        x, kernel = self.noise(self.batch, *size), self.noise(3, 3, size[2], STEM_FEATURES)
        forms = {form: JaxOperations(Forms("shifted", form)) for form in typing.get_args(StemForm)}
        return {
            form: step(functools.partial(operations.conv, stride=2), x, kernel)
            for form, operations in forms.items()
        }


def main() -> None:
    """Prints a line per layer and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    parser.add_argument("--batch", type=int, default=1, help="frames")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(KINDS), help=",".join(KINDS)
    )
    args = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")  # as in the network
    made = Layers(args.batch, args.dtype)
    result: dict = {
        "batch": args.batch,
        "dtype": args.dtype,
        "machine": measure.machine(device=xla.device()),
        "repeats": args.repeats,
    }
    for kind in args.only:
        rows, sums = {}, {}
        for shape, count in KINDS[kind].items():
            name = "x".join(map(str, shape))
            rows[name] = fastest(getattr(made, kind)(shape), args.repeats)
            shown = ", ".join(f"{form} {ms['min_ms']:.3f}" for form, ms in rows[name].items())
            print(f"{kind} {name} ({count} of these): {shown} ms")
            for form, ms in rows[name].items():
                sums[form] = sums.get(form, 0.0) + count * ms["min_ms"]
        print(f"{kind}, all: " + ", ".join(f"{form} {ms:.2f}" for form, ms in sums.items()) + " ms\n")
        result[kind] = {"layers": rows, "sums_ms": {form: round(ms, 3) for form, ms in sums.items()}}
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
