"""`unisal analyze`: draws the paper's figures and tables from data and weights."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from unisal_jax.analysis.catalogue import NAMES, NEED_DATA, STUDIES
from unisal_jax.cli import checks, flags
from unisal_jax.cli.evaluate import PROTOCOLS
from unisal_jax.cli.prepare import prepare_synthetic
from unisal_jax.errors import UnisalError

_OVERRIDE = "--config."
_SYNTHETIC = "synthetic"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    names = "\n".join(f"  {name:14} {text}" for name, (_, text) in NAMES.items())
    parser.description = f"Draws the paper's figures and tables from data and weights.\n\n{names}\n  all"
    parser.add_argument(
        "names", nargs="+", choices=(*NAMES, "all"), metavar="NAME", help="analyses to run; see above"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for figures, tables and index.html"
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="PATH[:SPLIT]",
        help="a dataset as for unisal evaluate; may be repeated. synthetic: random datasets made in DIR",
    )
    flags.add_weights(parser)
    parser.add_argument(
        "--samples",
        type=flags.positive,
        default=256,
        metavar="N",
        help="frames to sample from each dataset (default: 256)",
    )
    parser.add_argument(
        "--seed", type=flags.positive, default=1, help="random seed of the samples (default: 1)"
    )
    parser.add_argument(
        "--module",
        default="upsampling_16/expand_norm",
        help="batch norm that retrospective plots (default: the first of US2)",
    )
    parser.add_argument(
        "--protocol", default="unisal", help="protocol of compare: unisal (default), dhf1k or pysaliency"
    )
    trainings = parser.add_argument_group("ablation and settings")
    trainings.add_argument(
        "--train", action="store_true", help="run missing trainings (default: tabulate the existing ones)"
    )
    trainings.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of training runs (default: runs)",
    )
    trainings.add_argument(
        "--configs",
        type=Path,
        default=Path("configs"),
        metavar="DIR",
        help="folder of ablation.py and settings.py",
    )
    trainings.add_argument(
        "--seeds",
        type=flags.positives,
        default=(1,),
        metavar="N,N",
        help="train one run per seed (default: 1)",
    )
    flags.add_examples(
        parser,
        "unisal analyze all --data synthetic --out analysis",
        "unisal analyze qualitative compare --data data/own/mine/1.0.0:test --out analysis",
        "--config.NAME=VALUE changes a field of the runs' configs, such as --config.epochs=4.",
    )
    parser.set_defaults(check=check, run=run, open_flags=_OVERRIDE)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    if args.protocol not in PROTOCOLS:
        raise UnisalError(f"--protocol {args.protocol!r}: unknown; choose from {', '.join(PROTOCOLS)}")
    needing = [name for name in _wanted(args) if name in NEED_DATA]
    if needing and not args.data:
        raise UnisalError(f"--data: {needing[0]} requires a dataset, or --data synthetic")
    if _SYNTHETIC in args.data and len(args.data) > 1:
        raise UnisalError("--data: synthetic cannot be combined with other datasets")
    for path in args.data:
        folder = path.rpartition(":")[0] if ":" in path and not os.path.exists(path) else path
        if path != _SYNTHETIC:
            checks.check_folder_to_read(Path(folder))
    # A dataset's folder may have its own index.html or tables.
    if args.out.exists() and any(os.path.exists(path) and args.out.samefile(path) for path in args.data):
        raise UnisalError(f"{args.out}: this folder is read; choose another one for the results")
    checks.check_folder_to_write(args.out)
    checks.check_weights(args.weights)
    checks.check_extra("unisal analyze", "analysis", "matplotlib", "sklearn")


def run(args: argparse.Namespace) -> int:
    """Runs the analyses, writes their files and the page, and prints its path."""
    from unisal_jax.files import new_folders

    with new_folders([args.out]):
        return _analyse(args, _wanted(args))


def _wanted(args: argparse.Namespace) -> list[str]:
    return list(NAMES) if "all" in args.names else [name for name in NAMES if name in args.names]


def _analyse(args: argparse.Namespace, wanted: list[str]) -> int:
    from unisal_jax.analysis.catalogue import analysis
    from unisal_jax.analysis.context import AnalysisDataset, Context, make_synthetic, open_datasets
    from unisal_jax.analysis.page import write_page
    from unisal_jax.analysis.results import write
    from unisal_jax.backend import start_jax
    from unisal_jax.weights.store import load_weights

    start_jax()
    datasets: tuple[AnalysisDataset, ...] = ()
    synthetic = _SYNTHETIC in args.data
    if any(name in NEED_DATA for name in wanted):
        paths = make_synthetic(args.out / _SYNTHETIC, args.seed) if synthetic else args.data
        datasets = open_datasets(paths, load_weights(args.weights).config.domains)
    context = Context(
        args.weights, datasets, synthetic, args.samples, args.seed, args.runs, args.module, args.protocol
    )
    command = shlex.join(["unisal", *sys.argv[1:]])
    for name in wanted:
        print(f"{name}: {NAMES[name][1]}", flush=True)
        found = _study(name, context, args) if name in STUDIES else analysis(name)(context)
        write(args.out, name, found, command)
        for table in found.tables:
            print(f"\n{table.caption}\n{table.markdown()}\n")
        # Updated after each analysis, so that results can be read while the rest runs.
        page = write_page(args.out, tuple(NAMES))
    print(f"{page}: all figures and tables")
    return 0


def _study(name: str, context, args: argparse.Namespace):
    from unisal_jax.analysis import experiments

    study = {each.name: each for each in (experiments.ABLATION, experiments.SETTINGS)}[name]
    if args.train:
        tiny = experiments.tiny_overrides() if context.synthetic else ()
        overrides = (*tiny, *args.overrides)
        experiments.train_missing(study, args.configs, args.runs, args.seeds, overrides, prepare_synthetic)
    return experiments.analyse(study, context, args.seeds)
