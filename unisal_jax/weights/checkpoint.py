"""Orbax checkpoint folders: the items of weights, and a sha256 of each.

A training's checkpoint has two additional items, `training` and `progress`: see `train.checkpoints`.
"""

import contextlib
import gc
import hashlib
import json
import logging
import math
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.trees import flatten
from unisal_jax.weights import claims
from unisal_jax.weights.contents import (
    EXTRAS,
    FORMAT,
    Weights,
    check_shapes,
    logger,
    take_config,
    tensors_sha256,
)

VARIABLES, ABOUT = "variables", "weights"
_SHA256 = "sha256"
_MAX_EXTRAS = 1 << 24  # numbers
_MAX_REASON = 200


def save_args(
    weights: Weights, trees: Mapping[str, Any] | None = None, texts: Mapping[str, Any] | None = None
) -> ocp.args.Composite:
    """The arguments for Orbax to save weights and additional items, with a sha256 of each.

    Args:
      weights: weights whose variables and extras are NumPy arrays.
      trees: additional items, nested dicts of NumPy arrays.
      texts: additional items, JSON values.
    """
    trees = {
        VARIABLES: weights.variables,
        # As arrays: JSON would not keep their dtypes.
        EXTRAS: weights.extras or {"none": np.zeros((), np.int8)},
        **(trees or {}),
    }
    texts = dict(texts or {})
    about: dict[str, Any] = {**weights.metadata, "format": FORMAT, "config": weights.config.to_json()}
    about[_SHA256] = _digests(trees, {**texts, ABOUT: about})
    return ocp.args.Composite(
        **{name: ocp.args.PyTreeSave(tree) for name, tree in trees.items()},
        **{name: ocp.args.JsonSave(value) for name, value in {**texts, ABOUT: about}.items()},
    )


def check_digests(
    path: Path, about: dict[str, Any], trees: Mapping[str, Any], texts: Mapping[str, Any] | None = None
) -> None:
    """Compares items with their sha256 in `about`, and removes these from it.

    A checkpoint without checksums, from an old version, is accepted with a warning.

    Args:
      path: path of the checkpoint, for messages.
      about: the item ABOUT.
      trees: the other items of arrays, by name.
      texts: the other items of text, by name.

    Raises:
      UnisalError: an item is damaged.
    """
    recorded = about.pop(_SHA256, None)
    if recorded is None:
        logger.warning("%s: has no checksums, so damage to it cannot be detected", path)
        return
    if not isinstance(recorded, dict):
        raise UnisalError(f"{path}: damaged: its checksums cannot be read")
    for name, digest in _digests(trees, {**(texts or {}), ABOUT: about}).items():
        if recorded.get(name) != digest:
            raise UnisalError(f"{path}: damaged: {name} does not match its checksum")


def write(path: Path, weights: Weights) -> None:
    """Writes a checkpoint folder.

    Raises:
      UnisalError: the path exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UnisalError(f"{path}: exists already; choose another checkpoint folder")
    if path.exists():
        path.rmdir()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), args=save_args(weights))


def read(path: Path) -> Weights:
    """Reads the weights of a checkpoint folder, with their stored dtypes.

    Raises:
      UnisalError: it is not a checkpoint of UNISAL weights, is damaged, does not fit its config, or declares
        too much memory.
    """
    handler = ocp.CompositeCheckpointHandler(
        variables=ocp.PyTreeCheckpointHandler(),
        extras=ocp.PyTreeCheckpointHandler(),
        weights=ocp.JsonCheckpointHandler(),
    )
    with reading(path), ocp.Checkpointer(handler) as checkpointer:
        # Before reading any array: the folder may declare any size.
        claims.check_folder(path)
        about_args = ocp.args.Composite(weights=ocp.args.JsonRestore())
        about = dict(checkpointer.restore(path.absolute(), args=about_args).weights)
        metadata, config = _metadata(about, path)
        for item in (VARIABLES, EXTRAS):
            claims.check_arrays(path, item)
        items = checkpointer.metadata(path.absolute()).item_metadata
        check_shapes(items.variables.tree, config, str(path))
        if sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(items.extras.tree)) > _MAX_EXTRAS:
            raise UnisalError(f"{path}: its extras are too large for UNISAL weights")
        args = ocp.args.Composite(
            variables=as_numpy(items.variables.tree), extras=as_numpy(items.extras.tree)
        )
        restored = checkpointer.restore(path.absolute(), args=args)
        check_digests(path, about, {VARIABLES: restored.variables, EXTRAS: restored.extras})
    extras = {name: array for name, array in restored.extras.items() if name != "none"}
    return Weights(restored.variables, config, metadata, extras)


def as_numpy(tree: Any) -> ocp.args.PyTreeRestore:
    """The arguments to restore an item as NumPy arrays, whatever devices there are."""
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return ocp.args.PyTreeRestore(restore_args=restore_args)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Converts exceptions of Orbax to UnisalError, and suppresses its warnings.

    Orbax warns about the additional items of a training. At the first damaged array it closes its event loop;
    pending reads then log spurious errors, or are dropped with a warning before they start.
    """
    absl, hook = logging.getLogger("absl"), sys.unraisablehook
    level = absl.level
    absl.setLevel(logging.ERROR)
    sys.unraisablehook = lambda args: None if "Event loop is closed" in str(args.exc_value) else hook(args)
    try:
        yield
    except UnisalError:
        raise
    # Orbax has no base exception: an unrelated or damaged folder fails in many ways.
    except Exception as error:
        time.sleep(0.2)  # waits for the pending reads
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
            traceback.clear_frames(error.__traceback__)  # they reference the reads that never started
            gc.collect()
        lines = str(error).splitlines() or [type(error).__name__]
        raise UnisalError(f"{path}: not a checkpoint of UNISAL weights ({lines[0][:_MAX_REASON]})") from error
    finally:
        sys.unraisablehook = hook
        absl.setLevel(level)


def _metadata(about: Mapping[str, Any], path: Path) -> tuple[dict[str, str], UnisalConfig]:
    metadata = {name: value for name, value in about.items() if name != _SHA256}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise UnisalError(f"{path}: not a checkpoint of UNISAL weights (its metadata are not strings)")
    config = take_config(metadata, path)
    return metadata, config


def _digests(trees: Mapping[str, Any], texts: Mapping[str, Any]) -> dict[str, str]:
    digests = {name: tensors_sha256(flatten(tree)) for name, tree in trees.items()}
    for name, value in texts.items():
        digests[name] = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return digests
