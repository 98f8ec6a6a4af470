"""`unisal score-regions`: how much attention boxes in a picture or a video get."""

import argparse
import sys
from pathlib import Path
from typing import Any

from unisal_jax.cli import checks, flags
from unisal_jax.documents import write_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("input", help="an image or video file, or a folder of frames (with --video)")
    parser.add_argument(
        "--video", action="store_true", help="take a folder of images as the frames of a video"
    )
    flags.add_allow_network(parser)
    flags.add_network(parser)
    parser.add_argument(
        "--boxes",
        type=Path,
        required=True,
        metavar="FILE",
        help=".json (a list of objects) or .csv (with a header): left, top, width, height in pixels, name",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores to this file")
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses what is wrong before JAX is imported."""
    checks.check_inputs([args.input], args.allow_network)
    checks.check_inputs([str(args.boxes)])
    checks.check_network(args.weights, args.domain)
    if args.json:
        checks.check_file_to_write(args.json)


def run(args: argparse.Namespace) -> int:
    """Predicts, scores every box and prints a table, largest share first."""
    from unisal_jax.apps.regions import check_regions, mean_density, read_regions, score_regions
    from unisal_jax.errors import UnisalError
    from unisal_jax.files import keep_inputs
    from unisal_jax.media.images import read_image
    from unisal_jax.media.sources import find_inputs
    from unisal_jax.media.video import open_video
    from unisal_jax.weights.sources import files_of

    regions = read_regions(args.boxes)
    found = find_inputs([args.input], args.video, allow_network=args.allow_network)
    sources = found.sources
    if len(sources) != 1:
        raise UnisalError(f"{args.input}: {len(sources)} pictures; name one, or give --video for frames")
    (source,) = sources
    if args.json:
        keep_inputs([args.json], [*source.files(), args.boxes, *files_of(args.weights)])

    about: dict[str, Any] = {"boxes": args.boxes.name, "input": Path(source.path).name}
    if source.kind == "image":
        image = read_image(source.path)
        check_regions(regions, image.shape[:2])
        model = flags.load_model(args)
        domain = model.domain(args.domain, video=False)
        density = model.predict(image, domain, args.input_size)
    else:
        with open_video(source.path) as reader:
            check_regions(regions, reader.size)
            model = flags.load_model(args)
            domain = model.domain(args.domain, video=True)
            predicted = model.predict_video(reader, domain, args.input_size)
            density, about["frames"] = mean_density(each for _, each in predicted)
    scores = score_regions(density, regions)
    about |= {"domain": domain.name, "size": list(density.shape)}
    if args.json:
        write_json(args.json, {"about": about, "regions": [score.to_json() for score in scores]})
    for line in found.notes:
        print(f"unisal score-regions: note: {line}", file=sys.stderr)
    print("rank  attention  over uniform  box")
    for score in sorted(scores, key=lambda score: score.rank):
        # A line a box, whatever a name holds.
        name = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in score.name)
        print(f"{score.rank:4}  {score.attention:8.1%}  {score.relative:12.2f}  {name}")
    return 0
