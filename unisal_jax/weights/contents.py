"""Weights: the model's variables with their config and metadata, and checks of them."""

import dataclasses
import functools
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from unisal_jax.domains import Domain, default_domain, find_domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.trees import flatten, unflatten

FORMAT = "unisal-jax"
PACK_FORMAT = "unisal-jax-pack"
"""Format in the metadata of a .safetensors file with one domain's own arrays, see `packs`."""
EXTRAS = "extras"
"""Prefix of the extras in a .safetensors file, and their item in a checkpoint."""
TRAINED = "trained_domains"
"""Key in the metadata: names of the trained domains, separated by commas."""
CONVERTED = "converted"
"""Key in the metadata: original dtypes of tensors that were converted to float32."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights of a model.

    Attributes:
      variables: nested dicts of NumPy arrays, by collection.
      config: the model's config.
      metadata: text by name: `source`, `source_sha256`, TRAINED, CONVERTED and entries added by the author.
      extras: tensors of an original file that the model does not use, by their names in it.
    """

    variables: dict[str, Any]
    config: UnisalConfig
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    extras: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def domain(self, domain: str | Domain | None, *, video: bool) -> Domain:
        """One of the config's domains, by name; None for the default (`domains.default_domain`).

        See `domains.default_domain`.

        Raises:
          UnisalError: there is no such domain.
        """
        if domain is not None:
            return find_domain(domain, self.config.domains)
        trained = self.metadata.get(TRAINED)
        return default_domain(self.config.domains, video, trained and trained.split(","))

    def about(self, domain: Domain) -> dict[str, str]:
        """The description of a domain that came from a pack, text by name; empty for other domains."""
        return texts_in(self.metadata.get(about_key(domain), "")) or {}

    @functools.cached_property
    def sha256(self) -> str:
        """The checksum of all tensors, including extras, as in a .safetensors file; computed once.

        It does not include the config.
        """
        return tensors_sha256(tensors_of(self))

    @functools.cached_property
    def shared_sha256(self) -> str:
        """The checksum of the tensors that all domains share; computed once. Domain packs refer to it."""
        shared = {name: self.variables.get(name, {}) for name in ("params", "batch_stats")}
        return tensors_sha256({name: np.asarray(array) for name, array in flatten(shared).items()})

    @classmethod
    def checked(
        cls,
        variables: dict[str, Any],
        config: UnisalConfig,
        metadata: dict[str, str],
        extras: dict[str, np.ndarray],
        sha256: str,
    ) -> "Weights":
        """Makes weights with a known `sha256`, so that it is not computed again."""
        weights = cls(variables, config, metadata, extras)
        vars(weights)["sha256"] = sha256
        return weights


def about_key(domain: Domain) -> str:
    """Key in the metadata of the description of a domain, a JSON object of strings."""
    return f"about_{domain.name}"


def texts_in(text: str) -> dict[str, str] | None:
    """Parses a JSON object of strings; None if it is anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if whole else None


def check_shapes(variables: Mapping[str, Any], config: UnisalConfig, file: str) -> None:
    """Checks that variables fit a config.

    Args:
      variables: nested by collection, or flat by path.
      config: the model's config.
      file: name of the source, for messages.

    Raises:
      UnisalError: tensors are missing, unexpected or of another shape.
    """
    check_names_and_shapes(flatten(variable_shapes(config)), flatten(variables), file)


def check_names_and_shapes(want: Mapping[str, tuple[int, ...]], have: Mapping[str, Any], file: str) -> None:
    """As `check_shapes`, for flat tensors and their shapes by name."""
    for what, missing in (("lacks", want.keys() - have.keys()), ("has unknown", have.keys() - want.keys())):
        if missing:
            raise UnisalError(f"{file}: {what} tensors, {sorted(missing)[0][:100]} among {len(missing)}")
    for name, shape in want.items():
        if tuple(have[name].shape) != shape:
            raise UnisalError(f"{file}: tensor {name} has shape {list(have[name].shape)}, not {list(shape)}")


def as_float32(tree: dict[str, Any], file: str) -> tuple[dict[str, Any], str]:
    """Converts parameters to float32, and logs what was converted.

    With parameters in half precision, training, export and folding would use half precision too.

    Args:
      tree: nested dicts of arrays.
      file: name of the source, for messages.

    Returns:
      (the tree, all float32; what was converted, such as "688 tensors of float16", or "").

    Raises:
      UnisalError: a tensor is not numeric, or has values that are not finite in float32.
    """
    flat = flatten(tree)
    found: Counter[str] = Counter()
    for name, leaf in flat.items():
        array = np.asarray(leaf)
        # The kind of bfloat16 is "V", unlike that of NumPy's own numeric dtypes.
        if array.dtype.kind not in "fiu" and array.dtype != ml_dtypes.bfloat16:
            raise UnisalError(f"{file}: tensor {name} has dtype {array.dtype}, which is not numeric")
        if array.dtype != np.float32:
            found[array.dtype.name] += 1
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise UnisalError(f"{file}: tensor {name} has values that are not finite")
        flat[name] = array
    counts = ", ".join(
        f"{count} {'tensor' if count == 1 else 'tensors'} of {kind}" for kind, count in found.items()
    )
    if counts:
        logger.warning("%s: %s converted to float32", file, counts)
    return unflatten(flat), counts


def tensors_of(weights: Weights) -> dict[str, np.ndarray]:
    """All tensors by their names in a .safetensors file, with extras under `extras/`."""
    flat = flatten({**weights.variables, EXTRAS: weights.extras})
    return {name: np.asarray(array) for name, array in sorted(flat.items())}


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, dtypes, shapes and bytes; the .safetensors format has no checksum of its own."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def take_config(metadata: dict[str, str], path: Path) -> UnisalConfig:
    """Reads the config from metadata, and removes it and redundant entries from them."""
    for key in ("format", "domains"):
        metadata.pop(key, None)
    try:
        return UnisalConfig.from_json(metadata.pop("config", ""))
    except UnisalError as error:
        raise UnisalError(f"{path}: {error}") from error
