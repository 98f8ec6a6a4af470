"""`unisal predict`: images, folders, videos and cameras to maps, overlays, arrays and numbers."""

import argparse
import sys
from pathlib import Path

from unisal_jax.cli import flags
from unisal_jax.predict.outputs import KINDS


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_inputs(parser)
    flags.add_network(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--save",
        type=flags.choices(KINDS),
        default=("map", "overlay"),
        metavar="KINDS",
        help=f"comma-separated list of {','.join(KINDS)} (default: map,overlay)",
    )
    parser.add_argument(
        "--opacity", type=flags.fraction, default=0.7, help="of the overlay, 0 to 1 (default: 0.7)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predicts every input; 0 if all went well, or those left out were to be skipped."""
    from unisal_jax.media.sources import expand_inputs
    from unisal_jax.predict.batch import Options, predict_sources
    from unisal_jax.predict.model import load
    from unisal_jax.predict.outputs import PredictionFiles, make_folders

    sources = expand_inputs(args.input, args.video)
    make_folders(args.out, args.save)
    model = load(args.weights, args.dtype)
    options = Options(
        domain=args.domain,
        input_size=args.input_size,
        stride=args.stride,
        skip_errors=args.on_error == "skip",
    )
    summary = predict_sources(model, sources, PredictionFiles(args.out, args.save, args.opacity), options)
    for line in summary.errors:
        print(f"unisal predict: skipped: {line}", file=sys.stderr)
    print(summary.text(args.out))
    return 0 if summary.done else 1
