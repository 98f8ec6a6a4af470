"""Checks an exported network against the plain one, on reproducible images."""

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
"""Largest difference of a log-density from that of the plain network."""
STATE_TOLERANCE = 4e-3
"""Largest difference of a hidden state. With random weights, the float32 error of each of the two may be half
of it. The error shrinks through the decoder."""
_SEED = 0
_SIZE_IF_ANY: Size = (64, 96)  # not square, and small: a wrong export shows at any size
_STREAMED_FRAMES = 2
_BATCH_IF_ANY = 2
_SHOWN = 4  # rows and columns of each map, and channels of the state, shown in the card


class Vector(NamedTuple):
    """A test vector: images and the outputs of the network.

    Attributes:
      frames: uint8 RGB [step, batch, height, width, 3]; several steps if streaming.
      log_density: float32 [step, batch, height, width].
      state: float32 [batch, height / 32, width / 32, 256] after the last step; None without streaming.
    """

    frames: np.ndarray
    log_density: np.ndarray
    state: np.ndarray | None


def vector(weights: Weights, signature: Signature) -> Vector:
    """A seeded test vector of the exported shapes, computed by the plain network with unfolded weights."""
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
    """Largest differences of an exported network from a test vector."""

    log_density: float
    state: float

    @property
    def tolerable(self) -> bool:
        """Whether the differences are within tolerance."""
        return self.log_density <= TOLERANCE and self.state <= STATE_TOLERANCE


def difference(call: Call, signature: Signature, expected: Vector) -> Apart:
    """Compares an exported network with a test vector."""
    batch, *size = expected.frames.shape[1:4]
    state = signature.zero_state(batch, (size[0], size[1]))
    apart = 0.0
    for frames, log_density in zip(expected.frames, expected.log_density, strict=True):
        inputs = (signature.prepared(frames), state)
        maps, *states = call(*inputs[: 1 + signature.streaming])
        if signature.uint8:  # densities below the smallest float32 count as equal
            least = np.finfo(np.float32).tiny
            maps, log_density = np.log(np.maximum(maps, least)), np.maximum(log_density, np.log(least))
        apart = max(apart, _distance(maps, log_density))
        state = states[0] if states else state
    if expected.state is None:
        return Apart(apart, 0.0)
    last = expected.state.transpose(0, 3, 1, 2) if signature.channels_first else expected.state
    return Apart(apart, _distance(state, last))


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute difference; infinite if the shapes differ or a value is not finite."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max())


def describe(expected: Vector) -> dict[str, Any]:
    """The test vector for a card: how to make the images, and some expected values."""
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
        "frames_axes": "step, batch, row, column, RGB; one step per call",
    }


def _rounded(values: np.ndarray) -> list[Any]:
    # The last digits depend on the machine.
    return np.round(values.astype(np.float64), 4).tolist()
