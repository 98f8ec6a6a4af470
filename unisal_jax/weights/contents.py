"""Weights as one value: the network's variables, and what they must be."""

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
"""Of a .safetensors file with one domain's own arrays, see `packs`."""
EXTRAS = "extras"
"""The part of a .safetensors file's names, and of a checkpoint, that holds the extras."""
TRAINED = "trained_domains"
"""Metadata: names of the domains that a training moved, separated by commas."""
CONVERTED = "converted"
"""Metadata: what the tensors were before they were made float32."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Weights:
    """A network's variables and what is known about them.

    Attributes:
      variables: by collection, nested dicts of numpy arrays.
      config: the network that they fit.
      metadata: text by name: `source`, `source_sha256`, TRAINED, CONVERTED and what else the maker wrote.
      extras: tensors of an original file that the network has no use for, by their names there.
    """

    variables: dict[str, Any]
    config: UnisalConfig
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    extras: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def domain(self, domain: str | Domain | None, *, video: bool) -> Domain:
        """One of the config's domains, or that of the name; None for the one to use by default.

        See `domains.default_domain`.

        Raises:
          UnisalError: there is no such domain.
        """
        if domain is not None:
            return find_domain(domain, self.config.domains)
        trained = self.metadata.get(TRAINED)
        return default_domain(self.config.domains, video, trained and trained.split(","))

    def about(self, domain: Domain) -> dict[str, str]:
        """What is told of a domain that came from a pack, by name; empty of others."""
        return texts_in(self.metadata.get(about_key(domain), "")) or {}

    @functools.cached_property
    def sha256(self) -> str:
        """The checksum of all tensors, extras included, that a .safetensors file of them has; hashed once.

        The config is no part of it: networks that differ without a tensor's difference share it.
        """
        return tensors_sha256(tensors_of(self))

    @functools.cached_property
    def shared_sha256(self) -> str:
        """The checksum of the tensors that all domains share; hashed once. A domain's own belong to these."""
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
        """Weights whose `sha256` was just computed, so that it is not again."""
        weights = cls(variables, config, metadata, extras)
        vars(weights)["sha256"] = sha256
        return weights


def about_key(domain: Domain) -> str:
    """Name in the metadata of what is told of one domain, JSON of texts by name."""
    return f"about_{domain.name}"


def texts_in(text: str) -> dict[str, str] | None:
    """JSON of texts by name; None of anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if whole else None


def check_shapes(variables: Mapping[str, Any], config: UnisalConfig, file: str) -> None:
    """Raises UnisalError, naming `file` and the tensors, unless the variables fit the network.

    Args:
      variables: by collection, nested, or flat by path.
      config: of the network.
    """
    check_names_and_shapes(flatten(variable_shapes(config)), flatten(variables), file)


def check_names_and_shapes(want: Mapping[str, tuple[int, ...]], have: Mapping[str, Any], file: str) -> None:
    """The same for flat tensors, and their shapes by name."""
    for what, missing in (("lacks", want.keys() - have.keys()), ("has unknown", have.keys() - want.keys())):
        if missing:
            raise UnisalError(f"{file}: {what} tensors, {sorted(missing)[0][:100]} among {len(missing)}")
    for name, shape in want.items():
        if tuple(have[name].shape) != shape:
            raise UnisalError(f"{file}: tensor {name} has shape {list(have[name].shape)}, not {list(shape)}")


def as_float32(tree: dict[str, Any], file: str) -> tuple[dict[str, Any], str]:
    """Parameters as the network takes them, whatever type a file stores them in; the one place that decides.

    Half precision would make a training, an export and folded batch norms half precision as well.

    Args:
      tree: nested dicts of arrays.
      file: names the source in messages.

    Returns:
      (the tree, all float32; what was converted, as "688 tensors of float16", or "", which is also logged).

    Raises:
      UnisalError: a tensor is not of numbers, or holds one that is not finite in float32.
    """
    flat = flatten(tree)
    found: Counter[str] = Counter()
    for name, leaf in flat.items():
        array = np.asarray(leaf)
        # The kind of bfloat16 is "V", as of no type of numpy's own that holds numbers.
        if array.dtype.kind not in "fiu" and array.dtype != ml_dtypes.bfloat16:
            raise UnisalError(f"{file}: tensor {name} is of {array.dtype}, which no parameter is")
        if array.dtype != np.float32:
            found[array.dtype.name] += 1
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise UnisalError(f"{file}: tensor {name} holds numbers that are not finite")
        flat[name] = array
    counts = ", ".join(
        f"{count} {'tensor' if count == 1 else 'tensors'} of {kind}" for kind, count in found.items()
    )
    if counts:
        logger.warning("%s: %s converted to float32", file, counts)
    return unflatten(flat), counts


def tensors_of(weights: Weights) -> dict[str, np.ndarray]:
    """Every tensor by its name in a .safetensors file, the extras under `extras/`."""
    flat = flatten({**weights.variables, EXTRAS: weights.extras})
    return {name: np.asarray(array) for name, array in sorted(flat.items())}


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, types, shapes and bytes: a .safetensors file has no checksum of its own."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def take_config(metadata: dict[str, str], path: Path) -> UnisalConfig:
    """The config that metadata holds; takes it, and what says the same again, out of them."""
    for key in ("format", "domains"):
        metadata.pop(key, None)
    try:
        return UnisalConfig.from_json(metadata.pop("config", ""))
    except UnisalError as error:
        raise UnisalError(f"{path}: {error}") from error
