"""How long `import unisal_jax` takes beyond jax's own import, and the first map from a cold start.

    python -m benchmarks.startup [--repeats 5] [--json benchmarks/results/startup.json]

Each run is a process of its own, in turn. The first map is that of a random 480x640 picture with the
released weights from the cache folder, the compiled program from the cache of an earlier run; its time is
that of the whole process, from nothing to the map in memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from unisal_jax.benchmark import measure
from unisal_jax.files import atomic_path

PROGRAMS = {
    "import_jax": "import jax",
    "import_unisal_jax": "import jax, unisal_jax",
    "import_load": "import jax; from unisal_jax import load",
    "first_map": "import numpy as np, unisal_jax\n"
    "image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)\n"
    "unisal_jax.load().predict(image)",
}


def seconds(program: str) -> float:
    """Runs it in a new process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints the median and the least of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args()
    for program in PROGRAMS.values():  # fills the caches of files and of compiled programs
        seconds(program)
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(args.repeats):
        for name, program in PROGRAMS.items():
            taken[name].append(seconds(program))
    rows = {
        name: {"median_s": round(statistics.median(each), 3), "min_s": round(min(each), 3)}
        for name, each in taken.items()
    }
    for name, row in rows.items():
        print(f"{name:18s} median {row['median_s']:.2f} s, least {row['min_s']:.2f} s")
    for name in ("import_unisal_jax", "import_load"):
        beyond = statistics.median(taken[name]) - statistics.median(taken["import_jax"])
        rows[name]["beyond_jax_s"] = round(beyond, 3)
        print(f"{name}: {beyond:.2f} s beyond jax's own")
    if args.json:
        result = {"machine": measure.machine(), "repeats": args.repeats, "seconds": rows}
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
