"""Throughput and peak memory of a training step, compared with a plain PyTorch implementation.

The data are DHF1K clips (224x384, targets 360x640) and SALICON images (288x384, targets 480x640) of seeded
noise. Training starts from the released weights, with the encoder trained and dropout on. Each side runs in
its own process on the CPU, and they take steps in alternation. First, both must agree on a small batch
without dropout in float64, or the benchmark fails. (In float32, rounding alone changes the gradient of the
second step by percents, since activations cross the kinks of ReLU6.) Without PyTorch (extra `torch`), only
ours is measured. Both processes load JAX's libraries, about 0.2 GB.

If JAX finds an accelerator or several devices, ours is then measured on them, in float32 and bfloat16, on 1,
2, 4 ... devices. Each speed is converted to the time of the paper's 16 epochs; see `paper_hours`. The file is
rewritten after each measurement.

    python -m benchmarks.train_step [--clips 4] [--frames 12] [--images 32] [--repeats 5] [--json OUT]
    python -m benchmarks.train_step --no-cpu --dtypes bfloat16
"""

import argparse
import ctypes
import importlib.util
import json
import math
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers.train_batches import ground_truth
from unisal_jax.cli.flags import input_size
from unisal_jax.cli.memory import restart_with_large_pages
from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.data.examples import Arrays
from unisal_jax.domains import DHF1K, HOLLYWOOD2, SALICON, UCF_SPORTS, Domain, Size
from unisal_jax.files import atomic_path
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train.optimizer import OptimizerConfig, learning_rate
from unisal_jax.train.state import AXIS, create, replicate
from unisal_jax.train.step import pmapped, train_step
from unisal_jax.weights.store import load_weights

OPTIMIZER = OptimizerConfig()
# The first epoch in which the encoder is trained.
EPOCH = OPTIMIZER.frozen_encoder_epochs

CHECK_STEPS = 2
TOLERANCE = 1e-6  # relative tolerance of losses and gradient norms in float64

