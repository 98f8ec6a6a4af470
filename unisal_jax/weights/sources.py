"""What a string or path that names weights means: the one place that decides. Nothing is fetched to tell."""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from unisal_jax.errors import UnisalError
from unisal_jax.files import check_on_disk, files_below
from unisal_jax.weights import fetch, hub

# A training's `best` where it cannot be a link: on some disks, on Windows, in a bucket.
_LINK = re.compile(rb"checkpoints/[0-9]{1,18}\n?")


@dataclasses.dataclass(frozen=True)
class WeightsSource:
    """Where weights come from.

    Attributes:
      kind: a release's name; an address on the Hugging Face Hub; a file, also that of a folder of
        `publish.save_folder`; another folder, which is taken for a checkpoint; or nothing that is there.
      name: as it was given.
      path: of the file or the checkpoint; else the name as a path, where nothing need be.
    """

    kind: Literal["release", "hub", "file", "checkpoint", "missing"]
    name: str
    path: Path


def resolve(source: str | Path) -> WeightsSource:
    """What a source means; a release's name comes before a file of that name."""
    name, path = str(source), Path(source)
    if name in fetch.RELEASED:
        return WeightsSource("release", name, path)
    if name.startswith(hub.SCHEME):
        return WeightsSource("hub", name, path)
    # By os.path, for which a name that no disk can hold is not there; and an empty one, which Path takes for
    # the working folder, is not either.
    if not os.path.exists(name):
        return WeightsSource("missing", name, path)
    if os.path.isfile(path / hub.WEIGHTS_FILE):
        return WeightsSource("file", name, path / hub.WEIGHTS_FILE)
    path = _followed(path)
    kind: Literal["checkpoint", "file"] = "checkpoint" if os.path.isdir(path) else "file"
    return WeightsSource(kind, name, path)


def check_there(source: WeightsSource) -> None:
    """Raises UnisalError where nothing of that name is there."""
    if source.kind == "missing":
        check_on_disk(source.name)
        raise UnisalError(f"{source.name}: no such file, nor a release ({', '.join(fetch.RELEASED)})")


def fetched(source: WeightsSource) -> Path:
    """The file or checkpoint folder on this machine; of a release, the authors' file.

    Raises:
      UnisalError: it is not there, or cannot be fetched.
    """
    check_there(source)
    match source.kind:
        case "release":
            return fetch.fetch(source.name)
        case "hub":
            return hub.download(source.name)
    return source.path


def files_of(weights: str) -> Iterator[Path]:
    """The files on this machine that loading weights reads, to be kept from being overwritten.

    All domain packs that were added are among them. None are known of an address on the Hub.
    """
    yield from fetch.packs_dir().glob(f"*{fetch.PACK_SUFFIX}")
    source = resolve(weights)
    if source.kind == "release":
        yield from (fetch.cached_path(source.name), fetch.converted_path(source.name))
    elif source.kind in ("file", "checkpoint"):
        yield from files_below(source.name)
        if source.kind == "checkpoint" and os.path.isfile(source.name):
            yield from files_below(source.path)


def _followed(path: Path) -> Path:
    """The checkpoint that a text file names, such as `best` on a disk without links; else the path."""
    if path.suffix or not os.path.isfile(path):
        return path
    try:
        with path.open("rb") as file:
            content = file.read(64)
    except OSError:
        return path
    target = path.parent / content.decode().strip() if _LINK.fullmatch(content) else path
    return target if target.is_dir() else path
