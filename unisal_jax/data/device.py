"""Preprocessing on the device: converts uint8 batches to floats there, to transfer fewer bytes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from unisal_jax.data.examples import Arrays
from unisal_jax.normalization import normalize


class DeviceBatch(NamedTuple):
    """The inputs of the network and the loss.

    Attributes:
      frames: float [..., h, w, 3], normalised RGB.
      maps: float32 [..., H, W]; each sums to one.
      fixations: bool [..., H, W].
    """

    frames: jax.Array
    maps: jax.Array
    fixations: jax.Array


def on_device(arrays: Arrays, dtype: jnp.dtype = jnp.float32) -> DeviceBatch:
    """Normalises frames, scales maps and unpacks fixations; a pure function, for use inside `jit`.

    A map that is all zero becomes uniform, as in the original.

    Args:
      arrays: arrays of a batch, with any leading axes.
      dtype: dtype of the frames.
    """
    maps = jnp.asarray(arrays.maps)
    # An integer sum: a float32 sum of so many values would depend on the order.
    total = maps.sum((-2, -1), dtype=jnp.uint32, keepdims=True).astype(jnp.float32)
    pixels = maps.shape[-2] * maps.shape[-1]
    scaled = jnp.where(total > 0, maps / jnp.maximum(total, 1), 1 / pixels)
    fixations = jnp.unpackbits(jnp.asarray(arrays.fixations), axis=-1)[..., : maps.shape[-1]]
    return DeviceBatch(normalize(jnp.asarray(arrays.frames), dtype), scaled, fixations.astype(bool))
