"""MATLAB .mat files: SciPy's files are read back, and false sizes allocate no memory."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from unisal_jax.errors import UnisalError
from unisal_jax.media import mat
from unisal_jax.media.mat import read_mat


@pytest.mark.parametrize("packed", [False, True])
def test_values_are_those_that_scipy_wrote(tmp_path, rng, packed):
    path = tmp_path / "a.mat"
    values = {
        "numbers": rng.random((5, 7)),
        "few": np.array([[1, 2]], np.uint8),
        "logical": rng.random((5, 7)) > 0.5,
        "cube": rng.integers(0, 99, (2, 3, 4)),
        "empty": np.zeros((0, 3)),
    }
    sparse = scipy.sparse.random(9, 8, 0.2, format="csc", rng=0)
    others = {"sparse": sparse, "text": "words", "struct": {"a": {"b": 5.0}}}
    scipy.io.savemat(path, values | others, do_compression=packed)
    found = read_mat(path)
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
    np.testing.assert_array_equal(found["sparse"], sparse.toarray())
    assert found["text"] is None and found["struct"][0]["a"][0]["b"] == 5


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind, dims, *parts):
    return b"".join(
        [
            element(6, struct.pack("<II", kind, 0)),
            element(5, struct.pack("<ii", *dims)),
            element(1, b"x"),
            *parts,
        ]
    )


def written(path, *elements):
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(elements))
    return path


def zeros_packed(before, count):
    packer = zlib.compressobj(9)
    data = packer.compress(before)
    for _ in range(count >> 20):
        data += packer.compress(bytes(1 << 20))
    data += packer.flush()
    return struct.pack("<II", 15, len(data)) + data


FIELDS = element(5, struct.pack("<i", 32)) + element(1, b"fixations".ljust(32, b"\0"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([zeros_packed(struct.pack("<II", 14, 2**32 - 8), 40 << 20)], "unpacks to more than 16 MiB"),
        ([element(14, array(2, (2**31 - 1, 2**31 - 1), FIELDS))], "0 values for"),
        ([element(14, array(6, (2**31 - 1, 2**31 - 1), element(9, bytes(8))))], "1 numbers for an array of"),
        ([element(14, array(6, (-1, 1), element(9, bytes(8))))], "negative size"),
        ([element(14, array(5, (60000, 60000), *[element(5, bytes(4))] * 3))], "a sparse matrix of"),
        ([element(14, array(5, (3, 1), element(5, struct.pack("<i", 9)), element(5, struct.pack("<ii", 0, 1)),
                            element(9, bytes(8))))], "out of bounds"),
        ([element(14, b"")] * 3000, "more than 2,000 elements"),
        ([struct.pack("<II", 14, 2**32 - 1)], "longer than the file"),
        ([element(14, array(2, (1, 1), element(5, bytes(4)), element(1, b"")))], "without a length"),
        ([struct.pack("<II", 15, 3) + b"abc"], "not a MATLAB file, or cut off"),
    ],
)  # fmt: skip
def test_claims_take_no_memory(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(mat, "MAX_MAT_BYTES", 16 << 20)
    monkeypatch.setattr(mat, "_MAX_ELEMENTS", 2000)
    path = written(tmp_path / "a.mat", *content)
    tracemalloc.start()
    try:
        with pytest.raises(UnisalError, match=message) as error:
            read_mat(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_nesting_ends(tmp_path):
    inner = element(14, array(6, (1, 1), element(9, bytes(8))))
    for _ in range(5000):
        inner = element(14, array(2, (1, 1), FIELDS, inner))
    found = read_mat(written(tmp_path / "a.mat", inner))
    assert list(found) == ["x"]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n",
            r"version 7.3 \(HDF5\).*'-v7'",
        ),
        (b"\x89HDF\r\n\x1a\n", r"version 7.3 \(HDF5\)"),
        (struct.pack("<5i", 0, 2, 2, 0, 2) + b"m\0" + bytes(32), "not a MATLAB file of version 5 to 7"),
        (b"hello", "not a MATLAB file"),
        (b"", "not a MATLAB file"),
    ],
)
def test_other_files_are_named(tmp_path, start, message):
    (tmp_path / "a.mat").write_bytes(start)
    with pytest.raises(UnisalError, match=message):
        read_mat(tmp_path / "a.mat")
    with pytest.raises(UnisalError, match="no such file"):
        read_mat(tmp_path / "none.mat")


def test_every_cut_of_a_file_is_refused_or_read(tmp_path, rng):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"gaze": {"a": np.ones((3, 2))}, "m": rng.random((4, 4))}, do_compression=False)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        try:
            read_mat(path)
        except UnisalError as error:
            assert str(path) in str(error)
