"""Proof that two files hold the same weights: every tensor of both, by the authors' names."""

import hashlib
from pathlib import Path

import numpy as np

from unisal_jax.weights import fetch, hub, names, pth
from unisal_jax.weights.store import PTH_SUFFIXES, load_weights


def proof(first: str | Path, second: str | Path) -> tuple[list[str], int]:
    """Compares two sets of weights bit for bit.

    A .pth file is read as it is, not through our tree, so that the proof covers the conversion.

    Returns:
      (lines to print: one a tensor with its name, shape, type, sha256 and verdict, then a summary,
      how many tensors differ or are in one file only).
    """
    ours, theirs = _state(first), _state(second)
    lines, differing = [], 0
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        array = ours[name] if name in ours else theirs[name]
        if name not in ours or name not in theirs:
            verdict = f"only in {first if name in ours else second}"
        else:
            verdict = "equal" if _same(array, theirs[name]) else "DIFFERENT"
        differing += verdict != "equal"
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
        lines.append(f"{verdict}  {name}  {list(array.shape)}  {array.dtype}  sha256:{digest}")
    lines.append(f"{len(lines) - differing} of {len(lines)} tensors equal, bit for bit: {first} and {second}")
    return lines, differing


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    # As bytes: a NaN equals itself here, and 0.0 is not -0.0.
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _state(source: str | Path) -> dict[str, np.ndarray]:
    """Tensors by the authors' names."""
    if str(source) in fetch.RELEASED:
        path = fetch.fetch(str(source))
    elif str(source).startswith(hub.SCHEME):
        path = hub.download(str(source))
    else:
        path = Path(source)
    if path.is_file() and path.suffix.lower() in PTH_SUFFIXES:
        return pth.read_pth(path)
    weights = load_weights(path)
    return names.to_state(weights.variables, weights.config, weights.extras)
