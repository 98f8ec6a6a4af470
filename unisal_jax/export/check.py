"""An exported network against the plain one, on images that anyone can make again."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.export.signature import Call, Signature
from unisal_jax.models.unisal import Unisal
from unisal_jax.normalization import normalize
from unisal_jax.weights.store import Weights

TOLERANCE = 1e-3
"""How far a log-density may be from the plain network's."""
STATE_TOLERANCE = 4e-3
"""The same of a hidden state: in float32 each of the two may be half of it from the exact one, with random
weights; through the rest of the network less is left of that."""
_SEED = 0
_SIZE_IF_ANY: Size = (64, 96)  # not square, and small: a wrong export shows at any size
_STREAMED_FRAMES = 2
_BATCH_IF_ANY = 2
_SHOWN = 4  # rows and columns of each map, and channels of the state, whose values are in the card


class Vector(NamedTuple):
    """Images and what the network makes of them.

    Attributes:
      frames: uint8 RGB [step, batch, height, width, 3]; several steps if streaming.
      log_density: float32 [step, batch, height, width].
      state: float32 [batch, height / 32, width / 32, 256] after the last step; None without streaming.
    """

    frames: np.ndarray
    log_density: np.ndarray
    state: np.ndarray | None


def vector(weights: Weights, signature: Signature) -> Vector:
    """A seeded test vector of the exported shapes, by the plain network with its weights as they are."""
    size = signature.input_size or _SIZE_IF_ANY
    steps = _STREAMED_FRAMES if signature.streaming else 1
    shape = (steps, signature.batch or _BATCH_IF_ANY, *size, 3)
    frames = np.random.Generator(np.random.PCG64(_SEED)).integers(0, 256, shape, np.uint8)
    run = jax.jit(functools.partial(_run, Unisal(weights.config), signature))
    log_density, state = run(weights.variables, frames.swapaxes(0, 1))
    return Vector(
        frames, np.asarray(log_density).swapaxes(0, 1), np.asarray(state) if signature.streaming else None
    )


def _run(module: Unisal, signature: Signature, variables: dict[str, Any], frames: jax.Array) -> Any:
    return module.apply(variables, normalize(frames), signature.domain, static=not signature.streaming)


class Apart(NamedTuple):
    """Largest distances of an exported network from a vector."""

    log_density: float
    state: float

    @property
    def tolerable(self) -> bool:
        """Whether the export is the network."""
        return self.log_density <= TOLERANCE and self.state <= STATE_TOLERANCE


def difference(call: Call, signature: Signature, expected: Vector) -> Apart:
    """How far an exported network is from the vector."""
    batch, *size = expected.frames.shape[1:4]
    state = signature.zero_state(batch, (size[0], size[1]))
    apart = 0.0
    for frames, log_density in zip(expected.frames, expected.log_density, strict=True):
        inputs = (signature.prepared(frames), state)
        maps, *states = call(*inputs[: 1 + signature.streaming])
        if signature.uint8:  # what is below float32's least density is zero on both sides
            least = np.finfo(np.float32).tiny
            maps, log_density = np.log(np.maximum(maps, least)), np.maximum(log_density, np.log(least))
        apart = max(apart, _distance(maps, log_density))
        state = states[0] if states else state
    if expected.state is None:
        return Apart(apart, 0.0)
    last = expected.state.transpose(0, 3, 1, 2) if signature.channels_first else expected.state
    return Apart(apart, _distance(state, last))


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Infinite if the shapes differ or anything is not a number."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max())


def describe(expected: Vector) -> dict[str, Any]:
    """The vector for a card: how the images are made, and some of the expected values."""
    rows, columns = (np.arange(_SHOWN) * side // _SHOWN for side in expected.frames.shape[2:4])
    values: dict[str, Any] = {
        "columns": columns.tolist(),
        "log_density": _rounded(expected.log_density[-1][:, rows[:, None], columns]),
        "log_density_tolerance": TOLERANCE,
        "log_density_axes": "image, row, column; after the last step",
        "rows": rows.tolist(),
    }
    if expected.state is not None:
        values["state"] = _rounded(expected.state[:, 0, 0, :_SHOWN])
        values["state_tolerance"] = STATE_TOLERANCE
        values["state_axes"] = f"sequence, channel; the first {_SHOWN} channels at row 0, column 0"
    return {
        "expected": values,
        "frames": f"numpy.random.Generator(numpy.random.PCG64({_SEED}))"
        f".integers(0, 256, {expected.frames.shape}, numpy.uint8)",
        "frames_axes": "step, batch, row, column, RGB; one step a call",
    }


def _rounded(values: np.ndarray) -> list[Any]:
    # The last digits are another machine's own.
    return np.round(values.astype(np.float64), 4).tolist()
