"""Compares the .pth reader and writer with PyTorch."""

import collections
import subprocess
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.helpers.pth_files import (
    BOTH,
    FLOATS,
    FORMATS,
    Call,
    Storage,
    assert_same,
    pickled,
    small_arrays,
    small_state,
    tensor,
    write_value,
    zip_records,
)
from unisal_jax.errors import UnisalError
from unisal_jax.weights import fetch, pth

# --- reading ---


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_views_of_shared_storages(tmp_path, kind, protocol):
    path = write_value(tmp_path / "a.pth", kind, small_state(), BOTH, protocol)
    arrays = pth.read_pth(path)
    assert_same(arrays, small_arrays())
    arrays["conv.weight"][:] = 0
    assert arrays["conv.part"][0, 0] == 5, "arrays must not share memory, though the tensors do"


@pytest.mark.parametrize("kind", FORMATS)
def test_cuda_storages_and_parameters(tmp_path, kind):
    cuda = Storage("0", np.ones(2, np.float32), location="cuda:1")
    old_cuda = Storage("1", np.ones(2, np.float32), location="cuda:0", module="torch.cuda")
    no_hooks = collections.OrderedDict()
    parameter = Call("torch._utils", "_rebuild_parameter", tensor(cuda, 0, (2,), (1,)), True, no_hooks)
    oldest = Call("torch._utils", "_rebuild_tensor", old_cuda, 1, (1,), (1,))
    path = write_value(tmp_path / "a.pth", kind, {"module.p": parameter, "t": oldest}, (cuda, old_cuda))
    assert_same(pth.read_pth(path), {"module.p": np.ones(2, np.float32), "t": np.ones(1, np.float32)})


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict"])
def test_trainer_checkpoint(tmp_path, name):
    optimizer = {"state": {0: {"momentum": None}}, "param_groups": [{"lr": 0.04, "nesterov": False}]}
    checkpoint = {"epoch": 15, name: small_state(), "optimizer": optimizer, "best": -1.5}
    assert_same(pth.read_pth(write_value(tmp_path / "a.pth", "zip", checkpoint, BOTH)), small_arrays())


def test_ordered_dict_with_metadata(tmp_path):
    state = collections.OrderedDict(small_state())
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    for kind in FORMATS:
        assert_same(pth.read_pth(write_value(tmp_path / kind, kind, state, BOTH)), small_arrays())


def test_big_endian_zip(tmp_path):
    program = pickled({"a": tensor(FLOATS, 0, (3, 4), (4, 1))}, "zip")
    content = FLOATS.content.astype(">f4").tobytes()
    zip_records(tmp_path / "a.pth", {"m/data.pkl": program, "m/byteorder": b"big", "m/data/7": content})
    np.testing.assert_array_equal(pth.read_pth(tmp_path / "a.pth")["a"], np.arange(12).reshape(3, 4))


# --- writing ---

ALL_DTYPES = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]
ALL_DTYPES += [np.int8, np.int16, np.int32, np.int64, np.uint8, np.bool_]


def assorted_arrays() -> dict[str, np.ndarray]:
    random = np.random.Generator(np.random.PCG64(5))
    arrays = {np.dtype(d).name: random.integers(-9, 9, (3, 5)).astype(d) for d in ALL_DTYPES}
    return {
        **arrays,
        "zero": np.array(3, np.int64),
        "flag": np.array(True),
        "none": np.empty((2, 0, 3), np.float32),
        "fortran": np.asfortranarray(random.normal(size=(3, 4))),
        "strided": random.normal(size=(6, 8))[::2, ::-3],
        "nan": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
        "ünï.weight": np.ones(1, np.float32),
    }


def test_write_and_read_back(tmp_path):
    arrays = assorted_arrays()
    pth.write_pth(tmp_path / "a.pth", arrays)
    assert_same(pth.read_pth(tmp_path / "a.pth"), arrays)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_bytes_depend_only_on_the_arrays(tmp_path):
    pth.write_pth(tmp_path / "a.pth", assorted_arrays())
    pth.write_pth(tmp_path / "b.pth", assorted_arrays())
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_storages_are_aligned(tmp_path):
    pth.write_pth(tmp_path / "a.pth", {"a": np.full(3, 7, np.uint8), "b": np.full(5, 0x3B3B3B3B, np.int32)})
    data = (tmp_path / "a.pth").read_bytes()
    assert data.index(b"\x07\x07\x07") % 64 == 0 and data.rindex(b"\x3b" * 20) % 64 == 0


