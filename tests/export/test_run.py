"""`unisal export`: exported files run without the package and agree with the network, or are not written."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unisal_jax.export
from unisal_jax.domains import SALICON
from unisal_jax.export import check, stablehlo
from unisal_jax.export.signature import Signature
from unisal_jax.inference.fold import fold
from unisal_jax.inference.jax_operations import JaxOperations
from unisal_jax.inference.onnx_operations import OnnxOperations
from unisal_jax.models.unisal import Unisal

SIZE = (64, 96)

# Follows a card, in a process without this package.
FOLLOW_CARD = """
import json, sys
import numpy
path = sys.argv[1]
card = json.load(open(path + ".json"))
if card["artifact"]["format"] == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_inputs()] == sorted(card["inputs"])
    call = lambda *inputs: session.run(None, dict(zip(sorted(card["inputs"]), inputs)))
elif card["artifact"]["format"] == "tflite":
    from ai_edge_litert.interpreter import Interpreter
    network = Interpreter(path).get_signature_runner(card["artifact"]["signature"])
    call = lambda *inputs: list(network(**dict(zip(sorted(card["inputs"]), inputs))).values())
    assert [*network.get_output_details()] == sorted(card["outputs"])
else:
    import jax.export
    call = jax.export.deserialize(bytearray(open(path, "rb").read())).call
vector, (maps,) = card["test_vector"], [name for name in card["outputs"] if name != "next_state"]
steps, images = eval(vector["frames"]), card["inputs"]["frames"]
channels_first = images["shape"][1] == 3
if "state" in card["inputs"]:
    shape = card["inputs"]["state"]["shape"]
    sides = steps.shape[2] // 32, steps.shape[3] // 32
    axes = (256, *sides) if shape[1] == 256 else (*sides, 256)
    state = numpy.zeros((steps.shape[1], *axes), numpy.float32)
for frames in steps:
    if images["dtype"] == "float32":
        mean, std = (numpy.float32(images["normalisation"][name]) for name in ("mean", "std"))
        frames = (frames / numpy.float32(255) - mean) / std
        frames = frames.transpose(0, 3, 1, 2) if channels_first else frames
    outputs = call(frames, *([state] if "state" in card["inputs"] else []))
    found, state = numpy.asarray(outputs[0]), numpy.asarray(outputs[-1])
expected = vector["expected"]
assert found.shape == steps.shape[1:4] and found.dtype == numpy.float32
density = found if maps == "density" else numpy.exp(found)
numpy.testing.assert_allclose(density.sum((1, 2)), 1, atol=1e-4)
shown = found[:, numpy.array(expected["rows"])[:, None], expected["columns"]]
shown = numpy.log(shown) if maps == "density" else shown
numpy.testing.assert_allclose(shown, expected["log_density"], rtol=0, atol=expected["log_density_tolerance"])
if "state" in card["inputs"]:
    cell = state[:, :4, 0, 0] if state.shape[1] == 256 else state[:, 0, 0, :4]
    numpy.testing.assert_allclose(cell, expected["state"], rtol=0, atol=expected["state_tolerance"])
