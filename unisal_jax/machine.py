"""Facts about the machine that the package runs on."""

import os
import sys

PLATFORM_SETTINGS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
"""Environment variables that choose JAX's platform, in JAX's order of precedence."""


def cores() -> int:
    """The number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_bytes() -> int | None:
    """Peak resident size of the process; None on Windows, which has no module `resource`."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
