"""Facts about the machine that the package runs on."""

import os

PLATFORM_SETTINGS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
"""Environment variables that choose JAX's platform, in JAX's order of precedence."""


def cores() -> int:
    """The number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
