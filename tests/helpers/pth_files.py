"""Tiny .pth files in both formats of PyTorch, made without PyTorch."""

import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unisal_jax.errors import UnisalError
from unisal_jax.weights import pth

FORMATS = ["stream", "zip"]
STREAM_HEADER = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
STORAGE_NAMES = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}


class Storage:
    """Stands for a tensor's storage: pickled as a persistent id."""

    def __init__(self, key: str, content: np.ndarray, location: str = "cpu", module: str = "torch"):
        self.key, self.content, self.location, self.module = key, content, location, module

    def persistent_id(self, kind: str) -> tuple:
        type_name = STORAGE_NAMES[self.content.dtype]
        identifier = ("storage", Global(self.module, type_name), self.key, self.location, self.content.size)
        return (*identifier, None) if kind == "stream" else identifier


class Global:
    """Pickled as a bare global name, whether or not it can be imported."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Call:
    """Pickled as GLOBAL, arguments, REDUCE."""

    def __init__(self, module: str, name: str, *args, state=None):
        self.target, self.args, self.state = Global(module, name), args, state


def tensor(storage, offset, size, stride) -> Call:
    no_hooks = collections.OrderedDict()
    return Call("torch._utils", "_rebuild_tensor_v2", storage, offset, size, stride, False, no_hooks)


class FakeTorchPickler(pickle._Pickler):
    """The pure Python pickler, which can write names of modules that do not exist."""

    def __init__(self, file, kind, protocol=2):
        super().__init__(file, protocol)
        self.kind = kind

    def persistent_id(self, obj):
        return obj.persistent_id(self.kind) if isinstance(obj, Storage) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            if self.proto >= 4:
                self.save(obj.module)
                self.save(obj.name)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.target)
            self.save(tuple(obj.args))
            self.write(pickle.REDUCE)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def pickled(value, kind="stream", protocol=2) -> bytes:
    file = io.BytesIO()
    FakeTorchPickler(file, kind, protocol).dump(value)
    return file.getvalue()


def stream_bytes(program: bytes, storages=()) -> bytes:
    header = b"".join(pickle.dumps(value, 2) for value in STREAM_HEADER)
    keys = pickle.dumps([storage.key for storage in storages], 2)
    raw = b"".join(struct.pack("<q", s.content.size) + s.content.tobytes() for s in storages)
    return header + program + keys + raw


def zip_records(path: Path, records: dict[str, bytes], compression=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def write_program(path: Path, kind: str, program: bytes, storages=()) -> Path:
    if kind == "stream":
        path.write_bytes(stream_bytes(program, storages))
    else:
        raw = {f"model/data/{storage.key}": storage.content.tobytes() for storage in storages}
        zip_records(path, {"model/data.pkl": program, **raw, "model/version": b"3\n"})
    return path


def write_value(path: Path, kind: str, value, storages=(), protocol=2) -> Path:
    return write_program(path, kind, pickled(value, kind, protocol), storages)


FLOATS = Storage("7", np.arange(12, dtype=np.float32))
COUNT = Storage("94", np.array([41], dtype=np.int64))
BOTH = (FLOATS, COUNT)


def small_state() -> dict:
    return {
        "conv.weight": tensor(FLOATS, 0, (3, 4), (4, 1)),
        "conv.transposed": tensor(FLOATS, 0, (4, 3), (1, 4)),
        "conv.part": tensor(FLOATS, 5, (2, 2), (4, 2)),
        "bn.num_batches_tracked": tensor(COUNT, 0, (), ()),
        "empty": tensor(FLOATS, 12, (0, 3), (3, 1)),
    }


def small_arrays() -> dict[str, np.ndarray]:
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    return {
        "conv.weight": whole,
        "conv.transposed": whole.T,
        "conv.part": np.array([[5, 7], [9, 11]], np.float32),
        "bn.num_batches_tracked": np.array(41, np.int64),
        "empty": np.empty((0, 3), np.float32),
    }


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert list(got) == list(want)
    for name, array in got.items():
        assert (array.shape, array.dtype) == (want[name].shape, want[name].dtype), name
        assert array.flags.c_contiguous and array.flags.writeable, name
        assert array.tobytes() == want[name].tobytes(), name


def refusal(path: Path) -> str:
    with pytest.raises(UnisalError) as caught:
        pth.read_pth(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < len(str(path)) + 400
    return message
