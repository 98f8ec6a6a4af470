"""Reads and writes weights in three formats.

This package's `.safetensors` files name tensors by collection and path, and have the config in their
metadata. `.pth` files, and `.safetensors` files converted from them with PyTorch, have the authors' names.
Checkpoint folders are in Orbax's format.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, write_errors
from unisal_jax.limits import MAX_WEIGHTS_BYTES
from unisal_jax.trees import unflatten
from unisal_jax.weights import fetch, names, pth
from unisal_jax.weights.contents import (
    CONVERTED,
    EXTRAS,
    PACK_FORMAT,
    Weights,
    as_float32,
    check_shapes,
    take_config,
    tensors_of,
    tensors_sha256,
)
from unisal_jax.weights.contents import FORMAT as _FORMAT
from unisal_jax.weights.sources import fetched, resolve

PTH_SUFFIXES = (".pth", ".pt", ".tar")
# By safetensors' names: the dtypes that .pth files have too.
_SAFETENSORS_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def load_weights(source: str | Path) -> Weights:
    """Loads weights of a release (downloaded once), from the Hugging Face Hub, a file or a checkpoint folder.

    Parameters are converted to float32. A conversion is logged, and noted in the metadata.

    Args:
      source: `unisal`, `unisal-mit1003`, an address on the Hugging Face Hub (`hub.download`), or a path with
        the suffix .safetensors or .pth (.pt, .pth.tar), or of a folder: a checkpoint, or one written by
        `publish.save_folder`.

    Raises:
      UnisalError: there is no such release or file, or it does not contain a model's weights, all finite.
    """
    weights = _stored(source)
    variables, converted = as_float32(weights.variables, str(source))
    if not converted:
        return weights  # the same object, whose checksum may have been computed already
    return dataclasses.replace(
        weights, variables=variables, metadata={**weights.metadata, CONVERTED: converted}
    )


def _stored(source: str | Path) -> Weights:
    """As `load_weights`, with the dtypes of the file."""
    resolved = resolve(source)
    if resolved.kind == "release":
        return released_weights(resolved.name)
    path = fetched(resolved)
    if resolved.kind == "checkpoint":
        from unisal_jax.weights import checkpoint  # imported late: Orbax takes a second

        return checkpoint.read(path)
    if path.suffix.lower() in PTH_SUFFIXES:
        return _from_state(path, pth.read_pth(path))
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    raise UnisalError(f"{path}: weights must be .safetensors, .pth or a checkpoint folder")


def save_weights(path: str | Path, weights: Weights) -> None:
    """Writes weights, atomically, in the format of the suffix of `path`; no suffix means a checkpoint folder.

    Raises:
      UnisalError: the path cannot be written, or is a folder that is not empty.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in ("", ".safetensors", *PTH_SUFFIXES):
        raise UnisalError(f"{path}: weights must be .safetensors, .pth or a checkpoint folder (no suffix)")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in PTH_SUFFIXES:
            pth.write_pth(path, names.to_state(weights.variables, weights.config, weights.extras))
        elif suffix == ".safetensors":
            _write_safetensors(path, weights)
        else:
            from unisal_jax.weights import checkpoint

            checkpoint.write(path, weights)


def released_weights(name: str) -> Weights:
    """The weights of a release, downloaded and converted once, then read from the cache folder."""
    release = fetch.RELEASED[name]
    if not release.is_model:
        raise UnisalError(f"{name}: has only the encoder, to start training from; it cannot predict")
    cached = fetch.converted_path(name)
    try:
        weights = _read_safetensors(cached)
        if weights.metadata.get("source_sha256") == release.sha256:
            return weights
    except UnisalError:
        pass  # missing or damaged: converted again below
    path = fetch.fetch(name)
    weights = _from_state(path, pth.read_pth(path))
    weights = dataclasses.replace(weights, metadata={**weights.metadata, "source": release.filename})
    save_weights(cached, weights)
    return weights


