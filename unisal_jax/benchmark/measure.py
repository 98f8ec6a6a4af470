"""Timing side by side, and what the machine itself can do."""

import functools
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from unisal_jax.packages import version

Step = Callable[[], object]
# Large enough that starting the work is nothing beside it.
_MATMUL_SIZES = {"cpu": 1024, "gpu": 8192, "tpu": 8192}
_STREAMED_BYTES = {"cpu": 1 << 26, "gpu": 1 << 30, "tpu": 1 << 30}
# The threads of OpenMP and of ONNX Runtime spin for a while after their work, at the next one's cost. An
# accelerator would lower its clock.
_PAUSES = {"cpu": 0.02, "gpu": 0.0, "tpu": 0.0}
_VERSIONS = ("jax", "jaxlib", "flax", "numpy", "onnxruntime", "torch", "unisal-jax")


def interleave(steps: Mapping[str, Step], repeats: int) -> dict[str, np.ndarray]:
    """Times steps in turn, so that what else the machine does falls on all of them alike.

    Args:
      steps: each returns when its work is done.
      repeats: rounds that count, after one that does not.
    Returns:
      seconds [repeats] of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for counted in [False] + repeats * [True]:
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            taken = time.perf_counter() - start
            if counted:
                seconds[name].append(taken)
            time.sleep(_PAUSES[jax.default_backend()])
    return {name: np.asarray(taken) for name, taken in seconds.items()}


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Milliseconds: the least, the median, and the 90th and 99th percentile."""
    low, median, p90, p99 = np.percentile(1e3 * seconds, [0, 50, 90, 99])
    return {name: round(float(ms), 3) for name, ms in zip(_POINTS, (low, median, p90, p99), strict=True)}


_POINTS = ("min_ms", "median_ms", "p90_ms", "p99_ms")


def matmul_size() -> int:
    """Side of the square matrices whose product tells the machine's rate."""
    return _MATMUL_SIZES[jax.default_backend()]


def _streamed_bytes() -> int:
    return _STREAMED_BYTES[jax.default_backend()]


def matmul_step(dtype: str) -> Step:
    """One product of two square matrices, as exact as the network's: the machine's measured rate."""
    a, b = (jax.random.normal(jax.random.key(seed), (matmul_size(),) * 2).astype(dtype) for seed in (0, 1))
    multiply = jax.jit(functools.partial(jnp.matmul, precision="highest"))
    return lambda: multiply(a, b).block_until_ready()


def bandwidth_step() -> Step:
    """One pass over an array much larger than the caches, read and written."""
    x = jnp.zeros(_streamed_bytes() // 4)
    add = jax.jit(lambda x: x + 1)
    return lambda: add(x).block_until_ready()


def rates(matmul: np.ndarray, bandwidth: np.ndarray) -> dict[str, float]:
    """The machine's rates from the seconds of the two steps above; medians, and the best of the product."""
    flops = 2 * matmul_size() ** 3
    moved = 2 * _streamed_bytes() / np.median(bandwidth)
    return {
        "matmul_gflops": round(float(flops / np.median(matmul) / 1e9), 1),
        "matmul_gflops_best": round(float(flops / matmul.min() / 1e9), 1),
        "memory_gb_per_s": round(float(moved / 1e9), 1),
    }


def cost(lowered: jax.stages.Lowered) -> dict[str, float]:
    """What the compiler says of a program, and how long it takes to say it.

    Returns:
      `gflop` and `megabytes` that a call needs, `memory_mb` of temporaries, arguments and results,
      and the seconds of compiling, without the cache of compiled programs.
    """
    cached = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it looks at the setting once
    try:
        start = time.perf_counter()
        compiled = lowered.compile()
        seconds = time.perf_counter() - start
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
        compilation_cache.reset_cache()
    needs: dict[str, float] = compiled.cost_analysis() or {}
    memory: Any = compiled.memory_analysis()
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    return {
        "gflop": round(needs.get("flops", float("nan")) / 1e9, 6),
        "megabytes": round(needs.get("bytes accessed", float("nan")) / 1e6, 1),
        "memory_mb": round(held / 1e6, 1),
        "compile_s": round(seconds, 2),
    }


def peak_megabytes() -> float:
    """Peak memory: of the device where it counts it, else the process's resident size."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return round(stats["peak_bytes_in_use"] / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def load() -> float | None:
    """How many processes ran or waited in the last minute, on average; None where the system does not say."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # the first on Windows
        return None


def machine(load_before: float | None = None) -> dict[str, Any]:
    """What the numbers were measured on and with.

    Args:
      load_before: `load()` before the measurement; None for that of now. The machine is `busy` if it is
        above the number of cores.
    """
    found = {name: version(name) for name in _VERSIONS}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    average = load() if load_before is None else load_before
    return {
        "busy": average is not None and average > cores,
        "cores": cores,
        "device": f"{len(jax.local_devices())} x {jax.local_devices()[0].device_kind}",
        "load": average,
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: each for name, each in found.items() if each},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
