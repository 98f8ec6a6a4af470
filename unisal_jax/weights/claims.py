"""Bounds the memory that reading a checkpoint folder takes, before any of its arrays is read.

Orbax writes zarr arrays into OCDBT, a tree of key-value files. Chunks and nodes are compressed with zstd,
where a few bytes can unpack to gigabytes, and TensorStore unpacks a whole chunk before it checks its size.
This module parses the compressed frames without unpacking them.
"""

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.documents import read_json
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_CHECKPOINT_BYTES, MAX_CHECKPOINT_KEYS_BYTES, MAX_CHECKPOINT_TEXT_BYTES

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 128 << 10  # maximum size of an unpacked block, in bytes
_REPEATED, _COMPRESSED, _RESERVED = 1, 2, 3  # kinds of blocks
# The bound exceeds the size of a chunk of many small blocks, and of data that look like a frame.
_CHUNK_GROWTH, _CHUNK_SLACK = 16, 8 << 20
_MANIFEST = "manifest.ocdbt"
# Magic bytes of a manifest, a node and a list of versions. A length, two numbers and compressed data follow.
_NODE_MAGICS = (b"\x0c\xdb\x3a\x2a", b"\x0c\xdb\x20\xde", b"\x0c\xdb\x12\x34")
_NODE_HEADER = 40
_TREE, _OTHER_ARRAY = "_METADATA", "zarr.json"
_ARRAY_FIELDS = {"zarr_format", "shape", "chunks", "dtype", "compressor", "filters", "order", "fill_value"}


def check_folder(folder: Path) -> None:
    """Checks that the files of a checkpoint folder do not unpack to more memory than UNISAL weights require.

    Raises:
      UnisalError: they do; names the folder and the file.
    """
    # Includes links to folders, which `rglob` does not follow but TensorStore does.
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    for path in files:
        if not path.is_file():
            raise UnisalError(f"{folder}: {path.relative_to(folder)} is not a file")
    if sum(path.stat().st_size for path in files) > MAX_CHECKPOINT_BYTES:
        raise UnisalError(
            f"{folder}: larger than {MAX_CHECKPOINT_BYTES >> 20} MiB, so not a checkpoint of UNISAL weights"
        )
    unpacked = nodes = 0
    for path in files:
        size = path.stat().st_size
        if path.name != _MANIFEST and path.parent.name != "d" and size > MAX_CHECKPOINT_TEXT_BYTES:
            raise UnisalError(f"{folder}: {path.relative_to(folder)} is too large")
        # Every file, even if it looks like text: a manifest may point to nodes in any file.
        if size == 0:
            continue
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            unpacked += _frames_bound(content)
            nodes += _nodes_bound(content)
        if nodes > MAX_CHECKPOINT_KEYS_BYTES:
            raise UnisalError(f"{folder}: its keys unpack to more than {MAX_CHECKPOINT_KEYS_BYTES >> 20} MiB")
        if unpacked > MAX_CHECKPOINT_BYTES:
            raise UnisalError(f"{folder}: unpacks to more than {MAX_CHECKPOINT_BYTES >> 20} MiB")


def check_arrays(folder: Path, item: str) -> None:
    """Checks that the arrays of an item, and their chunks, do not unpack to more than their declared sizes.

    Call `check_folder` first: it makes the tree of keys safe to read.

    Raises:
      UnisalError: they do; names the folder and the array.
    """
    import tensorstore

    place = (folder / item).absolute()
    if not place.is_dir():
        raise UnisalError(f"{folder}: not a checkpoint of UNISAL weights ({item} is missing)")
    # Uses `path`, not a URL: a folder's name may contain any character.
    spec: dict[str, Any] = {"driver": "file", "path": f"{place.as_posix()}/"}
    if (place / _MANIFEST).is_file():
        spec = {"driver": "ocdbt", "base": spec}
    # Without a cache, a node is read and unpacked again for each of its keys.
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": MAX_CHECKPOINT_KEYS_BYTES}})
    store = tensorstore.KvStore.open(spec, context=context).result()
    sizes = {}
    for name in _array_names(place, f"{folder}: {item}"):
        about = store.read(f"{name}/.zarray").result()
        if store.read(f"{name}/{_OTHER_ARRAY}").result().state != "missing":
            raise UnisalError(f"{folder}: {name} is an array of another version of zarr")
        if about.state != "missing":  # a leaf may be None
            sizes[name] = _array_bytes(about.value, f"{folder}: {name}")
            # The key of the only chunk, which Orbax will read.
            chunk = ".".join("0" * max(1, len(json.loads(about.value)["shape"])))
            bound = _frames_bound(store.read(f"{name}/{chunk}").result().value)
            if bound > _CHUNK_GROWTH * sizes[name] + _CHUNK_SLACK:
                raise UnisalError(
                    f"{folder}: {name} unpacks to more than the {sizes[name]} bytes of its shape"
                )
        if sum(sizes.values()) > MAX_CHECKPOINT_BYTES:
            raise UnisalError(
                f"{folder}: its arrays declare {sum(sizes.values())} bytes, too many for UNISAL weights"
            )


