"""Domain packs: one domain's own arrays in a small file, for weights that are there already.

A pack is a .safetensors file, `NAME.pack.safetensors`, of about 110 kB. It holds the domain's batch norms,
prior maps, fusion and smoothing, and says in its metadata what the domain is (the config of a network with
it alone), which weights it belongs to (their name, and a checksum of the arrays that all domains share), and
what its maker tells of it.
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

# Not the domain's name: a pack can be added under another one.
_TRAINED, _STATS = "own", "stats"
_ABOUT = "about"
_MAX_BASE = 200  # characters
# Of a config: what training alone uses, and the form of a computation whose results are the same.
_FREE = {"skip_dropout", "rnn_dropout", "depthwise"}


@dataclasses.dataclass(frozen=True, eq=False)
class Pack:
    """One domain's own arrays, and what they belong to.

    Attributes:
      config: of the network, with this domain alone.
      recurrence: whether the network has the RNN, which a static domain alone would not need.
      tensors: float32 arrays by name, those of training under `own/`, running statistics under `stats/`.
      base: name of the weights whose shared arrays it belongs to.
      shared_sha256: `Weights.shared_sha256` of these weights.
      about: what its maker tells: data, licence, scores, by name.
      file: names it in messages.
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
        """Whether both files would be the same."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[Any, ...]:
        return self.config, self.recurrence, self.sha256, self.base, self.shared_sha256, self.about

    def renamed(self, name: str) -> "Pack":
        """The same under another domain's name.

        Raises:
          UnisalError: it is no name of a domain.
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
    """Writes one domain of weights as a pack; the file appears when it is whole.

    Args:
      path: ends in `.pack.safetensors`; its folder is made.
      weights: that have the domain.
      domain: which one; all others, and what they share, stay out of the file.
      about: what to tell of it, such as data, licence and scores, by name; None for what is known of the
        domain because it came from a pack.
      base: name of the weights whose shared arrays these have; None for the release that has them.

    Raises:
      UnisalError: the weights have no such domain, or numbers that are not finite; their shared arrays are
        those of no release and no base is named; or the file cannot be written.
    """
    path = Path(path)
    write_pack(path, pack_of(weights, domain, about, base, str(path)))


def pack_of(
    weights: Weights, domain: str | Domain, about: Mapping[str, str] | None, base: str | None, file: str
) -> Pack:
    """What `save_pack` writes; `file` names it in messages."""
    chosen = find_domain(domain, weights.config.domains)
    base = base or release_of(weights.shared_sha256)
    if base is None:
        names = ", ".join(name for name, each in RELEASED.items() if each.is_network)
        raise UnisalError(
            f"{file}: a pack needs shared weights that are a release's ({names}), and training has moved "
            "these; give on the whole weights as .safetensors instead"
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
    """Writes a pack; the file appears when it is whole.

    Raises:
      UnisalError: the path does not end in `.pack.safetensors`, or cannot be written.
    """
    from safetensors.numpy import save

    if not path.name.endswith(PACK_SUFFIX):
        raise UnisalError(f"{path}: the name of a domain pack ends in {PACK_SUFFIX}")
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
        # Not by `save_file`, whose files nobody else may read.
        temporary.write_bytes(save(pack.tensors, metadata))


def load_pack(path: str | Path) -> Pack:
    """Reads a pack.

    Raises:
      UnisalError: it is not there, no pack, damaged, or does not hold what a domain of its network has,
        in float32 and finite.
    """
    path = Path(path)
    if not path.is_file():
        raise UnisalError(f"{path}: {'not a file' if path.exists() else 'no such domain pack'}")
    if path.stat().st_size > MAX_PACK_BYTES:
        raise UnisalError(
            f"{path}: not a domain pack, as it is larger than {MAX_PACK_BYTES >> 20} MiB; of whole weights "
            "`unisal weights pack` makes one"
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
        raise UnisalError(f"{path}: not a domain pack: what it tells of its domain cannot be read")
    if len(config.domains) != 1 or recurrence not in ("true", "false"):
        raise UnisalError(f"{path}: not a domain pack: its config is not of one domain")
    if not (base.isprintable() and 0 < len(base) <= _MAX_BASE and re.fullmatch("[0-9a-f]{64}", shared)):
        raise UnisalError(f"{path}: not a domain pack: it does not say which weights it belongs to")
    pack = Pack(config, recurrence == "true", tensors, base, shared, about, str(path))
    _check_tensors(pack)
    return pack


def with_pack(weights: Weights, pack: Pack) -> Weights:
    """Weights that have a pack's domain too; what they had, and their default domain, stay.

    What the pack tells of itself goes into the metadata, under `about_key`.

    Raises:
      UnisalError: the pack belongs to other weights or another network, or its domain's name is taken.
    """
    domain = pack.domain
    check_base(pack, weights.shared_sha256)
    check_name(pack, weights.config.domains)
    check_parts(pack, weights.config)
    trees = unflatten(pack.tensors)
    own = {domain.name: trees.get(_TRAINED, {}), domain.stats: trees.get(_STATS, {})}
    # Said now: by itself the new domain, if it is the only one that is no released one, would be the default.
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
    """Raises UnisalError unless the pack is of a network with the parts of `config`, where it is missing."""
    grown = dataclasses.replace(config, domains=(*config.domains, pack.domain))
    if _switches(pack.config) != _switches(config) or not (
        pack.recurrence == config.has_rnn == grown.has_rnn
    ):
        raise UnisalError(f"{pack.file}: is of a network with other parts than that of the weights")


def check_name(pack: Pack, domains: Iterable[Domain]) -> None:
    """Raises UnisalError if one of the domains is called like the pack's."""
    if any(domain.is_called(pack.domain.name) for domain in domains):
        raise UnisalError(
            f"{pack.file}: the weights have a domain {pack.domain.name!r}; add this under another --name"
        )


def release_of(shared_sha256: str) -> str | None:
    """The release whose shared arrays have this checksum; None if it is none's."""
    return next((name for name, each in RELEASED.items() if each.shared_sha256 == shared_sha256), None)


def _switches(config: UnisalConfig) -> dict[str, Any]:
    """What a config says of what is computed, whatever the domains."""
    fields = dataclasses.asdict(config)
    return {name: value for name, value in fields.items() if name not in _FREE and name != "domains"}


def _check_tensors(pack: Pack) -> None:
    shapes = domain_shapes(pack.config, pack.recurrence)
    want = flatten({_TRAINED: shapes[pack.domain.name], _STATS: shapes[pack.domain.stats]})
    check_names_and_shapes(want, pack.tensors, pack.file)
    for name, array in pack.tensors.items():
        if array.dtype != np.float32:
            raise UnisalError(f"{pack.file}: tensor {name} is of {array.dtype}, not of float32")
        if not np.isfinite(array).all():
            raise UnisalError(f"{pack.file}: tensor {name} holds numbers that are not finite")
        if name.startswith(f"{_STATS}/") and name.endswith("/var") and (array < 0).any():
            raise UnisalError(f"{pack.file}: tensor {name} holds variances below 0")
