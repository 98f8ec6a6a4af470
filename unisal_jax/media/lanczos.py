"""Lanczos resizing of 8-bit planes, bit-identical to Pillow's in about half the time.

Uses the same filter and order as `PIL.Image.resize(size, LANCZOS)`: along rows first, rounded to 8 bits, then
along columns. Pillow sums integers; here the sums are products of float32 matrices. The few sums too close to
a half to round safely are recomputed in integers.
"""

import functools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import DTypeLike

from unisal_jax.domains import Size

_LOBES = 3
# Pillow's weights are integer multiples of 2**-_BITS.
_BITS = 22
# Outputs per matrix product. More would multiply by more zeros; fewer would need more products.
_TOGETHER = 8
# OpenBLAS spreads products with more multiplications than this over threads, which then spin waiting for each
# other while other threads occupy the cores.
_MAX_PRODUCT = 500_000


class _Band(NamedTuple):
    """The filters of adjacent outputs: weights of the inputs `start` to `stop`."""

    first: int
    start: int
    stop: int
    weights: np.ndarray


class _Filters(NamedTuple):
    """The filters that resize one length to another.

    Attributes:
      bands: together cover all outputs.
      starts: each output's first input, int [out].
      weights: integer weights of the inputs from there on, int32 [out, most]; sums stay below 2**31.
      doubt: bound on the error of a float32 sum.
    """

    bands: tuple[_Band, ...]
    starts: np.ndarray
    weights: np.ndarray
    doubt: float


def resize_planes(planes: Sequence[np.ndarray], size: Size) -> np.ndarray:
    """Resizes 8-bit planes as Pillow's Lanczos filter does, with antialiasing when shrinking.

    Args:
      planes: uint8 [H, W] each, in any memory layout.
      size: (height, width).

    Returns:
      uint8 [h, w, planes], equal to Pillow's.
    """
    height, width = size
    out = np.empty((height, width, len(planes)), np.uint8)
    for number, plane in enumerate(planes):
        rows, columns = plane.shape
        # Transposed, so that each pass is a product with contiguous rows.
        turned = cv2.transpose(plane, dst=_memory.array("turned", (columns, rows), np.uint8))
        across = _memory.array("plane", (columns, rows), np.float32)
        np.copyto(across, turned)
        if columns != width:
            across = _filtered(across, _filters(columns, width))
        down = cv2.transpose(across, dst=_memory.array("across", (rows, width), np.float32))
        out[..., number] = down if rows == height else _filtered(down, _filters(rows, height))
    return out


class _Memory(threading.local):
    """Arrays reused within a thread. Allocating and clearing memory would cost more than the sums."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: Size, dtype: DTypeLike) -> np.ndarray:
        """Returns an uninitialised array, valid until the next call with the same name."""
        size = shape[0] * shape[1]
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


_memory = _Memory()


def _filtered(plane: np.ndarray, filters: _Filters) -> np.ndarray:
    """Filters along the columns of a plane of integers, float32 [rows, columns] to float32 [out, columns]."""
    columns = plane.shape[1]
    shape = len(filters.starts), columns
    out, whole = (_memory.array(name, shape, np.float32) for name in ("out", "whole"))
    for first, start, stop, weights in filters.bands:
        together = max(1, _MAX_PRODUCT // weights.size)
        for column in range(0, columns, together):
            part = slice(column, column + together)
            np.matmul(weights, plane[start:stop, part], out=out[first : first + len(weights), part])
    np.floor(np.add(out, 0.5, out=whole), out=whole)
    np.abs(np.subtract(out, whole, out=out), out=out)
    in_doubt = np.flatnonzero(out > 0.5 - filters.doubt)
    whole.reshape(-1)[in_doubt] = _exactly(plane, filters, *np.divmod(in_doubt, columns))
    return np.clip(whole, 0, 255, out=whole)


def _exactly(plane: np.ndarray, filters: _Filters, outputs: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the filtered values at these outputs and columns, rounded half up as Pillow does."""
    taps = filters.starts[outputs, None] + np.arange(filters.weights.shape[1])
    inputs = plane[np.minimum(taps, len(plane) - 1), columns[:, None]].astype(np.int32)
    sums = np.einsum("nk,nk->n", inputs, filters.weights[outputs])
    return (sums + (1 << (_BITS - 1))) >> _BITS


@functools.lru_cache(maxsize=64)
def _filters(length: int, out: int) -> _Filters:
    scale = length / out
    widened = max(scale, 1.0)
    reach = _LOBES * widened
    centres = (np.arange(out) + 0.5) * scale
    # Truncated towards zero, as C converts to int.
    starts = np.maximum((centres - reach + 0.5).astype(int), 0)
    stops = np.minimum((centres + reach + 0.5).astype(int), length)
    most = int((stops - starts).max())
    taps = starts[:, None] + np.arange(most)
    at = (taps - centres[:, None] + 0.5) * (1.0 / widened)
    inside = (taps < stops[:, None]) & (np.abs(at) < _LOBES)
    values = np.where(inside, np.sinc(at) * np.sinc(at / _LOBES), 0.0)
    weights = np.rint(values / values.sum(1, keepdims=True) * (1 << _BITS)).astype(np.int32)
    bands = []
    for first in range(0, out, _TOGETHER):
        last = min(first + _TOGETHER, out)
        start, stop = starts[first], stops[last - 1]
        band = np.zeros((last - first, stop - start), np.float32)
        for number in range(first, last):
            own = stops[number] - starts[number]
            band[number - first, starts[number] - start :][:own] = weights[number, :own] / (1 << _BITS)
        bands.append(_Band(first, start, stop, band))
    # Error bound of a sum of `most` products in any order (Higham 2002, section 3.1).
    doubt = most * 2.0**-24 * 255 * float(np.abs(weights).sum(1).max()) / (1 << _BITS)
    return _Filters(tuple(bands), starts, weights, doubt)
