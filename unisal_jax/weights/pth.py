"""PyTorch's .pth files without PyTorch: read into numpy arrays, and written from them.

A .pth file is a pickle program plus raw storages, in one of two containers: a stream of pickles
(PyTorch before 1.6, and the released UNISAL weights) or a zip archive. Python's own unpickler would
run whatever program a file holds, so `restricted_pickle` has a small interpreter of its own. What is
read here never takes more memory than a small multiple of the file's size.
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
# Tensors may share storage, so a file may hold less than its tensors add up to, but not much less:
# beyond this, a few bytes with stride 0 could claim all the memory there is.
_MAX_GROWTH = 8
_ALWAYS_ALLOWED_BYTES = 64 << 20
_ALIGNMENT = 64
_ZIP_HEADER_BYTES = 30  # of a member, before its name
# Under which names trainers keep a network's state dict, the likeliest first, and how deep.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
_MAX_DEPTH = 5
# Globals of plain values that lie beside tensors, which are no sign of a program.
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
    """Read a state dict from a .pth file of either format, without running anything in it.

    The top level is a dict of tensors, or a trainer's checkpoint that holds one, by the names in
    `_WRAPPERS` or as its largest. Names are kept as they are. CUDA storages and parameters are read as plain
    tensors. What lies beside the tensors (counters, options, an optimizer, objects of any class) is passed
    over: nothing of it is imported or called.

    Args:
      path: the file.

    Returns:
      name -> C-contiguous array of its own memory, in the file's order; bfloat16 as ml_dtypes.bfloat16.

    Raises:
      UnisalError: the file cannot be read, is damaged, is no state dict, or asks for anything but tensors.
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
    """Write arrays as a zip-format .pth file, which `torch.load` reads as an OrderedDict of tensors.

    The same arrays give the same bytes. The file appears under its name only once it is whole.

    Args:
      path: the file to write; an existing one is replaced.
      tensors: name -> array of a float (bfloat16 too), signed integer, uint8 or bool dtype, any shape.

    Raises:
      UnisalError: a dtype that .pth files lack, or a path that cannot be written.
    """
    path = Path(path)
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in _STORAGE_NAMES:
            raise UnisalError(f"{path}: tensor {name!r} has dtype {array.dtype}, which .pth files lack")
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


# --- the containers: the file's bytes -> the state dict, and what loads a storage's bytes and order ---

_LoadStorage = Callable[[Storage], tuple[bytes | memoryview, str]]


def _file_bytes(path: Path) -> bytes:
    try:
        # A pipe or a device could keep the reader waiting, or never end.
        if path.exists() and not path.is_file():
            raise UnisalError(f"{path}: not a file")
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise UnisalError(f"{path}: larger than {MAX_WEIGHTS_BYTES >> 20} MiB, so not UNISAL weights")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnisalError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _open_stream(data: bytes) -> tuple[dict[str, Tensor], _LoadStorage]:
    """The old format: magic, protocol, system, object and storage keys, each a pickle; then the storages."""
    file = io.BytesIO(data)
    try:
        header = (run_pickle(file, {}), run_pickle(file, {}))
    except DAMAGE as error:
        raise Refused("not a PyTorch .pth file") from error
    # Compared with their types, as True == 1 and 1001.0 == 1001 for Python but not for the format.
    if header != (_STREAM_MAGIC, _STREAM_PROTOCOL) or any(type(value) is not int for value in header):
        raise Refused("not a PyTorch .pth file")
    run_pickle(file, {})  # the writer's system: the storages are little-endian on all of them
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
            raise Refused(f"its list of storages names {quoted(key)}, which no tensor uses, or twice")
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
    # PyTorch stores its records as they are. With this, neither a record that inflates nor many
    # records that lie on the same bytes can be larger than the file.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise Refused("a zip file with compressed members, which PyTorch does not write")
    if sum(member.file_size for member in members) > len(data):
        raise Refused("its zip members claim more bytes than the file has")
    roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Refused("a zip file, but not one that PyTorch wrote (it needs exactly one data.pkl)")
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
    """A network's state dict: the dict of tensors with the likeliest names before it, else the largest.

    Args:
      top: what the pickle makes.
      foreign: names of the globals that it asks for in vain, for messages.
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
                f"asks for {quoted(value.name)} among its tensors, which no state dict needs; not loaded"
            )
    return tensors


def _dicts(top: Any) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every dict that dicts lead to by texts, with the texts; no deeper than trainers nest them."""
    level: list[tuple[tuple[str, ...], dict]] = [((), top)] if type(top) is dict else []
    seen: set[int] = set()  # a dict may hold itself, or be held by many
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
    """The lower the likelier: a dict's place among those that hold tensors."""
    if "optimizer" in path or "optim" in path:
        return len(_WRAPPERS) + 1
    places = [_WRAPPERS.index(name) for name in path if name in _WRAPPERS]
    return min(places, default=len(_WRAPPERS) if path else -1)


def _tensors_in(found: dict) -> int:
    return sum(type(value) is Tensor for value in found.values())


def _reason_without_tensors(top: Any, foreign: set[str]) -> str:
    unknown = sorted(foreign - _INERT)
    if unknown:
        return f"asks for {quoted(unknown[0])}, which no state dict needs; not loaded"
    if type(top) is not dict or not top:
        return f"holds no dict of tensors (its top level is of type {type(top).__name__})"
    name, value = next(iter(top.items()))
    if type(name) is OddKey:
        return f"has a dict key that is a {name.kind}, not a name, and no tensors"
    return f"no state dict: {quoted(name)} is of type {type(value).__name__}, not a tensor"


def _check_budget(tensors: dict[str, Tensor], file_bytes: int) -> None:
    total = sum(math.prod(tensor.size) * tensor.storage.dtype.itemsize for tensor in tensors.values())
    if total > max(_MAX_GROWTH * file_bytes, _ALWAYS_ALLOWED_BYTES):
        raise Refused(f"its tensors claim {total} bytes, far more than the {file_bytes} bytes of the file")


def _to_array(tensor: Tensor, load_storage: _LoadStorage) -> np.ndarray:
    content, order = load_storage(tensor.storage)
    dtype = tensor.storage.dtype
    if math.prod(tensor.size) == 0:
        return np.empty(tensor.size, dtype)
    # As unsigned words, since a byte order is not defined for bool and bfloat16.
    word = f"u{dtype.itemsize}"
    strides = tuple(step * dtype.itemsize for step in tensor.stride)
    offset = tensor.offset * dtype.itemsize
    view = np.ndarray(tensor.size, f"{order}{word}", buffer=content, offset=offset, strides=strides)
    return np.array(view, dtype=word, order="C").view(dtype)


# --- writing ---


def _write_record(archive: zipfile.ZipFile, file: io.BufferedWriter, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # else it tells which system wrote the file
    # PyTorch maps storages where they lie in the file, so pad the header with its own kind of extra field.
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