# Batches per epoch of the paper's training set (section 4.1). Hollywood-2 videos are cut into shots, and
# shots of fewer than 12 frames at 6 fps are dropped. The paper does not say how many remain, so each video
# counts once. A tenth of the 823 and 103 training videos of Hollywood-2 and UCF Sports is for validation.
PAPER_EPOCHS = 16
PAPER_BATCHES = ((DHF1K, 600 // 4), (HOLLYWOOD2, 741 // 4), (UCF_SPORTS, 93 // 4), (SALICON, 10_000 // 32))
PAPER_VIDEO_FRAMES, PAPER_IMAGES = 4 * CLIP_FRAMES, 32


@dataclass(frozen=True)
class Case:
    """A batch of one domain: `count` clips of `frames` frames, or `count` images."""

    domain: Domain
    count: int
    frames: int

    @property
    def label(self) -> str:
        of = "images" if self.domain.static else f"clips x {self.frames} frames"
        return f"{self.domain.source_name}, {self.count} {of}"

    def arrays(self) -> Arrays:
        """Noise images, each with a blob as map and six fixations near it."""
        rng = np.random.default_rng(0)
        shape = (self.count, self.frames)
        frames = rng.integers(0, 256, (*shape, *self.domain.input_size, 3), np.uint8)
        size = self.domain.target_size or self.domain.input_size
        density, fixations = ground_truth(rng, (*shape, *size))
        maps = np.rint(255 * density / density.max((-2, -1), keepdims=True)).astype(np.uint8)
        return Arrays(frames, maps, np.packbits(fixations, axis=-1))


class OurTraining:
    """Training of one domain from the released weights; runs in a separate process.

    Args:
      domain: the domain.
      dtype: dtype of the computation.
      devices: number of devices that share the batch.
      backend: name of the only JAX platform to use; None for JAX's choice.
    """

    def __init__(self, domain: Domain, dtype: str, devices: int, backend: str | None):
        if backend is not None:
            jax.config.update("jax_platforms", backend)
        jax.config.update("jax_enable_x64", dtype == "float64")
        self.domain, self.dtype, self.devices = domain, jnp.dtype(dtype), devices
        self.weights = load_weights("unisal")
        if dtype == "float64":
            wide = jax.tree.map(np.float64, self.weights.variables)
            self.weights = replace(self.weights, variables=wide)

    def check(self, arrays: Arrays, steps: int) -> list[tuple[float, float]]:
        """(loss, gradient norm before clipping) of the first steps without dropout."""
        self.start(arrays, dropout=False)
        taken = [self._step() for _ in range(steps)]
        return [(float(metrics["loss"]), float(metrics["gradient_norm"])) for metrics in taken]

    def start(self, arrays: Arrays, dropout: bool = True) -> None:
        """Creates state, program (not yet compiled) and batch."""
        config = with_domain(self.weights.config, self.domain)
        if not dropout:
            config = replace(config, skip_dropout=0.0, rnn_dropout=0.0)
        step = train_step(config, self.domain, OPTIMIZER, False, dtype=self.dtype, axis_name=AXIS)
        self.program = pmapped(step)
        self.state = replicate(create(config, self.weights.variables), jax.local_devices()[: self.devices])
        # On the host, as in training, where each step transfers its batch.
        self.batch = Arrays(*(array.reshape(self.devices, -1, *array.shape[1:]) for array in arrays))
        self.lr = jnp.asarray(
            learning_rate(OPTIMIZER, EPOCH, self.domain), jnp.promote_types(self.dtype, jnp.float32)
        )
        self.key = jax.random.key(0)

    def step(self) -> tuple[float, float]:
        """Takes a step; returns (wall seconds, CPU seconds of all cores)."""
        start, cpu = time.perf_counter(), time.process_time()
        metrics = self._step()
        seconds = time.perf_counter() - start, time.process_time() - cpu
        if not metrics["finite"]:
            raise SystemExit(f"ours: the loss is {metrics['loss']}")
        return seconds

    def peak_bytes(self) -> int:
        """Peak memory of the first device; on a CPU, the peak resident size of the process (on Linux)."""
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    def found(self) -> tuple[str, str, int]:
        """(platform, kind, number) of the devices."""
        devices = jax.local_devices()
        return devices[0].platform, devices[0].device_kind, len(devices)

    def _step(self) -> dict[str, jax.Array]:
        self.state, metrics = self.program(self.state, self.lr, self.batch, self.key)
        return jax.block_until_ready((self.state, metrics))[1]


class Side:
    """A training in a separate process, which executes requests one after the other."""

    def __init__(self, name: str, *arguments: Any):
        spawn = multiprocessing.get_context("spawn")
        self.name = name
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, name, arguments), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Calls a method of the training and returns its result."""
        try:
            self.connection.send((what, arguments))
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise SystemExit(
                f"{self.name}: failed in {what}, exit code {self.process.exitcode} (-9: out of memory?)"
            ) from None

    def timed_step(self) -> tuple[float, float]:
        """The result of `step`, after a warm-up step that allocates memory again after the pause."""
        self.ask("step")
        seconds = self.ask("step")
        self.ask("rest")
        return seconds

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.join()


def _serve(connection: Connection, name: str, arguments: tuple[Any, ...]) -> None:
    training: Any
    if name == "pytorch":
        from benchmarks.torch_training import TorchTraining

        training = TorchTraining(*arguments)
    else:
        training = OurTraining(*arguments)
    with suppress(EOFError):  # the other end was closed
        while True:
            what, rest = connection.recv()
            if what == "rest":
                _give_memory_back()
                connection.send(None)
            else:
                connection.send(getattr(training, what)(*rest))


def _give_memory_back() -> None:
    """Returns free memory to the system if possible, so that both sides need not fit in memory together."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def check(case: Case, code: str) -> dict[str, Any]:
    """Compares losses and gradient norms of the first steps on a small batch; fails unless they agree."""
    small = replace(case, count=2, frames=1 if case.domain.static else 3)
    arrays = small.arrays()
    taken = {}
    for side in (Side("ours", case.domain, "float64", 1, "cpu"), pytorch_side(case, code, "float64")):
        with closing(side):
            taken[side.name] = side.ask("check", arrays, CHECK_STEPS)
    for number, (mine, theirs) in enumerate(zip(taken["ours"], taken["pytorch"], strict=True), 1):
        print(f"{small.label}, step {number}: loss {mine[0]:.8f} and {theirs[0]:.8f} (PyTorch), ", end="")
        print(f"gradient norm {mine[1]:.6f} and {theirs[1]:.6f}")
        # Negated, so that NaN fails as well.
        if not all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in zip(mine, theirs, strict=True)):
            raise SystemExit(f"{small.label}: the sides disagree, so their speed is not compared")
    return {"batch": small.label, "loss_and_gradient_norm": taken}