def imagenet_encoder(variables: dict[str, Any], source: str | Path = "mobilenet_v2") -> dict[str, Any]:
    """The variables with the encoder's replaced by MobileNetV2's ImageNet weights.

    Args:
      variables: variables of a model.
      source: `mobilenet_v2` (downloaded once), or a .pth or .safetensors file with the same tensors.
    """
    path = fetched(resolve(source))
    state = names.plain(read_state(path) or pth.read_pth(path), names.ENCODER_ANCHOR, str(path))
    encoder, _ = as_float32(names.encoder_from_state(state, str(path)), str(path))
    return {**variables, **{c: {**variables[c], **part} for c, part in encoder.items()}}


def read_state(path: Path) -> dict[str, np.ndarray] | None:
    """Reads a state dict with its names, dtypes and order unchanged; None if the file is not a state dict.

    A .pth file is one, and so is a .safetensors file that is not in this package's format.

    Raises:
      UnisalError: the file cannot be read.
    """
    if not path.is_file():
        return None
    if path.suffix.lower() in PTH_SUFFIXES:
        return pth.read_pth(path)
    if path.suffix.lower() == ".safetensors":
        metadata, tensors = open_safetensors(path)
        return None if metadata.get("format") == _FORMAT else tensors
    return None


def _from_state(path: Path, state: dict[str, np.ndarray]) -> Weights:
    state = names.plain(state, names.NETWORK_ANCHOR, str(path))
    config = names.config_of_state(state, str(path))
    variables, extras = names.from_state(state, config, str(path))
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Weights(variables, config, {"source": path.name, "source_sha256": digest}, extras)


def _write_safetensors(path: Path, weights: Weights) -> None:
    from safetensors.numpy import save

    tensors = tensors_of(weights)
    metadata = {
        **weights.metadata,
        "format": _FORMAT,
        "config": weights.config.to_json(),
        "domains": ",".join(domain.name for domain in weights.config.domains),
        "tensors_sha256": tensors_sha256(tensors),
    }
    with atomic_path(path) as temporary:
        # `save_file` would make a file that other users cannot read.
        temporary.write_bytes(save(tensors, metadata))


def open_safetensors(
    path: Path, limit: int = MAX_WEIGHTS_BYTES
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Reads any .safetensors file of at most `limit` bytes: (metadata, tensors by name).

    Raises:
      UnisalError: it cannot be read, is damaged, or is too large.
    """
    from safetensors import SafetensorError, deserialize, safe_open

    try:
        if path.stat().st_size > limit:
            raise UnisalError(f"{path}: larger than {limit >> 20} MiB, so not UNISAL weights")
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
        # `safe_open` does not support bfloat16 as NumPy arrays.
        tensors = {name: _tensor(about) for name, about in deserialize(path.read_bytes())}
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UnisalError(f"{path}: not a readable .safetensors file ({error})") from error
    return metadata, tensors


def _tensor(about: dict[str, Any]) -> np.ndarray:
    if about["dtype"] not in _SAFETENSORS_DTYPES:
        raise TypeError(f"it has a tensor of type {about['dtype']}")
    dtype = np.dtype(_SAFETENSORS_DTYPES[about["dtype"]])
    # The data are a bytearray of this tensor alone, so the array is writable.
    return np.frombuffer(about["data"], dtype).reshape(about["shape"])


def _read_safetensors(path: Path) -> Weights:
    metadata, tensors = open_safetensors(path)
    if metadata.get("format") != _FORMAT:
        if metadata.get("format") == PACK_FORMAT:
            raise UnisalError(
                f"{path}: a domain pack, not whole weights; add it with `unisal weights add`, and use its "
                "name as the domain"
            )
        if any(name.endswith(names.NETWORK_ANCHOR) for name in tensors):
            return _from_state(path, tensors)
        raise UnisalError(
            f"{path}: a .safetensors file, but not of UNISAL weights (metadata format is not {_FORMAT}, and "
            f"{names.NETWORK_ANCHOR} is missing)"
        )
    sha256 = tensors_sha256(tensors)
    if metadata.pop("tensors_sha256", None) != sha256:
        raise UnisalError(f"{path}: damaged: its tensors do not match its checksum")
    config = take_config(metadata, path)
    own = f"{EXTRAS}/"
    extras = {name.removeprefix(own): tensors.pop(name) for name in list(tensors) if name.startswith(own)}
    check_shapes(tensors, config, str(path))
    return Weights.checked(unflatten(tensors), config, metadata, extras, sha256)
