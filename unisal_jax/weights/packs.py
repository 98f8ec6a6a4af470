"""Domain packs: one domain's parameters in a small file, to be added to existing weights.

A pack is a .safetensors file, `NAME.pack.safetensors`, of about 110 kB. It contains the domain's batch norms,
prior maps, fusion and smoothing. Its metadata are the config of a model with this domain alone, the weights
it belongs to (their name, and a checksum of the arrays that all domains share), and a description by its
author.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.domains import Domain, find_domain, likely_trained
from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, write_errors
from unisal_jax.limits import MAX_PACK_BYTES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import domain_shapes
from unisal_jax.trees import flatten, unflatten
from unisal_jax.weights.contents import (
    PACK_FORMAT,
    TRAINED,
    Weights,
    about_key,
    as_float32,
    check_names_and_shapes,
    take_config,
    tensors_sha256,
    texts_in,
)
from unisal_jax.weights.fetch import PACK_SUFFIX, RELEASED
from unisal_jax.weights.store import open_safetensors

# Names of the collections, without the domain's name, as a pack can be added under another one.
_TRAINED, _STATS = "own", "stats"
_ABOUT = "about"
_MAX_BASE = 200  # characters
# Fields of the config that do not affect predictions.
_FREE = {"skip_dropout", "rnn_dropout", "depthwise"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pack:
    """One domain's parameters, and the weights they belong to.

    Attributes:
      config: the model's config, with this domain alone.
      recurrence: whether the model has the RNN, even if this domain is static and bypasses it.
      tensors: float32 arrays by name: parameters under `own/`, running statistics under `stats/`.
      base: name of the weights that it belongs to.
      shared_sha256: `Weights.shared_sha256` of these weights.
      about: its description, text by name: data, licence, scores.
      file: its name, for messages.
    """

    config: UnisalConfig
    recurrence: bool
    tensors: dict[str, np.ndarray]
    base: str
    shared_sha256: str
    about: dict[str, str] = dataclasses.field(default_factory=dict)
    file: str = ""

    @property
    def domain(self) -> Domain:
        """The domain."""
        return self.config.domains[0]

    @property
    def sha256(self) -> str:
        """The checksum of its tensors."""
        return tensors_sha256(self.tensors)

    def equals(self, other: "Pack") -> bool:
        """Whether both packs would be written as the same file."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[Any, ...]:
        return self.config, self.recurrence, self.sha256, self.base, self.shared_sha256, self.about

    def renamed(self, name: str) -> "Pack":
        """The pack with its domain renamed.

        Raises:
          UnisalError: the name is not valid for a domain.
        """
        domain = dataclasses.replace(self.domain, name=name, source_name="")
        return dataclasses.replace(self, config=dataclasses.replace(self.config, domains=(domain,)))


def save_pack(
    path: str | Path,
    weights: Weights,
    domain: str | Domain,
    about: Mapping[str, str] | None = None,
    base: str | None = None,
) -> None:
    """Writes one domain of weights as a pack, atomically.

    Args:
      path: path of the file, with the suffix `.pack.safetensors`; its folder is created.
      weights: weights that have the domain.
      domain: the domain to write.
      about: its description, text by name, such as data, licence and scores; None for the description of the
        pack that the domain came from.
      base: name of the weights with the same shared arrays; None for the release that has them.

    Raises:
      UnisalError: the weights have no such domain, or values that are not finite; their shared arrays are not
        those of a release and `base` is None; or the file cannot be written.
    """
    path = Path(path)
    write_pack(path, pack_of(weights, domain, about, base, str(path)))


def pack_of(
    weights: Weights, domain: str | Domain, about: Mapping[str, str] | None, base: str | None, file: str
) -> Pack:
    """Makes the pack that `save_pack` writes; `file` is its name, for messages."""
    chosen = find_domain(domain, weights.config.domains)
    base = base or release_of(weights.shared_sha256)
    if base is None:
        names = ", ".join(name for name, each in RELEASED.items() if each.is_model)
        raise UnisalError(
            f"{file}: a pack requires the shared parameters of a release ({names}), and training has changed "
            "them; distribute the whole weights as .safetensors instead"
        )
    own = {
        _TRAINED: weights.variables.get(chosen.name, {}),
        _STATS: weights.variables.get(chosen.stats, {}),
    }
    tree, _ = as_float32(own, file)
    return Pack(
        dataclasses.replace(weights.config, domains=(chosen,)),
        weights.config.has_rnn,
        flatten(tree),
        base,
        weights.shared_sha256,
        weights.about(chosen) if about is None else dict(about),
        file,
    )


def write_pack(path: Path, pack: Pack) -> None:
    """Writes a pack, atomically.

    Raises:
      UnisalError: the path does not end in `.pack.safetensors`, or cannot be written.
    """
    from safetensors.numpy import save

    if not path.name.endswith(PACK_SUFFIX):
        raise UnisalError(f"{path}: the name of a domain pack must end in {PACK_SUFFIX}")
    metadata = {
        "format": PACK_FORMAT,
        "config": pack.config.to_json(),
        "recurrence": json.dumps(pack.recurrence),
        "base": pack.base,
        "shared_sha256": pack.shared_sha256,
        "tensors_sha256": pack.sha256,
        _ABOUT: json.dumps(pack.about, sort_keys=True),
    }
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        # `save_file` would make a file that other users cannot read.
        temporary.write_bytes(save(pack.tensors, metadata))


