"""Measures this package and other programs, each in its own process, in alternation."""

import contextlib
import dataclasses
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.benchmark import measure, report
from unisal_jax.benchmark.jobs import BANDWIDTH, IMAGE, IMAGE_SIZE, MATMUL, STREAM
from unisal_jax.benchmark.wheel import unpacked
from unisal_jax.benchmark.workers import Process, Turn, take_turns
from unisal_jax.domains import DHF1K, Size
from unisal_jax.errors import UnisalError
from unisal_jax.weights.fetch import WHEEL_REQUIREMENT

_TASKS = (STREAM, IMAGE)
_NO_WHEEL = f"requires the wheel {WHEEL_REQUIREMENT}; pass it with --peers, or install it"


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """What to measure; the fields correspond to the flags of `unisal benchmark`."""

    weights: str = "unisal"
    engine: str = "auto"
    dtype: str = "float32"
    domain: str = DHF1K.name
    input_size: Size | None = None
    repeats: int = 30
    batches: tuple[int, ...] = (1, 2, 4, 8)
    wheel: Path | None = None
    peers: bool = True

    def model_arguments(self, engine: str) -> dict[str, Any]:
        """The arguments of `jobs.ours`."""
        names = ("weights", "dtype", "domain", "input_size")
        return {"engine": engine, **{name: getattr(self, name) for name in names}}


