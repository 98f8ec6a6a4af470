"""Size of the steps' programs before compilation, which determines the compile time."""

import json
import subprocess
import sys

import jax.numpy as jnp
import pytest

from benchmarks.step_operations import operations


@pytest.mark.parametrize(
    ("form", "platform", "train", "most"),
    [
        ("grouped", None, True, 6_000),
        ("grouped", None, False, 1_800),
        ("shifted", None, True, 10_000),
        ("shifted", None, False, 3_000),
        ("auto", "tpu", True, 10_000),
        ("auto", "tpu", False, 3_000),
    ],
)
def test_operations_of_dhf1ks_steps(form, platform, train, most):
    """The longest variant: with bfloat16 conversions and idle parameters."""
    assert operations(form, train, jnp.bfloat16, platform).total() <= most


@pytest.mark.slow
def test_a_program_compiles_for_a_tpu(tmp_path):
    """With libtpu and without a TPU: the smallest program, for the next frame of a video."""
    pytest.importorskip("libtpu", reason="requires the extra tpu")
    command = [sys.executable, "-m", "benchmarks.tpu_compile", "--json", tmp_path / "out.json"]
    chosen = ["--topologies", "v5e:1x1", "--programs", "predict", "--domains", "dhf1k"]
    subprocess.run([*command, *chosen], check=True)
    found = json.loads((tmp_path / "out.json").read_text())["topologies"]["v5e:1x1"]["programs"]
    assert found["predict dhf1k"]["memory_gbytes"] < 1 and found["predict dhf1k"]["gflop"] > 1
