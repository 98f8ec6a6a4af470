"""Pillow's Lanczos resizing of 8-bit planes, bit for bit, in about half its time.

The same filter and the same order as `PIL.Image.resize(size, LANCZOS)`: along rows first, rounded to 8 bits,
then along columns. Pillow sums whole numbers; here sums are products of float32 matrices, and the few that
come so near to a half that their rounding is in doubt are summed again in whole numbers.
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
# Pillow's weights are whole multiples of its inverse.
_BITS = 22
# Outputs that one product makes: more would multiply by more zeros, fewer would take more products.
_TOGETHER = 8
# OpenBLAS gives a product of more multiplications than this to its threads, which wait for each other without
# end where other threads have the cores.
_MAX_PRODUCT = 500_000


class _Band(NamedTuple):
    """The filters of some outputs that lie side by side: weights of the inputs `start` to `stop`."""

    first: int
    start: int
    stop: int
    weights: np.ndarray


class _Filters(NamedTuple):
    """The filters from one length to another.

    Attributes:
        bands: all outputs.
        starts: each output's first input, int [out].
        weights: of the inputs from there on, whole numbers, int32 [out, most]; sums stay below 2**31.
        doubt: how far a sum in float32 may be off.
    """

    bands: tuple[_Band, ...]
    starts: np.ndarray
    weights: np.ndarray
    doubt: float


def resize_planes(planes: Sequence[np.ndarray], size: Size) -> np.ndarray:
    """Resizes 8-bit planes as Pillow's Lanczos filter does, which widens where it shrinks (antialiases).

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
        # Turned, so that each pass is a product with rows that lie in memory as they are.
        turned = cv2.transpose(plane, dst=_memory.array("turned", (columns, rows), np.uint8))
        across = _memory.array("plane", (columns, rows), np.float32)
        np.copyto(across, turned)
        if columns != width:
            across = _filtered(across, _filters(columns, width))
        down = cv2.transpose(across, dst=_memory.array("across", (rows, width), np.float32))
        out[..., number] = down if rows == height else _filtered(down, _filters(rows, height))
    return out


class _Memory(threading.local):
    """Arrays that are used again in a thread. To take and clear fresh memory costs more than the sums."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: Size, dtype: DTypeLike) -> np.ndarray:
        """An array with any content, good until the next call for the name."""
        size = shape[0] * shape[1]
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


_memory = _Memory()


def _filtered(plane: np.ndarray, filters: _Filters) -> np.ndarray:
    """Filters the columns of a plane of whole numbers, float32 [rows, columns]: the same [out, columns]."""
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
    """The filtered values at these outputs and columns, rounded as Pillow rounds: halves up."""
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
    # As C turns a number to a whole one: towards zero.
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
    # The bound for a sum of so many products, in any order (Higham 2002, section 3.1).
    doubt = most * 2.0**-24 * 255 * float(np.abs(weights).sum(1).max()) / (1 << _BITS)
    return _Filters(tuple(bands), starts, weights, doubt)
