"""Our ONNX export and the public ONNX file in ONNX Runtime, in turn.

    python -m benchmarks.export_onnx WHEEL [--repeats 41] [--json benchmarks/results/export_onnx.json]

WHEEL holds the public file (see `unisal benchmark --peers`): static, DHF1K's parameters, one picture of
256x416. Ours is exported for the same. Both get the same normalised picture, with the default session.
"""

import argparse
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.benchmark import measure, peers
from unisal_jax.export import onnx_model
from unisal_jax.export.run import Options, export
from unisal_jax.files import atomic_path


def compare(wheel: Path, weights: str, repeats: int) -> dict[str, Any]:
    """The latencies, their ratio and how far the log-densities are apart."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "unisal.onnx"
        card = export(weights, out, Options("onnx", "dhf1k", peers.ONNX_SIZE))
        call = onnx_model.loaded(out.read_bytes())
    frame = np.random.default_rng(0).standard_normal((*peers.ONNX_SIZE, 3)).astype(np.float32)

    def ours(frame: np.ndarray) -> np.ndarray:
        (log_density,) = call(np.ascontiguousarray(frame.transpose(2, 0, 1)[None]))
        return log_density[0]

    with peers.unpacked(wheel) as root:
        public = peers.onnxruntime_run(root)
        steps = {"ours": functools.partial(ours, frame), "public": functools.partial(public, frame)}
        apart = float(np.abs(steps["ours"]() - steps["public"]()).max())
        seconds = measure.interleave(steps, repeats)
    latency = {name: measure.summary(taken) for name, taken in seconds.items()}
    return {
        "artifact": {name: card["artifact"][name] for name in ("bytes", "opset")},
        "difference": float(f"{apart:.2g}"),
        "input_size": list(peers.ONNX_SIZE),
        "latency": latency,
        "machine": measure.machine(),
        "ratio": {
            point: round(latency["public"][f"{point}_ms"] / latency["ours"][f"{point}_ms"], 2)
            for point in ("median", "min")
        },
        "repeats": repeats,
    }


def main() -> None:
    """Prints both, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--weights", default="unisal")
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args()
    result = compare(args.wheel, args.weights, args.repeats)
    for name, row in result["latency"].items():
        print(
            f"{name:8s} least {row['min_ms']:.1f} ms, median {row['median_ms']:.1f}, 90% {row['p90_ms']:.1f}"
        )
    print(
        f"public over ours: {result['ratio']['median']} of medians, {result['ratio']['min']} of the least; "
        f"log-densities {result['difference']:g} apart"
    )
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
