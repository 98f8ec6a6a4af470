"""What the machine has to work with."""

import os

PLATFORM_SETTINGS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
"""What a user sets to choose JAX's devices, in the order in which JAX regards it."""


def cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # of Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