def load_pack(path: str | Path) -> Pack:
    """Reads a pack.

    Raises:
      UnisalError: the file does not exist, is not a pack or is damaged, or its tensors are not those of its
        config, in float32 and finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UnisalError(f"{path}: {'not a file' if path.exists() else 'no such domain pack'}")
    if path.stat().st_size > MAX_PACK_BYTES:
        raise UnisalError(
            f"{path}: not a domain pack: larger than {MAX_PACK_BYTES >> 20} MiB; `unisal weights pack` makes "
            "one from whole weights"
        )
    metadata, tensors = open_safetensors(path, MAX_PACK_BYTES)
    if metadata.get("format") != PACK_FORMAT:
        raise UnisalError(f"{path}: not a domain pack (metadata format is not {PACK_FORMAT})")
    if metadata.get("tensors_sha256") != tensors_sha256(tensors):
        raise UnisalError(f"{path}: damaged: its tensors do not match its checksum")
    config = take_config(metadata, path)
    base, shared, recurrence = (metadata.get(key, "") for key in ("base", "shared_sha256", "recurrence"))
    about = texts_in(metadata.get(_ABOUT, ""))
    if about is None:
        raise UnisalError(f"{path}: not a domain pack: its description cannot be read")
    if len(config.domains) != 1 or recurrence not in ("true", "false"):
        raise UnisalError(f"{path}: not a domain pack: its config is not of one domain")
    if not (base.isprintable() and 0 < len(base) <= _MAX_BASE and re.fullmatch("[0-9a-f]{64}", shared)):
        raise UnisalError(f"{path}: not a domain pack: it does not name the weights that it belongs to")
    pack = Pack(config, recurrence == "true", tensors, base, shared, about, str(path))
    _check_tensors(pack)
    return pack


def with_pack(weights: Weights, pack: Pack) -> Weights:
    """Adds a pack's domain to weights, without changing their default domain.

    The pack's description is added to the metadata, under `about_key`.

    Raises:
      UnisalError: the pack belongs to other weights or another config, or its domain's name is taken.
    """
    domain = pack.domain
    check_base(pack, weights.shared_sha256)
    check_name(pack, weights.config.domains)
    check_parts(pack, weights.config)
    trees = unflatten(pack.tensors)
    own = {domain.name: trees.get(_TRAINED, {}), domain.stats: trees.get(_STATS, {})}
    # Keeps the default: otherwise, a new domain would become it if it is the only one that is not released.
    metadata = {
        TRAINED: ",".join(likely_trained(weights.config.domains)),
        **weights.metadata,
        about_key(domain): json.dumps(pack.about, sort_keys=True),
    }
    return dataclasses.replace(
        weights,
        variables={**weights.variables, **{name: tree for name, tree in own.items() if tree}},
        config=dataclasses.replace(weights.config, domains=(*weights.config.domains, domain)),
        metadata=metadata,
    )


def check_base(pack: Pack, shared_sha256: str) -> None:
    """Raises UnisalError unless the pack belongs to the weights with this checksum of their shared arrays."""
    if pack.shared_sha256 != shared_sha256:
        raise UnisalError(
            f"{pack.file}: the domain {pack.domain.name} belongs to the weights {pack.base}, not to these"
        )


def check_parts(pack: Pack, config: UnisalConfig) -> None:
    """Raises UnisalError unless the pack's config has the same parts as `config`."""
    grown = dataclasses.replace(config, domains=(*config.domains, pack.domain))
    if _switches(pack.config) != _switches(config) or not (
        pack.recurrence == config.has_rnn == grown.has_rnn
    ):
        raise UnisalError(f"{pack.file}: its config has other parts than that of the weights")


def check_name(pack: Pack, domains: Iterable[Domain]) -> None:
    """Raises UnisalError if one of the domains has the name of the pack's."""
    if any(domain.is_called(pack.domain.name) for domain in domains):
        raise UnisalError(
            f"{pack.file}: the weights have a domain {pack.domain.name!r}; rename this one with --name"
        )


def release_of(shared_sha256: str) -> str | None:
    """The release whose shared arrays have this checksum; None if there is none."""
    return next((name for name, each in RELEASED.items() if each.shared_sha256 == shared_sha256), None)


def _switches(config: UnisalConfig) -> dict[str, Any]:
    """The fields of a config that affect predictions, without the domains."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if name not in _FREE and name != "domains"}


def _check_tensors(pack: Pack) -> None:
    shapes = domain_shapes(pack.config, pack.recurrence)
    want = flatten({_TRAINED: shapes[pack.domain.name], _STATS: shapes[pack.domain.stats]})
    check_names_and_shapes(want, pack.tensors, pack.file)
    for name, array in pack.tensors.items():
        if array.dtype != np.float32:
            raise UnisalError(f"{pack.file}: tensor {name} has dtype {array.dtype}, not float32")
        if not np.isfinite(array).all():
            raise UnisalError(f"{pack.file}: tensor {name} has values that are not finite")
        if name.startswith(f"{_STATS}/") and name.endswith("/var") and (array < 0).any():
            raise UnisalError(f"{pack.file}: tensor {name} has negative variances")
