"""What the machine has to work with."""

import os
import sys

PLATFORM_SETTINGS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
"""What a user sets to choose JAX's devices, in the order in which JAX regards it."""


def cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # of Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_bytes() -> int | None:
    """The process's peak resident size; None on Windows, which has no `resource`."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
