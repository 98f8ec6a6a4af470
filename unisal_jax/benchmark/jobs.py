"""Jobs of worker processes: this package, other programs that run the network, and the machine's limits.

Each function imports what it uses, so that a process contains the threads of one runtime only.
"""

import dataclasses
import functools
import importlib
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.benchmark.measure import Step, noise
from unisal_jax.benchmark.wheel import ORIGINAL_CODE, ORIGINAL_WEIGHTS, PUBLIC_FILE
from unisal_jax.machine import cores
from unisal_jax.normalization import normalize

STREAM, IMAGE = "stream", "static"
"""Tasks: the next frame of a stream, with recurrent state, and one image of `IMAGE_SIZE`."""
IMAGE_SIZE = (256, 416)
"""The input size of the public ONNX file."""
MATMUL, BANDWIDTH = "matmul", "bandwidth"


@dataclasses.dataclass(frozen=True)
class Job:
    """The tasks of a worker.

    Attributes:
      steps: a function per task. Those that run a network return the map [height, width].
      facts: further facts for the parent process.
      logs: whether the maps are log-densities instead of densities.
      peak_megabytes: returns the peak memory; None for that of the process.
    """

    steps: Mapping[str, Step]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    logs: bool = True
    peak_megabytes: Callable[[], float | None] | None = None


def shown(task: str, input_size: Sequence[int]) -> np.ndarray:
    """The uint8 RGB frame or image that every program gets for a task."""
    return noise((input_size[0], input_size[1]), 0) if task == STREAM else noise(IMAGE_SIZE, 1)


def ours(
    weights: str,
    engine: str,
    dtype: str,
    domain: str,
    input_size: Sequence[int] | None,
    batches: Sequence[int] = (),
) -> Job:
    """This package, as users call it.

    Args:
      weights: as for `unisal_jax.load`.
      engine: as for `unisal_jax.load`.
      dtype: as for `unisal_jax.load`.
      domain: domain whose parameters to use.
      input_size: frame size of the stream; None for that of the domain.
      batches: batch sizes of further tasks, with images of the stream's size; each task is named by its size.
    """
    from unisal_jax.predict.model import load

    model = load(weights, dtype, engine)  # type: ignore[arg-type]
    chosen = model.domain(domain, video=True)
    size = (input_size[0], input_size[1]) if input_size else chosen.input_size
    frame, image = shown(STREAM, size), shown(IMAGE, size)
    stream = model.stream(size, chosen, size, log=True)
    frames = np.stack([noise(size, seed) for seed in range(max(batches, default=1))])

    def run(batch: np.ndarray) -> None:
        model.predict_resized(batch, chosen)

    steps: dict[str, Step] = {
        STREAM: lambda: stream(frame),
        IMAGE: lambda: model.predict_resized(image[None], chosen)[0],
        **{str(count): functools.partial(run, frames[:count]) for count in batches},
    }
    facts = {
        "domain": chosen.name,
        "engine": model.engine.name,
        "input_size": size,
        "recurrent": model.config.has_recurrence(chosen.static),
    }
    if model.engine.name != "jax":
        return Job(steps, facts)
    import jax
    import jax.numpy as jnp

    from unisal_jax.benchmark import xla

    if jax.default_backend() != "cpu" and len(model.engine.devices) == 1:
        placed = jnp.asarray(frames)  # as the output of an input pipeline would be

        def run_placed(batch: Any) -> None:
            jax.block_until_ready(model.engine.images(batch, chosen))

        steps |= {f"{n}, on the device": functools.partial(run_placed, placed[:n]) for n in batches}
    return Job(steps, facts, peak_megabytes=xla.peak_device_megabytes)


def machine(dtype: str) -> Job:
    """Measures the rates of JAX's device: matrix product and memory bandwidth."""
    from unisal_jax.backend import start_jax
    from unisal_jax.benchmark import xla

    start_jax()
    steps = {MATMUL: xla.matmul_step(dtype), BANDWIDTH: xla.bandwidth_step()}
    facts = {"bytes": xla.bandwidth_bytes(), "device": xla.device(), "flops": xla.matmul_flops()}
    return Job(steps, facts)


