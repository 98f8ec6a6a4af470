"""Operations of StableHLO in DHF1K's training step (the encoder trained) and evaluation step.

A function of the program counts once, however often it is called. The size of the frames changes nothing;
their number is the paper's. Nothing is compiled.

    python -m benchmarks.step_operations [--largest 20] [--dtype bfloat16]
"""

import argparse
import collections
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

FORMS: tuple[DepthwiseForm, ...] = ("grouped", "shifted")


def operations(form: DepthwiseForm, train: bool, dtype: Any = jnp.float32) -> collections.Counter[str]:
    """How often each operation stands in the paper's lowered step of two clips of 64x96, targets of 72x96."""
    config = UnisalConfig(depthwise=form)
    variables = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        variable_shapes(config),
        is_leaf=lambda node: isinstance(node, tuple),
    )
    shapes = ((64, 96, 3), (72, 96), (72, 12))
    batch = Arrays(*(jax.ShapeDtypeStruct((2, CLIP_FRAMES, *shape), jnp.uint8) for shape in shapes))
    if train:
        step = train_step(config, DHF1K, OptimizerConfig(idle="momentum"), frozen=False, dtype=dtype)
        state = jax.eval_shape(lambda variables: create(config, variables), variables)
        key = jax.eval_shape(lambda: jax.random.key(0))
        lowered = jax.jit(step).lower(state, jax.ShapeDtypeStruct((), jnp.float32), batch, key)
    else:
        lowered = jax.jit(eval_step(config, DHF1K, dtype=dtype)).lower(variables, batch)
    return collections.Counter(re.findall(r'= "?((?:stablehlo|chlo)\.\w+)', lowered.as_text()))


def main() -> None:
    """Prints each form's counts, and the operations that stand there most often."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=8, help="how many operations to name")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    for form in FORMS:
        for train in (True, False):
            counts = operations(form, train, jnp.dtype(args.dtype))
            most = ", ".join(f"{name} {count}" for name, count in counts.most_common(args.largest))
            print(f"{form}, {'train' if train else 'evaluate'}: {counts.total():,} ({most})")


if __name__ == "__main__":
    main()
