"""`unisal submit`: predicts a test set in the format of a benchmark server."""

import argparse
import sys
from itertools import chain
from pathlib import Path

from unisal_jax.cli import checks, flags

# Copied from `evaluate.submissions`, whose import takes a second, so that `--help` is fast.
BENCHMARKS = ("dhf1k", "salicon", "mit300", "coco-freeview", "cat2000")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("benchmark", type=str.lower, choices=BENCHMARKS, help="benchmark to submit to")
    parser.add_argument(
        "input",
        nargs="+",
        help="the test set: images or videos, folders of these, or globs; for cat2000 also the folder that "
        "holds its category folders",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="output: a new folder for dhf1k and salicon, an .h5 or .hdf5 file for the others",
    )
    parser.add_argument("--domain", help="domain whose parameters to use (default: salicon; dhf1k for video)")
    flags.add_weights(parser)
    flags.add_engine(parser)
    flags.add_examples(
        parser,
        "unisal submit salicon SALICON/test --out salicon_submission",
        "unisal submit mit300 BenchmarkIMAGES --weights unisal-mit1003 --out mit300.h5",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_inputs(args.input)
    checks.check_weights(args.weights, args.domain)


def run(args: argparse.Namespace) -> int:
    """Writes the submission; warns if it does not cover the whole test set."""
    from unisal_jax.evaluate.submissions import BENCHMARKS, check_out, find_stimuli, write_submission
    from unisal_jax.files import keep_inputs
    from unisal_jax.weights.sources import files_of

    benchmark = BENCHMARKS[args.benchmark]
    check_out(benchmark, args.out)
    found = find_stimuli(benchmark, args.input)
    stimuli = found.sources
    read = (path for source in stimuli for path in source.files())
    keep_inputs([args.out], chain(read, files_of(args.weights)))

    write_submission(flags.load_model(args), benchmark, stimuli, args.out, args.domain)
    for line in found.notes:
        print(f"unisal submit: note: {line}", file=sys.stderr)
    if len(stimuli) != benchmark.count:
        print(
            f"unisal submit: {benchmark.title}'s test set has {benchmark.count} {benchmark.kind}s, "
            f"not {len(stimuli)}",
            file=sys.stderr,
        )
    noun = benchmark.kind if len(stimuli) == 1 else f"{benchmark.kind}s"
    print(f"{len(stimuli)} {noun} predicted into {args.out}")
    return 0
