"""The command as a process: imports before it refuses arguments, output, and signals."""

import json
import os
import re
import signal
import subprocess
import sys

import jax
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from unisal_jax import backend
from unisal_jax.cli import crop, evaluate, predict
from unisal_jax.cli.main import error_line
from unisal_jax.errors import UnisalError

UNISAL = [sys.executable, "-m", "unisal_jax"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


@pytest.fixture
def folder(tmp_path):
    """A working folder: an image, boxes, empty folders, and a file in place of a folder."""
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("left,top,width,height\n0,0,9,9\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


def run(folder, *args, **environment):
    """Runs a program in the folder; returns (exit status, stdout, stderr)."""
    done = subprocess.run(
        args,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# Arguments -> text that the message contains.
REFUSED = {
    "predict no.png --out o": "no.png: no such file",
    "predict no*.png --out o": "no*.png: no image or video matches",
    "predict empty --out o": "empty: holds no images",
    "predict a.png": "--out",
    "predict a.png --out file": "file: cannot be written (is a file); name a folder",
    "predict a.png --out o --weights no.pth": "no.pth: no such file",
    "predict a.png --out o --domain coco": "unknown domain 'coco'",
    "predict a.png --out o --ray": '--ray requires ray; install it with: pip install "ray[data]>=',
    "predict a.png --out o --weights hf://owner/name": 'pip install "huggingface_hub>=',
    "crop no.png --aspect 1:1 --out o": "no.png: no such file",
    "crop a.png --aspect 1:1 --out o --weights no.pth": "no.pth: no such file",
    "score-regions no.png --boxes boxes.csv": "no.png: no such file",
    "score-regions a.png --boxes no.csv": "no.csv: ",
    "score-regions a.png --boxes boxes.csv --json no/o.json": "no/o.json: cannot be written",
    "score-regions a.png --boxes boxes.csv --plot o.png": '; install it with: pip install "matplotlib>=',
    "compare a.png no.png": "no.png: no such file",
    "compare a.png a.png --boxes no.csv": "no.csv: ",
    "compare a.png a.png --max-loss 2": "--max-loss: requires --boxes",
    "compare a.png a.png --json no/o.json": "no/o.json: cannot be written",
    "compare a.png a.png --out file": "file: cannot be written",
    "evaluate --data no": "no: no such folder",
    "evaluate --data empty --protocol mit": "--protocol 'mit': unknown",
    "evaluate --data empty --predictions no": "no: no such folder",
    "evaluate --data empty --html no/r.html": "no/r.html: cannot be written",
    "evaluate --data empty --prior no.npy": "no.npy: no such file",
    "prepare own --raw no --data-dir d": "no: no such folder",
    "prepare own --raw empty --data-dir d --table no.csv --sigma 3": "no.csv: no such file",
    "prepare own --raw empty --data-dir file": "file: cannot be written",
    "prepare own --raw empty --data-dir d --beam-runner DirectRunner": 'pip install "apache-beam>=',
    "submit salicon no.png --out o": "no.png: no such file",
    "submit salicon a.png --out file": "file: is not a new or empty folder",
    "convert no.pth o.safetensors": "no.pth: no such file",
    "export o.onnx --format onnx --weights no.pth": "no.pth: no such file",
    "export file/o.onnx --format onnx": "file/o.onnx: cannot be written",
    "convert unisal file/o.pth": "file/o.pth: cannot be written",
    "export o.bin --format stablehlo": 'pip install "flatbuffers>=',
    "benchmark --weights no.pth": "no.pth: no such file",
    "benchmark --json no/o.json": "no/o.json: cannot be written",
    "benchmark --peers no": "no: no such file",
    "analyze priors --out file": "file: cannot be written",
    "analyze priors --out o --weights no.pth": "no.pth: no such file",
    "analyze priors --out o": 'pip install "matplotlib>=',
    "analyze compare --out o --data no": "no: no such folder",
    "demo --runtime no.tgz": "no.tgz: cannot be read",
    "export . --format web": ".: is already there and is not replaced",
    "export o --format web --uint8": "--uint8: cannot be combined with --format web",
    "export o --format onnx --runtime a.tgz": "--runtime: requires --format web",
}
# One process for all, which takes a second; extras are missing in it.
PROGRAM = """
import json, sys
from unisal_jax.cli.main import main
for name in ("ray", "huggingface_hub", "apache_beam", "flatbuffers", "matplotlib"):
    sys.modules[name] = None
for line in json.load(sys.stdin):
    status = main(line.split())
    print(json.dumps([line, status, sorted({"jax", "flax", "tensorflow_datasets"} & set(sys.modules))]))
"""


def test_refusals_come_before_jax(folder):
    before = sorted(folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(list(REFUSED)),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[line, 1, []] for line in REFUSED]
    lines = done.stderr.splitlines()
    assert len(lines) == len(REFUSED), done.stderr
    for (args, says), line in zip(REFUSED.items(), lines, strict=True):
        assert line.startswith(f"unisal {args.split()[0]}: ") and says in line, args
    assert sorted(folder.iterdir()) == before


def test_help_and_finding_inputs_import_neither_jax_nor_a_codec(folder):
    program = """
import sys
from importlib import import_module
from unisal_jax.cli.main import COMMANDS
for module, _ in COMMANDS.values():
    import_module(module)
import unisal_jax.media.names, unisal_jax.media.sources
print(sorted({"jax", "cv2", "av", "PIL", "scipy"} & set(sys.modules)))
"""
    assert run(folder, sys.executable, "-c", program) == (0, "[]\n", "")


def test_choices_are_those_of_the_modules_that_take_long_to_import():
    from unisal_jax.apps.crop_files import KINDS as crop_kinds
    from unisal_jax.evaluate.protocols import PROTOCOLS
    from unisal_jax.predict.outputs import KINDS

    assert predict.KINDS == KINDS and tuple(crop_kinds) == crop.KINDS
    assert tuple(PROTOCOLS) == evaluate.PROTOCOLS


def test_a_platform_that_is_not_there(folder):
    """The error is one line that names the setting, for each command and in Python."""
    program = """
import sys, unisal_jax
from unisal_jax.cli.main import main
print(main(["predict", "a.png", "--out", "o"]))
print(main(["convert", "unisal", "o.pth"]))
print(main(["export", "o.bin", "--format", "stablehlo"]))
print(main(["doctor"]))
try:
    unisal_jax.load()
except unisal_jax.UnisalError as error:
    print(error)
"""
    status, out, err = run(folder, sys.executable, "-c", program, JAX_PLATFORMS="abacus")
    assert status == 0 and "Traceback" not in err, err
    *lines, doctor, last = [line for line in (err + out).splitlines() if "abacus" in line]
    assert [line.partition(": ")[0] for line in lines] == [
        "unisal predict",
        "unisal convert",
        "unisal export",
    ]
    for line in (*lines, doctor, last):
        assert "JAX_PLATFORMS=abacus: " in line and "unset JAX_PLATFORMS, or set JAX_PLATFORMS=cpu" in line
    assert out.splitlines()[:3] == ["1", "1", "1"] and not (folder / "o").exists()


@pytest.mark.parametrize(
    "environment, says",
    [
        ({"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS=cuda: .*; unset JAX_PLATFORMS, or .*"),
        ({"JAX_PLATFORM_NAME": "cuda"}, "JAX_PLATFORM_NAME=cuda: .*; unset JAX_PLATFORM_NAME, or .*"),
        ({}, "JAX has no device here; JAX_PLATFORMS=cpu uses the CPU"),
    ],
)
def test_an_assertion_of_jax_without_a_word(monkeypatch, environment, says):
    """JAX raises this for JAX_PLATFORMS=cuda without CUDA."""

    def fail():
        raise AssertionError

    for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax, "local_devices", fail)
    with pytest.raises(UnisalError) as caught:
        backend.local_devices()
    assert re.fullmatch(says, str(caught.value))


@linux
@pytest.mark.parametrize(
    "name, encoding, shown",
    [
        ("出力".encode(), "latin-1", r"\u51fa\u529b"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), "ascii", r"caf\xe9"),
        (b"caf\xe9", "utf-8:strict", r"caf\udce9"),
    ],
)
def test_names_that_the_console_cannot_show(folder, name, encoding, shown):
    environment = {"PYTHONIOENCODING": encoding, "UNISAL_CACHE": os.fsdecode(name)}
    status, out, err = run(folder, *UNISAL, "weights", **environment)
    assert (status, err) == (0, "") and f" {shown}/" in out
    status, out, err = run(folder, *UNISAL, "convert", os.fsdecode(name), "o", **environment)
    assert (status, out) == (1, "") and err.startswith(f"unisal convert: {shown}: no such file")


WAITING = """
import time
from unisal_jax.files import atomic_path

def configure(parser):
    parser.set_defaults(run=run)

def run(args):
    with atomic_path("result.txt") as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
"""
# A parent in the background may ignore SIGINT.
WAIT = """
import signal, sys
from unisal_jax.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main.COMMANDS["wait"] = ("waiting", "waits")
sys.exit(main.main())
"""


@linux
@pytest.mark.parametrize(
    "number, says",
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "terminated")],
)
def test_signals(folder, number, says):
    (folder / "waiting.py").write_text(WAITING)
    before = sorted(folder.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", WAIT, "wait"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, f"unisal wait: {says}\n")
    assert sorted(folder.iterdir()) == before


@linux
def test_a_full_disk_and_a_reader_that_has_gone(folder):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [*UNISAL, "weights"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "unisal weights: No space left on device\n")
    process = subprocess.Popen([*UNISAL, "weights"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 1
    process.stderr.close()


@pytest.mark.parametrize(
    "error, line",
    [
        (UnisalError("a.png: empty"), "a.png: empty"),
        (PermissionError(13, "Permission denied", "x/y"), "x/y: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "out of memory.*--input-size.*"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while\ntrying"), "out of memory.*"),
        (KeyError("a\nb"), r"unexpected KeyError: .*--debug.*"),
        (RecursionError(), r"unexpected RecursionError \(--debug shows where\)"),
    ],
)
def test_every_error_is_one_line(error, line):
    assert re.fullmatch(line, error_line(error))
