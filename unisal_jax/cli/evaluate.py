"""`unisal evaluate`: scores this model, or other saliency maps, on a dataset under a named protocol."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from unisal_jax.cli import checks, flags
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.results import BASELINES

if TYPE_CHECKING:
    from unisal_jax.evaluate.results import Evaluation

# Copied from `evaluate.protocols`, which imports JAX.
PROTOCOLS = ("unisal", "dhf1k", "pysaliency")
# The protocol of `evaluate.scanpath_run`, which scores sequences of fixations instead of maps.
SCANPATH = "scanpath"
# Flags that only make sense for maps.
_OF_MAPS = ("baselines", "html", "prior", "stride")
# Flags of the model, which does not run where maps are given.
_OF_THE_MODEL = ("domain", "input_size", "stride")
_BASELINES = ("centre_prior", "uniform")  # by default


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "--data",
        required=True,
        help="a prepared dataset, a released one, or a folder of images/ maps/ fixations/ (or one per clip)",
    )
    parser.add_argument(
        "--split", help="train, validation, test or all (default: the test split, if it has ground truth)"
    )
    parser.add_argument(
        "--domain",
        help="domain whose parameters to use (default: the one the weights were trained on; for the released "
        "weights salicon, or dhf1k for video)",
    )
    parser.add_argument(
        "--protocol",
        default="unisal",
        help="whose metric definitions to use: unisal (default), dhf1k or pysaliency; scanpath scores "
        "sequences of fixations, sampled from the maps as unisal scanpath does, instead of maps",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        help="score the maps in this folder instead of this model; with --protocol scanpath also a table of "
        "sequences (stimulus, path, x, y)",
    )
    flags.add_weights(parser)
    flags.add_engine(parser)
    parser.add_argument(
        "--input-size",
        type=flags.input_size,
        metavar="HxW",
        help="size of the input (default: the dataset's)",
    )
    parser.add_argument(
        "--stride", type=flags.stride, metavar="N", help="frame stride (default: the dataset's)"
    )
    parser.add_argument(
        "--baselines",
        type=flags.choices((*BASELINES, "none")),
        metavar="NAMES",
        help="comma-separated: centre_prior, uniform, inter_observer (default: the first two); none also "
        "leaves out IG",
    )
    parser.add_argument(
        "--prior",
        help="centre prior: a map (.npy, .mat or image), or train, the mean map of the training split "
        "(default: a Gaussian fitted to the scored fixations)",
    )
    parser.add_argument(
        "--seed", type=flags.positive, default=1, help="random seed of samples and intervals (default: 1)"
    )
    parser.add_argument("--json", type=Path, help="write means, intervals, counts and scores to this file")
    parser.add_argument("--csv", type=Path, help="write the scores of every frame to this file")
    parser.add_argument("--html", type=Path, help="write a report with histograms and examples to this file")
    parser.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="on a video or image that cannot be scored: stop (default), or skip and count it",
    )
    flags.add_examples(
        parser,
        "unisal evaluate --data MIT1003 --domain salicon --protocol pysaliency --json scores.json",
        "unisal evaluate --data DHF1K --predictions their_maps --protocol dhf1k --html report.html",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    if args.protocol not in (*PROTOCOLS, SCANPATH):
        known = ", ".join((*PROTOCOLS, SCANPATH))
        raise UnisalError(f"--protocol {args.protocol!r}: unknown; choose from {known}")
    for name in _OF_MAPS if args.protocol == SCANPATH else ():
        if getattr(args, name) is not None:
            raise UnisalError(
                f"--{name}: applies to maps, but --protocol {SCANPATH} scores sequences; remove it"
            )
    for name in _OF_THE_MODEL if args.predictions is not None else ():
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UnisalError(
                f"{flag}: applies to this model, but --predictions scores other maps; remove it"
            )
    reports = [path for path in (args.json, args.csv, args.html) if path is not None]
    for path in reports:
        checks.check_file_to_write(path)
    if len({os.path.realpath(path) for path in reports}) < len(reports):
        raise UnisalError(f"{reports[-1]}: named for two reports; give each its own file")
    checks.check_folder_to_read(Path(args.data))
    if args.predictions is None:
        checks.check_weights(args.weights, args.domain)
    elif args.protocol == SCANPATH and not args.predictions.is_dir():
        checks.check_inputs([str(args.predictions)])
    else:
        checks.check_folder_to_read(args.predictions)
    if args.prior not in (None, "train"):
        checks.check_inputs([args.prior])


def run(args: argparse.Namespace) -> int:
    """Scores, prints the table and writes the requested files."""
    from unisal_jax.evaluate.predictions import FolderMaps, NetworkMaps, read_map
    from unisal_jax.evaluate.run import EvaluateOptions, MapSource, evaluate
    from unisal_jax.evaluate.scanpath_run import TablePaths, evaluate_scanpaths
    from unisal_jax.evaluate.sources import mean_truth, open_data
    from unisal_jax.files import keep_inputs

    reports = [path for path in (args.json, args.csv, args.html) if path is not None]
    keep_inputs(reports, _read(args))
    skip_errors = args.on_error == "skip"
    notes: list[str] = []
    data = open_data(args.data, args.split, partial=skip_errors)
    about = {"data": data.name, "split": data.split, "command": shlex.join(["unisal", *sys.argv[1:]])}
    method: MapSource | TablePaths
    if args.predictions is not None and args.predictions.is_file():
        method = TablePaths(args.predictions)
        about["predictions"] = args.predictions.name
    elif args.predictions is not None:
        method = (files := FolderMaps(args.predictions, data))
        notes += files.notes
        about["predictions"] = args.predictions.name
    else:
        model = flags.load_model(args)
        domain = model.domain(args.domain, video=data.kind == "video")
        method = NetworkMaps(model, data, domain, args.input_size, args.stride)
        about |= {"weights": str(args.weights), "domain": domain.name}
    prior = None
    if args.prior == "train":
        prior = mean_truth(open_data(args.data, "train", partial=skip_errors), skip_errors)
    elif args.prior is not None:
        prior = read_map(Path(args.prior))
    if args.protocol == SCANPATH:
        evaluation = evaluate_scanpaths(data, method, about, args.seed, skip_errors, notes)
        return _report(args, evaluation)
    assert not isinstance(method, TablePaths)  # `check` refuses it
    options = EvaluateOptions(
        protocol=args.protocol,
        baselines=tuple(name for name in args.baselines or _BASELINES if name != "none"),
        prior=prior,
        examples=args.html is not None,
        skip_errors=skip_errors,
        seed=args.seed,
    )
    return _report(args, evaluate(data, method, options, about, tuple(notes)))


def _report(args: argparse.Namespace, evaluation: "Evaluation") -> int:
    """Prints the table and writes the requested files."""
    from unisal_jax.evaluate.report import table_text, write_csv, write_html, write_json

    for line in evaluation.skipped:
        print(f"unisal evaluate: skipped: {line}", file=sys.stderr)
    print(table_text(evaluation))
    for path, write in ((args.json, write_json), (args.csv, write_csv), (args.html, write_html)):
        if path is not None:
            write(path, evaluation)
            print(f"{path}: written")
    return 0


def _read(args: argparse.Namespace) -> Iterator[Path]:
    """The files that are read, except older reports, which may lie beside the data."""
    from unisal_jax.data.prepared import SIDECAR, divided
    from unisal_jax.files import files_below
    from unisal_jax.weights.sources import files_of

    for folder in (args.data, args.predictions):
        if folder is not None:
            for path in files_below(folder):
                if path.name == SIDECAR and (source := divided(path.parent)) is not None:
                    yield from files_below(source)
                # Only prepared data contains JSON that is read.
                if path.suffix.lower() not in (".json", ".csv", ".html") or (path.parent / SIDECAR).exists():
                    yield path
    if args.predictions is not None and args.predictions.is_file():
        yield args.predictions
    if args.prior not in (None, "train"):
        yield Path(args.prior)
    yield from files_of(args.weights)
