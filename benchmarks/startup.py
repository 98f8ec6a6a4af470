"""CPU and wall time of cold starts: `unisal predict IMAGE`, `import unisal_jax`, the first map in Python.

    python -m benchmarks.startup [--repeats 9] [--json benchmarks/results/startup.json]

Each run is a separate process, in alternation, with warm caches: weights, graphs, compiled programs and
Python bytecode (which pip creates on installation) come from a previous run. The image is the bundled
photograph. CPU time is user plus system time of the process; it is less sensitive to other programs than wall
time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unisal_jax.benchmark import measure
from unisal_jax.documents import write_json
from unisal_jax.samples import photograph_path

MAP = "from unisal_jax import load; load(engine={engine!r}).predict(image)"
IMAGE = "import numpy as np; image = np.zeros((512, 600, 3), np.uint8)\n"


def programs(out: Path) -> dict[str, list[str]]:
    """The commands to start, by name."""
    commands = {"import": ["-c", "import unisal_jax"]}
    for engine in ("auto", "jax"):
        predict = [
            "-m",
            "unisal_jax",
            "predict",
            str(photograph_path()),
            "--out",
            str(out),
            "--engine",
            engine,
        ]
        commands[f"predict, engine {engine}"] = predict
        commands[f"first map, engine {engine}"] = ["-c", IMAGE + MAP.format(engine=engine)]
    return {name: [sys.executable, *command] for name, command in commands.items()}


def timed(command: list[str], bytecode: Path) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of a new process, with bytecode cached in a folder."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: failed")
    return usage.ru_utime + usage.ru_stime, wall


def main() -> None:
    """Prints median and minimum of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args()
    load_before = measure.load()
    with tempfile.TemporaryDirectory() as folder:
        commands, bytecode = programs(Path(folder) / "out"), Path(folder) / "bytecode"
        for command in commands.values():  # fills the caches
            timed(command, bytecode)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(args.repeats):
            for name, command in commands.items():
                taken[name].append(timed(command, bytecode))
    rows = {}
    for name, each in taken.items():
        cpu, wall = zip(*each, strict=True)
        rows[name] = {
            "cpu_s": round(statistics.median(cpu), 3),
            "cpu_min_s": round(min(cpu), 3),
            "wall_s": round(statistics.median(wall), 3),
            "wall_min_s": round(min(wall), 3),
        }
        print(
            f"{name:24s} CPU {rows[name]['cpu_s']:.2f} s (min {rows[name]['cpu_min_s']:.2f}), "
            f"wall {rows[name]['wall_s']:.2f} s (min {rows[name]['wall_min_s']:.2f})"
        )
    if args.json:
        result = {"machine": measure.machine(load_before), "repeats": args.repeats, "seconds": rows}
        write_json(args.json, result)


if __name__ == "__main__":
    main()
