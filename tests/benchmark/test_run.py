"""`unisal benchmark`: processes alternate, the counts are right, and missing peers are reported."""

import json
import os
import zipfile
from contextlib import closing

import jax
import numpy as np
import pytest

from benchmarks import table
from unisal_jax.benchmark import measure, report, xla
from unisal_jax.benchmark.jobs import BANDWIDTH, IMAGE, MATMUL, STREAM, shown
from unisal_jax.benchmark.wheel import unpacked
from unisal_jax.benchmark.workers import Process, Turn, take_turns
from unisal_jax.domains import find_domain
from unisal_jax.errors import UnisalError
from unisal_jax.predict.model import load

SIZE = (32, 64)


@pytest.fixture(scope="module")
def ours(golden_file):
    """A process that runs this package, at a small size."""
    arguments = {"weights": str(golden_file), "dtype": "float32", "domain": "dhf1k", "input_size": SIZE}
    with closing(Process("ours", "ours", {**arguments, "engine": "auto", "batches": (2,)})) as process:
        yield process


@pytest.fixture(scope="module")
def machine():
    """A process that measures the machine's rates."""
    with closing(Process("machine", "machine", {"dtype": "float32"})) as process:
        yield process


def test_a_process_of_ours(ours, golden_file):
    """The job runs this package as users call it."""
    assert ours.tasks == [STREAM, IMAGE, "2"]
    facts = {"domain": "dhf1k", "engine": "onnxruntime", "input_size": list(SIZE), "recurrent": True}
    assert ours.facts == facts
    model = load(golden_file)
    stream = model.stream(SIZE, "dhf1k", SIZE, log=True)
    np.testing.assert_allclose(ours.maps[STREAM], stream(shown(STREAM, SIZE)), atol=1e-6)
    image = model.predict_resized(shown(IMAGE, SIZE)[None], find_domain("dhf1k"))[0]
    np.testing.assert_allclose(ours.maps[IMAGE], image, atol=1e-6)


def test_turns(ours, machine):
    """Every round has a block of each process; a waiting process uses no CPU time."""
    turns = [Turn(ours, STREAM), Turn(machine, MATMUL), Turn(machine, BANDWIDTH)]
    seconds, lost = take_turns(turns, 3)
    assert not lost and list(seconds) == turns
    for each in seconds.values():
        assert each.shape[0] == 3 and 5 <= each.shape[1] <= 50 and (each > 0).all()
    for process in (ours, machine):
        usage = process.usage()
        assert usage["idle_s"] > 0 and usage["idle_cpu_s"] < 0.05 * usage["idle_s"]
        assert usage["peak_mb"] > 50


def test_order_of_turns():
    """Each task comes first at times, and none always follows the same one."""

    class Recorder:
        def __init__(self, name: str):
            self.name = name

        def run(self, task: str, steps: int) -> np.ndarray:
            assert (task, steps) == ("a", 5) if len(called) < 3 else ("a", 10)
            called.append(self.name)
            return np.full(steps, 0.01)

    called: list[str] = []
    take_turns([Turn(Recorder(name), "a") for name in "xyz"], 6)
    rounds = ["".join(called[start : start + 3]) for start in range(0, 21, 3)]
    assert rounds[1:] == ["xyz", "zyx", "yzx", "xzy", "zxy", "yxz"]


def test_a_process_that_ends(machine):
    """The others continue without it."""
    with closing(Process("other", "machine", {"dtype": "float32"})) as other:
        os.kill(other._process.pid, 9)
        turns = [Turn(other, MATMUL), Turn(machine, MATMUL)]
        seconds, lost = take_turns(turns, 1)
    assert list(seconds) == [turns[1]]
    assert lost == {turns[0]: "the process of other ended with status -9"}


def test_a_job_that_cannot_start(tmp_path):
    with pytest.raises(UnisalError, match=r"NoSuchFile: .*none\.onnx"):
        Process("exported", "exported", {"files": {IMAGE: str(tmp_path / "none.onnx")}, "input_size": SIZE})


