"""Our ONNX export and the public ONNX file in ONNX Runtime, in turn.

    python -m benchmarks.export_onnx WHEEL [--repeats 41] [--json benchmarks/results/export_onnx.json]

WHEEL holds the public file (see `unisal benchmark --peers`): static, DHF1K's parameters, one picture of
256x416. Ours is exported for the same. Both get the same normalised picture: in ONNX Runtime's default
session, whose threads spin while they wait for each other, and in one whose threads do not. Where other work
runs, spinning threads take the cores from those that they wait for; on a quiet machine the two are the same.
"""

import argparse
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from unisal_jax.benchmark import measure, peers
from unisal_jax.export.run import Options, export
from unisal_jax.export.signature import FRAMES
from unisal_jax.files import atomic_path

SPINNING, WAITING = "default", "no_spinning"


def _options(session: str) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    if session == WAITING:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _ours(artifact: bytes, options: onnxruntime.SessionOptions) -> peers.Run:
    session = onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])

    def run(frame: np.ndarray) -> np.ndarray:
        return session.run(None, {FRAMES: np.ascontiguousarray(frame.transpose(2, 0, 1)[None])})[0][0]

    return run


def compare(wheel: Path, weights: str, repeats: int) -> dict[str, Any]:
    """The latencies, their ratios by session and how far the log-densities are apart."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "unisal.onnx"
        card = export(weights, out, Options("onnx", "dhf1k", peers.ONNX_SIZE))
        artifact = out.read_bytes()
    frame = np.random.default_rng(0).standard_normal((*peers.ONNX_SIZE, 3)).astype(np.float32)
    steps: dict[str, measure.Step] = {}
    with peers.unpacked(wheel) as root:
        for session in (SPINNING, WAITING):
            ours = _ours(artifact, _options(session))
            public = peers.onnxruntime_run(root, _options(session))
            steps[f"{session}/ours"] = functools.partial(ours, frame)
            steps[f"{session}/public"] = functools.partial(public, frame)
        apart = float(np.abs(ours(frame) - public(frame)).max())
        seconds = measure.interleave(steps, repeats)
    latency = {name: measure.summary(taken) for name, taken in seconds.items()}
    return {
        "artifact": {name: card["artifact"][name] for name in ("bytes", "opset")},
        "difference": float(f"{apart:.2g}"),
        "input_size": list(peers.ONNX_SIZE),
        "latency": latency,
        "machine": measure.machine(),
        "ratio": {
            session: {
                point: round(
                    latency[f"{session}/public"][f"{point}_ms"] / latency[f"{session}/ours"][f"{point}_ms"], 2
                )
                for point in ("median", "min")
            }
            for session in (SPINNING, WAITING)
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
            f"{name:19s} least {row['min_ms']:.1f} ms, median {row['median_ms']:.1f}, 90% {row['p90_ms']:.1f}"
        )
    for session, ratio in result["ratio"].items():
        print(f"{session}: public over ours {ratio['median']} (medians), {ratio['min']} (least)")
    print(f"log-densities at most {result['difference']:g} apart")
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
