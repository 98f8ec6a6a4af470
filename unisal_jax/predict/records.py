"""Which input and which settings an output comes from: a small hidden file for each output name.

`OUT/.inputs/NAME.json` is written after the outputs of NAME. By it `--resume` tells a finished input from
another of the same name, and a folder of maps that this package has written from any other folder.
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
    """What is known of the outputs of one name.

    Attributes:
      name: of the outputs.
      path: of the input, absolute, links followed.
      maps: files of a video's folder of maps, `0001.png` to this number; 0 where there is none.
      outputs: by output type, the state of the input (`fingerprint`) and the settings it was made with.
    """

    name: str
    path: str
    maps: int = 0
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def place(source: MediaSource) -> str:
    """An input's path as records have it."""
    return str(source.path) if isinstance(source.path, str) else os.path.realpath(source.path)


def fingerprint(source: MediaSource) -> dict[str, Any]:
    """The state of an input: a file's size and time, or a digest of those of a folder's frames.

    A camera has none, and what comes over the network: it equals no other, not even itself.
    """
    if isinstance(source.path, str):
        return {"camera": os.urandom(8).hex()}
    return state_of(source.path, list_images(source.path) if source.path.is_dir() else ())


def weights_state(weights: str, domain: str | None = None) -> Any:
    """What tells weights from others: their name or address, or a file's or folder's state.

    Of a domain that is no released one, its pack's file is among them, if there is one.
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
    """Size and time of modification of a file, or of a folder's `files` as one digest."""
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
    """The record of a name; None where there is none, or none that can be read."""
    try:
        record = _parse(_path(out, name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if record.name == name else None


def read_records(out: Path) -> list[Record]:
    """All records of a folder of outputs, by name."""
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
    """Writes a record, whole or not at all.

    Raises:
      OutputError: it cannot be written.
    """
    path = _path(out, record.name)
    with write_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_json(path, dataclasses.asdict(record))


def forget(out: Path, name: str, kind: str) -> None:
    """Takes an output type from a name's record, where something else is now in its place.

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
    """Raises ValueError for what is no record, or would name a file outside its folder."""
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