def pytorch_side(case: Case, code: str, dtype: str) -> Side:
    """Training of the original network; `code` is the folder that contains its code."""
    lr = learning_rate(OPTIMIZER, EPOCH, case.domain)
    return Side("pytorch", code, case.domain.source_name, OPTIMIZER, lr, dtype)


def measure(case: Case, sides: list[Side], repeats: int) -> dict[str, Any]:
    """Lets the sides take steps in alternation; returns measurements by side."""
    arrays = case.arrays()
    frames = case.count * case.frames
    first: dict[str, float] = {}
    taken: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    for side in sides:
        side.ask("start", arrays)
        first[side.name], _ = side.ask("step")
        side.ask("rest")
    for _ in range(repeats):
        for side in sides:
            taken[side.name].append(side.timed_step())
    result = {}
    for side in sides:
        rates = [frames / seconds for seconds, _ in taken[side.name]]
        median = statistics.median(rates)
        result[side.name] = {
            "frames_a_second": {"median": median, "least": min(rates), "most": max(rates)},
            # Less sensitive to other programs, but includes PyTorch's waiting threads.
            "cpu_ms_a_frame": 1e3 * statistics.median(cpu for _, cpu in taken[side.name]) / frames,
            "first_step_s": first[side.name],
            # The additional time of the first step, in which ours compiles.
            "compile_s": first[side.name] - frames / median,
            "peak_mb": side.ask("peak_bytes") / 1e6,
        }
    return result


def line(name: str, measured: dict[str, Any]) -> str:
    """The measurements of one side as a line of text."""
    rates = measured["frames_a_second"]
    return (
        f"  {name:24} {rates['median']:8.2f} frames/s ({rates['least']:.2f} to {rates['most']:.2f}), "
        f"{measured['cpu_ms_a_frame']:.0f} ms of CPU per frame, peak {measured['peak_mb']:.0f} MB, "
        f"first step {measured['first_step_s']:.1f} s"
    )


def compare_on_cpu(cases: list[Case], repeats: int) -> dict[str, Any]:
    """Compares ours, on one device, with PyTorch."""
    results = {}
    with tempfile.TemporaryDirectory() as code:
        have_torch = importlib.util.find_spec("torch") is not None
        if have_torch:
            from benchmarks.torch_training import extract_original

            extract_original(Path(code))
        else:
            print("PyTorch is not installed (extra `torch`): measuring ours only")
        for case in cases:
            print(f"{case.label}, CPU")
            agreement = check(case, code) if have_torch else {}
            with closing(Side("ours", case.domain, "float32", 1, "cpu")) as ours:
                if not have_torch:
                    result = measure(case, [ours], repeats)
                else:
                    with closing(pytorch_side(case, code, "float32")) as pytorch:
                        result = measure(case, [ours, pytorch], repeats) | {"check": agreement}
                    medians = [result[name]["frames_a_second"]["median"] for name in ("ours", "pytorch")]
                    result["ratio"] = medians[0] / medians[1]
            for name in ("ours", "pytorch"):
                if name in result:
                    print(line(name, result[name]))
            if "ratio" in result:
                print(f"  ours is {result['ratio']:.2f} times as fast")
            results[case.label] = result
    return results


