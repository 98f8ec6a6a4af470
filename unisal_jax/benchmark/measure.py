"""Statistics of times, and facts about the machine. Does not import JAX."""

import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np

from unisal_jax.machine import cores, peak_bytes
from unisal_jax.packages import version

Step = Callable[[], object]
_POINTS = ("min_ms", "median_ms", "p90_ms", "p99_ms")
_VERSIONS = ("jax", "jaxlib", "flax", "numpy", "onnxruntime", "openvino", "torch", "unisal-jax")


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Milliseconds: minimum, median, and 90th and 99th percentile."""
    points = np.percentile(1e3 * seconds, [0, 50, 90, 99])
    return {name: round(float(ms), 3) for name, ms in zip(_POINTS, points, strict=True)}


def noise(size: tuple[int, int], seed: int) -> np.ndarray:
    """A random image, uint8 RGB [height, width, 3], identical in every process."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def peak_megabytes() -> float | None:
    """Peak resident size of the process; None if the system does not provide it."""
    peak = peak_bytes()
    return None if peak is None else round(peak / 1e6, 1)


def load() -> float | None:
    """Load average of the last minute; None if the system does not provide it."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # the first on Windows
        return None


def machine(load_before: float | None = None, device: str | None = None) -> dict[str, Any]:
    """Facts about machine and software.

    Args:
      load_before: `load()` before the measurement; None for the current load. The machine is `busy` if it
        exceeds the number of cores.
      device: JAX's device, if the measurement uses it.
    """
    found = {name: version(name) for name in _VERSIONS}
    average = load() if load_before is None else load_before
    return {
        "busy": average is not None and average > cores(),
        "cores": cores(),
        **({"device": device} if device else {}),
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
