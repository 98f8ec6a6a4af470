"""UNISAL: where people look in images and video, in JAX and Flax."""

from unisal_jax.errors import UnisalError
from unisal_jax.predict.model import SaliencyModel, load

__all__ = ["SaliencyModel", "UnisalError", "load"]
__version__ = "0.1.0"
