"""Available domain packs: those in this package, and those that a user has added to the cache folder.

A pack is read only when its domain is used; released domains do not require any. Modules that read files are
imported late, to start commands fast.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from unisal_jax.domains import RELEASED_DOMAINS, Domain, unknown_domain
from unisal_jax.errors import UnisalError
from unisal_jax.files import write_errors
from unisal_jax.limits import MAX_NAME_LENGTH
from unisal_jax.weights.fetch import PACK_SUFFIX, RELEASED, packs_dir

if TYPE_CHECKING:
    from unisal_jax.weights.contents import Weights
    from unisal_jax.weights.packs import Pack

DEFAULT = "unisal"
"""The default release."""
BUNDLED = Path(__file__).with_name("domains")
"""The folder of this package's packs. It may not exist."""
_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME_LENGTH - 1}}}")

logger = logging.getLogger(__name__)


def default_weights(domain: str | Domain | None) -> str:
    """The release to use for a domain if no weights are given.

    It is `unisal`, or for the domain of a pack the release that the pack belongs to, which is logged.

    Raises:
      UnisalError: the pack cannot be read.
    """
    if domain is None or _has(RELEASED_DOMAINS, domain):
        return DEFAULT
    from unisal_jax.weights.packs import release_of

    pack = find(_name(domain))
    release = (pack and release_of(pack.shared_sha256)) or DEFAULT
    if release != DEFAULT:
        logger.warning("domain %s: using the weights %s, which its pack belongs to", _name(domain), release)
    return release


def with_domain(weights: "Weights", domain: str | Domain) -> "Weights":
    """The weights, with a domain added from its pack if they do not have it.

    Raises:
      UnisalError: there is no such domain; or its pack cannot be read, or belongs to other weights.
    """
    if _has(weights.config.domains, domain):
        return weights
    from unisal_jax.weights.packs import with_pack

    pack = find(_name(domain))
    if pack is None:
        raise _unknown(domain, weights.config.domains, weights.shared_sha256)
    return with_pack(weights, pack)


def check_domain(release: str, domain: str) -> None:
    """Raises the same errors as `with_domain` for a release, without loading its weights."""
    if _has(RELEASED_DOMAINS, domain):
        return
    from unisal_jax.weights.packs import check_base

    shared_sha256 = RELEASED[release].shared_sha256 or ""
    pack = find(domain)
    if pack is None:
        raise _unknown(domain, RELEASED_DOMAINS, shared_sha256)
    check_base(pack, shared_sha256)


def find(name: str) -> "Pack | None":
    """The pack of a domain, by its name in any case; added packs take precedence over those of this package.

    Raises:
      UnisalError: it cannot be read.
    """
    path = pack_path(name)
    return None if path is None else read(path)


def pack_path(name: str) -> Path | None:
    """The path of a domain's pack, by its name in any case; None if there is no pack.

    It is also None for a released domain, and for text that is not a valid name of a domain.
    """
    name = name.lower()
    if _NAME.fullmatch(name) and not _has(RELEASED_DOMAINS, name):
        for folder in (packs_dir(), BUNDLED):
            path = folder / f"{name}{PACK_SUFFIX}"
            if path.is_file():
                return path
    return None


def read(path: Path) -> "Pack":
    """Reads an available pack.

    Raises:
      UnisalError: it cannot be read, or its file is not named after its domain.
    """
    from unisal_jax.weights.packs import load_pack

    pack = load_pack(path)
    if path.name != f"{pack.domain.name}{PACK_SUFFIX}":
        raise UnisalError(f"{path}: is the pack of domain {pack.domain.name}, but not named after it")
    return pack


def at_hand() -> dict[str, Path]:
    """The paths of all available packs by their names, sorted, without reading them."""
    found: dict[str, Path] = {}
    for folder in (BUNDLED, packs_dir()):
        found |= {path.name.removesuffix(PACK_SUFFIX): path for path in folder.glob(f"*{PACK_SUFFIX}")}
    return {name: found[name] for name in sorted(found) if _NAME.fullmatch(name)}


def domains_for(shared_sha256: str) -> Iterator[Domain]:
    """The domains of packs that belong to the weights with this checksum, without damaged packs."""
    for path in at_hand().values():
        try:
            pack = read(path)
        except UnisalError:
            continue  # reported when the pack is used, and by `unisal weights`
        if pack.shared_sha256 == shared_sha256:
            yield pack.domain


def add(path: str | Path, name: str | None = None) -> tuple["Pack", Path]:
    """Checks a pack and copies it into the cache folder.

    Args:
      path: path of the pack.
      name: new name of the domain; None to keep its name.

    Returns:
      (the pack, its new path). Adding the same pack again is not an error.

    Raises:
      UnisalError: it cannot be read, does not fit the release that it belongs to, its name is taken, or the
        cache folder cannot be written.
    """
    from unisal_jax.models.config import UnisalConfig
    from unisal_jax.weights.packs import check_name, check_parts, load_pack, release_of, write_pack

    pack = load_pack(path)
    if name is not None:
        pack = pack.renamed(name)
    check_name(pack, RELEASED_DOMAINS)
    if release_of(pack.shared_sha256):
        check_parts(pack, UnisalConfig())
    there = pack_path(pack.domain.name)
    if there is not None:
        if not read(there).equals(pack):
            raise UnisalError(
                f"{path}: domain {pack.domain.name!r} exists already ({there}); use --name to rename this one"
            )
        return pack, there
    target = packs_dir() / f"{pack.domain.name}{PACK_SUFFIX}"
    write_pack(target, pack)
    return pack, target


def remove(name: str) -> Path:
    """Removes a pack from the cache folder; returns its former path.

    Raises:
      UnisalError: no pack of that name was added, or it cannot be removed.
    """
    path = packs_dir() / f"{name}{PACK_SUFFIX}"
    if not _NAME.fullmatch(name) or not path.is_file():
        packs = at_hand()
        if name in packs:
            raise UnisalError(f"domain {name!r}: part of this package ({packs[name]}), cannot be removed")
        added = [each for each, place in packs.items() if place.parent == packs_dir()]
        raise UnisalError(
            f"domain {name[:MAX_NAME_LENGTH]!r}: not an added pack; added: {', '.join(added) or 'none'}"
        )
    with write_errors(path):
        path.unlink()
    return path


def _name(domain: str | Domain) -> str:
    return domain.name if isinstance(domain, Domain) else domain


def _has(domains: tuple[Domain, ...], wanted: str | Domain) -> bool:
    return any(domain.is_called(_name(wanted)) for domain in domains)


def _unknown(wanted: str | Domain, domains: tuple[Domain, ...], shared_sha256: str) -> UnisalError:
    return unknown_domain(wanted, (*domains, *domains_for(shared_sha256)))
