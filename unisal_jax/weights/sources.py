"""Resolves the name, path or address of weights, without downloading anything."""

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
    """The source of weights.

    Attributes:
      kind: a release; an address on the Hugging Face Hub; a file, or the file in a folder written by
        `publish.save_folder`; a checkpoint, which is any other folder; or missing.
      name: the original name, path or address.
      path: path of the file or checkpoint; for other kinds, the name as a path, which need not exist.
    """

    kind: Literal["release", "hub", "file", "checkpoint", "missing"]
    name: str
    path: Path


def resolve(source: str | Path) -> WeightsSource:
    """Resolves a source. The name of a release takes precedence over a file of that name."""
    name, path = str(source), Path(source)
    if name in fetch.RELEASED:
        return WeightsSource("release", name, path)
    if name.startswith(hub.SCHEME):
        return WeightsSource("hub", name, path)
    # `os.path.exists` is False for invalid file names and for "", which Path treats as the working directory.
    if not os.path.exists(name):
        return WeightsSource("missing", name, path)
    if os.path.isfile(path / hub.WEIGHTS_FILE):
        return WeightsSource("file", name, path / hub.WEIGHTS_FILE)
    path = _followed(path)
    kind: Literal["checkpoint", "file"] = "checkpoint" if os.path.isdir(path) else "file"
    return WeightsSource(kind, name, path)


def check_there(source: WeightsSource) -> None:
    """Raises UnisalError if the source does not exist."""
    if source.kind == "missing":
        check_on_disk(source.name)
        on_hub = f"; on the Hugging Face Hub: {hub.SCHEME}{source.name}" if hub.is_name(source.name) else ""
        raise UnisalError(f"{source.name}: no such file or release ({', '.join(fetch.RELEASED)}){on_hub}")


def fetched(source: WeightsSource) -> Path:
    """The local file or checkpoint folder, downloaded if necessary; for a release, the authors' file.

    Raises:
      UnisalError: it does not exist, or cannot be downloaded.
    """
    check_there(source)
    match source.kind:
        case "release":
            return fetch.fetch(source.name)
        case "hub":
            return hub.download(source.name)
    return source.path


def files_of(weights: str) -> Iterator[Path]:
    """The local files that loading weights reads, so that they are not overwritten.

    They include all added domain packs. For an address on the Hub, there are no others.
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
