"""Rates of JAX's device, and costs of programs from XLA's compiler."""

import functools
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from unisal_jax.benchmark.measure import Step, peak_megabytes

# Large enough for the launch overhead to be negligible.
_MATMUL_SIZES = {"cpu": 1024, "gpu": 8192, "tpu": 8192}
_STREAMED_BYTES = {"cpu": 1 << 26, "gpu": 1 << 30, "tpu": 1 << 30}
# CPU threads busy-wait after their work and slow the next step; an accelerator lowers its clock in pauses.
_PAUSES = {"cpu": 0.02, "gpu": 0.0, "tpu": 0.0}


def interleave(steps: Mapping[str, Step], repeats: int) -> dict[str, np.ndarray]:
    """Times steps of this process in alternation, so that other load affects all of them alike.

    Args:
      steps: functions by name; each returns when its work is done.
      repeats: number of counted rounds, after a warm-up round.

    Returns:
      Seconds [repeats] of each step, by name.
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


def device() -> str:
    """Number and type of JAX's devices."""
    return f"{len(jax.local_devices())} x {jax.local_devices()[0].device_kind}"


def matmul_flops() -> int:
    """FLOPs of a step of `matmul_step`."""
    return 2 * _MATMUL_SIZES[jax.default_backend()] ** 3


def matmul_step(dtype: str) -> Step:
    """One product of two square matrices, at the precision of the network's products."""
    size = _MATMUL_SIZES[jax.default_backend()]
    a, b = (jax.random.normal(jax.random.key(seed), (size, size)).astype(dtype) for seed in (0, 1))
    multiply = jax.jit(functools.partial(jnp.matmul, precision="highest"))
    return lambda: multiply(a, b).block_until_ready()


def bandwidth_bytes() -> int:
    """Bytes that a step of `bandwidth_step` reads and writes."""
    return 2 * _STREAMED_BYTES[jax.default_backend()]


def bandwidth_step() -> Step:
    """One pass that reads and writes an array much larger than the caches."""
    x = jnp.zeros(bandwidth_bytes() // 8)
    add = jax.jit(lambda x: x + 1)
    return lambda: add(x).block_until_ready()


def cost(lowered: jax.stages.Lowered) -> dict[str, float]:
    """Compiles a program and returns its costs.

    Returns:
      `gflop` and `megabytes` accessed per call, `memory_mb` of temporaries, arguments and results, and
      `compile_s`, the seconds of compilation without the persistent cache.
    """
    cached = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # it reads the setting only once
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


def peak_device_megabytes() -> float | None:
    """Peak memory of the device if it reports it, else the peak resident size of the process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return round(stats["peak_bytes_in_use"] / 1e6, 1) if "peak_bytes_in_use" in stats else peak_megabytes()
