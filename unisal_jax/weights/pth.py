"""Reads and writes PyTorch's .pth files as NumPy arrays, without PyTorch.

A .pth file is a pickle program and raw storages, in one of two containers: a stream of pickles (PyTorch
before 1.6, and the released UNISAL weights) or a zip archive. Python's unpickler would run any program in a
file, so `restricted_pickle` implements a small interpreter. Reading takes at most a small multiple of the
file's size in memory.
"""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path
from unisal_jax.limits import MAX_WEIGHTS_BYTES
from unisal_jax.weights.restricted_pickle import (
    DAMAGE,
    STORAGE_DTYPES,
    Foreign,
    OddKey,
    Refused,
    Storage,
    Tensor,
    quoted,
    run_pickle,
)

_STORAGE_NAMES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}

_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_PROTOCOL = 1001
_ZIP_MAGIC = b"PK\x03\x04"
# Tensors may share storage, so they may add up to more than the file, but only up to this factor: otherwise,
# a few bytes with stride 0 could take all memory.
_MAX_GROWTH = 8
_ALWAYS_ALLOWED_BYTES = 64 << 20
_ALIGNMENT = 64
_ZIP_HEADER_BYTES = 30  # of a member, before its name
# Names under which trainers store a network's state dict, the most likely first, and the maximum depth.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
_MAX_DEPTH = 5
# Globals of plain values stored next to tensors. They do not indicate a malicious program.
_INERT = frozenset(
    {
        "_codecs.encode",
        "__builtin__.set",
        "builtins.set",
        "collections.Counter",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray.scalar",
        "numpy.dtype",
        "torch.Size",
        "torch.device",
        "torch.float32",
        "torch.serialization._get_layout",
    }
)


