"""Checks for constant memory and no recompilation over 10,000 streamed frames and 2,000 training steps.

    python -m benchmarks.long_run [--only stream|training] [--json benchmarks/results/long_run.json]

The stream is 360x640 from the bundled clip, in the DHF1K domain with recurrence. The training is
`configs/smoke.py` at its own sizes, with all four domains, checkpoints and validations. Resident memory and
the number of compiled programs are sampled every second (on Linux). The command fails if a program is
compiled in the last three quarters of either run, or if the resident memory of the last quarter is more than
5% above that of the second. A short training runs first and fills the compilation cache, as compiling could
take more than a quarter of the time of the long one. With `--only`, the result of the other run in the file
is kept.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import jax

from data_prep.prepare import prepare_synthetic
from unisal_jax.benchmark import measure, xla
from unisal_jax.cli.memory import restart_with_large_pages
from unisal_jax.files import atomic_path
from unisal_jax.predict.model import load
from unisal_jax.samples import moving_clip
from unisal_jax.train import loop
from unisal_jax.train.config import load_config

GROWTH = 1.05


class Watch:
    """Samples the process every second, in a separate thread, while a `with` block runs."""

    def __init__(self) -> None:
        self.compiled: list[tuple[float, str]] = []
        self.resident: list[int] = []
        self._stop = threading.Event()

    def __enter__(self) -> "Watch":
        self.began = time.monotonic()
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.began
        self._stop.set()
        self._thread.join()

    def _heard(self, event: str, duration: float, **about: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.compiled.append((time.monotonic() - self.began, str(about.get("fun_name"))))

    def _look(self) -> None:
        while not self._stop.wait(1):
            pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
            self.resident.append(4096 * pages)

    def result(self) -> dict[str, Any]:
        """Returns the measurements; fails if memory grew or programs were compiled late."""
        quarter = len(self.resident) // 4
        second, last = self.resident[quarter : 2 * quarter], self.resident[-quarter:]
        growth = statistics.median(last) / statistics.median(second)
        within = [(moment, name) for moment, name in self.compiled if moment < self.seconds]
        late = [f"{name} after {moment:.0f} s" for moment, name in within if moment > self.seconds / 4]
        if growth > GROWTH or late:
            raise SystemExit(
                f"in {self.seconds:.0f} s memory grew to {growth:.3f} times; compiled late: {late or 'none'}"
            )
        return {
            "seconds": round(self.seconds, 1),
            "programs": len(within),
            "resident_mb_second_quarter": round(statistics.median(second) / 1e6, 1),
            "resident_mb_last_quarter": round(statistics.median(last) / 1e6, 1),
            "growth": round(growth, 4),
        }


def stream(count: int, weights: str) -> dict[str, Any]:
    """Streams frames one after the other, as from a camera."""
    frames = list(moving_clip(60))
    model = load(weights)
    with Watch() as watch:
        live = model.stream(size=frames[0].shape[:2])
        for number in range(count):
            live(frames[number % len(frames)])
    return {"frames": count, **watch.result()}


def training(steps: int) -> dict[str, Any]:
    """Trains the smoke config for enough epochs to reach `steps`."""
    config = load_config("configs/smoke.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
        # Two epochs compile both step programs: encoder frozen and trained.
        short = dataclasses.replace(config, epochs=2)
        epoch = loop.train(short, folder / "short", prepare_synthetic).step // short.epochs
        with Watch() as watch:
            long = dataclasses.replace(config, epochs=-(-steps // epoch))
            outcome = loop.train(long, folder / "long", prepare_synthetic)
    return {"steps": outcome.step, **watch.result()}


def main() -> None:
    """Runs both and prints the results."""
    restart_with_large_pages()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--weights", default="unisal")
    parser.add_argument("--only", choices=("stream", "training"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, Any] = {}
    if args.only and args.json and args.json.exists():
        result = json.loads(args.json.read_text())
    result["machine"] = measure.machine(device=xla.device())
    runs = {
        "stream": lambda: stream(args.frames, args.weights),
        "training": lambda: training(args.steps),
    }
    for name in [args.only] if args.only else runs:
        result[name] = runs[name]()
        print(name, json.dumps(result[name]))
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
