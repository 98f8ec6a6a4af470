"""Counts StableHLO operations in DHF1K's training step (with the encoder trained) and evaluation step.

A function of the program counts once, however often it is called. The count does not depend on the frame
size; the number of frames is the paper's. Nothing is compiled.

    python -m benchmarks.step_operations [--largest 20] [--dtype bfloat16]
"""

import argparse
import collections
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp

from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.data.examples import Arrays
from unisal_jax.domains import DHF1K
from unisal_jax.models.config import DepthwiseForm, UnisalConfig
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.train.config import OptimizerConfig
from unisal_jax.train.state import create
from unisal_jax.train.step import eval_step, train_step

CASES: tuple[tuple[DepthwiseForm, str | None], ...] = (("grouped", None), ("shifted", None), ("auto", "tpu"))


def described_variables(config: UnisalConfig) -> dict[str, Any]:
    """Shapes and dtypes of the variables of a model, without values."""
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        variable_shapes(config),
        is_leaf=lambda node: isinstance(node, tuple),
    )


def operations(
    form: DepthwiseForm, train: bool, dtype: Any = jnp.float32, platform: str | None = None
) -> collections.Counter[str]:
    """Counts each operation in the lowered step for two clips of 64x96 with targets of 72x96.

    Args:
      form: form of the depthwise convolutions; "auto" selects that of the platform.
      train: whether to lower the training step instead of the evaluation step.
      dtype: dtype of the computation.
      platform: platform to lower for, such as "tpu", which need not be present; None for JAX's default.
    """
    config = UnisalConfig(depthwise=form)
    variables = described_variables(config)
    shapes = ((64, 96, 3), (72, 96), (72, 12))
    batch = Arrays(*(jax.ShapeDtypeStruct((2, CLIP_FRAMES, *shape), jnp.uint8) for shape in shapes))
    if train:
        step = train_step(config, DHF1K, OptimizerConfig(idle="momentum"), frozen=False, dtype=dtype)
        state = jax.eval_shape(lambda variables: create(config, variables), variables)
        key = jax.eval_shape(lambda: jax.random.key(0))
        step = functools.partial(step, for_tpu=platform == "tpu")
        traced = jax.jit(step).trace(state, jax.ShapeDtypeStruct((), jnp.float32), batch, key)
    else:
        traced = jax.jit(eval_step(config, DHF1K, dtype=dtype)).trace(variables, batch)
    lowered = traced.lower(lowering_platforms=None if platform is None else (platform,))
    return collections.Counter(re.findall(r'= "?((?:stablehlo|chlo)\.\w+)', lowered.as_text()))


def main() -> None:
    """Prints the counts of each form, and the most frequent operations."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=8, help="number of operations to list")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    for form, platform in CASES:
        for train in (True, False):
            counts = operations(form, train, jnp.dtype(args.dtype), platform)
            most = ", ".join(f"{name} {count}" for name, count in counts.most_common(args.largest))
            what = f"{form} for {platform or jax.default_backend()}, {'train' if train else 'evaluate'}"
            print(f"{what}: {counts.total():,} ({most})")


if __name__ == "__main__":
    main()
