"""Checks that two files contain the same weights, by comparing all tensors by the authors' names."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from unisal_jax.weights import names
from unisal_jax.weights.sources import fetched, resolve
from unisal_jax.weights.store import load_weights, read_state

_EQUAL, _AS_FLOAT32 = "equal", "equal as float32"


def proof(first: str | Path, second: str | Path) -> tuple[list[str], int]:
    """Compares two sets of weights, tensor for tensor.

    A state dict is compared unconverted, so that the result covers the conversion too. `equal as float32`
    means that the dtypes differ and the values are equal after conversion to float32.

    Returns:
      (lines to print: one per tensor with verdict, name, shape, dtype and sha256, then a summary;
      number of tensors that differ or are in only one file).
    """
    ours, theirs = _state(first), _state(second)
    lines: list[str] = []
    verdicts: Counter[str] = Counter()
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        array = ours[name] if name in ours else theirs[name]
        kind = str(array.dtype)
        if name not in ours or name not in theirs:
            verdict = f"only in {first if name in ours else second}"
        elif _same(array, theirs[name]):
            verdict = _EQUAL
        elif not names.is_extra(name) and _same(_as_float32(array), _as_float32(theirs[name])):
            verdict, kind = _AS_FLOAT32, f"{array.dtype} and {theirs[name].dtype}"
        else:
            verdict = "DIFFERENT"
        verdicts[verdict] += 1
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
        lines.append(f"{verdict}  {name}  {list(array.shape)}  {kind}  sha256:{digest}")
    count = len(lines)
    summary = f"{verdicts[_EQUAL]} of {count} tensors equal, bit for bit"
    if verdicts[_AS_FLOAT32]:
        summary += f"; {verdicts[_AS_FLOAT32]} of different dtypes equal as float32"
    lines.append(f"{summary}: {first} and {second}")
    return lines, count - verdicts[_EQUAL] - verdicts[_AS_FLOAT32]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    # Compares bytes: a NaN equals itself, and 0.0 differs from -0.0.
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _as_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _state(source: str | Path) -> dict[str, np.ndarray]:
    """Tensors by the authors' names."""
    path = fetched(resolve(source))
    state = read_state(path)
    if state is not None:
        return names.plain(state, names.NETWORK_ANCHOR, str(path))
    weights = load_weights(path)
    return names.to_state(weights.variables, weights.config, weights.extras)
