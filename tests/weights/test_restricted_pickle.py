"""The .pth reader on malicious files: nothing runs, memory is bounded, and the error is clear."""

import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.pth_files import (
    BOTH,
    FLOATS,
    FORMATS,
    STREAM_HEADER,
    Call,
    Storage,
    assert_same,
    pickled,
    refusal,
    small_arrays,
    small_state,
    stream_bytes,
    tensor,
    write_program,
    write_value,
    zip_records,
)
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_PICKLE_STEPS
from unisal_jax.weights import pth

# --- hostile programs: nothing may run ---


def marker_attacks(marker: Path) -> dict[str, object]:
    command = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call("os", "system", command),
        "posix.system": Call("posix", "system", command),
        "builtins.eval": Call("builtins", "eval", python),
        "builtins.exec": Call("builtins", "exec", python),
        "builtins.getattr": Call("builtins", "getattr", {}, "items"),
        "subprocess.Popen": Call("subprocess", "Popen", ["touch", str(marker)]),
        "torch.load": Call("torch", "load", "other.pth"),
        "collections.OrderedDict.fromkeys": Call("collections", "OrderedDict.fromkeys", "ab"),
        "torch._utils.os.system": Call("torch._utils", "os.system", command),
        "numpy.load": Call("numpy", "load", "x.npy"),
    }


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", list(marker_attacks(Path("x"))))
def test_hostile_globals_are_named_and_never_run(tmp_path, kind, protocol, name):
    marker = tmp_path / "ran"
    attack = marker_attacks(marker)[name]
    nested = {"state_dict": {**small_state(), "x": attack}}
    for value in (attack, {"a": attack}, [attack], nested):
        message = refusal(write_value(tmp_path / "a.pth", kind, value, BOTH, protocol))
        assert f"{name!r}" in message
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_attacks_are_real(tmp_path, protocol):
    """Python's unpickler does run the same bytes."""
    marker = tmp_path / "ran"
    pickle.loads(pickled(marker_attacks(marker)["os.system"], protocol=protocol))
    assert marker.exists()


class ReduceTrick:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_reduce_of_an_ordinary_pickle(tmp_path):
    marker = tmp_path / "ran"
    for protocol in range(6):
        program = pickle.dumps({"a": ReduceTrick(marker)}, protocol)
        for kind in FORMATS:
            refusal(write_program(tmp_path / "a.pth", kind, program))
        # A plain pickle, and one in place of the system's pickle.
        (tmp_path / "a.pth").write_bytes(program)
        refusal(tmp_path / "a.pth")
        (tmp_path / "a.pth").write_bytes(b"".join(pickle.dumps(v, 2) for v in STREAM_HEADER[:2]) + program)
        refusal(tmp_path / "a.pth")
    assert not marker.exists()


