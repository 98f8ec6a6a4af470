"""Systems without POSIX: prediction, evaluation and export without the modules that Windows does not have."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from unisal_jax.media.images import write_png
from unisal_jax.media.names import unique_names

SIZE = (64, 96)

# None in `sys.modules` is a module that is not installed, for `import` and for `find_spec`.
PROGRAM = """
import json, os, signal, sys
for name in ("array_record", "fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for module, name in ((os, "getloadavg"), (os, "pathconf"), (os, "sched_getaffinity"), (signal, "SIGHUP")):
    delattr(module, name)
import importlib, pkgutil, platform
system, platform.system = platform.system, lambda: "Windows"
import grain  # which does without array_record there
platform.system = system
import data_prep, unisal_jax
left_out = set()
for package in (unisal_jax, data_prep):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            try:
                importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                left_out.add(error.name)
from unisal_jax.cli.main import main
statuses = [main(line) for line in json.loads(sys.argv[1])]
from unisal_jax.data.stored import Stored
from pathlib import Path
try:
    Stored("own", Path("data"), {"train": (1,)}).records("train")
except unisal_jax.UnisalError as error:
    print(error, file=sys.stderr)
print(json.dumps([sorted(left_out), statuses]))
"""
NEEDS = "requires array_record; install it with: pip install array_record"


@pytest.fixture
def folder(tmp_path, rng):
    """Two images with maps and fixations."""
    for kind in ("images", "maps", "fixations"):
        (tmp_path / "own" / kind).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            shape = (*SIZE, 3) if kind == "images" else SIZE
            picture = rng.integers(0, 256, shape, np.uint8)
            picture = picture // 250 * 255 if kind == "fixations" else picture
            write_png(tmp_path / "own" / kind / name, picture)
    return tmp_path


def test_without_the_modules_that_windows_lacks(folder, golden_file):
    weights = ["--weights", str(golden_file)]
    size = ["--input-size", "64x96"]
    work = [
        ["predict", "own/images/a.png", "--out", "out", "--save", "map,overlay,raw,json", *size, *weights],
        ["evaluate", "--data", "own", "--domain", "salicon", "--json", "scores.json", *size, *weights],
        ["export", "net.onnx", "--format", "onnx", *size, *weights],
    ]
    refused = {
        "prepare own --raw own --data-dir data": f"unisal prepare: preparing a dataset {NEEDS}",
        "train --config smoke --workdir run": f"unisal train: training {NEEDS}",
        "finetune --data own --out tuned": f"unisal finetune: fine-tuning {NEEDS}",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([*work, *(line.split() for line in refused)])],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "UNISAL_CACHE": str(folder / "cache"),
            "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".cache" / "xla"),
        },
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    left_out, statuses = json.loads(done.stdout.splitlines()[-1])
    # Packages of extras alone.
    assert set(left_out) <= {"h5py", "huggingface_hub", "matplotlib", "ray", "sklearn"}
    assert statuses == [0, 0, 0, 1, 1, 1], done.stderr
    lines = done.stderr.splitlines()
    for line in (*refused.values(), f"data: reading a prepared dataset {NEEDS}"):
        assert line in lines, done.stderr
    raw = np.load(folder / "out" / "raw" / "a.npy")
    assert raw.shape == SIZE and np.exp(raw).sum() == pytest.approx(1, abs=1e-4)
    assert json.loads((folder / "scores.json").read_text(encoding="utf-8"))["counts"]["images"] == 2
    assert (folder / "net.onnx").stat().st_size > 1 << 20
    assert not (folder / "run").exists() and not (folder / "data").exists()


def test_names_of_devices(monkeypatch):
    paths = [f"{name}.jpg" for name in ("con", "AUX.b", "console", "com1")]
    paths = [REPOSITORY / path for path in paths]
    assert unique_names(paths, 250) == ["con", "AUX.b", "console", "com1"]
    monkeypatch.setattr("unisal_jax.media.names._HAS_DEVICES", True)
    assert unique_names(paths, 250) == ["_con", "_AUX.b", "console", "_com1"]
