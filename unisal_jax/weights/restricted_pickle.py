"""A pickle interpreter that can only create tensors, for the pickle program in a .pth file.

Python's unpickler would run any program in a file. This one imports and calls nothing that a file names. It
knows the few globals that tensors require. For any other global, and for the result of calling it, it creates
a `Foreign`, which contains only the name. So it can read the tensors of a trainer's checkpoint, whatever else
is in it.
"""

import io
import math
import pickletools
import struct
import zipfile
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import ml_dtypes
import numpy as np

from unisal_jax.limits import MAX_PICKLE_NAME, MAX_PICKLE_STEPS

STORAGE_DTYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}

_MAX_AXES = 64  # numpy's own limit
_MAX_INT_BITS = 64

# What the interpreter and the containers raise on invalid bytes.
DAMAGE: tuple[type[Exception], ...] = (ValueError, LookupError, TypeError, ArithmeticError, EOFError)
DAMAGE += (OSError, RuntimeError, struct.error, zipfile.BadZipFile)


class Refused(ValueError):
    """The file is not a state dict that can be read. The message does not include the path."""


@dataclass(frozen=True, eq=False)
class StorageType:
    dtype: np.dtype


@dataclass(frozen=True)
class Storage:
    key: str
    dtype: np.dtype
    numel: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage, in elements. It allocates no memory for the array."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Foreign:
    """Replaces an unknown global, the result of calling one, and values that are not used."""

    name: str


@dataclass(frozen=True, eq=False)
class OddKey:
    """Replaces a dict key that could take very long to hash.

    Such a key is a tuple of nested tuples, or a number or string of megabytes that is used many times.
    """

    kind: str


def _ordered_dict() -> dict:
    return {}


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """Makes a tensor after checking that its last element is inside its storage."""
    _expect(storage, Storage)
    _expect(size, tuple)
    # Checks the number of axes first: the product of a million sizes would take hours.
    if not len(size) == len(_expect(stride, tuple)) <= _MAX_AXES:
        raise Refused(f"has a tensor with {len(size)} sizes and {len(stride)} strides")
    if not all(_is_count(number) for number in (offset, *size, *stride)):
        raise Refused("has a tensor with an impossible offset, size or stride")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) > 0 and last >= storage.numel:
        where = f"storage {quoted(storage.key)}, which has {storage.numel}"
        raise Refused(f"has a tensor that reaches element {last} of {where}")
    return Tensor(storage, offset, size, stride)


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    if metadata is not None and _expect(metadata, dict):
        raise Refused("has a tensor with a conjugate or negative bit, which is not supported")
    return _rebuild_tensor(storage, offset, size, stride)


def _rebuild_parameter(tensor: Any, grad: Any, hooks: Any, state: Any = None) -> Tensor:
    return _expect(tensor, Tensor)


_GLOBALS: dict[str, Any] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": _rebuild_parameter,
    **{f"torch {name}": StorageType(dtype) for name, dtype in STORAGE_DTYPES.items()},
    **{f"torch.cuda {name}": StorageType(dtype) for name, dtype in STORAGE_DTYPES.items()},
}

