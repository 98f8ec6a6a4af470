"""Time of each part of the network for a streamed frame in the JAX engine, from JAX's profiler.

    python -m benchmarks.layers [--frames 60] [--json benchmarks/results/layers_cpu.json]
    python -m benchmarks.layers --batch 256 --dtype bfloat16

Prints the milliseconds of each part at 224x384 with recurrence: matrix products, and the rest (depthwise
convolutions, clips, padding, upsampling), as minimum and median over frames, summed over operations.
Operations without parameters count to the part before. With `--batch`, profiles a batch of images, which
bypass the recurrence, instead of a streamed frame.
"""

import argparse
import collections
import gzip
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.benchmark import measure, xla
from unisal_jax.domains import DHF1K
from unisal_jax.files import atomic_path
from unisal_jax.inference.fold import fold
from unisal_jax.inference.jax_engine import log_density
from unisal_jax.inference.jax_operations import JaxOperations, forms_of
from unisal_jax.inference.network import network
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.normalization import normalize
from unisal_jax.trees import flatten
from unisal_jax.weights.store import load_weights

SIZE = DHF1K.input_size
PART = re.compile(
    r"(encoder/(?:stem|block_\d+|head)|post_cnn|post_rnn|rnn|skip_16|skip_8|upsampling_16|upsampling_8|"
    r"fusion|smoothing)"
)
OPERATION = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*?op_name="([^"]*)"')


class Named:
    """Operations that run in a named scope: the path of the last parameters used."""

    def __init__(self, operations: JaxOperations, params: dict[str, Any]):
        self._operations = operations
        self._paths = {id(leaf): path for path, leaf in flatten(params).items()}
        self._path = "input"

    def __getattr__(self, name: str) -> Callable[..., jax.Array]:
        def run(*values: Any, **options: Any) -> jax.Array:
            for value in values:
                self._path = self._paths.get(id(value), self._path)
            with jax.named_scope(self._path):
                return getattr(self._operations, name)(*values, **options)

        return run


def durations(step, frames: int) -> dict[str, list[float]]:
    """Milliseconds of each run of each operation, by name in the compiled program."""
    step()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(frames):
                step()
        (path,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    found = collections.defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and "hlo_op" in event.get("args", {}):
            found[event["args"]["hlo_op"]].append(event["dur"] / 1e3)
    return found


def main() -> None:
    """Prints the parts, slowest first, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--weights", default="unisal")
    parser.add_argument("--batch", type=int, help="profile a batch of this many images")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args()
    weights = load_weights(args.weights)
    params = jax.device_put(fold(weights.variables, weights.config, DHF1K).sized(SIZE))
    shape = (args.batch or 1, *SIZE, 3)
    frames = jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    state = None if args.batch else jnp.zeros((1, SIZE[0] // 32, SIZE[1] // 32, HIDDEN_FEATURES), args.dtype)

    @jax.jit
    def predict(params, frames, state):
        operations = Named(JaxOperations(forms_of()), params)
        with jax.default_matmul_precision("highest"):
            found = network(operations, weights.config, params, normalize(frames, args.dtype), state)
        return log_density(found.logits), found.state

    compiled = predict.lower(params, frames, state).compile()
    names = {
        found[1]: found[2] for line in compiled.as_text().splitlines() if (found := OPERATION.match(line))
    }

    def step() -> None:
        nonlocal state
        out, state = compiled(params, frames, state)
        out.block_until_ready()

    parts: dict[str, dict[str, float]] = collections.defaultdict(lambda: collections.defaultdict(float))
    for operation, taken in durations(step, args.frames).items():
        part = PART.search(names.get(operation, ""))
        kind = "product" if re.match(r"ynn|dot|custom-call|cublas|gemm", operation) else "rest"
        for key in (part[1] if part else "other", "all"):
            parts[key][f"{kind}_min_ms"] += min(taken)
            parts[key][f"{kind}_median_ms"] += float(np.median(taken))
    rows = {name: {key: round(ms, 3) for key, ms in row.items()} for name, row in parts.items()}
    for name, row in sorted(rows.items(), key=lambda item: -sum(item[1].values())):
        cells = [f"{row.get(f'{k}_{p}_ms', 0):6.2f}" for k in ("product", "rest") for p in ("min", "median")]
        print(f"{name:18s} products {cells[0]} (median {cells[1]}), rest {cells[2]} (median {cells[3]}) ms")
    if args.json:
        with atomic_path(args.json) as temporary:
            result = {
                "batch": args.batch,
                "dtype": args.dtype,
                "frames": args.frames,
                "machine": measure.machine(device=xla.device()),
                "parts": rows,
            }
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
