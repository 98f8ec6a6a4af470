"""Selection of the engine, the packages that a process imports for it, and cached graphs."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import unisal_jax
from tests.weights.test_without_jax import UNUSED
from unisal_jax import backend
from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.errors import UnisalError
from unisal_jax.inference import graph_cache
from unisal_jax.inference.engines import open_engine
from unisal_jax.samples import photograph_path

PROGRAM = """
import runpy, sys
try:
    runpy.run_module("unisal_jax", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
print("imported", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
API = """
import sys
import numpy as np
import unisal_jax
model = unisal_jax.load(sys.argv[1])
frame = np.zeros((64, 96, 3), np.uint8)
model.predict(frame, input_size=(32, 64))
model.features(frame, input_size=(32, 64))
model.stream((64, 96), input_size=(32, 64))(frame)
list(model.predict_video([frame] * 3, input_size=(32, 64)))
print("imported", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


def imported(program, *args):
    """The packages that a new process imports."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        env={key: value for key, value in os.environ.items() if not key.startswith("JAX_")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "command",
    ["predict {image} --out {out} --save map,overlay,raw,json", "crop {image} --aspect 1:1 --out {out}"],
)
def test_commands_import_no_jax(golden_file, tmp_path, command):
    words = command.format(image=photograph_path(), out=tmp_path / "out").split()
    found = imported(PROGRAM, *words, "--weights", golden_file)
    assert "onnxruntime" in found and not UNUSED & found and "av" not in found
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_the_library_imports_no_jax(golden_file):
    found = imported(API, golden_file)
    assert "onnxruntime" in found and not UNUSED & found


def test_a_cached_graph_does_not_require_onnx(golden_file, cache):
    assert "onnx" in imported(API, golden_file)
    assert "onnx" not in imported(API, golden_file)


def test_auto_is_onnxruntime_on_a_cpu(golden):
    assert open_engine(golden(11)).name == "onnxruntime"
    assert open_engine(golden(11), dtype="bfloat16").name == "jax"


def test_engines_agree(golden_file, rng):
    image = rng.integers(0, 256, (50, 70, 3), np.uint8)
    maps = [
        unisal_jax.load(golden_file, engine=engine).predict(image, input_size=(32, 64), log=True)
        for engine in ("jax", "onnxruntime", "auto")
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)
    np.testing.assert_array_equal(maps[1], maps[2])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--engine", "onnxruntime", "--dtype", "bfloat16"), "bfloat16: not supported by onnxruntime"),
        (("--engine", "tensorrt"), "--engine"),
    ],
)
def test_refusals(command, golden_file, tmp_path, flags, says):
    image = photograph_path()
    status, _, err = command("predict", image, "--out", tmp_path / "o", "--weights", golden_file, *flags)
    assert status == 1 and err.count("\n") == 1 and says in err and not (tmp_path / "o").exists()


def test_unknown_engine(golden):
    with pytest.raises(UnisalError, match="engine 'tensorrt': not one of auto, jax, onnxruntime"):
        open_engine(golden(11), "tensorrt")


def test_auto_queries_jax_if_it_has_a_plugin(golden, monkeypatch, tmp_path):
    """A plugin without a device does not count."""
    asked = []
    monkeypatch.setattr(backend, "local_devices", lambda: asked.append(1) or jax.local_devices())
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert open_engine(golden(11)).name == "onnxruntime" and not asked
    (tmp_path / "jax_plugins").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert open_engine(golden(11)).name == "onnxruntime" and asked


class TestGraphs:
    """The graphs in the cache folder."""

    frames = np.zeros((1, 32, 64, 3), np.uint8)

    def run(self, weights, domain=SALICON):
        return open_engine(weights, "onnxruntime").images(self.frames, domain)

    def test_one_per_method_and_domain(self, golden, cache):
        for seed, domain in ((11, SALICON), (11, SALICON), (11, DHF1K), (7, SALICON)):
            self.run(golden(seed), domain)
        assert len(list(cache.iterdir())) == 3

    @pytest.mark.parametrize("damage", ["cut", "bit", "empty", "foreign", "another's", "folder"])
    def test_damaged(self, golden, cache, damage):
        want = self.run(golden(11))
        (path,) = cache.iterdir()
        whole = path.read_bytes()
        if damage == "folder":
            path.unlink()
            path.mkdir()
        elif damage == "another's":
            self.run(golden(7))
            (other,) = set(cache.iterdir()) - {path}
            path.write_bytes(other.read_bytes())
        else:
            flipped = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
            path.write_bytes({"cut": whole[:-9], "bit": flipped, "empty": b"", "foreign": b"GIF89a"}[damage])
        np.testing.assert_array_equal(self.run(golden(11)), want)
        if damage != "folder":
            assert path.read_bytes() == whole

    def test_cache_that_cannot_be_written(self, golden, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "file"))
        assert self.run(golden(11)).shape == (1, 32, 64)

    def test_another_users_cache_is_read(self, cache, monkeypatch):
        assert graph_cache.kept({"number": 1}, lambda: b"graph") == b"graph"

        def refuse(path):
            raise PermissionError(path)

        monkeypatch.setattr(os, "utime", refuse)
        assert graph_cache.kept({"number": 1}, lambda: b"other") == b"graph"

    def test_the_oldest_are_deleted(self, cache):
        for number in range(30):
            before = set(cache.iterdir()) if cache.is_dir() else set()
            assert graph_cache.kept({"number": number}, lambda: b"graph") == b"graph"
            (path,) = set(cache.iterdir()) - before
            os.utime(path, (number, number))  # long ago
        assert len(list(cache.iterdir())) == 24
        assert graph_cache.kept({"number": 29}, lambda: b"other") == b"graph"
        assert graph_cache.kept({"number": 0}, lambda: b"other") == b"other"