# The opcodes that PyTorch writes for any values, in pickle protocols 2 and later and from Python 2, and their
# equivalents in newer protocols (STACK_GLOBAL, MEMOIZE, ...). Here they call, import and build only what is
# in _GLOBALS.
_OPCODE_NAMES = """
    PROTO FRAME STOP MARK POP POP_MARK BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_SET ADDITEMS FROZENSET
    NONE NEWTRUE NEWFALSE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS
    EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET
    GLOBAL INST STACK_GLOBAL BINPERSID REDUCE NEWOBJ NEWOBJ_EX BUILD
"""
_OPCODES = {op.code.encode("latin-1"): op for op in pickletools.opcodes if op.name in _OPCODE_NAMES.split()}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def run_pickle(file: io.BytesIO, storages: dict[str, Storage], foreign: set[str] | None = None) -> object:
    """Runs one pickle program from the file's position.

    Adds every storage that it names to `storages`, and every unknown global to `foreign`.
    """
    foreign = set() if foreign is None else foreign
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def known(name: str) -> Any:
        if len(name) > MAX_PICKLE_NAME:
            raise Refused(f"names a global of {len(name)} characters")
        if name in _GLOBALS:
            return _GLOBALS[name]
        foreign.add(name.replace(" ", "."))
        return Foreign(name.replace(" ", "."))

    def pop_to_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for _ in range(MAX_PICKLE_STEPS):
        code = file.read(1)
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise Refused(
                f"uses pickle opcode {code!r}, which a state dict does not" if code else "truncated"
            )
        arg: Any = None
        if opcode.arg and opcode.name not in ("GLOBAL", "INST"):
            arg = opcode.arg.reader(file)
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "POP":
                # Directly after a mark, POP removes the mark.
                if marks and marks[-1] == len(stack):
                    marks.pop()
                else:
                    stack.pop()
            case "POP_MARK":
                pop_to_mark()
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                memo[arg] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[arg])
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode.name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND" | "APPENDS":
                items = pop_to_mark() if opcode.name == "APPENDS" else [stack.pop()]
                if not isinstance(stack[-1], Foreign):
                    _expect(stack[-1], list).extend(items)
            case "EMPTY_SET":
                stack.append(Foreign("set"))
            case "ADDITEMS":
                pop_to_mark()
                _expect(stack[-1], Foreign)
            case "FROZENSET":
                pop_to_mark()
                stack.append(Foreign("frozenset"))
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM" | "SETITEMS":
                items = pop_to_mark() if opcode.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                # Ignores the items of a Counter or a dict of another class.
                _set_items({} if isinstance(stack[-1], Foreign) else _expect(stack[-1], dict), items)
            case "GLOBAL" | "INST":
                # Parsed here, since pickletools treats backslashes in names as escapes, and warns about them.
                module, member = (file.readline().removesuffix(b"\n").decode() for _ in range(2))
                if opcode.name == "INST":
                    pop_to_mark()
                    foreign.add(f"{module}.{member}")
                    stack.append(Foreign(f"{module}.{member}"))
                else:
                    stack.append(known(f"{module} {member}"))
            case "STACK_GLOBAL":
                member, module = (_expect(stack.pop(), str) for _ in range(2))
                # Truncated: otherwise, two strings of megabytes could be joined many times.
                stack.append(known(f"{module[:MAX_PICKLE_NAME]} {member[:MAX_PICKLE_NAME]}"))
            case "BINPERSID":
                stack.append(_storage(stack.pop(), storages))
            case "REDUCE":
                args, builder = _expect(stack.pop(), tuple), stack.pop()
                if isinstance(builder, Foreign):
                    stack.append(builder)  # stands for the unknown result
                else:
                    stack.append(_expect(builder, FunctionType)(*args))
            case "NEWOBJ" | "NEWOBJ_EX":
                del stack[-2 if opcode.name == "NEWOBJ_EX" else -1 :]
                _expect(stack[-1], Foreign)
            case "BUILD":
                # The state of an OrderedDict: module versions (`_metadata`), which do not affect arrays.
                stack.pop()
                if not isinstance(stack[-1], Foreign):
                    _expect(stack[-1], dict)
            case name:  # a constant, a number or a string
                stack.append(_CONSTANTS.get(name, arg))
    raise Refused(f"its pickle has more than {MAX_PICKLE_STEPS} steps, far more than a state dict")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        names = type(value).__name__.lstrip("_"), kind.__name__.lstrip("_")
        raise Refused("its pickle has a {} instead of a {}".format(*names))
    return value


def _set_items(target: dict, items: list) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[key if _is_simple(key) else OddKey(type(key).__name__)] = value


def _is_simple(key: object) -> bool:
    """Whether a key is fast to hash and compare. Nested tuples can also overflow the C stack."""
    if type(key) is str:
        return len(key) <= MAX_PICKLE_NAME
    if type(key) is int:
        return key.bit_length() <= _MAX_INT_BITS
    return type(key) in (float, bool, type(None))


def _storage(identifier: object, storages: dict[str, Storage]) -> Storage:
    match identifier:
        # The old format has a sixth field, which is set if the storage is a view of another.
        case ("storage", StorageType(dtype=dtype), str(key), str(), int(numel), *rest):
            if len(key) > MAX_PICKLE_NAME:
                raise Refused(f"names a storage of {len(key)} characters")
            if not _is_count(numel) or rest not in ([], [None]):
                raise Refused(f"storage {quoted(key)} has an impossible size, or is a view of another")
        case _:
            raise Refused("has a persistent id that is not a storage")
    storage = Storage(key, dtype, numel)
    if storages.setdefault(key, storage) != storage:
        raise Refused(f"storage {quoted(key)} is declared twice, with different types or sizes")
    return storage


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def quoted(name: str | int) -> str:
    """A name from the file, escaped and shortened for a message."""
    text = repr(name)
    return text if len(text) <= 100 else f"{text[:97]}..."
