"""UNISAL: where people look in images and video, in JAX and Flax."""

import importlib
from typing import TYPE_CHECKING, Any

from unisal_jax.errors import UnisalError

if TYPE_CHECKING:
    from unisal_jax.predict.model import SaliencyModel, load

__all__ = ["SaliencyModel", "UnisalError", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Flax, OpenCV and FFmpeg are imported once they are needed: `import unisal_jax` itself is quick.
    if name in ("SaliencyModel", "load"):
        return getattr(importlib.import_module("unisal_jax.predict.model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