def test_unwritable(tmp_path):
    for dtype in (np.complex64, np.uint32, "U3", object):
        with pytest.raises(UnisalError, match="tensor 'a' has dtype"):
            pth.write_pth(tmp_path / "a.pth", {"a": np.zeros(2, dtype)})
    with pytest.raises(UnisalError, match=r"a\.pth: cannot be written"):
        pth.write_pth(tmp_path / "missing" / "a.pth", {"a": np.zeros(2)})
    for bad in ("/", "", "a\0.pth", f"{__file__}/a.pth", f"{tmp_path}/{'a' * 300}.pth"):
        with pytest.raises(UnisalError, match="cannot be written"):
            pth.write_pth(bad, {"a": np.zeros(2)})
        with pytest.raises(UnisalError):
            pth.read_pth(bad)
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(UnisalError, match=r"folder\.pth: cannot be written"):
        pth.write_pth(tmp_path / "folder.pth", {"a": np.zeros(2)})
    assert [p.name for p in tmp_path.iterdir()] == ["folder.pth"]


# --- PyTorch and the released files ---


def to_numpy(value) -> np.ndarray:
    torch = pytest.importorskip("torch")
    value = value.detach().contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_reads_what_torch_writes(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).bfloat16()
    base = torch.arange(60.0).reshape(3, 4, 5)
    state = module.state_dict()  # an OrderedDict with _metadata
    extra = {
        "whole": base,
        "permuted": base.permute(2, 0, 1),
        "slice": base[1:, ::2, 1:3],
        "diagonal": base[0].diagonal(),
        "expanded": torch.ones(1).expand(4, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "half": torch.randn(3).half(),
        "bool": torch.tensor([True, False]),
        "int8": torch.tensor(-3, dtype=torch.int8),
        "empty": torch.empty(0, 4),
    }
    state.update(extra)
    for name, value in {"flat": state, "nested": {"epoch": 3, "state_dict": state, "lr": 0.1}}.items():
        torch.save(value, tmp_path / name, _use_new_zipfile_serialization=zipped)
        assert_same(pth.read_pth(tmp_path / name), {k: to_numpy(v) for k, v in state.items()})


@pytest.mark.torch
def test_torch_reads_what_we_write(tmp_path):
    torch = pytest.importorskip("torch")
    pth.write_pth(tmp_path / "a.pth", assorted_arrays())
    for options in ({}, {"mmap": True}):
        loaded = torch.load(tmp_path / "a.pth", weights_only=True, **options)
        assert type(loaded) is collections.OrderedDict
        assert_same(pth.read_pth(tmp_path / "a.pth"), {k: to_numpy(v) for k, v in loaded.items()})


def cached(name: str) -> Path:
    if fetch.verify(name) != "ok":
        pytest.skip(f"the released file {name} is not in the cache (`unisal weights` downloads it)")
    return fetch.cache_dir() / fetch.RELEASED[name].filename


@pytest.mark.parametrize(("name", "count"), [("unisal", 835), ("unisal-mit1003", 835), ("mobilenet_v2", 262)])
def test_released_files(tmp_path, name, count):
    arrays = pth.read_pth(cached(name))
    assert len(arrays) == count
    assert all(np.isfinite(array).all() for array in arrays.values())
    pth.write_pth(tmp_path / "a.pth", arrays)
    assert_same(pth.read_pth(tmp_path / "a.pth"), arrays)


@pytest.mark.torch
@pytest.mark.parametrize("name", list(fetch.RELEASED))
def test_released_files_as_torch_reads_them(name):
    torch = pytest.importorskip("torch")
    path = cached(name)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    assert_same(pth.read_pth(path), {k: to_numpy(v) for k, v in loaded.items()})


def test_reader_imports_no_torch():
    program = "import sys, unisal_jax.weights.pth; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
