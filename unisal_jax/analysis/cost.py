"""Size, operations and time of the network and of larger variants (paper, section 4.6 and Table 6)."""

import dataclasses
import math
from typing import Any

import numpy as np

from unisal_jax.analysis import plots, published
from unisal_jax.analysis.context import Context
from unisal_jax.analysis.results import Analysis, NamedFigure, Table
from unisal_jax.benchmark.measure import Step, machine, summary
from unisal_jax.benchmark.xla import cost, device, interleave
from unisal_jax.domains import DHF1K
from unisal_jax.inference.engines import open_engine
from unisal_jax.inference.jax_engine import JaxEngine
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.trees import flatten, unflatten
from unisal_jax.weights.store import Weights

_REPEATS = 15
# Variants without the savings that the paper names. It gives size and time for all of them together.
VARIANTS: dict[str, dict[str, Any]] = {
    "as released": {},
    "dense 3x3 convolutions in cGRU and decoder": {"separable": False},
    "4x4 transposed convolutions for bilinear upsampling": {"bilinear": False},
    "both": {"separable": False, "bilinear": False},
}
_PAPER = {"as released": (15.5, 0.009), "both": (59.4, 0.017)}


def analyse(context: Context) -> Analysis:
    """Parameters, bytes, FLOPs and time of each variant, and the sizes of other methods in the paper."""
    configs = {name: dataclasses.replace(UnisalConfig(), **change) for name, change in VARIANTS.items()}
    found, steps = {}, {}
    for name, config in configs.items():
        found[name], steps[name] = _variant(config)
    times = {name: summary(taken)["median_ms"] for name, taken in interleave(steps, _REPEATS).items()}
    rows = tuple(
        (
            name,
            sizes["parameters"],
            sizes["megabytes"],
            _PAPER.get(name, (None, None))[0],
            sizes["gflop"],
            times[name],
            1e3 * _PAPER[name][1] if name in _PAPER else None,
        )
        for name, sizes in found.items()
    )
    table = Table(
        "variants",
        f"Variants of the network: {DHF1K.input_size[0]}x{DHF1K.input_size[1]}, with recurrence",
        (
            "variant",
            "trainable parameters",
            "MB",
            "MB, paper",
            "GFLOP per frame",
            "ms per frame here",
            "ms, paper's GPU",
        ),
        rows,
        digits=1,
    )
    here = machine(device=device())
    return Analysis(
        "Size and cost (Table 6)",
        "MB count all parameters and running statistics in float32. The paper gives 59.4 MB for the network "
        "without its savings, but does not list the replacements. Dense 3x3 convolutions in cGRU and decoder "
        "(not in Post-CNN, which alone would take 61 MB) and 4x4 transposed convolutions of stride 2 for US1 "
        "and Up give 59.4 MB.\n"
        "The paper's 15.5 MB are the size of a file, including PyTorch's counters and names. Time: one "
        "frame, streaming, on "
        f"{here['device']} ({here['processor']}, {here['cores']} cores), median of {_REPEATS} turns.",
        (
            NamedFigure(
                "sizes", "Sizes of saliency models: the paper's Table 6, and this package.", _sizes(found)
            ),
        ),
        (table, _methods(found, times)),
        {"machine": here, "milliseconds": times, "variants": found},
    )


def _variant(config: UnisalConfig) -> tuple[dict[str, Any], Step]:
    """(sizes, function that runs a frame), with random weights, which do not affect time or size."""
    shapes = variable_shapes(config)
    rng = np.random.default_rng(0)
    variables = {path: np.float32(0.01 + 0.02 * rng.random(shape)) for path, shape in flatten(shapes).items()}
    weights = Weights(unflatten(variables), config)
    size = DHF1K.input_size
    frames = rng.integers(0, 256, (1, *size, 3), np.uint8)
    counted = JaxEngine(weights)
    sizes = cost(counted.lower_frames(frames, DHF1K, counted.zero_state(DHF1K, 1, size)))
    engine = open_engine(weights)
    leaves = {name: sum(map(math.prod, flatten(tree).values())) for name, tree in shapes.items()}
    trained = sum(count for name, count in leaves.items() if not name.endswith("_stats"))
    held = {"state": engine.zero_state(DHF1K, 1, size)}

    def step() -> None:
        maps, held["state"] = engine.frames(frames, DHF1K, held["state"])
        np.asarray(maps)

    return {
        "gflop": sizes["gflop"],
        "megabytes": 4 * sum(leaves.values()) / 1e6,
        "parameters": trained,
    }, step


def _methods(found: dict[str, Any], times: dict[str, float]) -> Table:
    rows = [(row["method"], row.get("megabytes"), row.get("seconds")) for row in published.costs()]
    ours = ("unisal-jax, this machine", found["as released"]["megabytes"], times["as released"] / 1e3)
    return Table(
        "methods",
        "The paper's Table 6 (seconds per frame on a GPU), and this package on this machine",
        ("method", "model size (MB)", "runtime (s)"),
        (*rows, ours),
    )


def _sizes(found: dict[str, Any]) -> Any:
    rows = sorted((row["megabytes"], row["method"]) for row in published.costs() if "megabytes" in row)
    rows = [(found["as released"]["megabytes"], "unisal-jax"), *rows]
    figure, axes = plots.grid(1, 1, 5.5, 3)
    axis = axes[0, 0]
    colours = [plots.COLOURS[1] if "unisal" in name.lower() else plots.COLOURS[0] for _, name in rows]
    bars = axis.barh([name for _, name in rows], [size for size, _ in rows], color=colours)
    axis.bar_label(bars, fmt=lambda size: f"{size:,.4g}", fontsize=7, padding=2)
    axis.set(xscale="log", xlabel="MB (logarithmic)", xlim=(8, 6000))
    axis.invert_yaxis()
    return figure
