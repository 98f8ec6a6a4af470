"""Others that run the same network: ONNX Runtime on the public file, and PyTorch on the original code.

Both lie in one wheel on the package index (`weights.fetch.WHEEL_REQUIREMENT`). The original code is
imported from there. What is not installed is left out, with the reason.
"""

import contextlib
import importlib
import importlib.util
import sys
import tempfile
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.weights.fetch import WHEEL_REQUIREMENT

ONNX_SIZE = (256, 416)
_PACKAGE = "pyautoflip"
_ONNX = "detection/unisal.onnx"
_CODE = "3rd_party_libs/unisal/unisal"
_WEIGHTS = "3rd_party_libs/unisal/training_runs/pretrained_unisal/weights_best.pth"

Run = Callable[[jax.Array], np.ndarray]
"""Normalised RGB float32 [height, width, 3] of the next frame -> log-density [height, width]."""


@contextlib.contextmanager
def unpacked(wheel: Path | None) -> Iterator[Path | None]:
    """The folder of the peers' package: from a wheel, or a folder it was unpacked to, or installed.

    Raises:
      UnisalError: `wheel` is not that package.
    """
    if wheel is None:
        spec = importlib.util.find_spec(_PACKAGE)
        yield Path(spec.origin).parent if spec and spec.origin else None
        return
    with tempfile.TemporaryDirectory() as folder:
        if wheel.is_file():
            try:
                with zipfile.ZipFile(wheel) as archive:
                    wanted = (_ONNX, _CODE, _WEIGHTS)
                    prefixes = tuple(f"{_PACKAGE}/{part}" for part in wanted)
                    archive.extractall(folder, [n for n in archive.namelist() if n.startswith(prefixes)])
            except zipfile.BadZipFile as error:
                raise UnisalError(f"{wheel}: not a wheel") from error
        root = (Path(folder) if wheel.is_file() else wheel) / _PACKAGE
        if not (root / _ONNX).is_file():
            raise UnisalError(f"{wheel}: not the wheel of {WHEEL_REQUIREMENT}, nor its unpacked folder")
        yield root


def onnxruntime_run(root: Path, options: Any = None) -> Run:
    """ONNX Runtime on the public file: static, DHF1K's parameters, input ONNX_SIZE.

    Args:
      root: the peers' package.
      options: an `onnxruntime.SessionOptions`; None for the default.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(root / _ONNX), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(frame: jax.Array) -> np.ndarray:
        return session.run(None, {name: _channels_first(frame)})[0].reshape(frame.shape[:2])

    return run


def torch_run(root: Path, compiled: bool) -> Run:
    """The original network in PyTorch, DHF1K, its hidden state carried from frame to frame."""
    import torch

    network = _original(root).UNISAL(cnn_cfg={"pretrained": False}, verbose=0)
    network.load_state_dict(torch.load(root / _WEIGHTS, map_location="cpu", weights_only=True))
    network.eval()
    call = torch.compile(network) if compiled else network
    hidden = None

    def run(frame: jax.Array) -> np.ndarray:
        nonlocal hidden
        x = torch.from_numpy(_channels_first(frame))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Left to itself, the original takes a single frame for a picture and bypasses the RNN.
            out, hidden = call(x, source="DHF1K", h0=hidden, return_hidden=True, static=False)
        return out.numpy().reshape(frame.shape[:2])

    return run


def _original(root: Path) -> types.ModuleType:
    """The module with the original network. Its package's own __init__ would import its training too."""
    package = types.ModuleType("_original_unisal")
    package.__path__ = [str(root / _CODE)]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}.model")


def _channels_first(frame: jax.Array) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(frame).transpose(2, 0, 1)[None, None])
