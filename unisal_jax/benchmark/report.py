"""The report of `unisal benchmark`: its numbers from seconds [rounds, steps], and its text."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


def ratio(theirs: np.ndarray, ours: np.ndarray) -> dict[str, float]:
    """Ratio of times: the median over rounds of the ratio of medians, and the ratio of the minima."""
    return {
        "median": round(float(np.median(_by_round(theirs) / _by_round(ours))), 2),
        "min": round(float(theirs.min() / ours.min()), 2),
    }


class Machine(NamedTuple):
    """Speed of the machine: seconds of matrix products of `flops`, and of passes over `bytes`."""

    matmul: np.ndarray
    bandwidth: np.ndarray
    flops: float
    bytes: float

    def rates(self) -> dict[str, float]:
        """Median rates, and the best rate of the matrix product."""
        return {
            "matmul_gflops": round(float(self.flops / np.median(self.matmul) / 1e9), 1),
            "matmul_gflops_best": round(float(self.flops / self.matmul.min() / 1e9), 1),
            "memory_gb_per_s": round(float(self.bytes / np.median(self.bandwidth) / 1e9), 1),
        }


def share(cost: dict[str, float], ours: np.ndarray, machine: Machine) -> dict[str, float]:
    """Share of the machine's rates that a program of this cost reaches.

    `bound` is its time relative to that of its FLOPs at the rate of the matrix product in the same round, the
    median over rounds. `bound_min` is its minimum time relative to that at the best rate, which is less
    sensitive to other programs.
    """
    products = 1e9 * cost["gflop"] / machine.flops
    passes = 1e6 * cost["megabytes"] / machine.bytes
    bound = float(np.median(_by_round(ours) / (products * _by_round(machine.matmul))))
    return {
        "bound": round(bound, 3),
        "bound_min": round(float(ours.min() / (products * machine.matmul.min())), 3),
        "matmul": round(1 / bound, 3),
        "memory": round(float(np.median(passes * _by_round(machine.bandwidth) / _by_round(ours))), 3),
    }


def _by_round(seconds: np.ndarray) -> np.ndarray:
    return np.median(seconds, 1)


def text(report: dict[str, Any]) -> Sequence[str]:
    """The report as lines of text."""
    machine, rates = report["machine"], report["rates"]
    lines = [
        f"{machine['device']} ({machine['processor']}, {machine['cores']} cores), {report['dtype']}, engine "
        f"{report['engine']}: matrix product {rates['matmul_gflops']} GFLOP/s, memory "
        f"{rates['memory_gb_per_s']} GB/s",
        f"{'':22s} {'min':>9s} {'median':>9s} {'p90':>9s} {'p99':>9s} ms",
    ]
    for task, rows in report["latency"].items():
        for name, row in rows.items():
            found = report["ratios"][task].get(name)
            ratio = f"   {found['median']:.2f} times ours (by minima {found['min']:.2f})" if found else ""
            points = " ".join(f"{row[p]:9.2f}" for p in ("min_ms", "median_ms", "p90_ms", "p99_ms"))
            lines.append(f"{task:7s} {name:14s} {points}{ratio}")
    for task, cost in report["cost"].items():
        lines.append(
            f"{task}: {cost['gflop']:.3f} GFLOP and {cost['megabytes']:.0f} MB per frame, "
            f"{cost['memory_mb']:.0f} MB held by XLA, compiled in {cost['compile_s']:.1f} s; "
            f"{report['share'][task]['bound']:.2f} times the time of its FLOPs (by minima "
            f"{report['share'][task]['bound_min']:.2f})"
        )
    for count, row in report["throughput"].items():
        lines.append(f"batch {count}: {row['frames_per_s']:.1f} frames/s")
    if report["peak_mb"] is not None:
        lines.append(f"peak memory {report['peak_mb']:.0f} MB")
    if machine["busy"]:
        lines.append(
            f"the machine was busy: load {machine['load']} on {machine['cores']} cores before the start; "
            "measure again on an idle machine"
        )
    lines += [f"left out: {name}: {why}" for name, why in report["left_out"].items()]
    return lines
