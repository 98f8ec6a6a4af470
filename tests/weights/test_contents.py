"""Weights from other programs: dtypes, prefixes, wrappers and other objects."""

import collections
import json
import logging
import struct

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.helpers.golden_weights import make_weights
from tests.helpers.pth_files import (
    BOTH,
    Call,
    Global,
    assert_same,
    refusal,
    small_arrays,
    small_state,
    write_value,
)
from unisal_jax.errors import UnisalError
from unisal_jax.weights import names, pth, verify
from unisal_jax.weights.contents import CONVERTED, as_float32
from unisal_jax.weights.store import imagenet_encoder, load_weights, save_weights, tensors_of, tensors_sha256

EPOCH = Call("numpy.core.multiarray", "scalar", Call("numpy", "dtype", "f8", False, True), "\0" * 8)
BESIDE = {
    "epoch": EPOCH,
    "seen": {3, 4},
    "frozen": frozenset({"a"}),
    "counts": Call("collections", "Counter", {3: 1}),
    "shape": Call("torch", "Size", (3, 4)),
    "dtype": Global("torch", "float32"),
    "device": Call("torch", "device", "cuda", 0),
    "none": None,
    "lr": 0.1,
    "history": [0.5, (1, 2), b"bytes"],
    "by_place": {(1, 2): "a", None: 1, 1.5: 2},
    "options": Call("argparse", "Namespace", state={"lr": 0.1}),
    "optimizer": {"state": {0: {"momentum_buffer": small_state()["conv.weight"]}}, "param_groups": []},
}


def typed(kind) -> dict[str, np.ndarray]:
    """The golden weights with all parameters of one dtype."""
    return {
        name: array.astype(kind) if array.dtype == np.float32 and not names.is_extra(name) else array
        for name, array in make_weights(7).items()
    }


def write_safetensors(path, state) -> None:
    """safetensors' function for NumPy does not support bfloat16."""
    kinds = {"float16": "F16", "float64": "F64", "bfloat16": "BF16", "int64": "I64", "float32": "F32"}
    header, at = {}, 0
    for name, array in state.items():
        about = {"dtype": kinds[array.dtype.name], "shape": array.shape}
        header[name] = about | {"data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in state.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        (np.float16, ".pth"),
        (np.int32, ".pth"),
        (np.float64, ".safetensors"),
        (ml_dtypes.bfloat16, ".safetensors"),
    ],
)
def test_parameters_are_float32_whatever_a_file_stores(tmp_path, caplog, kind, suffix, golden):
    path, state = tmp_path / f"other{suffix}", typed(kind)
    if suffix == ".pth":
        pth.write_pth(path, state)
    else:
        write_safetensors(path, state)
    weights = load_weights(path)
    kinds = {array.dtype for name, array in tensors_of(weights).items() if not name.startswith("extras/")}
    assert kinds == {np.dtype(np.float32)}
    assert {name: array.dtype for name, array in weights.extras.items()} == {
        name: array.dtype for name, array in golden(7).extras.items()
    }
    told = f"688 tensors of {np.dtype(kind).name}"
    assert weights.metadata[CONVERTED] == told and f"{path}: {told} converted to float32" in caplog.text
    want = state["post_rnn.0.weight"].astype(np.float32)[:, :, 0, 0].T
    np.testing.assert_array_equal(weights.variables["params"]["post_rnn"]["kernel"], want)


def test_the_proof_distinguishes_dtypes(tmp_path, golden, caplog):
    pth.write_pth(tmp_path / "half.pth", typed(np.float16))
    caplog.set_level(logging.ERROR)
    save_weights(tmp_path / "out.safetensors", load_weights(tmp_path / "half.pth"))
    lines, differing = verify.proof(tmp_path / "half.pth", tmp_path / "out.safetensors")
    assert differing == 0
    assert lines[-1].startswith(
        "147 of 835 tensors equal, bit for bit; 688 of different dtypes equal as float32:"
    )
    assert sum(line.startswith("equal as float32  ") for line in lines) == 688
    save_weights(tmp_path / "whole.safetensors", golden(7))
    lines, differing = verify.proof(tmp_path / "half.pth", tmp_path / "whole.safetensors")
    assert differing > 500  # rounded by half precision


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, np.nan], np.float32), "tensor a/b has values that are not finite"),
        (np.array([1e300]), "tensor a/b has values that are not finite"),
        (np.array([True]), "tensor a/b has dtype bool"),
        (np.array([1j]), "tensor a/b has dtype complex128"),
    ],
)
def test_invalid_parameters(array, message):
    with pytest.raises(UnisalError, match=f"^w.pth: {message}"):
        as_float32({"a": {"b": array}}, "w.pth")


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.module.", "_orig_mod.module.", "a.b."])
def test_prefixes(prefix):
    state = {name: np.zeros(1) for name in ("cnn.features.0.0.weight", "post_rnn.0.weight", "x.drop_mask_1")}
    foreign = {prefix + name: array for name, array in state.items()}
    assert names.plain(foreign, names.NETWORK_ANCHOR, "w.pth").keys() == state.keys()
    encoder = {f"{prefix}features.0.0.weight": 1, f"{prefix}classifier.1.bias": 2}
    assert list(names.plain(encoder, names.ENCODER_ANCHOR, "e")) == [
        "features.0.0.weight",
        "classifier.1.bias",
    ]