def benchmark(options: BenchmarkOptions) -> dict[str, Any]:
    """Measures streaming, single images and batches, of this package and of available peers.

    Each program has its own process; one works at a time, and blocks of their steps alternate. A ratio is
    the median over rounds of the ratio of the medians of two blocks. The machine's rates are measured in the
    same way.

    Returns:
      `cost` of our programs from XLA's compiler; `differences`, the largest difference of a peer's
      log-density from ours for one random frame; `idle`, the largest share of a core that a waiting process
      used; `latency` by task and program; `left_out`, reasons by peer; `machine` and its `rates`; `ratios`
      to ours by task and peer; `share` of the machine's rates that ours reaches, by task; `throughput` by
      batch size.

    Raises:
      UnisalError: this package or the machine cannot be measured.
    """
    load_before = measure.load()
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        arguments = {**options.model_arguments(options.engine), "batches": options.batches}
        ours = stack.enter_context(closing(Process("ours", "ours", arguments)))
        # Compile for, and measure, the device that ours computes on.
        on_cpu = {"JAX_PLATFORMS": "cpu"} if ours.facts["engine"] == "onnxruntime" else {}
        arguments = {"weights": options.weights, "dtype": options.dtype, **_sized(ours)}
        with closing(Process("costs", "costs", arguments, on_cpu)) as process:
            costs: dict[str, dict[str, float]] = process.facts
        arguments = {"dtype": options.dtype}
        machine = stack.enter_context(closing(Process("machine", "machine", arguments, on_cpu)))
        peers = _open_peers(options, ours, stack, left_out) if options.peers else []

        product, memory = Turn(machine, MATMUL), Turn(machine, BANDWIDTH)
        programs = [Turn(each, task) for task in _TASKS for each in (ours, *peers) if task in each.tasks]
        seconds, lost = take_turns([product, memory, *programs], options.repeats)
        of_batches = [Turn(ours, task) for task in ours.tasks if task not in _TASKS]
        seconds_of_batches, lost_batches = take_turns(of_batches, max(3, options.repeats // 3))
        for turn, reason in {**lost, **lost_batches}.items():
            if turn.process in (ours, machine):
                raise UnisalError(reason)
            left_out[turn.process.name] = reason
        usage = {each.name: each.usage() for each in (ours, machine, *peers) if each.name not in left_out}

    by_task = {
        task: {turn.process.name: seconds[turn] for turn in programs if turn.task == task and turn in seconds}
        for task in _TASKS
    }
    of_machine = report.Machine(
        seconds[product], seconds[memory], machine.facts["flops"], machine.facts["bytes"]
    )
    return {
        "cost": costs,
        "differences": _differences(options, ours, peers),
        "dtype": options.dtype,
        "engine": ours.facts["engine"],
        "idle": round(max(each["idle_cpu_s"] / each["idle_s"] for each in usage.values()), 4),
        "input_sizes": {IMAGE: list(IMAGE_SIZE), STREAM: ours.facts["input_size"]},
        "latency": {
            task: {name: measure.summary(each) for name, each in row.items()} for task, row in by_task.items()
        },
        "left_out": left_out,
        "machine": measure.machine(load_before, machine.facts["device"]),
        "peak_mb": usage["ours"]["peak_mb"],
        "rates": of_machine.rates(),
        "ratios": {
            task: {name: report.ratio(each, row["ours"]) for name, each in row.items() if name != "ours"}
            for task, row in by_task.items()
        },
        "repeats": options.repeats,
        "share": {task: report.share(costs[task], row["ours"], of_machine) for task, row in by_task.items()},
        "throughput": {
            turn.task: {
                "frames_per_s": round(int(turn.task.partition(",")[0]) / float(np.median(taken)), 1),
                **measure.summary(taken),
            }
            for turn, taken in seconds_of_batches.items()
        },
    }


def _sized(ours: Process) -> dict[str, Any]:
    return {name: ours.facts[name] for name in ("domain", "input_size")}


def _open_peers(
    options: BenchmarkOptions, ours: Process, stack: contextlib.ExitStack, left_out: dict[str, str]
) -> list[Process]:
    """The processes of the available peers; for the others, adds a reason to `left_out`."""
    found: list[Process] = []

    def open_peer(name: str, job: str, arguments: dict[str, Any]) -> None:
        try:
            found.append(stack.enter_context(closing(Process(name, job, arguments))))
        except UnisalError as error:
            left_out[name] = str(error)

    if ours.facts["engine"] == "jax":
        left_out["jax"] = "this is the engine measured as ours"
    else:
        open_peer("jax", "ours", options.model_arguments("jax"))

    size = {"input_size": ours.facts["input_size"]}
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        files = {task: _exported(options.weights, ours, task, folder) for task in _TASKS}
    except UnisalError as error:
        left_out |= dict.fromkeys(("exported", "openvino"), str(error))
    else:
        for name in ("exported", "openvino"):
            open_peer(name, name, {"files": files, **size})

    root = stack.enter_context(unpacked(options.wheel))
    if root is None:
        left_out |= dict.fromkeys(("public_onnx", "torch_eager", "torch_compile"), _NO_WHEEL)
        return found
    open_peer("public_onnx", "public_onnx", {"root": str(root)})
    open_peer("torch_eager", "torch", {"root": str(root), "compiled": False, **size})
    open_peer("torch_compile", "torch", {"root": str(root), "compiled": True, **size})
    return found


def _exported(weights: str, ours: Process, task: str, folder: Path) -> str:
    """Exports our ONNX file for a task, in a separate process; returns its path."""
    height, width = ours.facts["input_size"] if task == STREAM else IMAGE_SIZE
    path = str(folder / f"{task}.onnx")
    streaming = ["--streaming"] if task == STREAM and ours.facts["recurrent"] else []
    command = [sys.executable, "-m", "unisal_jax", "export", "--format", "onnx", "--uint8", *streaming]
    command += [
        "--weights",
        weights,
        "--domain",
        ours.facts["domain"],
        "--input-size",
        f"{height}x{width}",
        path,
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.split("\n") if line.strip()]
        raise UnisalError(said[-1] if said else f"unisal export ended with status {done.returncode}")
    return path


def _differences(
    options: BenchmarkOptions, ours: Process, peers: list[Process]
) -> dict[str, dict[str, float]]:
    """Differences by task and peer; the original code and public file only have released DHF1K weights."""
    comparable = options.weights == "unisal" and ours.facts["domain"] == DHF1K.name
    differences: dict[str, dict[str, float]] = {task: {} for task in _TASKS}
    for peer in peers:
        if comparable or peer.name in ("jax", "exported", "openvino"):
            for task in peer.tasks:
                apart = np.abs(peer.maps[task] - ours.maps[task]).max()
                differences[task][peer.name] = float(f"{apart:.2g}")
    return differences
