"""`unisal score-regions`: measures how much attention boxes in an image or a video receive."""

import argparse
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unisal_jax.cli import checks, flags
from unisal_jax.documents import write_json
from unisal_jax.errors import UnisalError

if TYPE_CHECKING:
    from unisal_jax.apps.curves import RegionCurves
    from unisal_jax.media.sources import MediaSource

_PLOTS = (".png", ".svg")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("input", help="an image or video file, or a folder of frames (with --video)")
    parser.add_argument(
        "--video", action="store_true", help="treat a folder of images as the frames of a video"
    )
    flags.add_allow_network(parser)
    flags.add_model(parser)
    parser.add_argument(
        "--boxes",
        type=Path,
        required=True,
        metavar="FILE",
        help="boxes, as .json (a list of objects) or .csv (with a header): name, left, top, width, height "
        "(or x, y, w, h) in pixels; for moving boxes also frame (from 1) or seconds",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores to this file")
    parser.add_argument(
        "--csv", type=Path, metavar="OUT", help="for a video: write each box's attention in each frame"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="OUT",
        help="for a video: plot each box's attention over time (.png or .svg; requires matplotlib)",
    )
    flags.add_examples(
        parser,
        "unisal score-regions photo.jpg --boxes boxes.csv --json scores.json",
        "unisal score-regions film.mp4 --boxes boxes.csv --csv attention.csv --plot attention.png",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    checks.check_inputs([args.input], args.allow_network)
    checks.check_inputs([str(args.boxes)])
    checks.check_weights(args.weights, args.domain)
    outputs = _outputs(args)
    for path in outputs:
        checks.check_file_to_write(path)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise UnisalError("--json, --csv and --plot: two name the same file")
    if args.plot:
        if args.plot.suffix.lower() not in _PLOTS:
            raise UnisalError(f"{args.plot}: must be a {' or '.join(_PLOTS)} file")
        checks.check_extra("--plot", "analysis", "matplotlib")


def run(args: argparse.Namespace) -> int:
    """Predicts, scores every box and prints a table, largest share first."""
    from unisal_jax.files import keep_inputs
    from unisal_jax.media.sources import find_inputs
    from unisal_jax.weights.sources import files_of

    found = find_inputs([args.input], args.video, allow_network=args.allow_network)
    if len(found.sources) != 1:
        raise UnisalError(
            f"{args.input}: {len(found.sources)} images; name one, or pass --video to treat them as frames"
        )
    (source,) = found.sources
    keep_inputs(_outputs(args), [*source.files(), args.boxes, *files_of(args.weights)])
    score = _score_image if source.kind == "image" else _score_video
    content, notes = score(args, source)
    content["about"] |= {"boxes": args.boxes.name, "input": Path(source.path).name}
    if args.json:
        write_json(args.json, content)
    for line in [*found.notes, *notes]:
        print(f"unisal score-regions: note: {line}", file=sys.stderr)
    _print_table(content["regions"])
    return 0


def _outputs(args: argparse.Namespace) -> list[Path]:
    return [path for path in (args.json, args.csv, args.plot) if path]


def _score_image(args: argparse.Namespace, source: "MediaSource") -> tuple[dict[str, Any], list[str]]:
    """(JSON content for an image, notes)."""
    from unisal_jax.apps.regions import check_regions, read_regions, score_regions
    from unisal_jax.media.images import read_image

    for flag, path in (("--csv", args.csv), ("--plot", args.plot)):
        if path:
            raise UnisalError(f"{flag}: shows attention over time, but {args.input} is an image; use --json")
    regions = read_regions(args.boxes)
    image = read_image(source.path)
    check_regions(regions, image.shape[:2])
    model = flags.load_model(args)
    domain = model.domain(args.domain, video=False)
    density = model.predict(image, domain, args.input_size)
    scores = score_regions(density, regions)
    about = {"domain": domain.name, "size": list(density.shape)}
    return {"about": about, "regions": [score.to_json() for score in scores]}, []


def _score_video(args: argparse.Namespace, source: "MediaSource") -> tuple[dict[str, Any], list[str]]:
    """(JSON content for a video, notes); also writes the CSV file and the plot."""
    from unisal_jax.apps.curves import RegionCurves, curves_table, known_time
    from unisal_jax.apps.moving import check_moving_regions, read_moving_regions
    from unisal_jax.apps.regions import MeanDensity, Region, score_regions
    from unisal_jax.media.video import open_video

    regions = read_moving_regions(args.boxes)
    still = [region for region in regions if isinstance(region, Region)]
    curves, mean = RegionCurves(regions), MeanDensity()
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(source.path))
        check_moving_regions(regions, reader.size)
        table = stack.enter_context(curves_table(args.csv)) if args.csv else None
        model = flags.load_model(args)
        domain = model.domain(args.domain, video=True)
        predicted = stack.enter_context(closing(model.predict_video(reader, domain, args.input_size)))
        for number, (_, density) in enumerate(predicted, 1):
            seconds = known_time(reader.times[number - 1])
            scores = curves.add(density, seconds)
            if still:
                mean.add(density)
            if table:
                table.write(number, seconds, scores)
        size = list(reader.size)
    if args.plot:
        _plot(args.plot, curves)
    found = {entry["name"]: entry for entry in curves.summary()}
    # Score a still box on the mean density, which also gives it a peak.
    for score in score_regions(mean.density(), still) if still else []:
        found[score.name] = {**score.to_json(), "rank": found[score.name]["rank"]}
    about = {"domain": domain.name, "frames": len(curves.times), "size": size}
    notes = [
        f"box {name!r} lies in none of the {len(curves.times)} frames"
        for name, entry in found.items()
        if entry["attention"] is None
    ]
    return {"about": about, "frames": curves.frames_json(), "regions": list(found.values())}, notes


def _plot(path: Path, curves: "RegionCurves") -> None:
    from unisal_jax.analysis.region_curves import draw_curves
    from unisal_jax.analysis.results import save_figure

    save_figure(path, draw_curves(curves.times, curves.attention))


def _print_table(regions: list[dict[str, Any]]) -> None:
    moving = any("frames" in region for region in regions)
    print(f"rank  attention  over uniform  {'frames  ' if moving else ''}box")
    for region in sorted(regions, key=lambda region: region["rank"]):
        none = region["attention"] is None
        attention, relative = (
            ("-", "-") if none else (f"{region['attention']:.1%}", f"{region['relative']:.2f}")
        )
        frames = f"{region.get('frames', 'all'):>6}  " if moving else ""
        print(
            f"{region['rank']:4}  {attention:>9}  {relative:>12}  {frames}{flags.printable(region['name'])}"
        )
