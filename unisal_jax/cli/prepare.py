"""`unisal prepare`: converts a released dataset, or your own data, to records that training reads fast.

The only module of the package that imports `data_prep`, and only when it runs: the import takes a second.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from unisal_jax.cli import checks, flags, gaze_flags
from unisal_jax.errors import UnisalError
from unisal_jax.files import files_below, keep_inputs
from unisal_jax.packages import check_array_record

if TYPE_CHECKING:
    from unisal_jax.data.layouts.fixation_tables import Table

# Copied from `data_prep`, so that `--help` is fast.
RELEASED = ("dhf1k", "hollywood2", "ucf_sports", "salicon", "mit1003", "mit300")
OWN = "own"

# Bytes; the name becomes a folder.
_MAX_NAME = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument(
        "dataset",
        type=str.lower,
        choices=(*RELEASED, OWN),
        help="a released dataset, or own for your own data",
    )
    parser.add_argument(
        "--raw",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the unpacked release or of your data",
    )
    parser.add_argument(
        "--data-dir", type=Path, required=True, metavar="DIR", help="folder for prepared datasets"
    )
    parser.add_argument(
        "--resolution",
        choices=("full", "input"),
        default="full",
        help="store frames at full size (default), or at the network's input size",
    )
    parser.add_argument(
        "--seed", type=int, help="random seed of the validation split or folds (default: the original's)"
    )
    parser.add_argument(
        "--partial", action="store_true", help="accept an incomplete release instead of refusing it"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="if the dataset is already prepared, check its checksums, not only sizes",
    )
    parser.add_argument(
        "--preview", type=Path, metavar="FILE.png", help="write a contact sheet of frames, maps and fixations"
    )
    parser.add_argument(
        "--beam-runner",
        metavar="NAME",
        help="write the shards with this Apache Beam runner, such as DirectRunner; requires apache-beam",
    )
    own = parser.add_argument_group("your own data")
    own.add_argument("--name", help="name of the dataset (default: that of the raw folder)")
    own.add_argument(
        "--table",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="fixations (stimulus, frame, observer, x, y) as .csv or .csv.gz, or eye-tracker exports as "
        "`unisal import-gaze` takes them (default: the folders maps/ and fixations/)",
    )
    own.add_argument(
        "--first-frame", type=int, default=0, metavar="N", help="number of a video's first frame in the table"
    )
    own.add_argument("--sigma", type=float, metavar="S", help="standard deviation of the Gaussian blur")
    own.add_argument(
        "--pixels-per-degree",
        type=float,
        metavar="P",
        help="take --sigma in degrees of visual angle instead of pixels",
    )
    own.add_argument("--fps", type=float, help="frames per second of clips that are folders of frames")
    tracker = parser.add_argument_group("your own data, if --table names eye-tracker exports")
    gaze_flags.add_reading(tracker)
    gaze_flags.add_placing(tracker)
    flags.add_examples(
        parser,
        "unisal prepare ucf_sports --raw ucf_sports --data-dir data",
        "unisal prepare own --raw stimuli --table fixations.csv --sigma 25 --name mine --data-dir data",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    check_array_record("preparing a dataset")
    checks.check_folder_to_read(args.raw)
    for path in args.table or ():
        if not path.exists():
            raise UnisalError(f"--table {path}: no such file")
    if gaze_flags.given(args) and args.table is None:
        raise UnisalError("flags for eye-tracker exports require --table")
    checks.check_folder_to_write(args.data_dir)
    if args.preview is not None:
        checks.check_file_to_write(args.preview)
    if args.beam_runner is not None:
        checks.check_extra("--beam-runner", "beam", "apache_beam")


def run(args: argparse.Namespace) -> int:
    """Prepares, and prints where the dataset is and what it contains."""
    if args.preview:
        keep_inputs(
            [args.preview], (path for part in (args.raw, *(args.table or ())) for path in files_below(part))
        )
    builder = _own_builder(args) if args.dataset == OWN else _released_builder(args)
    from data_prep.prepare import prepare
    from data_prep.preview import describe, write_contact_sheet

    prepared = prepare(builder, args.raw, verify=args.verify, beam_runner=args.beam_runner)
    print(f"{'prepared' if prepared.made else 'already prepared'}: {prepared.path}")
    print(describe(prepared.manifest))
    for note in prepared.notes:
        print(f"  left out: {note}")
    if args.preview:
        write_contact_sheet(args.preview, prepared.path, prepared.manifest)
        print(f"contact sheet: {args.preview}")
    return 0


def prepare_synthetic(name: str, folder: Path, amount, seed: int) -> Path:
    """`data_prep.prepare.prepare_synthetic`, for the commands that train."""
    from data_prep.prepare import prepare_synthetic

    return prepare_synthetic(name, folder, amount, seed)


def _released_builder(args: argparse.Namespace):
    for flag in ("name", "table", "sigma", "pixels_per_degree", "fps"):
        if getattr(args, flag) is not None:
            raise UnisalError(f"--{flag.replace('_', '-')}: applies to own data only")
    from data_prep.builders import BUILDERS

    builder = BUILDERS[args.dataset]
    if args.resolution not in builder.builder_configs:
        raise UnisalError(
            f"--resolution {args.resolution}: the images of {args.dataset} differ in size; use full"
        )
    return builder(
        data_dir=args.data_dir,
        config=args.resolution,
        seed=args.seed,
        partial=args.partial,
        show_progress=True,
    )


def _own_builder(args: argparse.Namespace):
    if args.resolution != "full":
        raise UnisalError(f"--resolution {args.resolution}: own data has no fixed input size; use full")
    if (args.sigma is None) != (args.table is None) or (
        args.sigma is not None and not 0 < args.sigma < math.inf
    ):
        raise UnisalError(
            "--sigma: the width of the Gaussian, above 0, is required with --table and only there"
        )
    if args.pixels_per_degree is not None and not 0 < args.pixels_per_degree < math.inf:
        raise UnisalError("--pixels-per-degree: must be above 0")
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise UnisalError("--fps: must be above 0")
    name = args.name or args.raw.resolve().name
    if not 0 < len(name.encode("utf-8", "replace")) <= _MAX_NAME or not all(
        letter.isalnum() or letter in "_-" for letter in name
    ):
        raise UnisalError(f"--name {name!r}: use letters, digits, _ and -, at most {_MAX_NAME} bytes")
    from data_prep.builders import Own
    from unisal_jax.data.layouts.own import scan_folders, scan_points

    def scan(root: Path):
        if rows is None:
            return scan_folders(root, args.fps)
        return scan_points(root, rows, args.sigma * (args.pixels_per_degree or 1), args.table)

    rows = None if args.table is None else _fixations(args)
    return Own(config=name, scan=scan, data_dir=args.data_dir, show_progress=True)


def _fixations(args: argparse.Namespace) -> "Table":
    """The fixations of --table; prints a report on eye-tracker exports."""
    from unisal_jax.data.layouts.fixation_tables import read_table

    settings = gaze_flags.settings(args)
    if not gaze_flags.given(args) and len(args.table) == 1 and _is_table(args.table[0]):
        return read_table(args.table[0], args.first_frame)
    from unisal_jax.gaze.report import lines
    from unisal_jax.gaze.run import import_files
    from unisal_jax.gaze.table import as_table

    found, report = import_files(args.table, args.raw, settings)
    for line in lines(report):
        print(flags.printable(line))
    return as_table(found)


def _is_table(path: Path) -> bool:
    """Whether to read a file as a table of fixations: it is one, or its format is unknown."""
    from unisal_jax.gaze.read import recognise

    if path.is_dir():
        return False
    try:
        return recognise(path) == "table"
    except UnisalError:
        return True
