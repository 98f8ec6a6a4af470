"""`unisal doctor`: reports what is installed, and continues if something is missing."""

import configparser
import json

import jax
import pytest

from tests.conftest import REPOSITORY
from unisal_jax import __version__, packages
from unisal_jax.doctor import examine
from unisal_jax.weights.fetch import RELEASED


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_extras_are_those_of_setup_cfg():
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    assert packages.EXTRAS.keys() | {"test"} == dict(config["options.extras_require"]).keys()


METADATA = [
    "array_record>=0.8; sys_platform != 'no such system'",
    "array_windows; sys_platform == 'no such system'",
    "numpy>=2.0",
    'h5py>=3.11; extra == "submit"',
    'ray[data]<3,>=2.40; extra == "ray"',
    'libtpu; extra == "tpu"',
    "old; python_version < '3' and extra == 'tpu'",
    'jax[tpu]>=0.10; extra == "tpu"',
]


def test_requirements_come_from_the_metadata(monkeypatch):
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: METADATA)
    assert [each.name for each in packages.requirements()] == ["array_record", "numpy"]
    assert packages.install_command("submit") == 'pip install "h5py>=3.11"'
    assert packages.install_command("ray") == 'pip install "ray[data]<3,>=2.40"'
    assert packages.install_command("tpu") == 'pip install libtpu "jax[tpu]>=0.10"'
    monkeypatch.setattr(packages.importlib.metadata, "requires", absent)
    assert packages.requirements() == []
    assert packages.install_command("submit") == 'pip install ".[submit]"'


def test_an_empty_cache(command, cache):
    status, out, err = command("doctor")
    assert (status, err) == (0, "")
    assert out.startswith(f"unisal-jax {__version__}, Python ")
    assert out.count("missing  (unisal weights") == len(RELEASED)
    assert not cache.exists()


def test_json(command, cache):
    cache.mkdir()
    (cache / RELEASED["unisal"].filename).write_bytes(b"not these")
    status, out, err = command("doctor", "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    again = examine()
    # Other tests may add compiled programs at the same time.
    assert facts["caches"].pop("programs").keys() == again["caches"].pop("programs").keys()
    assert list(facts) == sorted(facts) and facts == again
    assert facts["weights"] == {"unisal": "corrupt", "unisal-mit1003": "missing", "mobilenet_v2": "missing"}
    assert facts["caches"]["weights"] == {"bytes": 9, "files": 1, "path": str(cache)}
    assert facts["devices"][0]["platform"] == jax.default_backend()
    assert facts["engine"] == ("onnxruntime" if jax.default_backend() == "cpu" else "jax")
    assert facts["caches"]["graphs"] == {"bytes": 0, "files": 0, "path": str(cache / "graphs")}
    assert facts["packages"]["jax"] == jax.__version__


def test_what_is_missing_is_named(command, monkeypatch):
    monkeypatch.setattr(packages.importlib.metadata, "version", lambda name: absent(name))
    status, out, _ = command("doctor")
    assert status == 0
    assert "MISSING" in out and '(missing: pip install "huggingface_hub>=' in out


def absent(name):
    raise packages.importlib.metadata.PackageNotFoundError(name)


def test_a_backend_that_fails(command, monkeypatch):
    def fail():
        raise RuntimeError("driver too old\nfor this")

    monkeypatch.setattr(jax, "local_devices", fail)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("JAX_PLATFORM_NAME", raising=False)
    status, out, _ = command("doctor")
    assert status == 0 and "NONE: JAX has no device here (driver too old for this); JAX_PLATFORMS=cpu" in out
