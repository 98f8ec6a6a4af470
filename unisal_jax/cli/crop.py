"""`unisal crop`: where to cut pictures and videos to an aspect ratio so that most attention is kept."""

import argparse
import sys
from itertools import chain
from pathlib import Path

from unisal_jax.cli import checks, flags

# Not asked of `apps.crop_files`, whose import takes a second: `--help` is to be quick.
KINDS = ("json", "crop")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_inputs(parser)
    flags.add_network(parser)
    parser.add_argument(
        "--aspect", type=flags.aspect, required=True, metavar="W:H", help="width to height, such as 9:16"
    )
    parser.add_argument(
        "--scale",
        type=flags.share,
        default=1.0,
        metavar="S",
        help="side of the window over that of the largest that fits, up to 1 (default: 1)",
    )
    parser.add_argument(
        "--smoothness",
        type=flags.not_negative,
        default=0.3,
        metavar="X",
        help="what speed of the window costs in a video; 0: each frame on its own (default: 0.3)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--save",
        type=flags.choices(KINDS),
        default=("json",),
        metavar="KINDS",
        help="comma-separated: json (boxes and the share of attention kept), crop (cropped pictures, and "
        ".mp4 for videos) (default: json)",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses what is wrong before JAX is imported."""
    checks.check_inputs(args.input, args.allow_network)
    checks.check_network(args.weights, args.domain)
    checks.check_folder_to_write(args.out)


def run(args: argparse.Namespace) -> int:
    """Crops every input; 0 if all went well, or those left out were to be skipped."""
    from unisal_jax.files import keep_inputs, new_folders
    from unisal_jax.media.names import name_bytes
    from unisal_jax.media.sources import find_inputs
    from unisal_jax.weights.sources import files_of

    found = find_inputs(args.input, args.video, name_bytes(args.out, args.save), args.allow_network)
    sources = found.sources

    from unisal_jax.apps.crop_files import CropFiles

    files = CropFiles(args.out, args.save, args.aspect, args.scale, args.smoothness)
    files.check(sources)
    read = (path for source in sources for path in source.files())
    keep_inputs(
        (path for source in sources for path in files.paths(source)), chain(read, files_of(args.weights))
    )
    from unisal_jax.predict.batch import Options, predict_sources

    options = Options(args.domain, args.input_size, args.stride, skip_errors=args.on_error == "skip")
    with new_folders([args.out / kind for kind in args.save]):
        summary = predict_sources(flags.load_model(args), sources, files, options)
    summary.notes = [*found.notes, *summary.notes]
    for line in summary.lines():
        print(f"unisal crop: {line}", file=sys.stderr)
    print(summary.text(args.out, "cropped"))
    return 0 if summary.done else 1