HAND_MADE = {
    "instance opcode": b"(S'touch ran'\nios\nsystem\n.",
    "instance opcode without text": b"(ios\nsystem\n.",
    "object opcode": b"(cos\nsystem\nX\x01\x00\x00\x00ao.",
    "new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "extension": b"\x80\x02\x82\x01)R.",
    "text persistent id": b"P0\n.",
    "persistent id that is a text": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "persistent id of another kind": b"\x80\x02X\x06\x00\x00\x00moduleN\x86Q.",
    "call of a text": b"\x80\x02X\x01\x00\x00\x00a)R.",
    "call of a storage type": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "builder with arguments it does not take": b"\x80\x02ccollections\nOrderedDict\nN\x85R.",
    "builder with no tuple": b"\x80\x02ccollections\nOrderedDict\nNR.",
    "state set on a builder": b"\x80\x02ccollections\nOrderedDict\n}b.",
    "slots set on a builder": b"\x80\x02ccollections\nOrderedDict\nN}X\x08\x00\x00\x00__code__Ns\x86b.",
    "state set on a storage type": b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeNsb.",
    "append to a text": b"\x80\x02X\x01\x00\x00\x00aNa.",
    "tensor of no storage": b"\x80\x02ctorch._utils\n_rebuild_tensor\n(NK\x00))tR.",
    "parameter of no tensor": b"\x80\x02ctorch._utils\n_rebuild_parameter\nN\x89N\x87R.",
    "empty": b"",
    "no stop": b"\x80\x02}",
    "stop alone": b".",
    "pop of an empty stack": b"\x80\x02s.",
    "no mark": b"\x80\x02u.",
    "unknown memo": b"\x80\x02h\x07.",
    "memo index of gigabytes": b"\x80\x02Nr\xff\xff\xff\xff.",
    "text of gigabytes": b"\x80\x02X\xff\xff\xff\xffa.",
    "text of exabytes": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.",
    "negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "odd dict items": b"\x80\x02}(NNNu.",
    "dict key that is a tuple": b"\x80\x02})Ns.",
    "global with a line break": b"\x80\x04X\x03\x00\x00\x00o\nsX\x02\x00\x00\x00\nx\x93.",
    "global with backslashes": b"\x80\x02cos\\)\nsystem\\x\n.",
    "global that is not text": b"\x80\x02c\xff\n\xff\n.",
    "lone surrogate": b"\x80\x02}X\x03\x00\x00\x00\xed\xa0\x80Ns.",
    "not a dict": b"\x80\x02]Na.",
    "a number": b"\x80\x02K\x01.",
    "an empty dict": b"\x80\x02}.",
    "a dict of numbers": b"\x80\x02}X\x05\x00\x00\x00epochK\x01s.",
    "a number for a name": b"\x80\x02}K\x01K\x01s.",
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", list(HAND_MADE))
def test_hand_made_programs(tmp_path, kind, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal(write_program(tmp_path / "a.pth", kind, HAND_MADE[name]))
    assert not (tmp_path / "ran").exists()


def test_builders_are_not_changed_by_a_refused_file(tmp_path):
    for program in HAND_MADE.values():
        refusal(write_program(tmp_path / "bad.pth", "zip", program))
    assert_same(pth.read_pth(write_value(tmp_path / "good.pth", "zip", small_state(), BOTH)), small_arrays())


LEVELS = 200_000
NESTINGS = {
    "tuples": b")" + b"\x85" * LEVELS,
    "lists": b"]" * LEVELS + b"a" * (LEVELS - 1),
    "marks": b"(" * LEVELS + b"t" * LEVELS,
}


@pytest.mark.parametrize("name", list(NESTINGS))
def test_deep_nesting(tmp_path, name):
    """At the top level, as a value and key of a dict, and as a persistent id."""
    nested = NESTINGS[name]
    for place in (b"%b.", b"}X\x01\x00\x00\x00a%bs.", b"}%bNs.", b"%bQ."):
        program = place % nested
        refusal(write_program(tmp_path / "a.pth", "stream", b"\x80\x02" + program))


def test_key_that_is_slow_to_hash(tmp_path):
    doubling = b"\x80\x02})" + b"q\x00h\x00\x86" * 200 + b"Ns."
    assert "dict key" in refusal(write_program(tmp_path / "a.pth", "zip", doubling))


# --- declarations that do not match the bytes ---

BAD_VIEWS = {
    "past the end": (FLOATS, 0, (13,), (1,)),
    "offset past the end": (FLOATS, 12, (1,), (1,)),
    "0-d past the end": (FLOATS, 12, (), ()),
    "stride past the end": (FLOATS, 0, (3,), (6,)),
    "negative offset": (FLOATS, -1, (1,), (1,)),
    "negative size": (FLOATS, 0, (-1,), (1,)),
    "negative stride": (FLOATS, 11, (2,), (-1,)),
    "two negative sizes": (FLOATS, 0, (-2, -2), (1, 1)),
    "sizes without strides": (FLOATS, 0, (2, 2), (1,)),
    "terabytes with stride 0": (FLOATS, 0, (1 << 20, 1 << 20), (0, 0)),
    "size of 80 bits": (FLOATS, 0, (1 << 80,), (0,)),
    "size that is a text": (FLOATS, 0, ("3",), (1,)),
    "size that is a float": (FLOATS, 0, (3.0,), (1,)),
    "size that is a bool": (FLOATS, 0, (True,), (1,)),
    "size that is a list": (FLOATS, 0, [3], [1]),
    "empty with an impossible size": (FLOATS, 0, (0, (1 << 63) - 1, (1 << 63) - 1), (0, 0, 0)),
    "a thousand axes": (FLOATS, 0, (1,) * 1000, (1,) * 1000),
    "no storage": ("7", 0, (1,), (1,)),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", list(BAD_VIEWS))
def test_impossible_views(tmp_path, kind, name):
    refusal(write_value(tmp_path / "a.pth", kind, {"a": tensor(*BAD_VIEWS[name])}, (FLOATS,)))


def test_many_tensors_of_one_storage_are_bounded(tmp_path):
    big = Storage("0", np.zeros(1 << 18, np.float32))
    value = {str(index): tensor(big, 0, (1 << 18,), (1,)) for index in range(1000)}
    for kind in FORMATS:
        assert "declare" in refusal(write_value(tmp_path / "a.pth", kind, value, (big,)))


def test_expanded_tensor_of_modest_size(tmp_path):
    path = write_value(tmp_path / "a.pth", "zip", {"a": tensor(FLOATS, 3, (2, 5), (0, 0))}, (FLOATS,))
    np.testing.assert_array_equal(pth.read_pth(path)["a"], np.full((2, 5), 3, np.float32))


def test_declared_storage_larger_than_the_file(tmp_path):
    program = pickled({"a": tensor(FLOATS, 0, (3, 4), (4, 1))}, "stream")
    claim = program.replace(b"K\x0cN", b"J\x0c\x00\x00\x70N")  # 12 elements become 1,879,048,204
    data = stream_bytes(claim, [FLOATS]).replace(struct.pack("<q", 12), struct.pack("<q", 0x7000000C))
    (tmp_path / "a.pth").write_bytes(data)
    assert "truncated" in refusal(tmp_path / "a.pth")
    claim = pickled({"a": tensor(FLOATS, 0, (3, 4), (4, 1))}, "zip").replace(b"K\x0ct", b"J\x0c\x00\x00\x70t")
    assert "has 48 bytes" in refusal(write_program(tmp_path / "a.pth", "zip", claim, [FLOATS]))


def test_one_storage_key_with_two_sizes(tmp_path):
    other = Storage(FLOATS.key, np.zeros(2, np.float32))
    value = {"a": tensor(FLOATS, 0, (1,), (1,)), "b": tensor(other, 0, (1,), (1,))}
    assert "declared twice" in refusal(write_value(tmp_path / "a.pth", "zip", value, (FLOATS,)))


def test_missing_storages(tmp_path):
    value = {"a": tensor(FLOATS, 0, (1,), (1,))}
    for kind in FORMATS:
        assert "'7' is missing" in refusal(write_value(tmp_path / "a.pth", kind, value))


def test_stream_with_storages_that_no_tensor_uses(tmp_path):
    value = {"a": tensor(FLOATS, 0, (1,), (1,))}
    refusal(write_value(tmp_path / "a.pth", "stream", value, BOTH))
    refusal(write_value(tmp_path / "a.pth", "stream", value, (FLOATS, FLOATS)))


def test_zip_bombs(tmp_path):
    path = tmp_path / "a.pth"
    zip_records(path, {"m/data.pkl": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(path)
    # A record that declares to be larger than the archive.
    write_value(path, "zip", small_state(), BOTH)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<II", data, entry + 20, 0x7FFFFFFF, 0x7FFFFFFF)
    path.write_bytes(data)
    assert "more bytes than the file has" in refusal(path)


def test_zips_of_others(tmp_path):
    path = tmp_path / "a.pth"
    for records in ({"readme.txt": b"hello"}, {"a/data.pkl": b"}.", "b/data.pkl": b"}."}):
        zip_records(path, records)
        assert "not one that PyTorch wrote" in refusal(path)


def test_paths_that_are_no_files(tmp_path):
    assert "No such file" in refusal(tmp_path / "missing.pth")
    assert "not a file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    assert "not a file" in refusal(tmp_path / "pipe.pth")
    with open(tmp_path / "sparse.pth", "wb") as file:
        file.truncate(3 << 30)
    assert "larger than" in refusal(tmp_path / "sparse.pth")
    for content in (b"", b"\x89PNG\r\n", b"PK\x03\x04", b"\x80\x02}.", bytes(1000)):
        (tmp_path / "other.pth").write_bytes(content)
        refusal(tmp_path / "other.pth")


@pytest.fixture(scope="module")
def small_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    return {kind: write_value(folder / kind, kind, small_state(), BOTH).read_bytes() for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_truncation_at_every_byte(tmp_path, small_files, kind):
    path = tmp_path / "a.pth"
    for length in range(len(small_files[kind])):
        path.write_bytes(small_files[kind][:length])
        refusal(path)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mutations_raise_only_unisal_error(tmp_path_factory, small_files, kind, data):
    content = bytearray(small_files[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=4))
        content[position : position + data.draw(st.integers(0, 4))] = patch
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    path.write_bytes(content)
    try:
        arrays = pth.read_pth(path)
    except UnisalError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def text_of(length: int) -> bytes:
    return b"X" + struct.pack("<I", length) + b"a" * length


LONG = 4 << 20  # bytes that are defined once and used many times
REPEATED = {
    # Strings that are joined to names of globals, which would all be kept.
    "global": text_of(LONG) + b"q\x00" + b"h\x00h\x00\x93" * 500 + b".",
    "text as key": (
        text_of(LONG) + b"q\x000" + text_of(LONG) + b"q\x010}(" + b"h\x00Nh\x01N" * 50_000 + b"u."
    ),
    "number as key": (
        b"\x8b" + struct.pack("<i", LONG) + b"\x01" * LONG + b"q\x000}(" + b"h\x00N" * 50_000 + b"u."
    ),
    "storage": b"X\x07\0\0\0storageq\x02ctorch\nFloatStorage\nq\x03"
    + (text_of(LONG) + b"q\x00" + text_of(LONG) + b"q\x01")
    + b"".join(b"(h\x02h\x03h" + bytes([key % 2]) + b"X\x03\0\0\0cpuK\x01tQ" for key in range(100_000))
    + b".",
}


@pytest.mark.parametrize("name", list(REPEATED))
def test_a_long_name_costs_once(tmp_path, name):
    started = time.process_time()
    tracemalloc.start()
    refusal(write_program(tmp_path / "a.pth", "zip", b"\x80\x04" + REPEATED[name]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * LONG
    assert time.process_time() - started < 5


@pytest.mark.parametrize("opcode", [b"}", b"(", b"]"])
def test_a_pickle_of_very_many_steps(tmp_path, opcode):
    path = write_program(tmp_path / "a.pth", "zip", b"\x80\x02" + opcode * (MAX_PICKLE_STEPS + 1) + b".")
    assert "steps" in refusal(path)
