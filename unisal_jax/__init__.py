"""UNISAL in JAX and Flax: predicts where people look in images and video."""

import importlib
from typing import TYPE_CHECKING, Any

from unisal_jax.errors import UnisalError
from unisal_jax.version import __version__

if TYPE_CHECKING:
    from unisal_jax.apps.compare import compare
    from unisal_jax.apps.crop import best_crop
    from unisal_jax.apps.curves import region_curves
    from unisal_jax.apps.regions import Region, score_regions
    from unisal_jax.apps.shots import crop_video
    from unisal_jax.predict.model import SaliencyModel, load
    from unisal_jax.predict.scanpath import draw_scanpaths

__all__ = [
    "Region",
    "SaliencyModel",
    "UnisalError",
    "__version__",
    "best_crop",
    "compare",
    "crop_video",
    "draw_scanpaths",
    "load",
    "region_curves",
    "score_regions",
]

_MODULES = {
    "Region": "unisal_jax.apps.regions",
    "SaliencyModel": "unisal_jax.predict.model",
    "best_crop": "unisal_jax.apps.crop",
    "compare": "unisal_jax.apps.compare",
    "crop_video": "unisal_jax.apps.shots",
    "draw_scanpaths": "unisal_jax.predict.scanpath",
    "load": "unisal_jax.predict.model",
    "region_curves": "unisal_jax.apps.curves",
    "score_regions": "unisal_jax.apps.regions",
}


def __getattr__(name: str) -> Any:
    # Import Flax, OpenCV and FFmpeg only when needed, so that `import unisal_jax` is fast.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
