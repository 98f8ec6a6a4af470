"""Compile times of the training steps of the four domains on this machine, and XLA's costs of them.

    python -m benchmarks.compiling [--dtype bfloat16] [--clips 4] [--frames 12] [--images 32] [--json OUT]

The encoder is trained; with a frozen encoder a program is half as large. For each domain: StableHLO
operations, seconds to trace and to compile, FLOPs and bytes moved by XLA's count, and memory in addition to
the arguments. The file is rewritten after each domain. Programs in JAX's compilation cache are not compiled
again, so set JAX_COMPILATION_CACHE_DIR to an empty folder, or not at all.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.train_step import OPTIMIZER, PAPER_IMAGES, Case, resized, with_domain, write
from unisal_jax.benchmark import xla
from unisal_jax.cli.flags import input_size
from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.domains import DHF1K, HOLLYWOOD2, SALICON, UCF_SPORTS
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.initialization import init_variables
from unisal_jax.train.loop import place
from unisal_jax.train.state import AXIS, create
from unisal_jax.train.step import pmapped, train_step


def compiled(case: Case, dtype: str) -> dict[str, Any]:
    """Compiles the step of a domain for all local devices, without running it."""
    model_config = with_domain(UnisalConfig(), case.domain)
    state = jax.eval_shape(lambda: create(model_config, init_variables(model_config, jax.random.key(0))))
    step = train_step(model_config, case.domain, OPTIMIZER, False, dtype=jnp.dtype(dtype), axis_name=AXIS)
    begun = time.perf_counter()
    lowered = pmapped(step).lower(state, jnp.float32(0.01), place(case.arrays()), jax.random.key(0))
    return {"trace_s": time.perf_counter() - begun} | compile_program(lowered)[1]


def compile_program(lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled, dict[str, Any]]:
    """Compiles a program.

    Returns:
      (the compiled program; its StableHLO operations, seconds and CPU seconds of compilation, and by the
      compiler's count for one device and one call: GFLOP, gigabytes moved, and gigabytes of temporaries and
      of all memory).
    """
    begun, cpu = time.perf_counter(), time.process_time()
    program = lowered.compile()
    ended, cpu_ended = time.perf_counter(), time.process_time()
    cost = program.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list) else cost
    memory = program.memory_analysis()
    facts = {
        "compile_s": ended - begun,
        "cpu_s": cpu_ended - cpu,
        "operations": sum(" = " in line for line in lowered.as_text().splitlines()),
        "gflop": cost.get("flops", 0.0) / 1e9,
        "gbytes_moved": cost.get("bytes accessed", 0.0) / 1e9,
        "temporary_gbytes": None,
        "memory_gbytes": None,
    }
    if memory is not None:
        held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        facts["temporary_gbytes"] = memory.temp_size_in_bytes / 1e9
        facts["memory_gbytes"] = (held + memory.temp_size_in_bytes) / 1e9
    return program, facts


def main() -> None:
    """Compiles one domain after the other and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--clips", type=int, default=4, help="clips in a batch of a video domain")
    parser.add_argument("--frames", type=int, default=CLIP_FRAMES, help="frames of a clip")
    parser.add_argument("--images", type=int, default=PAPER_IMAGES, help="images in a SALICON batch")
    parser.add_argument("--only", metavar="DOMAIN,DOMAIN", help="these domains (default: all four)")
    parser.add_argument(
        "--input-size", type=input_size, metavar="HxW", help="size of inputs and targets (default: by domain)"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cases = [Case(resized(SALICON, args.input_size), args.images, 1)]
    for domain in (DHF1K, HOLLYWOOD2, UCF_SPORTS):
        cases.append(Case(resized(domain, args.input_size), args.clips, args.frames))
    if args.only:
        cases = [case for case in cases if case.domain.name in args.only.split(",")]
    result: dict[str, Any] = {"device": xla.device(), "dtype": args.dtype, "programs": {}}
    for case in cases:
        seen = result["programs"][case.label] = compiled(case, args.dtype)
        print(
            f"{case.label}: traced in {seen['trace_s']:.1f} s, compiled in {seen['compile_s']:.1f} s "
            f"({seen['cpu_s']:.0f} s of CPU), {seen['operations']:,} operations, "
            f"{seen['gbytes_moved']:.2f} GB moved",
            flush=True,
        )
        write(args.json, result)


if __name__ == "__main__":
    main()