assert not [name for name in sys.modules if name.split(".")[0] in ("unisal_jax", "flax", "onnx")]
print("followed")
"""


def needs_flatbuffers():
    pytest.importorskip("flatbuffers", reason="the export extra is not installed")


def needs_litert():
    for module in ("ai_edge_litert", "litert_converter"):
        pytest.importorskip(module, reason="needs the extra tflite")


def in_new_process(program, folder, *args):
    """The output of a program in a separate process."""
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"]}
    command = [sys.executable, "-c", program, *map(str, args)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def exported(command, golden_file, tmp_path):
    """exported(*flags) -> (status, stdout, stderr, path of the artifact)."""

    def run(*flags, out="unisal.bin"):
        path = tmp_path / "out" / out
        return *command("export", "--weights", golden_file, *flags, path), path

    return run


def checked_card(path, golden_file):
    """Reads the card and checks its checksums."""
    text = path.with_name(f"{path.name}.json").read_text()
    card = json.loads(text)
    assert text == json.dumps(card, indent=1, sort_keys=True) + "\n"
    assert card["artifact"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["artifact"]["file"] == path.name and card["artifact"]["bytes"] == path.stat().st_size
    assert card["weights"]["sha256"] == hashlib.sha256(golden_file.read_bytes()).hexdigest()
    assert card["weights"]["name"] == golden_file.name and card["licence"] == "Apache-2.0"
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.json"]
    return card


@pytest.mark.parametrize(
    ("flags", "inputs"),
    [
        ((), {"frames": [1, 3, 64, 96]}),
        (("--batch", "2", "--uint8", "--domain", "dhf1k"), {"frames": [2, 64, 96, 3]}),
        (("--batch", "any", "--streaming"), {"frames": ["n", 3, 64, 96], "state": ["n", 256, 2, 3]}),
        (
            ("--input-size", "any", "--streaming", "--uint8"),
            {"frames": [1, "32*h", "32*w", 3], "state": [1, 256, "h", "w"]},
        ),
    ],
    ids=["image", "uint8", "streaming", "any"],
)  # fmt: skip
def test_onnx(exported, golden_file, tmp_path, flags, inputs):
    status, out, err, path = exported("--format", "onnx", "--input-size", "64x96", *flags)
    assert (status, err) == (0, "") and str(path) in out
    card = checked_card(path, golden_file)
    assert {name: each["shape"] for name, each in card["inputs"].items()} == inputs
    assert card["domain"] == ("dhf1k" if {"--streaming", "--domain"} & set(flags) else "salicon")
    assert in_new_process(FOLLOW_CARD, tmp_path, path) == "followed\n"


@pytest.mark.parametrize(
    "flags",
    [
        # Any size takes long to compile; test_stablehlo_at_any_size covers images.
        pytest.param(
            ("--input-size", "any", "--batch", "any", "--streaming"), id="any", marks=pytest.mark.slow
        ),
        pytest.param(("--input-size", "64x96", "--uint8"), id="fixed"),
    ],
)
def test_stablehlo(exported, golden_file, tmp_path, flags):
    needs_flatbuffers()
    status, out, err, path = exported("--format", "stablehlo", *flags)
    assert (status, err) == (0, "") and str(path) in out
    card = checked_card(path, golden_file)
    assert card["artifact"]["platforms"] == ["cpu", "cuda", "tpu"]
    assert in_new_process(FOLLOW_CARD, tmp_path, path) == "followed\n"
    # It contains no path of this machine or of the package.
    assert b".py" not in path.read_bytes() and str(tmp_path.parent).encode() not in path.read_bytes()


def test_stablehlo_at_any_size(golden, rng):
    needs_flatbuffers()
    weights = golden(7)
    signature = Signature(SALICON, None, None, streaming=False, uint8=False, channels_first=False)
    artifact = stablehlo.serialize(fold(weights.variables, weights.config, SALICON), signature)
    assert artifact == stablehlo.serialize(fold(weights.variables, weights.config, SALICON), signature)
    call = stablehlo.loaded(artifact)
    for batch, size in ((1, SIZE), (3, (32, 64))):  # one cell high: the prior maps' means are at its top
        x = rng.standard_normal((batch, *size, 3)).astype(np.float32)
        wanted, _ = jax.jit(Unisal(weights.config).apply, static_argnums=2)(
            weights.variables, x[:, None], SALICON
        )
        np.testing.assert_allclose(call(x)[0], wanted[:, 0], atol=check.TOLERANCE)


@pytest.mark.parametrize(
    ("flags", "inputs"),
    [
        (("--uint8",), {"frames": [1, 64, 96, 3]}),
        (("--batch", "2", "--streaming"), {"frames": [2, 64, 96, 3], "state": [2, 2, 3, 256]}),
    ],
    ids=["uint8", "streaming"],
)
def test_tflite(exported, golden_file, tmp_path, flags, inputs):
    needs_litert()
    status, out, _, path = exported("--format", "tflite", "--input-size", "64x96", *flags)
    assert status == 0 and str(path) in out
    card = checked_card(path, golden_file)
    assert {name: each["shape"] for name, each in card["inputs"].items()} == inputs
    assert in_new_process(FOLLOW_CARD, tmp_path, path) == "followed\n"
    assert b".py" not in path.read_bytes() and str(tmp_path.parent).encode() not in path.read_bytes()


@pytest.mark.parametrize("flag", ["--input-size", "--batch"])
def test_tflite_has_one_size_and_batch(exported, flag):
    needs_litert()
    status, _, err, path = exported("--format", "tflite", flag, "any")
    assert status == 1 and f"{flag} any: a TensorFlow Lite file" in err and not path.parent.exists()


def test_same_bytes_again(exported):
    results = []
    for _ in range(2):
        *_, path = exported("--format", "onnx", "--input-size", "64x96", "--batch", "any", "--streaming")
        results.append((path.read_bytes(), path.with_name(f"{path.name}.json").read_bytes()))
    assert results[0] == results[1]


def test_the_documented_runner(exported, rng, tmp_path):
    *_, path = exported(
        "--format", "onnx", "--streaming", "--uint8", "--input-size", "64x96", out="unisal.onnx"
    )
    np.save(path.parent / "frames.npy", rng.integers(0, 256, (2, *SIZE, 3), np.uint8))
    code = unisal_jax.export.__doc__.split(":\n\n")[1].split("\n\nImages")[0]
    printed = in_new_process(textwrap.dedent(code), path.parent)
    assert printed.count("(") == 2  # the peak of each frame


@pytest.mark.parametrize("form", ["onnx", "stablehlo", "tflite"])
def test_a_wrong_artifact_is_not_written(exported, monkeypatch, form):
    if form == "onnx":
        monkeypatch.setattr(OnnxOperations, "relu6", lambda ops, x: ops.node("Relu", x))
    else:
        needs_flatbuffers() if form == "stablehlo" else needs_litert()
        monkeypatch.setattr(JaxOperations, "relu6", lambda ops, x: jnp.maximum(x, 0))
    flags = ("--format", form, "--input-size", "64x96")
    status, out, err, path = exported(*flags)
    assert (status, out) == (1, "")
    *logged, said = err.splitlines()
    assert str(path) in said and "not written" in said
    assert not logged or form == "tflite"  # LiteRT logs that it starts
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("older")
    assert exported(*flags)[0] == 1
    assert path.read_text() == "older" and len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--format", "onnx", "--streaming", "--domain", "salicon"), "--streaming"),
        (("--format", "onnx", "--domain", "nowhere"), "nowhere"),
        (("--format", "onnx", "--batch", "0"), "--batch"),
        (("--format", "onnx", "--input-size", "65x96"), "--input-size"),
        (("--format", "torch"), "--format"),
        ((), "--format"),
    ],
)
def test_bad_flags(exported, flags, says):
    status, out, err, path = exported(*flags)
    assert (status, out) == (1, "") and err.count("\n") == 1 and says in err
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("form", "module", "install"),
    [
        ("stablehlo", "flatbuffers", 'pip install "flatbuffers>='),
        ("tflite", "ai_edge_litert", "pip install "),
    ],
)
def test_missing_package(exported, monkeypatch, form, module, install):
    monkeypatch.setitem(sys.modules, module, None)
    status, _, err, path = exported("--format", form, "--input-size", "64x96")
    assert status == 1 and err.count("\n") == 1
    assert f"--format {form} requires {module}; install it with: {install}" in err
    assert not path.parent.exists()


def test_out_cannot_be_written(exported, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    status, _, err, path = exported("--format", "onnx", "--input-size", "64x96")
    assert status == 1 and err.count("\n") == 1 and str(path) in err
