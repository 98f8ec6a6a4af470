"""Loading weights, except from a checkpoint folder, does not import JAX."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from unisal_jax.weights import publish
from unisal_jax.weights.fetch import RELEASED
from unisal_jax.weights.store import save_weights

PROGRAM = """
import importlib, json, pkgutil, sys
import unisal_jax.domains, unisal_jax.errors, unisal_jax.files, unisal_jax.media
from unisal_jax.weights.store import load_weights
for module in pkgutil.iter_modules(unisal_jax.media.__path__, "unisal_jax.media."):
    importlib.import_module(module.name)
weights = load_weights(sys.argv[1])
print(json.dumps([weights.config.to_json(), sorted({name.partition(".")[0] for name in sys.modules})]))
"""
UNUSED = {
    "etils",
    "flax",
    "jax",
    "jaxlib",
    "optax",
    "orbax",
    "scipy",
    "tensorboardX",
    "tensorflow",
    "tensorflow_datasets",
    "tensorstore",
    "torch",
}


@pytest.fixture
def places(golden, golden_file, tmp_path):
    """The golden weights in a file of each format, in a folder, and in the cache of the releases."""
    save_weights(tmp_path / "a.pth", golden(11))
    publish.save_folder(tmp_path / "folder", golden(11))
    of_release = {"source_sha256": RELEASED["unisal"].sha256}
    save_weights(
        tmp_path / "cache" / "unisal.safetensors", dataclasses.replace(golden(11), metadata=of_release)
    )
    return {
        ".safetensors": golden_file,
        ".pth": tmp_path / "a.pth",
        "a folder": tmp_path / "folder",
        "a release": "unisal",
    }


@pytest.mark.parametrize("form", [".safetensors", ".pth", "a folder", "a release"])
def test_loading_imports_no_jax(places, golden, tmp_path, form):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(places[form])],
        env={**os.environ, "UNISAL_CACHE": str(tmp_path / "cache"), "UNISAL_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    config, imported = json.loads(done.stdout)
    assert config == golden(11).config.to_json()
    assert "numpy" in imported and not UNUSED & set(imported)
