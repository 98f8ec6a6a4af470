"""Selects the runtime: ONNX Runtime on a CPU, JAX on GPUs and TPUs, with the same interface and results."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self

import numpy as np

from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.machine import PLATFORM_SETTINGS
from unisal_jax.models.config import UnisalConfig
from unisal_jax.weights.contents import Weights

EngineName = Literal["auto", "jax", "onnxruntime"]
Dtype = Literal["float32", "bfloat16"]


class Engine(Protocol):
    """The folded network, ready to predict in any of its domains.

    Frames are uint8 RGB [batch, height, width, 3] at the input size, height and width multiples of 32. Maps
    have the same size. They are NumPy arrays or can be converted to them; JAX may still be computing them.

    Attributes:
      name: "jax" or "onnxruntime".
      config: the model's config.
      dtype: dtype of the computation; results are float32.
      devices: the devices that can predict in parallel, each selected by `on`.
    """

    name: str
    config: UnisalConfig
    dtype: str

    @property
    def devices(self) -> Sequence[Any]:
        """See above."""

    def on(self, device: Any) -> Self:
        """A copy of this engine on one of the devices."""

    def of(self, weights: Weights) -> Self:
        """A copy of this engine with other weights, on the same devices."""

    def zero_state(self, domain: Domain, sequences: int, input_size: Size) -> Any | None:
        """The state of `sequences` sequences before their first frame; None without recurrence."""

    def images(self, frames: np.ndarray, domain: Domain) -> Any:
        """Log-density [batch, height, width] of images, which have no state in any domain."""

    def frames(self, frames: np.ndarray, domain: Domain, state: Any | None) -> tuple[Any, Any | None]:
        """Predicts one frame of each of several sequences.

        Args:
          frames: one frame of each sequence.
          domain: the domain whose parameters to use.
          state: the state from `zero_state` or from the previous call. Do not use it again after this call.

        Returns:
          (log-density [sequences, height, width], the next state).
        """

    def features(self, frames: np.ndarray, domain: Domain) -> dict[str, Any]:
        """Feature maps [batch, height, width, channels] of images, by name (`network.FEATURES`)."""


def open_engine(weights: Weights, engine: EngineName = "auto", dtype: Dtype = "float32") -> Engine:
    """Opens the engine that runs the network.

    Args:
      weights: the model's weights.
      engine: "auto" selects ONNX Runtime if JAX's device would be the CPU and the dtype is float32, else JAX.
      dtype: dtype of the computation.

    Raises:
      UnisalError: the engine does not support the dtype, or JAX has no device of the selected platform.
    """
    if engine == "auto":
        engine = default_engine(dtype)
    if engine == "jax":
        from unisal_jax.backend import start_jax
        from unisal_jax.inference.jax_engine import JaxEngine

        start_jax()
        return JaxEngine(weights, dtype)
    if engine != "onnxruntime":
        raise UnisalError(f"engine {engine!r}: not one of auto, jax, onnxruntime")
    if dtype != "float32":
        raise UnisalError(f"dtype {dtype}: not supported by onnxruntime; use the engine jax")
    from unisal_jax.inference.onnx_engine import OnnxEngine

    return OnnxEngine(weights)


def default_engine(dtype: Dtype = "float32") -> EngineName:
    """The engine that `auto` selects on this machine; see `open_engine`."""
    return "jax" if dtype != "float32" or _has_accelerator() else "onnxruntime"


def _has_accelerator() -> bool:
    """Whether JAX would use a device other than the CPU. Imports JAX only if that is possible."""
    asked = next((os.environ[name] for name in PLATFORM_SETTINGS if os.environ.get(name)), None)
    if asked == "cpu" or (asked is None and not _has_plugin()):
        return False
    from unisal_jax.backend import local_devices

    return bool(local_devices()[0].platform != "cpu")


def _has_plugin() -> bool:
    """Whether a plugin that adds a device to JAX is installed."""
    return any(map(importlib.util.find_spec, ("jax_plugins", "libtpu"))) or any(
        os.environ.get(name) for name in ("PJRT_NAMES_AND_LIBRARY_PATHS", "TPU_LIBRARY_PATH")
    )
