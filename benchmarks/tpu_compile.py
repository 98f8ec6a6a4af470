"""Compiles the paper's training, and prediction, for TPUs on a machine without one.

libtpu contains the compiler, and JAX's ahead-of-time compilation requires no chip. This shows that each
program compiles for a chip, how large it is, and that it fits into the chip's memory. Nothing runs: times are
bounds from the compiler's counts and the chip's published figures. See docs/howto/train_pod.md.

    make tpu                                                    # all programs, hours on two cores
    python -m benchmarks.tpu_compile --topologies v5e:2x2 --programs train --domains dhf1k [--json OUT]

Programs: `train` (encoder trained), `frozen` (first two epochs) and `evaluate`, with the paper's batch of
each domain, in bfloat16, through the same `pmap` as in training; and `predict`, a batch of 8 images and a
frame of a video on one chip. If the number of chips does not divide the paper's four clips, the batch is
scaled (`batch_scale`). The file is rewritten after each program. CPU seconds are those of this process; if
other programs share the cores, they are up to twice those on an idle machine. The compiler counts the body of
a loop once, so the recurrence over the 12 frames of a clip counts as one frame.
"""

import argparse
import json
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Set before JAX is imported: libtpu would query a metadata server for the machine's TPU, and would lock out
# other processes, although no chip is used.
os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1", JAX_PLATFORMS="cpu")

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from benchmarks.compiling import compile_program
from benchmarks.step_operations import described_variables
from benchmarks.train_step import PAPER_BATCHES, PAPER_EPOCHS, PAPER_IMAGES, write
from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.data.examples import Arrays
from unisal_jax.domains import DHF1K, HOLLYWOOD2, SALICON, SIZE_UNIT, UCF_SPORTS, Domain
from unisal_jax.inference import jax_engine
from unisal_jax.inference.fold import fold
from unisal_jax.inference.jax_operations import forms_of
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.initialization import init_variables
from unisal_jax.normalization import normalize
from unisal_jax.train.config import OptimizerConfig
from unisal_jax.train.state import AXIS, create
from unisal_jax.train.step import eval_step, pmapped, pmapped_eval, train_step

DOMAINS = {domain.name: domain for domain in (DHF1K, HOLLYWOOD2, UCF_SPORTS, SALICON)}
PROGRAMS = ("train", "frozen", "evaluate", "predict")
TOPOLOGIES = ("v5e:2x2", "v5e:1x1", "v5e:2x4", "v6e:2x2")
PAPER_CLIPS, PREDICTED_IMAGES = 4, 8

# From Google Cloud's documentation: bfloat16 TFLOP/s, memory GB/s and memory GB of each chip.
CHIPS = {"v5e": (197.0, 819.0, 16.0), "v6e": (918.0, 1640.0, 32.0)}

_CONFIG = UnisalConfig()


def training(program: str, domain: Domain, devices: list[Any]) -> tuple[jax.stages.Lowered, int]:
    """(lowered step of a domain over all devices, frames per device)."""
    paper, frames = (PAPER_IMAGES, 1) if domain.static else (PAPER_CLIPS, CLIP_FRAMES)
    # Scale the batch such that the devices divide it.
    each = paper * len(devices) // math.gcd(paper, len(devices)) // len(devices)
    height, width = domain.input_size
    rows, columns = domain.target_size or domain.input_size
    shapes = (height, width, 3), (rows, columns), (rows, math.ceil(columns / 8))
    batch = Arrays(
        *(jax.ShapeDtypeStruct((len(devices), each, frames, *shape), jnp.uint8) for shape in shapes)
    )
    variables = described_variables(_CONFIG)
    if program == "evaluate":
        step = eval_step(_CONFIG, domain, dtype=jnp.bfloat16, axis_name=AXIS)
        return pmapped_eval(step, devices).lower(variables, batch), each * frames
    step = train_step(
        _CONFIG,
        domain,
        OptimizerConfig(idle="momentum"),
        frozen=program == "frozen",
        dtype=jnp.bfloat16,
        axis_name=AXIS,
    )
    state = jax.eval_shape(lambda variables: create(_CONFIG, variables), variables)
    key = jax.eval_shape(lambda: jax.random.key(0))
    lr = jax.ShapeDtypeStruct((), jnp.float32)
    return pmapped(step, devices).lower(state, lr, batch, key), each * frames