def _array_names(place: Path, what: str) -> list[str]:
    """The names of an item's arrays, which Orbax will read.

    They are read from the item's metadata. Listing the store is unsafe: keys of 64 KiB with a common prefix
    take a byte each, but are listed in full.
    """
    try:
        leaves = read_json(place / _TREE, "a tree of arrays")["tree_metadata"].values()
        names = [".".join(str(key["key"]) for key in leaf["key_metadata"]) for leaf in leaves]
    except (UnisalError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnisalError(f"{what}: not an item of UNISAL weights ({str(error)[:100]})") from error
    for name in names:
        if "/" in name or "\0" in name or not name:
            raise UnisalError(f"{what}: {name[:100]!r} is not an array's name")
    return names


def _array_bytes(text: bytes, what: str) -> int:
    """The bytes of an array by its zarr metadata. It must be one chunk, as Orbax writes on one host."""
    try:
        if len(text) > MAX_CHECKPOINT_TEXT_BYTES:
            raise ValueError("too long")
        about: dict[str, Any] = json.loads(text)
        shape, chunks = about["shape"], about["chunks"]
        if not all(type(n) is int and 0 <= n < 1 << 40 for n in (*shape, *chunks)) or len(shape) > 32:
            raise ValueError("impossible shape")
        if chunks != [max(length, 1) for length in shape]:
            raise ValueError(f"chunks {chunks} of shape {shape}")
        compressor = about["compressor"]
        if compressor is not None and compressor["id"] != "zstd":
            raise ValueError(f"compressor {compressor['id']}")
        if about["filters"] is not None or not about.keys() <= {*_ARRAY_FIELDS, "dimension_separator"}:
            raise ValueError("filters or unknown fields")
        if about.get("dimension_separator", ".") != ".":
            raise ValueError("chunks of other names")
        dtype = about["dtype"]
        size = 2 if dtype == "bfloat16" else np.dtype(str(dtype)).itemsize
        if not 1 <= size <= 8:
            raise ValueError(f"type {dtype}")
        return max(1, math.prod(shape)) * size
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UnisalError(f"{what}: not an array of UNISAL weights ({str(error)[:100]})") from error


def _frames_bound(content: bytes | mmap.mmap, limit: int = MAX_CHECKPOINT_BYTES) -> int:
    """An upper bound, in bytes, of all unpacked zstd frames in the content; stops slightly above `limit`."""
    total, start = 0, content.find(_ZSTD_MAGIC)
    while start >= 0 and total <= limit:
        total += _frame_bound(content, start + len(_ZSTD_MAGIC), limit - total)
        # What looks like a frame may be part of another's data, so the search continues after its magic.
        start = content.find(_ZSTD_MAGIC, start + 1)
    return total


def _nodes_bound(content: bytes | mmap.mmap, limit: int = MAX_CHECKPOINT_KEYS_BYTES) -> int:
    """The same for the tree's nodes only: their many small entries take more memory than their bytes."""
    total = 0
    for magic in _NODE_MAGICS:
        start = content.find(magic)
        while start >= 0 and total <= limit:
            frame = content.find(_ZSTD_MAGIC, start, start + _NODE_HEADER)
            if frame >= 0:
                total += _frame_bound(content, frame + len(_ZSTD_MAGIC), limit - total)
            start = content.find(magic, start + 1)
    return total


def _frame_bound(content: bytes | mmap.mmap, at: int, limit: int) -> int:
    """The bound of one frame, parsed from after its magic (RFC 8878, 3.1.1) until the content is invalid."""
    if at + 2 > len(content):
        return 0
    descriptor, window_byte = content[at : at + 2]
    single_segment = descriptor >> 5 & 1
    block = _ZSTD_BLOCK
    if not single_segment:
        block = min(block, (1 << (10 + (window_byte >> 3))) * (8 + (window_byte & 7)) // 8)
    at += 2 - single_segment + (0, 1, 2, 4)[descriptor & 3] + (single_segment, 2, 4, 8)[descriptor >> 6]
    total, last = 0, False
    while total <= limit and not last and at + 3 <= len(content):
        header = int.from_bytes(content[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        stored = 1 if kind == _REPEATED else size
        at += 3 + stored
        if kind == _RESERVED or at > len(content):
            break
        total += block if kind == _COMPRESSED else size
    return total