def read_pth(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a state dict from a .pth file of either format, without running any code in it.

    The top level is a dict of tensors, or a trainer's checkpoint that contains one, under a name in
    `_WRAPPERS` or as its largest. Names are not changed. CUDA storages and parameters are read as plain
    tensors. Everything else (counters, options, an optimizer, objects of any class) is ignored, and neither
    imported nor called.

    Args:
      path: the file.

    Returns:
      name -> C-contiguous array with its own memory, in the file's order; bfloat16 as ml_dtypes.bfloat16.

    Raises:
      UnisalError: the file cannot be read, is damaged, or is not a state dict of tensors.
    """
    path = Path(path)
    data = _file_bytes(path)
    try:
        opener = _open_zip if data[:4] == _ZIP_MAGIC else _open_stream
        tensors, load_storage = opener(data)
        _check_budget(tensors, len(data))
        return {name: _to_array(tensor, load_storage) for name, tensor in tensors.items()}
    except Refused as error:
        raise UnisalError(f"{path}: {error}") from error
    except DAMAGE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnisalError(f"{path}: damaged .pth file ({reason[:150]})") from error


def write_pth(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as a zip-format .pth file, which `torch.load` reads as an OrderedDict of tensors.

    The same arrays give the same bytes. The file is written atomically.

    Args:
      path: the file to write; an existing one is replaced.
      tensors: name -> array of a float (bfloat16 too), signed integer, uint8 or bool dtype, any shape.

    Raises:
      UnisalError: .pth files do not support a dtype, or the path cannot be written.
    """
    path = Path(path)
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in _STORAGE_NAMES:
            raise UnisalError(
                f"{path}: tensor {name!r} has dtype {array.dtype}, which .pth files do not support"
            )
    with (
        atomic_path(path) as partial,
        open(partial, "xb") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        _write_record(archive, file, "data.pkl", _state_dict_pickle(arrays))
        _write_record(archive, file, "byteorder", b"little")
        for index, array in enumerate(arrays.values()):
            _write_record(archive, file, f"data/{index}", _little_endian_bytes(array))
        _write_record(archive, file, "version", b"3\n")


# --- containers: bytes of the file -> (state dict, function that loads a storage and its byte order) ---

_LoadStorage = Callable[[Storage], tuple[bytes | memoryview, str]]


def _file_bytes(path: Path) -> bytes:
    try:
        # Reading a pipe or a device could block or never end.
        if path.exists() and not path.is_file():
            raise UnisalError(f"{path}: not a file")
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise UnisalError(f"{path}: larger than {MAX_WEIGHTS_BYTES >> 20} MiB, so not UNISAL weights")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnisalError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _open_stream(data: bytes) -> tuple[dict[str, Tensor], _LoadStorage]:
    """The old format: magic, protocol, system, object and storage keys as pickles, then the storages."""
    file = io.BytesIO(data)
    try:
        header = (run_pickle(file, {}), run_pickle(file, {}))
    except DAMAGE as error:
        raise Refused("not a PyTorch .pth file") from error
    # Checks the types too, as True == 1 and 1001.0 == 1001 in Python.
    if header != (_STREAM_MAGIC, _STREAM_PROTOCOL) or any(type(value) is not int for value in header):
        raise Refused("not a PyTorch .pth file")
    run_pickle(file, {})  # the system that wrote the file; storages are always little-endian
    storages: dict[str, Storage] = {}
    foreign: set[str] = set()
    tensors = _select_state_dict(run_pickle(file, storages, foreign), foreign)
    keys = run_pickle(file, {})
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise Refused("its list of storages is damaged")

    view, position = memoryview(data), file.tell()
    contents: dict[str, memoryview] = {}
    for key in keys:
        storage = storages.get(key)
        if storage is None or key in contents:
            raise Refused(f"its list of storages has {quoted(key)}, which no tensor uses, or has it twice")
        if view[position : position + 8] != struct.pack("<q", storage.numel):
            raise Refused(f"truncated or damaged at storage {quoted(key)} (byte {position})")
        end = position + 8 + storage.numel * storage.dtype.itemsize
        if end > len(data):
            raise Refused(f"truncated: storage {quoted(key)} ends at byte {end} of {len(data)}")
        contents[key] = view[position + 8 : end]
        position = end

    def load(storage: Storage) -> tuple[memoryview, str]:
        if storage.key not in contents:
            raise Refused(f"storage {quoted(storage.key)} is missing")
        return contents[storage.key], "<"

    return tensors, load


def _open_zip(data: bytes) -> tuple[dict[str, Tensor], _LoadStorage]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = archive.infolist()
    # PyTorch stores records uncompressed. These checks ensure that neither compressed nor overlapping records
    # are larger than the file.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise Refused("is a zip file with compressed members, which PyTorch does not write")
    if sum(member.file_size for member in members) > len(data):
        raise Refused("its zip members declare more bytes than the file has")
    roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Refused("is a zip file, but not one that PyTorch wrote (it must contain one data.pkl)")
    root = roots[0]
    big_endian = f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder") == b"big"
    order = ">" if big_endian else "<"
    foreign: set[str] = set()
    top = run_pickle(io.BytesIO(archive.read(f"{root}/data.pkl")), {}, foreign)
    tensors = _select_state_dict(top, foreign)
    loaded: dict[str, bytes] = {}

    def load(storage: Storage) -> tuple[bytes, str]:
        if storage.key not in loaded:
            try:
                member = archive.getinfo(f"{root}/data/{storage.key}")
            except KeyError:
                raise Refused(f"storage {quoted(storage.key)} is missing") from None
            loaded[storage.key] = archive.read(member)
        content = loaded[storage.key]
        if len(content) != storage.numel * storage.dtype.itemsize:
            declared = f"{storage.numel} elements of {storage.dtype}"
            raise Refused(f"storage {quoted(storage.key)} has {len(content)} bytes, not {declared}")
        return content, order

    return tensors, load


# --- tensors ---


def _select_state_dict(top: Any, foreign: set[str]) -> dict[str, Tensor]:
    """Selects the state dict: the dict of tensors with the most likely path, and of these the largest.

    Args:
      top: the value of the pickle.
      foreign: names of unknown globals in it, for messages.
    """
    ranked = [(_rank(path), -_tensors_in(found), found) for path, found in _dicts(top) if _tensors_in(found)]
    if not ranked:
        raise Refused(_reason_without_tensors(top, foreign))
    ranked.sort(key=lambda each: each[:2])
    chosen, tensors = ranked[0][2], {}
    for name, value in chosen.items():
        if type(value) is Tensor and type(name) is str:
            tensors[name] = value
        elif type(value) is Tensor:
            raise Refused(f"no state dict: the name of a tensor is of type {type(name).__name__}")
        elif type(value) is Foreign and value.name in foreign - _INERT:
            raise Refused(
                f"uses {quoted(value.name)} among its tensors, which a state dict does not; not loaded"
            )
    return tensors


def _dicts(top: Any) -> Iterator[tuple[tuple[str, ...], dict]]:
    """All nested dicts with their paths of string keys, up to `_MAX_DEPTH`."""
    level: list[tuple[tuple[str, ...], dict]] = [((), top)] if type(top) is dict else []
    seen: set[int] = set()  # a dict may contain itself, or be contained in several
    for _ in range(_MAX_DEPTH):
        yield from level
        inner = []
        for path, found in level:
            for name, value in found.items():
                if type(name) is str and type(value) is dict and id(value) not in seen:
                    seen.add(id(value))
                    inner.append(((*path, name), value))
        level = inner


def _rank(path: tuple[str, ...]) -> int:
    """The rank of a dict of tensors by its path; the lowest is the most likely to be the state dict."""
    if "optimizer" in path or "optim" in path:
        return len(_WRAPPERS) + 1
    places = [_WRAPPERS.index(name) for name in path if name in _WRAPPERS]
    return min(places, default=len(_WRAPPERS) if path else -1)


def _tensors_in(found: dict) -> int:
    return sum(type(value) is Tensor for value in found.values())


def _reason_without_tensors(top: Any, foreign: set[str]) -> str:
    unknown = sorted(foreign - _INERT)
    if unknown:
        return f"uses {quoted(unknown[0])}, which a state dict does not; not loaded"
    if type(top) is not dict or not top:
        return f"contains no dict of tensors (its top level is of type {type(top).__name__})"
    name, value = next(iter(top.items()))
    if type(name) is OddKey:
        return f"has a dict key that is a {name.kind}, not a name, and no tensors"
    return f"no state dict: {quoted(name)} is of type {type(value).__name__}, not a tensor"


def _check_budget(tensors: dict[str, Tensor], file_bytes: int) -> None:
    total = sum(math.prod(tensor.size) * tensor.storage.dtype.itemsize for tensor in tensors.values())
    if total > max(_MAX_GROWTH * file_bytes, _ALWAYS_ALLOWED_BYTES):
        raise Refused(f"its tensors declare {total} bytes, far more than the {file_bytes} bytes of the file")


def _to_array(tensor: Tensor, load_storage: _LoadStorage) -> np.ndarray:
    content, order = load_storage(tensor.storage)
    dtype = tensor.storage.dtype
    if math.prod(tensor.size) == 0:
        return np.empty(tensor.size, dtype)
    # As unsigned integers, since bool and bfloat16 have no byte order.
    word = f"u{dtype.itemsize}"
    strides = tuple(step * dtype.itemsize for step in tensor.stride)
    offset = tensor.offset * dtype.itemsize
    view = np.ndarray(tensor.size, f"{order}{word}", buffer=content, offset=offset, strides=strides)
    return np.array(view, dtype=word, order="C").view(dtype)


# --- writing ---


def _write_record(archive: zipfile.ZipFile, file: io.BufferedWriter, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # constant, so that the file does not depend on the system
    # PyTorch memory-maps storages, so align them by padding the header with its extra field.
    header = _ZIP_HEADER_BYTES + len(info.filename) + 4
    padding = -(file.tell() + header) % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    archive.writestr(info, content)


def _little_endian_bytes(array: np.ndarray) -> bytes:
    word = f"u{array.dtype.itemsize}"
    return np.array(array, order="C").view(word).astype(f"<{word}").tobytes()


def _state_dict_pickle(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A protocol 2 pickle of an OrderedDict whose i-th tensor is the whole of storage i."""
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    items = []
    for index, (name, array) in enumerate(arrays.items()):
        strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
        storage_type = f"ctorch\n{_STORAGE_NAMES[array.dtype]}\n".encode()
        storage = _text("storage") + storage_type + _text(str(index)) + _text("cpu") + _integer(array.size)
        view = _integer(0) + _tuple(array.shape) + _tuple(strides)
        arguments = b"((" + storage + b"tQ" + view + b"\x89" + ordered_dict + b"t"
        items.append(_text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R")
    return b"\x80\x02" + ordered_dict + b"(" + b"".join(items) + b"u."


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