def test_wrappers_within_names():
    state = {"cnn._orig_mod.features.0.0.weight": 1, "rnn.module.x": 2}
    assert list(names.plain(state, names.NETWORK_ANCHOR, "w")) == ["cnn.features.0.0.weight", "rnn.x"]
    with pytest.raises(UnisalError, match=r"^w: has tensors whose names differ only by a wrapper's prefix"):
        names.plain({"module.a": 1, "a": 2}, names.NETWORK_ANCHOR, "w")


def test_a_network_with_prefix_and_the_authors_safetensors(tmp_path, golden):
    state, want = make_weights(7), golden(7)
    pth.write_pth(tmp_path / "module.pth", {f"module.{name}": array for name, array in state.items()})
    save_file(state, tmp_path / "upstream.safetensors")
    for name in ("module.pth", "upstream.safetensors"):
        weights = load_weights(tmp_path / name)
        assert tensors_sha256(tensors_of(weights)) == tensors_sha256(tensors_of(want))
        assert weights.metadata["source"] == name
    encoder = {f"module.{n.removeprefix('cnn.')}": a for n, a in state.items() if n.startswith("cnn.")}
    save_file(encoder, tmp_path / "encoder.safetensors")
    loaded = imagenet_encoder(jax.tree.map(np.zeros_like, want.variables), tmp_path / "encoder.safetensors")
    kernels = (each["params"]["encoder"]["head"]["kernel"] for each in (loaded, want.variables))
    np.testing.assert_array_equal(*kernels)


WRAPPERS = [
    ("model",),
    ("net",),
    ("state_dict",),
    ("checkpoint", "model"),
    ("a", "b", "model_state_dict"),
    (),
]


@pytest.mark.parametrize("kind", ["stream", "zip"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("path", WRAPPERS)
def test_wrapped_state_dicts(tmp_path, kind, protocol, path):
    value = small_state()
    for name in reversed(path):
        value = {**BESIDE, name: value}
    if not path:  # next to the tensors
        value |= {name: BESIDE[name] for name in ("epoch", "seen", "none", "shape")}
    assert_same(pth.read_pth(write_value(tmp_path / "a.pth", kind, value, BOTH, protocol)), small_arrays())


def test_real_pickles_of_numpy_and_collections(tmp_path):
    """As written by Python's pickler, not by the test helpers."""
    beside = {"epoch": np.float64(3), "best": np.int64(2), "counts": collections.Counter("aab"), "seen": {1}}
    beside |= {
        "array": np.arange(3),
        "queue": collections.deque([1]),
        "default": collections.defaultdict(list),
    }
    value = {**beside, "state_dict": small_state()}
    for protocol in (2, 3, 4):
        path = write_value(tmp_path / "a.pth", "zip", value, BOTH, protocol)
        assert_same(pth.read_pth(path), small_arrays())


def test_the_most_likely_of_several(tmp_path):
    large = {**small_state(), "more": small_state()["empty"]}
    value = {"ema": large, "optimizer": {"model": large}, "model": small_state()}
    assert_same(pth.read_pth(write_value(tmp_path / "a.pth", "zip", value, BOTH)), small_arrays())


def test_objects_next_to_the_tensors_are_not_run(tmp_path):
    marker = tmp_path / "ran"
    attack = Call("os", "system", f"touch {marker}")
    value = {"state_dict": small_state(), "hook": attack, "deep": [{"x": (attack, {"y": attack})}]}
    for kind in ("stream", "zip"):
        assert_same(pth.read_pth(write_value(tmp_path / "a.pth", kind, value, BOTH)), small_arrays())
    assert not marker.exists()
    # A pickled module instead of its tensors is named.
    whole = {"model": Call("unisal.model", "UNISAL", state={"weights": small_state()})}
    assert "'unisal.model.UNISAL'" in refusal(write_value(tmp_path / "a.pth", "zip", whole, BOTH))
