"""Which runtime predicts: ONNX Runtime on a CPU, JAX on GPUs and TPUs. Same calls, same results."""

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

    Frames go in as uint8 RGB [batch, height, width, 3] at the input size, multiples of 32. Maps come out at
    that size, as arrays of NumPy or of something that it can view; JAX may still be computing them.

    Attributes:
      name: "jax" or "onnxruntime".
      config: of the network.
      dtype: of the computation; results are float32.
      devices: what can predict side by side, each by `on`.
    """

    name: str
    config: UnisalConfig
    dtype: str

    @property
    def devices(self) -> Sequence[Any]:
        """See above."""

    def on(self, device: Any) -> Self:
        """The same on one of the devices alone."""

    def of(self, weights: Weights) -> Self:
        """The same for other weights, on the same devices."""

    def zero_state(self, domain: Domain, sequences: int, input_size: Size) -> Any | None:
        """The state of so many sequences before their first frame; None without recurrence."""

    def images(self, frames: np.ndarray, domain: Domain) -> Any:
        """Log-density [batch, height, width] of images, which have no state in any domain."""

    def frames(self, frames: np.ndarray, domain: Domain, state: Any | None) -> tuple[Any, Any | None]:
        """One frame of each of several sequences.

        Args:
          frames: of the sequences in turn.
          domain: whose parameters.
          state: of the sequences, by `zero_state` or the call before, and given up to this one.

        Returns:
          (log-density [sequences, height, width], the next state).
        """

    def features(self, frames: np.ndarray, domain: Domain) -> dict[str, Any]:
        """Inner maps [batch, height, width, channels] of images, by name (`network.FEATURES`)."""


def open_engine(weights: Weights, engine: EngineName = "auto", dtype: Dtype = "float32") -> Engine:
    """The engine that runs the network.

    Args:
      weights: the network's.
      engine: "auto" takes ONNX Runtime where JAX's device would be the CPU and the dtype is float32,
        else JAX.
      dtype: of the computation.

    Raises:
      UnisalError: the engine cannot do the dtype; or JAX has no device of the platform that it was
        told to use.
    """
    if engine == "auto":
        engine = default_engine(dtype)
    if engine == "jax":
        from unisal_jax.backend import start_jax
        from unisal_jax.inference.jax_engine import JaxEngine

        start_jax()
        return JaxEngine(weights, dtype)
    if engine != "onnxruntime":
        raise UnisalError(f"engine {engine!r}: it is auto, jax or onnxruntime")
    if dtype != "float32":
        raise UnisalError(f"dtype {dtype}: onnxruntime computes in float32; use the engine jax")
    from unisal_jax.inference.onnx_engine import OnnxEngine

    return OnnxEngine(weights)


def default_engine(dtype: Dtype = "float32") -> EngineName:
    """What `auto` is on this machine; see `open_engine`."""
    return "jax" if dtype != "float32" or _has_accelerator() else "onnxruntime"


def _has_accelerator() -> bool:
    """Whether JAX would compute on something else than the CPU; JAX is imported only if that may be."""
    asked = next((os.environ[name] for name in PLATFORM_SETTINGS if os.environ.get(name)), None)
    if asked == "cpu" or (asked is None and not _has_plugin()):
        return False
    from unisal_jax.backend import local_devices

    return bool(local_devices()[0].platform != "cpu")


def _has_plugin() -> bool:
    """Whether anything is there that gives JAX a device beside the CPU."""
    return any(map(importlib.util.find_spec, ("jax_plugins", "libtpu"))) or any(
        os.environ.get(name) for name in ("PJRT_NAMES_AND_LIBRARY_PATHS", "TPU_LIBRARY_PATH")
    )
