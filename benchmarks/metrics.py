"""Speed-up of the scores over plain loops over thresholds and splits.

AUC-Judd, sampled shuffled AUC, NSS, CC, SIM and KLD of the `unisal` protocol on synthetic 360x640 float32
maps with 100 to 300 fixations: `score_frame` is compared with the plain forms in
`tests/helpers/reference_metrics.py`, which loop like the original code. The plain forms run on an evenly
spaced subset of the maps, on one core like the original; ours run on one and on two (Linux).

    python -m benchmarks.metrics [--maps 1000] [--json OUT]
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from tests.helpers import reference_metrics as plain
from unisal_jax.evaluate.protocols import get_protocol, score_frame

SIZE = (360, 640)


def example(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(prediction, ground-truth density, fixations, fixations of ten other frames)."""
    rng = np.random.default_rng(seed)

    def fixations() -> np.ndarray:
        centre, spread = rng.uniform(0.3, 0.7, 2) * SIZE, 0.15 * np.array(SIZE)
        points = rng.normal(centre, spread, (rng.integers(100, 301), 2))
        rows, columns = np.clip(points, 0, np.array(SIZE) - 1).astype(np.intp).T
        found = np.zeros(SIZE, np.uint8)
        found[rows, columns] = 1
        return found

    def density(of: np.ndarray, noise: float) -> np.ndarray:
        blurred = cv2.GaussianBlur(of.astype(np.float64), (0, 0), 15) + noise * rng.random(SIZE) + 1e-9
        return (blurred / blurred.sum()).astype(np.float32)

    mine = fixations()
    others = np.maximum.reduce([fixations() for _ in range(10)])
    return density(fixations() | mine, 1e-5), density(mine, 0.0), mine, others


cv2.setNumThreads(1)


def score_fast(seed: int) -> float:
    pred, gt, fixations, others = example(seed)
    start = time.perf_counter()
    score_frame(get_protocol("unisal"), pred, gt, fixations, others=others, seed=seed)
    return time.perf_counter() - start


def score_plain(seed: int) -> float:
    pred, gt, fixations, others = example(seed)
    start = time.perf_counter()
    plain.auc_judd(pred, fixations)
    plain.s_auc_splits(pred, fixations, others, seed=seed).mean()
    plain.nss(pred, fixations)
    plain.cc(pred, gt)
    plain.sim(pred, gt)
    plain.kld(pred, gt)
    return time.perf_counter() - start


def median_ms(score: Callable[[int], float], seeds: list[int], cores: list[int]) -> float:
    """Median time per map with one process on each core, divided by the number of cores."""
    with ExitStack() as stack:
        pools = [
            # Pinned, as two short-lived processes may otherwise share a core.
            stack.enter_context(
                ProcessPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {core}))
            )
            for core in cores
        ]
        runs = [pool.map(score, seeds[k :: len(pools)]) for k, pool in enumerate(pools)]
        times = [seconds for run in runs for seconds in run]
    return 1e3 * statistics.median(times) / len(cores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--plain-maps", type=int, default=40, help="number of maps for the plain loops")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {
        "maps": args.maps,
        "size": list(SIZE),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}",
    }
    seeds = list(range(args.maps))
    cores = sorted(os.sched_getaffinity(0))
    plain_ms = median_ms(score_plain, seeds[:: max(1, args.maps // args.plain_maps)], cores[:1])
    print(f"plain loops, one core: {plain_ms:.1f} ms per map, {plain_ms * args.maps / 1e3:.0f} s in total")
    result["plain_ms"] = plain_ms
    for used in (cores[:1], cores[:2]):
        ours_ms = median_ms(score_fast, seeds, used)
        ratio = plain_ms / ours_ms
        print(
            f"ours, {len(used)} core(s): {ours_ms:.2f} ms per map, {ours_ms * args.maps / 1e3:.1f} s in "
            f"total, {ratio:.1f} times faster"
        )
        result[f"ours_{len(used)}"] = {"ms": ours_ms, "ratio": ratio}
    print(result["machine"])
    if args.json:
        args.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