def test_interleaved_in_turn():
    called = []
    seconds = xla.interleave({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3)
    assert called == ["a", "b"] * 4  # the first round does not count
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def test_summary():
    row = measure.summary(np.arange(101).reshape(1, 101) / 1000)
    assert row == {"min_ms": 0.0, "median_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0}


def test_ratio_of_rounds():
    """The median over rounds does not change if one round is slow for both."""
    ours = np.array([[1.0, 1, 1], [10, 10, 10], [1, 1, 2]])
    theirs = np.array([[3.0, 3, 3], [30, 30, 60], [3, 2, 3]])
    assert report.ratio(theirs, ours) == {"median": 3.0, "min": 2.0}


def test_rates_and_share():
    rounds = np.array([[1.0, 1], [2, 2], [4, 4]])
    machine = report.Machine(rounds, rounds, flops=5e10, bytes=4e9)
    rates = {"matmul_gflops": 25.0, "matmul_gflops_best": 50.0, "memory_gb_per_s": 2.0}
    assert machine.rates() == rates
    # A program with a tenth of the product's FLOPs, which takes a fifth of its time in every round.
    share = report.share({"gflop": 5, "megabytes": 100}, rounds / 5, machine)
    assert share == {"bound": 2.0, "bound_min": 2.0, "matmul": 0.5, "memory": 0.125}


def test_cost_is_the_compilers():
    x = np.zeros((64, 32), np.float32)
    cost = xla.cost(jax.jit(lambda a, b: a @ b).lower(x, x.T))
    assert cost["gflop"] == pytest.approx(2 * 64 * 64 * 32 / 1e9, rel=0.1)
    assert cost["compile_s"] >= 0
    assert jax.config.values["jax_enable_compilation_cache"]


def test_command(command, golden_file, tmp_path):
    out = tmp_path / "report.json"
    status, printed, _ = command(
        "benchmark", "--weights", golden_file, "--input-size", "32x64", "--batches", "1,2", "--repeats", 2,
        "--no-peers", "--json", out,
    )  # fmt: skip
    assert status == 0
    found = json.loads(out.read_text())
    assert {task: list(row) for task, row in found["latency"].items()} == {STREAM: ["ours"], IMAGE: ["ours"]}
    assert found["engine"] == "onnxruntime" and found["left_out"] == {}
    assert found["cost"]["static"]["gflop"] == pytest.approx(2.06, rel=0.02)  # of 256x416, in GFLOP
    assert set(found["throughput"]) == {"1", "2"}
    share = found["share"]["stream"]
    assert share["bound"] == pytest.approx(1 / share["matmul"], rel=0.01)
    assert found["idle"] < 0.05
    assert "GFLOP" in printed and "peak memory" in printed
    assert ("the machine was busy" in printed) == found["machine"]["busy"]
    # The table of docs/speed.md has a row per program, with the numbers of the report.
    rows = table.table(found).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:4]] == [table.NAMES["ours"]] * 2
    assert f"| {found['latency']['stream']['ours']['median_ms']:.1f} |" in rows[2]


@pytest.mark.slow
def test_peers(command, golden_file, tmp_path):
    """Peers without further requirements run; every other is reported with a reason."""
    out = tmp_path / "report.json"
    status, printed, _ = command(
        "benchmark", "--weights", golden_file, "--input-size", "32x64", "--batches", 1, "--repeats", 2,
        "--json", out,
    )  # fmt: skip
    assert status == 0
    found = json.loads(out.read_text())
    for row in found["differences"].values():
        assert set(row) >= {"exported", "jax"} and all(apart < 1e-3 for apart in row.values())
    assert set(found["ratios"]["stream"]) >= {"exported", "jax"}
    assert set(found["left_out"]) >= {"public_onnx", "torch_compile", "torch_eager"}
    assert "left out: public_onnx: requires the wheel" in printed


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
    """The original requires 2.33 GFLOP at 224x384 (reference.md, "Measured cost")."""
    from unisal_jax.domains import DHF1K
    from unisal_jax.inference.jax_engine import JaxEngine

    engine = JaxEngine(golden(7))
    state = engine.zero_state(DHF1K, 1, (224, 384))
    compiled = engine.lower_frames(np.zeros((1, 224, 384, 3), np.uint8), DHF1K, state).compile()
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
    with pytest.raises(UnisalError, match=r"other\.whl: not "), unpacked(wheel):
        pass


def test_no_such_wheel(tmp_path):
    with pytest.raises(UnisalError, match=r"gone\.whl"), unpacked(tmp_path / "gone.whl"):
        pass


@pytest.mark.parametrize(
    "flag", [("--batches", "1,0"), ("--repeats", "0"), ("--dtype", "int8"), ("--engine", "tpu")]
)
def test_bad_flags(command, flag):
    status, _, err = command("benchmark", *flag)
    assert status == 1 and flag[0] in err
