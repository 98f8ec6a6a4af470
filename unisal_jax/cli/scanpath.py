"""`unisal scanpath`: samples sequences of fixations over images, as a baseline."""

import argparse
import sys
from itertools import chain
from pathlib import Path

from unisal_jax.cli import checks, flags

# Copied from `apps.scanpath_files`, whose import takes a second, so that `--help` is fast.
KINDS = ("csv", "json", "image")
FIXATIONS, DEGREES = 9, 100 / 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("input", nargs="+", help="images, folders of images, globs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--count", type=flags.positive, default=5, metavar="N", help="paths per image (default: 5)"
    )
    parser.add_argument(
        "--fixations",
        type=flags.positive,
        default=FIXATIONS,
        metavar="N",
        help=f"fixations per path (default: {FIXATIONS}, as in three seconds of OSIE)",
    )
    parser.add_argument(
        "--seed",
        type=flags.positive,
        default=1,
        help="random seed; the same seed gives the same paths (default: 1)",
    )
    parser.add_argument(
        "--degrees",
        type=flags.not_negative,
        default=DEGREES,
        metavar="D",
        help="visual angle of the image's longer side, which scales the lengths of saccades (default: "
        f"{DEGREES:.1f}, as in OSIE)",
    )
    parser.add_argument(
        "--save",
        type=flags.choices(KINDS),
        default=KINDS,
        metavar="TYPES",
        help="output types, comma-separated: csv, json, image (numbered circles and lines) (default: all)",
    )
    flags.add_model(parser)
    parser.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="on an input that cannot be read: stop (default), or skip it and continue",
    )
    flags.add_examples(
        parser,
        "unisal scanpath photo.jpg --out paths",
        "unisal scanpath holiday --count 10 --fixations 6 --save csv --out paths",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before anything is read."""
    checks.check_inputs(args.input)
    checks.check_weights(args.weights, args.domain)
    checks.check_folder_to_write(args.out)


def run(args: argparse.Namespace) -> int:
    """Samples paths for every image; 0 unless none could be read."""
    from unisal_jax.apps.scanpath_files import ScanpathFiles, refuse_video
    from unisal_jax.files import keep_inputs, new_folders
    from unisal_jax.media.names import name_bytes
    from unisal_jax.media.sources import find_inputs
    from unisal_jax.predict.batch import PredictOptions, predict_sources
    from unisal_jax.predict.scanpath import check_numbers
    from unisal_jax.weights.sources import files_of

    check_numbers(args.count, args.fixations, args.degrees)
    found = find_inputs(args.input, False, name_bytes(args.out, args.save))
    for source in found.sources:
        if source.kind == "video":
            refuse_video(source)
    files = ScanpathFiles(args.out, args.save, args.count, args.fixations, args.seed, args.degrees)
    read = (path for source in found.sources for path in source.files())
    written = (path for source in found.sources for path in files.paths(source))
    keep_inputs(written, chain(read, files_of(args.weights)))
    options = PredictOptions(
        domain=args.domain, input_size=args.input_size, skip_errors=args.on_error == "skip"
    )
    with new_folders([args.out / kind for kind in args.save]):
        summary = predict_sources(flags.load_model(args), found.sources, files, options)
    summary.notes = [*found.notes, *summary.notes]
    for line in summary.lines():
        print(f"unisal scanpath: {line}", file=sys.stderr)
    print(summary.text(args.out, "done"))
    return 0 if summary.done else 1