def prediction(domain: Domain, device: Any) -> tuple[jax.stages.Lowered, int]:
    """The engine's lowered program for images (static domain) or the next frame of a video, on one device."""
    on = jax.sharding.SingleDeviceSharding(device)

    def shaped(array: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=on)

    variables = init_variables(_CONFIG, jax.random.key(0))
    folded = fold(jax.tree.map(jax.device_get, variables), _CONFIG, domain)
    params = jax.tree.map(shaped, folded.sized(domain.input_size, folded.params))
    program = jax_engine.Program(_CONFIG, "bfloat16", forms_of("tpu"))
    count = PREDICTED_IMAGES if domain.static else 1
    frames = jax.ShapeDtypeStruct((count, *domain.input_size, 3), jnp.uint8, sharding=on)
    if domain.static:
        images = jax.jit(
            lambda params, frames: jax_engine.log_density(program.of_images(params, frames).logits)
        )
        return images.lower(params, frames), count

    def next_frame(params: Any, state: jax.Array, frames: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        found = program(params, normalize(frames, jnp.bfloat16), state)
        return jax_engine.log_density(found.logits), found.state

    height, width = (side // SIZE_UNIT for side in domain.input_size)
    state = jax.ShapeDtypeStruct((1, height, width, HIDDEN_FEATURES), jnp.bfloat16, sharding=on)
    return jax.jit(next_frame, donate_argnums=1).lower(params, state, frames), count


def chips(topology: str) -> list[Any]:
    """Descriptions of the devices of a topology such as v5e:2x2, which need not be present."""
    sides = [int(side) for side in topology.partition(":")[2].split("x")]
    # A host has 2x2 chips, or all chips of a smaller topology.
    host = [min(side, 2) for side in sides] + [1]
    described: Any = topologies.get_topology_desc(topology, platform="tpu", chips_per_host_bounds=host)
    return list(described.devices)


def estimated_mcycles(executable: jax.stages.Compiled) -> float:
    """Millions of cycles of all operations, as estimated by the TPU compiler."""
    cycles = re.findall(r'"estimated_cycles":"(\d+)"', executable.as_text() or "")
    return sum(map(int, cycles)) / 1e6


def cases(programs: list[str], domains: list[str]) -> Iterator[tuple[str, Domain]]:
    """Yields the programs to compile; prediction has one for images and one for video."""
    for program in programs:
        for name in domains:
            if program != "predict" or DOMAINS[name] in (DHF1K, SALICON):
                yield program, DOMAINS[name]


def compiled(program: str, domain: Domain, topology: str) -> dict[str, float | None]:
    """Compiles one program for a topology such as v5e:2x2 and returns the compiler's counts."""
    devices = chips(topology)
    begun = time.process_time()
    if program == "predict":
        lowered, frames = prediction(domain, devices[0])
    else:
        lowered, frames = training(program, domain, devices)
    traced = time.process_time() - begun
    executable, facts = compile_program(lowered)
    tflops, bandwidth, _ = CHIPS[topology.partition(":")[0]]
    return facts | {
        "trace_cpu_s": traced,
        "frames_a_chip": frames,
        "gbytes_a_frame": facts["gbytes_moved"] / frames,
        "estimated_mcycles": estimated_mcycles(executable),
        "bound_s": max(facts["gflop"] / (1e3 * tflops), facts["gbytes_moved"] / bandwidth),
    }


def paper_hours(programs: dict[str, dict[str, Any]], count: int) -> float | None:
    """Hours of the paper's 16 epochs on `count` chips, if each step takes its bound.

    None if a program is missing. Assumes that all epochs train the encoder, although the first two do not.
    """
    seconds = 0.0
    for domain, batches in PAPER_BATCHES:
        step = programs.get(f"train {domain.name}", {})
        if "bound_s" not in step:
            return None
        frames = PAPER_IMAGES if domain.static else PAPER_CLIPS * CLIP_FRAMES
        seconds += batches * step["bound_s"] * frames / (step["frames_a_chip"] * count)
    return PAPER_EPOCHS * seconds / 3600


def main() -> None:
    """Compiles the programs one after the other and prints the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--topologies", default=",".join(TOPOLOGIES), help="chip:shape,... (default: %(default)s)"
    )
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="default: %(default)s")
    parser.add_argument("--domains", default=",".join(DOMAINS), help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="add the programs to this file")
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    result: dict[str, Any] = {"topologies": {}}
    if args.json is not None and args.json.exists():
        result = json.loads(args.json.read_text())
    result |= {"jax": jax.__version__, "dtype": "bfloat16"}
    for topology in args.topologies.split(","):
        chip, _, shape = topology.partition(":")
        found = result["topologies"].setdefault(topology, {"programs": {}})
        for program, domain in cases(args.programs.split(","), args.domains.split(",")):
            name = f"{program} {domain.name}"
            seen = found["programs"][name] = compiled(program, domain, topology)
            found["paper_hours"] = paper_hours(found["programs"], math.prod(map(int, shape.split("x"))))
            print(
                f"{topology} {name}: {seen['operations']:,} operations, {seen['cpu_s']:.0f} s of CPU, "
                f"{seen['gflop']:.1f} GFLOP, {seen['gbytes_a_frame']:.3f} GB per frame, "
                f"{seen['memory_gbytes']:.2f} of {CHIPS[chip][2]:.0f} GB of memory, "
                f"at least {1e3 * seen['bound_s']:.2f} ms per step",
                flush=True,
            )
            write(args.json, result)
        if found.get("paper_hours"):
            print(f"{topology}: the paper's 16 epochs in at least {found['paper_hours']:.2f} hours")


if __name__ == "__main__":
    main()
