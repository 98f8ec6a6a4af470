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
    parser.add_argument("--out", type=Path, help="folder for the results; not needed with --show")
    parser.add_argument(
        "--show", action="store_true", help="a window with the overlay, for video and cameras; q closes it"
    )
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
    parser.add_argument(
        "--resume", action="store_true", help="leave out inputs whose outputs are all there already"
    )
    parser.add_argument(
        "--ray",
        action="store_true",
        help="share the inputs out over a Ray cluster, or this machine's cores; needs the extra ray and a "
        "disk that all its machines see",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predicts every input; 0 if all went well, or those left out were to be skipped."""
    from unisal_jax.errors import UnisalError
    from unisal_jax.media.sources import expand_inputs
    from unisal_jax.predict.batch import Options, predict_sources
    from unisal_jax.predict.model import load
    from unisal_jax.predict.outputs import PredictionFiles, make_folders
    from unisal_jax.predict.window import Windows

    if args.out is None and not args.show:
        raise UnisalError("--out: where are the results to go?")
    if args.ray and args.show:
        raise UnisalError("--show: a cluster has no screen")
    sources = expand_inputs(args.input, args.video)
    kinds = args.save if args.out is not None else ()
    if args.show and not kinds and any(source.kind == "image" for source in sources):
        raise UnisalError("--show: is for video; name --out for pictures")
    files = PredictionFiles((args.out or Path()).absolute(), kinds, args.opacity)
    make_folders(files.out, kinds)
    missing = [source for source in sources if not (args.resume and files.holds(source))]
    options = Options(
        domain=args.domain,
        input_size=args.input_size,
        stride=args.stride,
        skip_errors=args.on_error == "skip",
    )
    if args.ray:
        from unisal_jax.predict.cluster import predict_on_cluster

        summary = predict_on_cluster(args.weights, args.dtype, missing, files, options)
    else:
        results = Windows(files) if args.show else files
        summary = predict_sources(load(args.weights, args.dtype), missing, results, options)
    summary.kept = len(sources) - len(missing)
    for line in summary.errors:
        print(f"unisal predict: skipped: {line}", file=sys.stderr)
    for line in summary.notes:
        print(f"unisal predict: note: {line}", file=sys.stderr)
    print(summary.text(args.out))
    return 0 if summary.done else 1
