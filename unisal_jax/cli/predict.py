"""`unisal predict`: predicts saliency for images, videos and cameras; writes maps, overlays and numbers."""

import argparse
import sys
from pathlib import Path

from unisal_jax.cli import checks, flags
from unisal_jax.errors import UnisalError
from unisal_jax.media.film_options import MAPS

# Copied from `predict.outputs`, whose import is slow, so that `--help` is fast.
KINDS = ("map", "overlay", "raw", "json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_inputs(parser)
    flags.add_film(parser)
    flags.add_model(parser)
    parser.add_argument("--out", type=Path, help="folder for the results; required unless --show is given")
    parser.add_argument(
        "--show",
        action="store_true",
        help="show the overlay in a window, for videos and cameras; q closes it",
    )
    parser.add_argument(
        "--save",
        type=flags.choices(KINDS),
        default=("map", "overlay"),
        metavar="TYPES",
        help=f"output types, a comma-separated list of {','.join(KINDS)} (default: map,overlay)",
    )
    parser.add_argument(
        "--opacity", type=flags.fraction, default=0.7, help="opacity of the overlay, 0 to 1 (default: 0.7)"
    )
    parser.add_argument(
        "--map-format",
        choices=MAPS,
        default=MAPS[0],
        help="format of a video's maps: grey images (default), a grey .mp4 (video), or a lossless 10-bit "
        "grey .mkv (video10)",
    )
    flags.add_encoding(parser)
    parser.add_argument("--resume", action="store_true", help="skip inputs whose outputs already exist")
    parser.add_argument(
        "--ray",
        action="store_true",
        help="distribute the inputs over a Ray cluster, or this machine's cores; requires ray and a disk "
        "that all machines share",
    )
    flags.add_examples(
        parser,
        "unisal predict photo.jpg holiday --out maps",
        "unisal predict film.mp4 --out maps --save overlay,json --start 1:30 --end 2:00",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    if args.out is None and not args.show:
        raise UnisalError("--out is required unless --show is given")
    flags.part(args)
    if args.ray and args.show:
        raise UnisalError("--show: cannot be combined with --ray")
    checks.check_inputs(args.input, args.allow_network)
    checks.check_weights(args.weights, args.domain)
    if args.out is not None:
        checks.check_folder_to_write(args.out)
    if args.ray:
        checks.check_extra("--ray", "ray", "ray")


def run(args: argparse.Namespace) -> int:
    """Predicts every input; 0 unless none could be predicted."""
    from unisal_jax.files import new_folders
    from unisal_jax.media.film_options import Drawing, Encoding
    from unisal_jax.media.names import name_bytes
    from unisal_jax.media.sources import find_inputs

    out, kinds = args.out or Path(), args.save if args.out is not None else ()
    if args.ray:  # Ray workers run in other working folders
        out = out.absolute()
    found = find_inputs(args.input, args.video, name_bytes(out, kinds), args.allow_network)
    if args.show and not kinds and any(source.kind == "image" for source in found.sources):
        raise UnisalError("--show: works for videos only; images require --out")

    from unisal_jax.predict.outputs import PredictionFiles
    from unisal_jax.predict.records import FOLDER, weights_state
    from unisal_jax.predict.resume import plan
    from unisal_jax.weights.sources import files_of

    part = flags.part(args)
    settings = {
        "across_cuts": args.across_cuts,
        "domain": args.domain,
        "dtype": args.dtype,
        "input_size": args.input_size and list(args.input_size),
        "part": [part.start, part.end, part.every],
        "stride": args.stride,
        "weights": weights_state(args.weights, args.domain),
    }
    drawing = Drawing(args.opacity, Encoding(args.preset, args.quality), args.map_format)
    planned = plan(
        PredictionFiles(out, kinds, drawing, settings),
        found.sources,
        files_of(args.weights),
        resume=args.resume,
        skip_errors=args.on_error == "skip",
    )

    from unisal_jax.predict.batch import PredictOptions, predict_sources
    from unisal_jax.predict.window import Windows

    options = PredictOptions(
        domain=args.domain,
        input_size=args.input_size,
        stride=args.stride,
        part=part,
        across_cuts=args.across_cuts,
        skip_errors=args.on_error == "skip",
    )
    with new_folders([out / kind for kind in (*kinds, *([FOLDER] if kinds else []))]):
        if args.ray:
            from unisal_jax.predict.cluster import predict_on_cluster

            summary = predict_on_cluster(
                args.weights, args.dtype, args.engine, planned.sources, planned.files, options
            )
        else:
            results = Windows(planned.files) if args.show else planned.files
            summary = predict_sources(flags.load_model(args), planned.sources, results, options)
    summary.kept = planned.kept
    summary.errors += planned.errors
    summary.notes = [*found.notes, *planned.notes, *summary.notes]
    for line in summary.lines():
        print(f"unisal predict: {line}", file=sys.stderr)
    print(summary.text(args.out))
    return 0 if summary.done else 1