def on_devices(cases: list[Case], dtypes: list[str], repeats: int, limit: int) -> Iterator[dict[str, Any]]:
    """Measures ours in each dtype on 1, 2, 4 ... devices, as far as they exist and divide the batches.

    Yields all measurements so far, after each case.
    """
    results: dict[str, Any] = {}
    for dtype in dtypes:
        devices = 1
        while devices <= limit and all(case.count % devices == 0 for case in cases):
            name = f"{dtype}, {devices} device{'s' if devices > 1 else ''}"
            results[name] = {}
            for case in cases:
                # A process for each, as peak memory is counted per process.
                with closing(Side("ours", case.domain, dtype, devices, None)) as ours:
                    results[name][case.label] = measure(case, [ours], repeats)["ours"]
                print(line(f"{name}, {case.domain.source_name}", results[name][case.label]))
                yield results
            if [case.domain for case in cases] == [DHF1K, SALICON]:  # at their default sizes
                rates = [results[name][case.label]["frames_a_second"]["median"] for case in cases]
                results[name]["paper_hours"] = paper_hours(*rates)
                print(f"  {name}: the paper's 16 epochs in {results[name]['paper_hours']:.2f} hours")
                yield results
            devices *= 2


def paper_hours(dhf1k: float, salicon: float) -> float:
    """Hours of all steps of the paper's 16 epochs at these frames/s, without validation.

    Assumes that frames of the other video datasets cost as much as DHF1K's, in proportion to the input size,
    and that all epochs train the encoder, although the first two do not: a slight overestimate.
    """
    seconds = 0.0
    for domain, batches in PAPER_BATCHES:
        if domain.static:
            seconds += batches * PAPER_IMAGES / salicon
        else:
            pixels = math.prod(domain.input_size) / math.prod(DHF1K.input_size)
            seconds += batches * PAPER_VIDEO_FRAMES * pixels / dhf1k
    return PAPER_EPOCHS * seconds / 3600


def main() -> None:
    # Both sides use large pages, as `unisal train` does.
    restart_with_large_pages()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4, help="clips in a DHF1K batch")
    parser.add_argument("--frames", type=int, default=CLIP_FRAMES, help="frames of a clip")
    parser.add_argument("--images", type=int, default=PAPER_IMAGES, help="images in a SALICON batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--devices", type=int, help="largest number of devices (default: all)")
    parser.add_argument("--no-cpu", action="store_true", help="skip the comparison with PyTorch on the CPU")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="dtypes of the steps on JAX's devices")
    parser.add_argument(
        "--input-size", type=input_size, metavar="HxW", help="size of inputs and targets (default: by domain)"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cases = [
        Case(resized(DHF1K, args.input_size), args.clips, args.frames),
        Case(resized(SALICON, args.input_size), args.images, 1),
    ]
    # In another process, since a process that queries a GPU keeps most of its memory.
    with closing(Side("ours", DHF1K, "float32", 1, None)) as probe:
        backend, kind, count = probe.ask("found")
    packages = [f"{name} {metadata.version(name)}" for name in ("numpy", "jax", "jaxlib")]
    with suppress(metadata.PackageNotFoundError):
        packages.append(f"torch {metadata.version('torch')}")
    machine = (
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {count} x {kind}, "
        f"Python {platform.python_version()}, {', '.join(packages)}"
    )
    print(machine)
    result: dict[str, Any] = {"machine": machine}
    if not args.no_cpu:
        result["cpu"] = compare_on_cpu(cases, args.repeats)
        medians = [result["cpu"][case.label]["ours"]["frames_a_second"]["median"] for case in cases]
        result["cpu"]["paper_hours"] = paper_hours(*medians)
        print(f"the paper's 16 epochs at our speed on the CPU: {result['cpu']['paper_hours']:.0f} hours")
    write(args.json, result)
    if backend != "cpu" or count > 1 or args.no_cpu:
        limit = min(count, args.devices or count)
        for measured in on_devices(cases, args.dtypes.split(","), args.repeats, limit):
            write(args.json, result | {"devices": measured})


def write(path: Path | None, result: dict[str, Any]) -> None:
    """Writes a JSON file, if a path is given."""
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


def with_domain(config: UnisalConfig, domain: Domain) -> UnisalConfig:
    """The config with this domain in place of that of the same name."""
    return replace(config, domains=tuple(domain if d.name == domain.name else d for d in config.domains))


def resized(domain: Domain, size: Size | None) -> Domain:
    """The domain with another size of input and targets, if given."""
    return domain if size is None else replace(domain, input_size=size, target_size=size)


if __name__ == "__main__":
    main()