def costs(weights: str, dtype: str, domain: str, input_size: Sequence[int]) -> Job:
    """Has no task; its facts are the costs of our programs by task, from XLA's compiler."""
    from unisal_jax.backend import start_jax
    from unisal_jax.benchmark import xla
    from unisal_jax.domains import find_domain
    from unisal_jax.inference.jax_engine import JaxEngine
    from unisal_jax.weights.installed import with_domain
    from unisal_jax.weights.store import load_weights

    start_jax()
    loaded = with_domain(load_weights(weights), domain)
    engine = JaxEngine(loaded, dtype)
    chosen = find_domain(domain, loaded.config.domains)
    size = (input_size[0], input_size[1])
    state = engine.zero_state(chosen, 1, size)
    programs = {
        STREAM: engine.lower_frames(shown(STREAM, size)[None], chosen, state),
        IMAGE: engine.lower_images(shown(IMAGE, size)[None], chosen),
    }
    return Job({}, {task: xla.cost(lowered) for task, lowered in programs.items()})


def exported(files: dict[str, str], input_size: Sequence[int]) -> Job:
    """ONNX Runtime with default options on our exported files: uint8 in, densities out."""
    import onnxruntime

    def step(task: str, path: str) -> Step:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        frames, *states = session.get_inputs()
        inputs = {frames.name: shown(task, input_size)[None]}
        state = {each.name: np.zeros(each.shape, np.float32) for each in states}

        def run() -> np.ndarray:
            maps, *next_state = session.run(None, {**inputs, **state})
            state.update(zip(state, next_state, strict=True))
            return maps[0]

        return run

    return Job({task: step(task, path) for task, path in files.items()}, logs=False)


def openvino(files: dict[str, str], input_size: Sequence[int]) -> Job:
    """OpenVINO on our exported files, in float32, with a thread per core, optimised for latency."""
    from openvino import Core

    options = {
        "INFERENCE_NUM_THREADS": cores(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }

    def step(task: str, path: str) -> Step:
        model = Core().compile_model(path, "CPU", options)
        request = model.create_infer_request()
        frames, *states = model.inputs
        inputs = {frames.any_name: shown(task, input_size)[None]}
        state = {each.any_name: np.zeros(tuple(each.shape), np.float32) for each in states}

        def run() -> np.ndarray:
            maps, *next_state = request.infer({**inputs, **state}, share_inputs=True).values()
            state.update(zip(state, next_state, strict=True))
            return maps[0]

        return run

    return Job({task: step(task, path) for task, path in files.items()}, logs=False)


def public_onnx(root: str) -> Job:
    """ONNX Runtime with default options on the public file: static, DHF1K parameters, `IMAGE_SIZE`.

    Its input is normalised beforehand.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(Path(root) / PUBLIC_FILE), providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: _channels_first(shown(IMAGE, IMAGE_SIZE))}
    return Job({IMAGE: lambda: session.run(None, inputs)[0].reshape(IMAGE_SIZE)})


def torch(root: str, compiled: bool, input_size: Sequence[int]) -> Job:
    """The original PyTorch code, domain DHF1K, with recurrent state.

    Its input is normalised beforehand.
    """
    import torch

    model = _original(Path(root)).UNISAL(cnn_cfg={"pretrained": False}, verbose=0)
    model.load_state_dict(torch.load(Path(root) / ORIGINAL_WEIGHTS, map_location="cpu", weights_only=True))
    model.eval()
    call = torch.compile(model) if compiled else model
    x = torch.from_numpy(_channels_first(shown(STREAM, input_size)))
    hidden = None

    def run() -> np.ndarray:
        nonlocal hidden
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # By default, the original code takes a single frame for an image and bypasses the RNN.
            out, hidden = call(x, source="DHF1K", h0=hidden, return_hidden=True, static=False)
        return out.numpy().reshape(tuple(input_size))

    return Job({STREAM: run})


def _original(root: Path) -> types.ModuleType:
    """The module with the original network, without its package's `__init__`, which imports training code."""
    package = types.ModuleType("_original_unisal")
    package.__path__ = [str(root / ORIGINAL_CODE)]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}.model")


def _channels_first(frame: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(normalize(frame).transpose(2, 0, 1)[None, None])


JOBS: dict[str, Callable[..., Job]] = {
    each.__name__: each for each in (costs, exported, machine, openvino, ours, public_onnx, torch)
}
