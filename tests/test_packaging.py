"""The sdist, and the wheel made from it, installed in a separate environment and folder."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from unisal_jax import __version__
from unisal_jax.cli.main import COMMANDS
from unisal_jax.samples import photograph_path

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """(sdist, wheel), made from files tracked by git."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "x"], cwd=source, input=archive, check=True)
    run(sys.executable, "-m", "venv", folder / "builder", cwd=folder)
    python = folder / "builder" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "setuptools>=77", "wheel", cwd=folder)
    make = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    sdist = folder / run(python, "-c", make, cwd=source).splitlines()[-1]
    run(
        python,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        sdist,
        cwd=folder,
    )
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def test_contents(built):
    sdist, wheel = built
    with tarfile.open(sdist) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    # Files required to build the package, and configs and tests.
    assert {
        "setup.cfg",
        "setup.py",
        "README.md",
        "LICENSE",
        "NOTICE",
        "configs/unisal.py",
        "Makefile",
        "constraints.txt",
    } <= inside
    assert {"tests/golden/forward.npz", "tests/conftest.py", "benchmarks/table.py"} <= inside
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        metadata = file.read(f"unisal_jax-{__version__}.dist-info/METADATA").decode()
    assert {"unisal_jax/analysis/published.json", "unisal_jax/samples/grace_hopper.jpg"} <= names
    # Type checkers of other projects read the types.
    assert "unisal_jax/py.typed" in names
    # The configs that `unisal train` accepts by name.
    assert {"unisal_jax/configs/unisal.py", "unisal_jax/configs/finetune.py"} <= names
    assert {"data_prep/prepare.py", "unisal_jax/cli/main.py"} <= names
    # An index page shows the README, but has no files beside it.
    assert "# unisal-jax" in metadata and "](https://" in metadata
    assert not re.findall(r"\]\((?!https?:)", metadata)
    packages = {name.split("/")[0] for name in names}
    assert packages == {"unisal_jax", "data_prep", f"unisal_jax-{__version__}.dist-info"}


def test_outside_the_clone(built, golden_file, tmp_path):
    """Dependencies come from the tests' environment; the package itself comes from the wheel."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, unisal = (tmp_path / "venv" / "bin" / name for name in ("python", "unisal"))
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    )
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", built[1], cwd=tmp_path)
    where = run(
        python,
        "-c",
        "import unisal_jax, data_prep; print(unisal_jax.__file__, data_prep.__file__)",
        cwd=tmp_path,
    )
    assert all(Path(file).is_relative_to(site) for file in where.split())
    assert run(unisal, "--version", cwd=tmp_path).strip() == f"unisal-jax {__version__}"
    assert __version__ in run(unisal, "doctor", cwd=tmp_path)
    shutil.copy(photograph_path(), tmp_path / "photo.jpg")
    flags = ["--weights", golden_file, "--input-size", "64x96", "--save", "raw,map"]
    run(unisal, "predict", "photo.jpg", "--out", "out", *flags, cwd=tmp_path)
    assert abs(np.exp(np.load(tmp_path / "out/raw/photo.npy"), dtype=np.float64).sum() - 1) < 1e-4
    run(unisal, "convert", golden_file, "w.pth", cwd=tmp_path)
    list_configs = (
        "from unisal_jax.train.experiments import find_config; print(find_config('finetune:images')[0])"
    )
    assert Path(run(python, "-c", list_configs, cwd=tmp_path).strip()).is_relative_to(site)
    for name in COMMANDS:
        run(unisal, name, "--help", cwd=tmp_path)
