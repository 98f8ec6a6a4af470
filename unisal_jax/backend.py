"""Sets up JAX's devices and its cache of compiled programs."""

import os

import jax

from unisal_jax.errors import UnisalError
from unisal_jax.machine import PLATFORM_SETTINGS
from unisal_jax.weights.fetch import programs_dir


def start_jax() -> None:
    """Initializes JAX's devices, and sets its persistent compilation cache to the cache folder.

    If JAX already has a compilation cache folder, it is not changed.

    Raises:
      UnisalError: JAX has no device of the requested platform.
    """
    local_devices()
    if not jax.config.values.get("jax_compilation_cache_dir"):
        jax.config.update("jax_compilation_cache_dir", str(programs_dir()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def local_devices() -> list[jax.Device]:
    """The devices of this process.

    Raises:
      UnisalError: as `start_jax`.
    """
    try:
        return jax.local_devices()
    # A missing platform raises a RuntimeError, or an AssertionError without a message.
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split()).partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        because = f" ({reason})" if reason else ""
        name = next((name for name in PLATFORM_SETTINGS if os.environ.get(name)), None)
        if name is not None:
            raise UnisalError(
                f"{name}={os.environ[name]}: JAX has no such device here{because}; "
                f"unset {name}, or set JAX_PLATFORMS=cpu"
            ) from error
        raise UnisalError(f"JAX has no device here{because}; JAX_PLATFORMS=cpu uses the CPU") from error
