"""Domain packs at hand: those in this package, and those that a user has added to the cache folder.

A pack is read when its domain is asked for, and not before. The released domains are asked for without a look
at any. What reads files is imported late, as commands ask here before they do anything.
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
"""The release that is used where no weights are named."""
BUNDLED = Path(__file__).with_name("domains")
"""The folder of the packs of this package. May not exist."""
_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME_LENGTH - 1}}}")

logger = logging.getLogger(__name__)


def default_weights(domain: str | Domain | None) -> str:
    """The release to use where no weights are named.

    It is `unisal`, but for the domain of a pack that belongs to another release: then it is that one, and a
    line is logged.

    Raises:
      UnisalError: the pack cannot be read.
    """
    if domain is None or _has(RELEASED_DOMAINS, domain):
        return DEFAULT
    from unisal_jax.weights.packs import release_of

    pack = find(_name(domain))
    release = (pack and release_of(pack.shared_sha256)) or DEFAULT
    if release != DEFAULT:
        logger.warning("domain %s: with the weights %s, which its pack belongs to", _name(domain), release)
    return release


def with_domain(weights: "Weights", domain: str | Domain) -> "Weights":
    """The weights, with the domain of that name from a pack if they lack it.

    Raises:
      UnisalError: there is no such domain, which the message lists; or its pack cannot be read, or belongs to
        other weights.
    """
    if _has(weights.config.domains, domain):
        return weights
    from unisal_jax.weights.packs import with_pack

    pack = find(_name(domain))
    if pack is None:
        raise _unknown(domain, weights.config.domains, weights.shared_sha256)
    return with_pack(weights, pack)


def check_domain(release: str, domain: str) -> None:
    """Raises the UnisalError of `with_domain` for a released network, without loading it."""
    if _has(RELEASED_DOMAINS, domain):
        return
    from unisal_jax.weights.packs import check_base

    shared_sha256 = RELEASED[release].shared_sha256 or ""
    pack = find(domain)
    if pack is None:
        raise _unknown(domain, RELEASED_DOMAINS, shared_sha256)
    check_base(pack, shared_sha256)


def find(name: str) -> "Pack | None":
    """The pack whose domain is called so, in any case; one that was added comes before one of this package.

    Raises:
      UnisalError: it cannot be read.
    """
    path = pack_path(name)
    return None if path is None else read(path)


def pack_path(name: str) -> Path | None:
    """Where the pack of that name lies, in any case; None of a released domain, and where there is none.

    A text that is no name of a domain leads to no file.
    """
    name = name.lower()
    if _NAME.fullmatch(name) and not _has(RELEASED_DOMAINS, name):
        for folder in (packs_dir(), BUNDLED):
            path = folder / f"{name}{PACK_SUFFIX}"
            if path.is_file():
                return path
    return None


def read(path: Path) -> "Pack":
    """One of the packs at hand.

    Raises:
      UnisalError: it cannot be read, or is not called after its domain.
    """
    from unisal_jax.weights.packs import load_pack

    pack = load_pack(path)
    if path.name != f"{pack.domain.name}{PACK_SUFFIX}":
        raise UnisalError(f"{path}: holds the domain {pack.domain.name}, which is not its own name")
    return pack


def at_hand() -> dict[str, Path]:
    """The files of all packs by their names, sorted; none is opened."""
    found: dict[str, Path] = {}
    for folder in (BUNDLED, packs_dir()):
        found |= {path.name.removesuffix(PACK_SUFFIX): path for path in folder.glob(f"*{PACK_SUFFIX}")}
    return {name: found[name] for name in sorted(found) if _NAME.fullmatch(name)}


def domains_for(shared_sha256: str) -> Iterator[Domain]:
    """The domains of packs that belong to the weights with this checksum; damaged packs are left out."""
    for path in at_hand().values():
        try:
            pack = read(path)
        except UnisalError:
            continue  # told where it is asked for, and by `unisal weights`
        if pack.shared_sha256 == shared_sha256:
            yield pack.domain


def add(path: str | Path, name: str | None = None) -> tuple["Pack", Path]:
    """Copies a pack into the cache folder, once it is known to be whole.

    Args:
      path: of the pack.
      name: of the domain from now on; None for its own.

    Returns:
      (the pack, where it lies now). The same one may be added again.

    Raises:
      UnisalError: it cannot be read, is of another network than the release it belongs to, its name is taken,
        or the cache folder cannot be written.
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
                f"{path}: there is a domain {pack.domain.name!r} already ({there}); add this under another "
                "--name"
            )
        return pack, there
    target = packs_dir() / f"{pack.domain.name}{PACK_SUFFIX}"
    write_pack(target, pack)
    return pack, target


def remove(name: str) -> Path:
    """Removes a pack that was added; returns where it was.

    Raises:
      UnisalError: none of that name was added, or it cannot be removed.
    """
    path = packs_dir() / f"{name}{PACK_SUFFIX}"
    if not _NAME.fullmatch(name) or not path.is_file():
        packs = at_hand()
        if name in packs:
            raise UnisalError(f"domain {name!r}: comes with this package ({packs[name]}); it is not removed")
        added = [each for each, place in packs.items() if place.parent == packs_dir()]
        raise UnisalError(
            f"domain {name[:MAX_NAME_LENGTH]!r}: no pack of it was added; added: {', '.join(added) or 'none'}"
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
