"""Records which input and settings an output was made from, in a small hidden file per output name.

`OUT/.inputs/NAME.json` is written after the outputs of NAME. With it, `--resume` distinguishes a finished
input from another one of the same name, and a folder of maps written by this package from any other folder.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unisal_jax.documents import write_json
from unisal_jax.files import files_below, write_errors
from unisal_jax.media.listing import list_images
from unisal_jax.media.names import shorten
from unisal_jax.media.sources import NAME_BYTES, MediaSource
from unisal_jax.weights.installed import pack_path
from unisal_jax.weights.sources import resolve

FOLDER = ".inputs"


@dataclasses.dataclass(frozen=True)
class Record:
    """The record of the outputs of one name.

    Attributes:
      name: of the outputs.
      path: of the input, absolute and with links resolved.
      maps: number of files in a video's folder of maps, `0001.png` and so on; 0 if there is none.
      outputs: by output type, the state of the input (`fingerprint`) and the settings.
    """

    name: str
    path: str
    maps: int = 0
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def place(source: MediaSource) -> str:
    """Returns an input's path as stored in records."""
    return str(source.path) if isinstance(source.path, str) else os.path.realpath(source.path)


def fingerprint(source: MediaSource) -> dict[str, Any]:
    """Returns the state of an input: a file's size and time, or a digest of those of a folder's frames.

    Cameras and network addresses have no state: the value returned for them never equals another.
    """
    if isinstance(source.path, str):
        return {"camera": os.urandom(8).hex()}
    return state_of(source.path, list_images(source.path) if source.path.is_dir() else ())


def weights_state(weights: str, domain: str | None = None) -> Any:
    """Returns what identifies weights: their name or address, or the state of a file or folder.

    Includes the state of the domain's pack, if the domain comes from one.
    """
    pack = None if domain is None else pack_path(domain)
    state = _weights_state(weights)
    return state if pack is None else {"pack": state_of(pack, ()), "weights": state}


def _weights_state(weights: str) -> Any:
    if resolve(weights).kind not in ("file", "checkpoint"):
        return weights
    path = Path(weights)
    return {"path": os.path.realpath(path), **state_of(path, files_below(path))}


def state_of(path: Path, files: Iterable[Path]) -> dict[str, Any]:
    """Returns size and modification time of a file, or one digest of those of a folder's `files`."""
    if not path.is_dir():
        found = path.stat()
        return {"bytes": found.st_size, "mtime_ns": found.st_mtime_ns}
    digest = hashlib.sha256()
    for file in sorted(files):
        found = file.stat()
        digest.update(os.fsencode(file.name) + b"\0")
        digest.update(f"{found.st_size} {found.st_mtime_ns}\0".encode())
    return {"sha256": digest.hexdigest()}


def read_record(out: Path, name: str) -> Record | None:
    """Returns the record of a name; None if there is none or it cannot be read."""
    try:
        record = _parse(_path(out, name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if record.name == name else None


def read_records(out: Path) -> list[Record]:
    """Returns all readable records of an output folder, sorted by name."""
    try:
        files = sorted((out / FOLDER).glob("*.json"))
    except OSError:
        return []
    found = []
    for file in files:
        try:
            record = _parse(file.read_bytes())
            if _path(out, record.name).name == file.name:
                found.append(record)
        except (OSError, ValueError, RecursionError):
            continue
    return found


def write_record(out: Path, record: Record) -> None:
    """Writes a record atomically.

    Raises:
      OutputError: it cannot be written.
    """
    path = _path(out, record.name)
    with write_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_json(path, dataclasses.asdict(record))


def forget(out: Path, name: str, kind: str) -> None:
    """Removes an output type from a name's record, because something else has replaced that output.

    Raises:
      OutputError: the record cannot be written.
    """
    record = read_record(out, name)
    if record is not None and kind in record.outputs:
        outputs = {other: made for other, made in record.outputs.items() if other != kind}
        write_record(out, dataclasses.replace(record, outputs=outputs))


def _path(out: Path, name: str) -> Path:
    return out / FOLDER / f"{shorten(name, NAME_BYTES)}.json"


def _parse(content: bytes) -> Record:
    """Parses a record; raises ValueError if it is invalid or its name would lead outside the folder."""
    fields = json.loads(content)
    if not isinstance(fields, dict):
        raise ValueError("not a record")
    try:
        record = Record(**fields)
    except TypeError as error:
        raise ValueError("not a record") from error
    kinds = (record.name, str), (record.path, str), (record.maps, int), (record.outputs, dict)
    if not all(type(value) is kind for value, kind in kinds):
        raise ValueError("not a record")
    if record.name in ("", ".", "..") or os.path.basename(record.name) != record.name:
        raise ValueError("not a name")
    return record
