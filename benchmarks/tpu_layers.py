"""Costs of the forms of the depthwise convolution on a TPU, block by block, by the compiler's count.

Compiles value and gradients of each block of the encoder in bfloat16, for the frames of one DHF1K clip on one
v5e chip: CPU seconds to compile, megabytes moved, and estimated cycles. Nothing runs, and no TPU is required.
`models/depthwise.py` chooses the form by this table.

    make .venv-tpu/.ready
    .venv-tpu/bin/python -m benchmarks.tpu_layers --json benchmarks/results/tpu_layers.json
"""

import argparse
import os
from pathlib import Path
from typing import Any

# Set before JAX is imported, as in tpu_compile.
os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1", JAX_PLATFORMS="cpu")

import jax
import jax.numpy as jnp

from benchmarks.compiling import compile_program
from benchmarks.tpu_compile import chips, estimated_mcycles
from benchmarks.train_step import write
from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.domains import DHF1K
from unisal_jax.models.architecture import BLOCKS, STEM_FEATURES, TAP_8, TAP_16
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.config import DepthwiseForm
from unisal_jax.models.layers import InvertedResidual

FORMS: tuple[DepthwiseForm, ...] = ("grouped", "shifted")


def block_program(number: int, form: DepthwiseForm, device: Any) -> jax.stages.Lowered:
    """The lowered value and gradients of a block of the encoder (numbered from 1) with its batch norms."""
    height, width = (side // 2 for side in DHF1K.input_size)
    channels = STEM_FEATURES
    for block in BLOCKS[: number - 1]:
        height, width, channels = height // block.stride, width // block.stride, block.features
    block = BLOCKS[number - 1]
    stride = 1 if number in (TAP_8, TAP_16) else block.stride
    module = InvertedResidual(
        block.features, block.expansion, BatchNorm, stride=stride, residual=block.residual, form=form
    )
    on = jax.sharding.SingleDeviceSharding(device)

    def shaped(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=on)

    x = shaped((1, CLIP_FRAMES, height, width, channels), jnp.bfloat16)
    made = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros(x.shape), domain=DHF1K, train=False)
    )
    variables = jax.tree.map(lambda leaf: shaped(leaf.shape, leaf.dtype), made)
    gradient = shaped((*x.shape[:2], height // stride, width // stride, block.features), jnp.bfloat16)

    def value_and_gradients(params: Any, stats: Any, x: jax.Array, gradient: jax.Array) -> Any:
        def value(params: Any, x: jax.Array) -> Any:
            return module.apply({"params": params, "batch_stats": stats}, x, domain=DHF1K, train=False)

        out, back = jax.vjp(value, params, x)
        return out, back(gradient)

    return jax.jit(value_and_gradients).lower(variables["params"], variables["batch_stats"], x, gradient)


def main() -> None:
    """Compiles the first block of each type in both forms and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    (device,) = chips("v5e:1x1")
    result: dict[str, Any] = {"jax": jax.__version__, "topology": "v5e:1x1", "blocks": {}}
    for number in (1, 2, 3, 4, 5, 7, 8, 11, 12, 14, 15, 17):
        found = result["blocks"][str(number)] = {}
        for form in FORMS:
            executable, facts = compile_program(block_program(number, form, device))
            found[form] = {
                "cpu_s": facts["cpu_s"],
                "megabytes_moved": 1e3 * facts["gbytes_moved"],
                "estimated_mcycles": estimated_mcycles(executable),
            }
            seen = found[form]
            print(
                f"block {number}, {form}: {seen['cpu_s']:.1f} s of CPU, {seen['megabytes_moved']:.0f} MB, "
                f"{seen['estimated_mcycles']:.2f} million cycles",
                flush=True,
            )
            write(args.json, result)


if __name__ == "__main__":
    main()
