"""`unisal benchmark`: latency, throughput, memory and FLOPs of prediction, compared with other programs."""

import argparse
from pathlib import Path

from unisal_jax.cli import checks, flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_weights(parser)
    parser.add_argument("--domain", default="dhf1k", help="domain whose parameters to use (default: dhf1k)")
    parser.add_argument(
        "--input-size", type=flags.input_size, metavar="HxW", help="size of the frames (default: by domain)"
    )
    parser.add_argument(
        "--repeats",
        type=flags.positive,
        default=30,
        metavar="N",
        help="repetitions of each measurement (default: 30)",
    )
    parser.add_argument(
        "--batches",
        type=flags.positives,
        default=(1, 2, 4, 8),
        metavar="N,N",
        help="batch sizes (default: 1,2,4,8)",
    )
    flags.add_engine(parser)
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="WHEEL",
        help="wheel with the public ONNX file and the original code, or the folder it was unpacked to "
        "(default: the installed package, if any)",
    )
    parser.add_argument("--no-peers", action="store_true", help="measure this package alone")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the report to this file")
    flags.add_examples(
        parser,
        "unisal benchmark --no-peers --json benchmark.json",
        "unisal benchmark --engine jax --repeats 100",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_weights(args.weights, args.domain)
    if args.json is not None:
        checks.check_file_to_write(args.json)
    if args.peers is not None:
        checks.check_inputs([str(args.peers)])


def run(args: argparse.Namespace) -> int:
    """Measures, prints and writes the report."""
    from unisal_jax.benchmark.report import text
    from unisal_jax.benchmark.run import BenchmarkOptions, benchmark
    from unisal_jax.documents import write_json

    options = BenchmarkOptions(
        weights=args.weights,
        engine=args.engine,
        dtype=args.dtype,
        domain=args.domain,
        input_size=args.input_size,
        repeats=args.repeats,
        batches=args.batches,
        wheel=args.peers,
        peers=not args.no_peers,
    )
    report = benchmark(options)
    for line in text(report):
        print(line)
    if args.json:
        write_json(args.json, report)
    return 0
