"""Names, files and conversions: every tensor is converted both ways, and errors name it."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from tests.helpers.golden_weights import make_weights, shapes
from unisal_jax.domains import SALICON, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.initialization import add_domain
from unisal_jax.trees import flatten, unflatten
from unisal_jax.weights import fetch, names, pth, verify
from unisal_jax.weights.store import (
    Weights,
    imagenet_encoder,
    load_weights,
    save_weights,
    tensors_of,
    tensors_sha256,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from Orbax


def assert_equal(one, other):
    assert tensors_of(one).keys() == tensors_of(other).keys()
    for name, array in tensors_of(one).items():
        again = tensors_of(other)[name]
        assert (array.dtype, array.shape, array.tobytes()) == (again.dtype, again.shape, again.tobytes()), (
            name
        )
    assert one.config == other.config


def test_all_835_tensors_go_both_ways(golden):
    state = make_weights(7)
    weights = golden(7)
    assert len(names.entries(weights.config)) == 688 and len(weights.extras) == 147 and len(state) == 835
    back = names.to_state(weights.variables, weights.config, weights.extras)
    assert back.keys() == state.keys()
    for name, array in state.items():
        assert back[name].shape == shapes()[name] and back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: s.pop("post_rnn.0.weight"), "lacks tensor post_rnn.0.weight"),
        (lambda s: s.update(colour=np.zeros(3)), "has unknown tensor colour"),
        (
            lambda s: s.update({"post_rnn.0.weight": np.zeros((256, 255, 1, 1))}),
            r"tensor post_rnn.0.weight has shape \[256, 255, 1, 1\], not \[256, 256, 1, 1\]",
        ),
        (lambda s: s.update({"post_rnn.0.weight": np.zeros(7)}), r"has shape \[7\], not \[256, 256, 1, 1\]"),
        (
            lambda s: s.update({"smoothing_dhf1k.weight": np.zeros((1, 2, 41, 41))}),
            r"has shape \[1, 2, 41, 41\]",
        ),
        (lambda s: [s.pop(name) for name in list(s)[:5]], "lacks tensors .*, .*, .* and 2 more"),
    ],
)
def test_what_is_wrong_is_named(spoil, message):
    state = make_weights(7)
    spoil(state)
    with pytest.raises(UnisalError, match=f"^a.pth: .*{message}"):
        names.from_state(state, UnisalConfig(), "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ""])
def test_files_contain_everything(golden, tmp_path, suffix):
    weights = dataclasses.replace(golden(7), metadata={"source": "seed 7"})
    path = tmp_path / "deep" / f"weights{suffix}"
    save_weights(path, weights)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    if suffix:  # with the permissions of other files
        (tmp_path / "other").touch()
        assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
    again = load_weights(path)
    assert_equal(weights, again)
    assert again.metadata["source"] == (path.name if suffix == ".pth" else "seed 7")


def test_weights_of_an_own_domain(golden, tmp_path):
    weights = golden(7)
    own = Domain("billiard", (288, 384), stride=5)
    variables, config = add_domain(weights.variables, weights.config, own, like=SALICON)
    grown = Weights(jax.tree.map(np.asarray, variables), config, {}, weights.extras)
    for name in ("own.safetensors", "own"):
        save_weights(tmp_path / name, grown)
        assert_equal(load_weights(tmp_path / name), grown)
        assert load_weights(tmp_path / name).config.domains[-1] == own
    save_weights(tmp_path / "own.pth", grown)
    with pytest.raises(UnisalError, match=r"own\.pth: .*billiard"):
        load_weights(tmp_path / "own.pth")


def test_safetensors_metadata(golden_file):
    from safetensors import safe_open

    with safe_open(golden_file, "numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "unisal-jax" and metadata["domains"] == "dhf1k,hollywood2,ucf_sports,salicon"
    assert json.loads(metadata["config"])["skips"] is True and len(metadata["tensors_sha256"]) == 64


def test_the_checksum_of_weights(golden_file, monkeypatch):
    """It equals that in the file, is not computed twice, and covers every tensor, including extras."""
    from safetensors import safe_open

    weights = load_weights(golden_file)
    with safe_open(golden_file, "numpy") as file:
        assert weights.sha256 == file.metadata()["tensors_sha256"] == tensors_sha256(tensors_of(weights))
    with monkeypatch.context() as patch:
        patch.setattr("unisal_jax.weights.contents.tensors_of", None)  # a second computation would call it
        assert load_weights(golden_file).sha256 == weights.sha256
    assert dataclasses.replace(weights, metadata={}).sha256 == weights.sha256
    found = {weights.sha256}
    for name, array in list(tensors_of(weights).items())[::50]:
        tensors = {**tensors_of(weights), name: array + np.ones_like(array)}
        tree = unflatten(tensors)
        found.add(dataclasses.replace(weights, variables=tree, extras=tree.pop("extras")).sha256)
    assert len(found) == 1 + len(range(0, len(tensors_of(weights)), 50))


def test_the_checksum_of_converted_weights(golden, tmp_path, caplog):
    """It is for the tensors in memory, not for those in the file."""
    weights = golden(7)
    halves = {path: leaf.astype(np.float16) for path, leaf in flatten(weights.variables).items()}
    save_weights(tmp_path / "a.safetensors", dataclasses.replace(weights, variables=unflatten(halves)))
    loaded = load_weights(tmp_path / "a.safetensors")
    assert loaded.sha256 == tensors_sha256(tensors_of(loaded))
    assert "converted" in caplog.text


def test_damage_is_found(golden_file, tmp_path):
    content = bytearray(golden_file.read_bytes())
    content[-1000] ^= 1
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UnisalError, match=r"a\.safetensors: damaged"):
        load_weights(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(content[:5000])
    with pytest.raises(UnisalError, match=r"a\.safetensors: not a readable"):
        load_weights(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "name", ["/".join("a" * 5000), "params/encoder/stem/kernel/more", "params/encoder", "extras"]
)
def test_unknown_tensors(golden, tmp_path, name):
    """At any depth, below another tensor, or above others."""
    from safetensors.numpy import save_file

    weights = golden(7)
    tensors = {**tensors_of(weights), name: np.zeros(1, np.float32)}
    metadata = {
        "format": "unisal-jax",
        "config": weights.config.to_json(),
        "tensors_sha256": tensors_sha256(tensors),
    }
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    with pytest.raises(UnisalError, match=f"has unknown tensors, {name[:100]} among 1$"):
        load_weights(tmp_path / "a.safetensors")


def test_not_weights(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    for name, message in {
        "other.safetensors": "not of UNISAL weights",
        "empty": "not a checkpoint of UNISAL weights",
        "text.txt": "weights must be .safetensors, .pth or a checkpoint folder",
        "missing.pth": "no such file or release",
        "mobilenet_v2": "has only the encoder",
    }.items():
        with pytest.raises(UnisalError, match=message) as caught:
            load_weights(name if name == "mobilenet_v2" else tmp_path / name)
        assert "\n" not in str(caught.value)


def test_paths_that_cannot_be_written(golden, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for name, message in {
        "full": "exists already",
        "full/file/w.pth": "cannot be written",
        "full/file/w.safetensors": "cannot be written",
        "w.onnx": "weights must be .safetensors",
    }.items():
        with pytest.raises(UnisalError, match=message):
            save_weights(tmp_path / name, golden(7))
    assert [each.name for each in tmp_path.iterdir()] == ["full"]


def test_imagenet_encoder(golden, tmp_path):
    """The same layout without a prefix, and with a classifier."""
    weights, state = golden(7), make_weights(8)
    encoder = {name.removeprefix("cnn."): array for name, array in state.items() if name.startswith("cnn.")}
    encoder |= {
        "classifier.1.weight": np.zeros((1000, 1280), np.float32),
        "classifier.1.bias": np.zeros(1000),
    }
    pth.write_pth(tmp_path / "mobilenet.pth", encoder)
    loaded = imagenet_encoder(weights.variables, tmp_path / "mobilenet.pth")
    other = golden(8).variables
    for collection in ("params", "batch_stats"):
        jax.tree.map(
            np.testing.assert_array_equal, loaded[collection]["encoder"], other[collection]["encoder"]
        )
        rest = [name for name in loaded[collection] if name != "encoder"]
        for name in rest:
            jax.tree.map(
                np.testing.assert_array_equal, loaded[collection][name], weights.variables[collection][name]
            )
    encoder.pop("features.0.0.weight")
    pth.write_pth(tmp_path / "mobilenet.pth", encoder)
    with pytest.raises(UnisalError, match=r"mobilenet\.pth: lacks tensor features\.0\.0.weight"):
        imagenet_encoder(weights.variables, tmp_path / "mobilenet.pth")


def test_convert_command(command, golden_file, tmp_path):
    """.safetensors -> .pth -> folder -> .safetensors, each with its proof, and the same bytes at the end."""
    steps = [golden_file, tmp_path / "a.pth", tmp_path / "folder", tmp_path / "b.safetensors"]
    for source, target in itertools.pairwise(steps):
        status, out, err = command("convert", source, target, "--verify")
        assert status == 0, err
        assert "835 of 835 tensors equal, bit for bit" in out and out.count("\nequal") == 834
    assert tensors_of(load_weights(steps[-1])).keys() == tensors_of(load_weights(golden_file)).keys()


def test_the_proof_can_fail(golden_file, golden, tmp_path):
    weights = golden(11)
    bias = weights.variables["salicon"]["fusion"]["bias"]
    weights.variables["salicon"]["fusion"]["bias"] = bias + 1
    state = names.to_state(weights.variables, weights.config, weights.extras)
    state["cnn.features.0.1.num_batches_tracked"] = np.asarray(3)
    state.pop("rnn.cell_list.0.drop_mask_1")
    pth.write_pth(tmp_path / "other.pth", state)
    lines, differing = verify.proof(golden_file, tmp_path / "other.pth")
    assert differing == 3 and lines[-1].startswith("832 of 835")
    assert any(line.startswith("DIFFERENT  adaptation_salicon.0.bias") for line in lines)
    assert any(line.startswith(f"only in {golden_file}  rnn.cell_list.0.drop_mask_1") for line in lines)


def test_convert_errors(command, tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"garbage")
    status, out, err = command("convert", tmp_path / "bad.pth", tmp_path / "out.safetensors")
    assert status == 1 and out == "" and err.count("\n") == 1 and f"{tmp_path / 'bad.pth'}: " in err
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_command(command, monkeypatch, tmp_path):
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path))
    monkeypatch.setenv("UNISAL_OFFLINE", "1")
    status, out, _ = command("weights")
    assert status == 0 and all(
        f"{each.name:<16} missing" in out and each.sha256 in out for each in fetch.RELEASED.values()
    )
    assert command("weights", "--verify")[0] == 1
    status, _, err = command("weights", "unisal", "--fetch")
    assert status == 1 and err.count("\n") == 1 and "weights_best.pth" in err and str(tmp_path) in err
    status, _, err = command("weights", "other")
    assert status == 1 and "'other'" in err


@pytest.mark.parametrize("name", [name for name, each in fetch.RELEASED.items() if each.is_model])
def test_released_files_convert_to_safetensors_and_back(released, command, tmp_path, name):
    """The authors' .pth -> .safetensors -> .pth: bit-equal tensors."""
    original = fetch.fetch(name)
    for source, target in (
        (original, tmp_path / "a.safetensors"),
        (tmp_path / "a.safetensors", tmp_path / "b.pth"),
    ):
        assert command("convert", source, target)[0] == 0
    lines, differing = verify.proof(original, tmp_path / "b.pth")
    assert differing == 0 and lines[-1].startswith("835 of 835")
    assert load_weights(tmp_path / "a.safetensors").metadata["source_sha256"] == fetch.RELEASED[name].sha256


def test_released_imagenet_encoder(released):
    loaded = imagenet_encoder(released.variables)
    kernel = loaded["params"]["encoder"]["head"]["kernel"]
    assert np.abs(kernel - released.variables["params"]["encoder"]["head"]["kernel"]).max() > 0
