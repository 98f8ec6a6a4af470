"""`unisal benchmark`: what it counts is right, and what is missing is said."""

import json
import os
import zipfile

import jax
import numpy as np
import pytest

from benchmarks import table
from unisal_jax.benchmark import measure, peers
from unisal_jax.errors import UnisalError


def test_interleaved_in_turn():
    called = []
    seconds = measure.interleave({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3)
    assert called == ["a", "b"] * 4  # the first round does not count
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def test_summary():
    row = measure.summary(np.arange(101) / 1000)
    assert row == {"min_ms": 0.0, "median_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0}


def test_cost_is_the_compilers():
    x = np.zeros((64, 32), np.float32)
    cost = measure.cost(jax.jit(lambda a, b: a @ b).lower(x, x.T))
    assert cost["gflop"] == pytest.approx(2 * 64 * 64 * 32 / 1e9, rel=0.1)
    assert cost["compile_s"] >= 0
    assert jax.config.values["jax_enable_compilation_cache"]


def test_rates():
    rates = measure.rates(np.array([2 * measure.matmul_size() ** 3 / 5e10]), np.array([(1 << 27) / 4e9]))
    assert rates == {"matmul_gflops": 50.0, "matmul_gflops_best": 50.0, "memory_gb_per_s": 4.0}


def test_command(command, golden_file, tmp_path):
    out = tmp_path / "report.json"
    status, printed, _ = command(
        "benchmark", "--weights", golden_file, "--input-size", "32x64", "--batches", "1,2", "--repeats", 2,
        "--json", out,
    )  # fmt: skip
    assert status == 0
    report = json.loads(out.read_text())
    assert set(report["latency"]) >= {"stream", "static"}
    assert report["cost"]["static"]["gflop"] == pytest.approx(2.06, rel=0.02)  # of 256x416, in GFLOP
    assert set(report["throughput"]) == {"1", "2"}
    ours = report["latency"]["stream"]["median_ms"]
    bound = report["cost"]["stream"]["gflop"] / report["rates"]["matmul_gflops"] * 1e3
    assert report["share"]["stream"]["bound"] == pytest.approx(ours / bound, rel=0.01)
    assert "GFLOP" in printed and "peak memory" in printed
    assert ("the machine was busy" in printed) == report["machine"]["busy"]
    # No wheel is at hand here: every peer is named with the reason.
    assert set(report["left_out"]) == {"onnxruntime", "torch_eager", "torch_compile"}
    assert "left out: onnxruntime: the wheel" in printed
    # The README's table has a row a program, and the numbers of the report.
    rows = table.table(report).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:4]] == [table.NAMES["stream"], table.NAMES["static"]]
    assert f"| {report['latency']['stream']['median_ms']:.1f} |" in rows[2]


@pytest.mark.parametrize("load, busy", [(0.5, False), (1e4, True)])
def test_a_busy_machine_is_named(load, busy):
    machine = measure.machine(load)
    assert (machine["load"], machine["busy"]) == (load, busy)


def test_the_load_where_the_system_does_not_tell_it(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (3.14159, 2.0, 1.0))
    assert measure.load() == 3.14
    monkeypatch.delattr(os, "getloadavg")
    assert measure.load() is None


def test_flops_of_a_streamed_frame(golden):
    """Where the original needs 2.33 GFLOP at 224x384 (reference.md, "Measured cost")."""
    from unisal_jax.domains import DHF1K
    from unisal_jax.predict.network import Network

    weights = golden(7)
    network = Network(weights.config, weights.variables)
    frame, ring = np.zeros((224, 384, 3), np.uint8), network.zero_state(DHF1K, 5, (224, 384))
    compiled = network.lower_stream(frame, DHF1K, ring, (224, 384)).compile()
    assert 1.5e9 < compiled.cost_analysis()["flops"] <= 1.75e9


@pytest.mark.parametrize("make", ["text", "zip", "folder"])
def test_not_the_wheel(tmp_path, make):
    wheel = tmp_path / "other.whl"
    if make == "text":
        wheel.write_text("no archive")
    elif make == "zip":
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("other/__init__.py", "")
    else:
        wheel.mkdir()
    with pytest.raises(UnisalError, match=r"other\.whl: not "), peers.unpacked(wheel):
        pass


def test_no_such_wheel(tmp_path):
    with pytest.raises(UnisalError, match=r"gone\.whl"), peers.unpacked(tmp_path / "gone.whl"):
        pass


@pytest.mark.parametrize("flag", [("--batches", "1,0"), ("--repeats", "0"), ("--dtype", "int8")])
def test_bad_flags(command, flag):
    status, _, err = command("benchmark", *flag)
    assert status == 1 and flag[0] in err
