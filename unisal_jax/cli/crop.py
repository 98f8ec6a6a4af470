"""`unisal crop`: crops images and videos to an aspect ratio so that most attention is kept."""

import argparse
import sys
from itertools import chain
from pathlib import Path

from unisal_jax.cli import checks, flags

# Copied from `apps.crop_files`, whose import takes a second, so that `--help` is fast.
KINDS = ("json", "crop", "poster")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    flags.add_inputs(parser)
    flags.add_film(parser)
    flags.add_model(parser)
    parser.add_argument(
        "--aspect",
        type=flags.aspects,
        required=True,
        metavar="W:H",
        help="width to height, such as 9:16; separate several with commas (9:16,1:1,4:5)",
    )
    parser.add_argument(
        "--scale",
        type=flags.share,
        default=1.0,
        metavar="S",
        help="side of the window relative to the largest that fits, above 0 and up to 1 (default: 1)",
    )
    parser.add_argument(
        "--smoothness",
        type=flags.not_negative,
        default=0.3,
        metavar="X",
        help="penalty on the window's speed in a video; 0 crops each frame on its own (default: 0.3)",
    )
    parser.add_argument(
        "--layout",
        choices=("single", "split"),
        default="single",
        help="split: show two subjects that are far apart in two windows, in a video (default: single)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="CSV",
        help="boxes that must stay inside the crop: left, top, width, height in pixels; for a video also "
        "name and frame (from 1) or seconds",
    )
    parser.add_argument(
        "--keep-faces",
        type=Path,
        metavar="ONNX",
        help="model file of OpenCV's YuNet face detector: keep the faces it finds inside the crop",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--save",
        type=flags.choices(KINDS),
        default=("json",),
        metavar="TYPES",
        help="output types, comma-separated: json (boxes and the share of attention kept), crop (cropped "
        "images, .mp4 for videos), poster (as --poster) (default: json)",
    )
    parser.add_argument(
        "--poster",
        action="store_true",
        help="also save, uncropped, the frame of each video with the strongest single focus",
    )
    flags.add_encoding(parser)
    flags.add_examples(
        parser,
        "unisal crop photo.jpg --aspect 9:16,1:1 --save json,crop --out crops",
        "unisal crop film.mp4 --aspect 9:16 --save crop --out crops",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_inputs(args.input, args.allow_network)
    checks.check_weights(args.weights, args.domain)
    checks.check_folder_to_write(args.out)
    flags.part(args)


def run(args: argparse.Namespace) -> int:
    """Crops every input; 0 unless none could be cropped."""
    from unisal_jax.files import keep_inputs, new_folders
    from unisal_jax.media.names import name_bytes
    from unisal_jax.media.sources import find_inputs
    from unisal_jax.weights.sources import files_of

    kinds = (*args.save, "poster") if args.poster and "poster" not in args.save else args.save

    from unisal_jax.apps.crop_files import CropFiles, aspect_suffix
    from unisal_jax.apps.keep import KeepBoxes
    from unisal_jax.media.film_options import Encoding

    longest = max(len(aspect_suffix(aspect)) for aspect in args.aspect)
    limit = name_bytes(args.out, kinds) - (longest if len(args.aspect) > 1 else 0)
    found = find_inputs(args.input, args.video, limit, args.allow_network)
    sources = found.sources
    files = CropFiles(
        args.out,
        kinds,
        args.aspect,
        args.scale,
        args.smoothness,
        split=args.layout == "split",
        keep=KeepBoxes(args.keep) if args.keep is not None else None,
        face_model=args.keep_faces,
        part=flags.part(args),
        encoding=Encoding(args.preset, args.quality),
    )
    files.check(sources)
    read = (path for source in sources for path in source.files())
    beside = [path for path in (args.keep, args.keep_faces) if path is not None]
    keep_inputs(
        (path for source in sources for path in files.paths(source)),
        chain(read, beside, files_of(args.weights)),
    )
    from unisal_jax.predict.batch import PredictOptions, predict_sources

    options = PredictOptions(
        domain=args.domain,
        input_size=args.input_size,
        stride=args.stride,
        part=flags.part(args),
        across_cuts=args.across_cuts,
        skip_errors=args.on_error == "skip",
    )
    with new_folders([args.out / kind for kind in kinds]):
        summary = predict_sources(flags.load_model(args), sources, files, options)
    summary.notes = [*found.notes, *summary.notes]
    for line in summary.lines():
        print(f"unisal crop: {line}", file=sys.stderr)
    print(summary.text(args.out, "cropped"))
    return 0 if summary.done else 1
