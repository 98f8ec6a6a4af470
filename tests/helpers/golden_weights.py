"""Deterministic weights from a seed: those of the golden numbers, and weights for any config.

Each tensor has its own random generator, seeded by the seed and its name. Values are random but moderate, and
no tensor is constant, so that a swapped, skipped or transposed one changes the output.
"""

import json
import math
import pathlib
import zlib
from typing import Any

import numpy as np

from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.trees import flatten, unflatten

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def arrays(name: str) -> dict[str, np.ndarray]:
    """The content of a golden .npz file."""
    with np.load(GOLDEN / name) as stored:
        return dict(stored)


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of the released files by name, in order."""
    return {k: tuple(v) for k, v in json.loads((GOLDEN / "state_dict_shapes.json").read_text()).items()}


def make_weights(seed: int) -> dict[str, np.ndarray]:
    """Float32 arrays by name (int64 for batch counters)."""
    return {name: _tensor(name, shape, seed) for name, shape in shapes().items()}


def _tensor(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.asarray(1000, np.int64)
    if leaf.startswith("drop_mask"):
        return np.ones(shape, np.float32)
    if "gaussians" in name:
        return _gaussians(rng, shape)
    if "smoothing" in name:  # an asymmetric blur
        yy, xx = np.mgrid[-20:21, -20:21]
        cy, cx = rng.uniform(-4, 4, 2)
        sy, sx = rng.uniform(4, 9, 2)
        kernel = np.exp(-(((yy - cy) / sy) ** 2) - (((xx - cx) / sx) ** 2))
        kernel = kernel * rng.uniform(0.5, 1.5, kernel.shape)
        return (kernel / kernel.sum()).reshape(shape).astype(np.float32)
    if leaf == "running_mean":
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if leaf == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 4:
        fan_in = shape[1] * shape[2] * shape[3]
        return (rng.standard_normal(shape) * math.sqrt(2.0 / fan_in)).astype(np.float32)
    if leaf.startswith("a_"):
        return rng.uniform(0.7, 1.3, shape).astype(np.float32)
    if leaf == "weight":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def _gaussians(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    mean = rng.uniform(0.2, 0.8, shape[:2])
    log_std = rng.uniform(-1.6, 0.1, shape[:2])
    return np.stack([mean, log_std], -1).astype(np.float32)


def made_up(config: UnisalConfig, seed: int = 1) -> dict[str, Any]:
    """Variables for any config, in our layout; `init_variables` compiles for many seconds.

    Statistics, scales and biases differ from 0 and 1, so that each has an effect.
    """
    rng = np.random.default_rng(seed)

    def fill(path: str, shape: tuple[int, ...]) -> np.ndarray:
        name = path.rsplit("/", 1)[-1]
        if name in ("scale", "var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif name in ("bias", "mean") or name.endswith("_bias"):
            values = rng.uniform(-0.15, 0.15, shape)
        elif name == "kernel":
            values = rng.standard_normal(shape) / math.sqrt(math.prod(shape[:-1]))
        else:
            assert name == "gaussians"
            values = _gaussians(rng, shape)
        return values.astype(np.float32)

    return unflatten(
        {path: fill(path, shape) for path, shape in sorted(flatten(variable_shapes(config)).items())}
    )
