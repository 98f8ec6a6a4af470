"""Inputs and outputs of an exported network."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from unisal_jax.domains import SIZE_UNIT, Domain, Size
from unisal_jax.inference.onnx_plan import BATCH_AXIS, DENSITY, FRAMES, LOG_DENSITY, NEXT_STATE, STATE
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.normalization import RGB_MEAN, RGB_STD, normalize

Call = Callable[..., tuple[np.ndarray, ...]]
"""An exported network as a function: (images[, state]) -> (maps[, next state]); states if streaming."""


@dataclasses.dataclass(frozen=True)
class Signature:
    """Shapes and types of an exported network.

    Attributes:
      domain: domain whose parameters to use.
      input_size: (height, width) of the images; None for any multiples of 32.
      batch: number of images or sequences per call; None for any number.
      streaming: takes a frame of each sequence and the hidden state, and returns the map and the next state;
        otherwise takes images, which bypass the recurrence.
      uint8: images are uint8 RGB in 0 to 255 and maps densities; otherwise images are normalised float32 and
        maps log-densities.
      channels_first: axis order of normalised images and of the state. uint8 images are always
        [batch, height, width, 3], as decoders return them.
    """

    domain: Domain
    input_size: Size | None
    batch: int | None
    streaming: bool
    uint8: bool
    channels_first: bool

    @property
    def output(self) -> str:
        """Name of the output with the maps."""
        return DENSITY if self.uint8 else LOG_DENSITY

    @property
    def frames_shape(self) -> tuple[str, ...]:
        """Sizes of the axes of the images; a symbol stands for any size."""
        batch, height, width = self._axes()
        if self.channels_first and not self.uint8:
            return batch, "3", height, width
        return batch, height, width, "3"

    @property
    def state_shape(self) -> tuple[str, ...]:
        """Sizes of the axes of the hidden state."""
        batch, height, width = self._axes(SIZE_UNIT)
        if self.channels_first:
            return batch, str(HIDDEN_FEATURES), height, width
        return batch, height, width, str(HIDDEN_FEATURES)

    def _axes(self, reduction: int = 1) -> tuple[str, str, str]:
        batch = BATCH_AXIS if self.batch is None else str(self.batch)
        if self.input_size is None:
            height, width = (s if reduction > 1 else f"{SIZE_UNIT}*{s}" for s in "hw")
        else:
            height, width = (str(side // reduction) for side in self.input_size)
        return batch, height, width

    def prepared(self, frames: np.ndarray) -> np.ndarray:
        """Converts uint8 RGB [batch, height, width, 3] to the input of the exported network."""
        if self.uint8:
            return frames
        normalized = normalize(frames)
        return np.ascontiguousarray(normalized.transpose(0, 3, 1, 2)) if self.channels_first else normalized

    def zero_state(self, batch: int, size: Size) -> np.ndarray:
        """The hidden state before the first frame."""
        height, width = (side // SIZE_UNIT for side in size)
        shape = (HIDDEN_FEATURES, height, width) if self.channels_first else (height, width, HIDDEN_FEATURES)
        return np.zeros((batch, *shape), np.float32)

    def describe(self) -> dict[str, Any]:
        """Inputs and outputs by name, with shape, dtype and meaning, for the card."""
        batch, height, width = self._axes()
        state = {
            "dtype": "float32",
            "meaning": "hidden state of each sequence; zeros before its first frame",
            "shape": _shown(self.state_shape),
        }
        frames: dict[str, Any] = {
            "channels": "RGB",
            "dtype": "uint8" if self.uint8 else "float32",
            "meaning": "images, 0 to 255"
            if self.uint8
            else "normalised images: (value / 255 - mean) / std, by channel",
            "shape": _shown(self.frames_shape),
        }
        if not self.uint8:
            frames["normalisation"] = {"mean": list(RGB_MEAN), "std": list(RGB_STD)}
        maps = {
            "dtype": "float32",
            "meaning": "probability that a fixation falls on the pixel; sums to 1 over each image"
            if self.uint8
            else "natural logarithm of the density; its exponential sums to 1 over each image",
            "shape": _shown((batch, height, width)),
        }
        next_state = {**state, "meaning": "hidden state after the frame: `state` of the next call"}
        return {
            "inputs": {FRAMES: frames, **({STATE: state} if self.streaming else {})},
            "outputs": {self.output: maps, **({NEXT_STATE: next_state} if self.streaming else {})},
        }


def _shown(shape: tuple[str, ...]) -> list[int | str]:
    return [int(axis) if axis.isdecimal() else axis for axis in shape]
