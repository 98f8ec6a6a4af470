"""`unisal compare`: compares where two images, or two cuts of a film, draw attention."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unisal_jax.cli import checks, flags
from unisal_jax.documents import write_json
from unisal_jax.errors import UnisalError

if TYPE_CHECKING:
    from unisal_jax.apps.compare import Comparison
    from unisal_jax.media.sources import MediaSource


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.add_argument("a", help="an image or video file, or a folder of frames (with --video)")
    parser.add_argument("b", help="another input of the same type, to compare with the first")
    parser.add_argument(
        "--video", action="store_true", help="treat folders of images as the frames of videos"
    )
    flags.add_model(parser)
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="boxes to compare, as for unisal score-regions: .csv or .json with name, left, top, width, "
        "height in pixels",
    )
    parser.add_argument(
        "--boxes-b",
        type=Path,
        metavar="FILE",
        help="boxes with the same names in B, if its layout differs (default: those of --boxes)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for side_by_side and difference, each a .png or .mp4",
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the numbers to this file")
    parser.add_argument(
        "--max-loss",
        type=flags.not_negative,
        metavar="P",
        help="exit with status 1 if a box loses more than P percentage points of attention from A to B; a "
        "box that falls from 12%% to 9%% loses 3",
    )
    flags.add_examples(
        parser,
        "unisal compare draft_a.png draft_b.png --out compared",
        "unisal compare draft_a.png draft_b.png --boxes boxes.csv --max-loss 2",
    )
    parser.set_defaults(check=check, run=run)


def check(args: argparse.Namespace) -> None:
    """Refuses bad arguments before JAX is imported."""
    for flag, given in (("--max-loss", args.max_loss), ("--boxes-b", args.boxes_b)):
        if given is not None and args.boxes is None:
            raise UnisalError(f"{flag}: requires --boxes")
    checks.check_inputs([args.a, args.b, *(str(path) for path in (args.boxes, args.boxes_b) if path)])
    checks.check_weights(args.weights, args.domain)
    if args.json:
        checks.check_file_to_write(args.json)
    if args.out:
        checks.check_folder_to_write(args.out)


def run(args: argparse.Namespace) -> int:
    """Compares, writes the requested files and prints a table; 1 if a box lost more than --max-loss."""
    from unisal_jax.files import keep_inputs, new_folders
    from unisal_jax.media.sources import find_inputs
    from unisal_jax.weights.sources import files_of

    sources: list[MediaSource] = []
    notes: list[str] = []
    for text in (args.a, args.b):
        found = find_inputs([text], args.video)
        if len(found.sources) != 1:
            raise UnisalError(
                f"{text}: {len(found.sources)} images; name one, or pass --video to treat them as frames"
            )
        sources += found.sources
        notes += found.notes
    a, b = sources
    if a.kind != b.kind:
        raise UnisalError(f"{b.path}: is {_article(b.kind)}, but {a.path} is {_article(a.kind)}")

    from unisal_jax.apps.compare import losses, matched
    from unisal_jax.apps.compare_files import Pair, compare_images, image_paths
    from unisal_jax.apps.compare_films import compare_films, film_paths
    from unisal_jax.apps.moving import read_moving_regions
    from unisal_jax.apps.regions import read_regions

    read_boxes: Any = read_regions if a.kind == "image" else read_moving_regions
    pair = Pair(
        a,
        b,
        read_boxes(args.boxes) if args.boxes else (),
        read_boxes(args.boxes_b) if args.boxes_b else None,
    )
    matched(*pair.both)
    outputs = (image_paths if a.kind == "image" else film_paths)(args.out) if args.out else []
    read = [path for path in (args.boxes, args.boxes_b) if path]
    keep_inputs(
        [*outputs, *([args.json] if args.json else [])],
        [*a.files(), *b.files(), *read, *files_of(args.weights)],
    )
    with new_folders([args.out] if args.out else []):
        model = flags.load_model(args)
        domain = model.domain(args.domain, video=a.kind == "video")
        do = compare_images if a.kind == "image" else compare_films
        compared = do(model, domain, pair, args.input_size, args.out)
    for key, path in (("boxes", args.boxes), ("boxes_b", args.boxes_b)):
        if path:
            compared.content["about"][key] = path.name
    boxes = compared.comparison.boxes
    lost = [] if args.max_loss is None else losses(boxes, args.max_loss)
    unknown = [] if args.max_loss is None else [box.name for box in boxes if box.change is None]
    if args.json:
        verdict = {"lost": [box.name for box in lost], "max_loss": args.max_loss, "unknown": unknown}
        write_json(args.json, {**compared.content, **({} if args.max_loss is None else verdict)})
    for line in [*notes, *compared.notes]:
        print(f"unisal compare: note: {line}", file=sys.stderr)
    _print(compared.comparison, compared.content["about"]["compared"])
    for box in lost:
        print(
            f"unisal compare: box {box.name!r} loses {-100 * (box.change or 0):.2f} percentage points of "
            f"attention ({box.a:.1%} to {box.b:.1%}), more than --max-loss {args.max_loss:g}",
            file=sys.stderr,
        )
    for name in unknown:
        print(
            f"unisal compare: box {name!r}: not in both videos, so --max-loss cannot be checked",
            file=sys.stderr,
        )
    return 1 if lost or unknown else 0


def _article(kind: str) -> str:
    return "an image" if kind == "image" else "a video"


def _print(found: "Comparison", compared: str) -> None:
    """Prints the boxes' attention, the similarity of A and B, and where attention moves."""
    if found.boxes:
        print("     A       B   change  box")
    for box in found.boxes:
        a, b = ("-" if each is None else f"{each:.1%}" for each in (box.a, box.b))
        change = "-" if box.change is None else f"{100 * box.change:+z.1f}"
        print(f"{a:>6}  {b:>6}  {change:>7}  {flags.printable(box.name)}")
    alike = found.similarity
    over = {"images": "", "frames": ", mean over frames", "means": ", of the means over time"}[compared]
    print(f"similarity{over}: CC {alike.cc:.3f}, SIM {alike.sim:.3f}, KLD {alike.kld:.3f}")
    down, right = found.shift
    sideways, upright = "left" if right < 0 else "right", "up" if down < 0 else "down"
    print(
        f"the centre of attention moves {abs(right):.1%} of the width to the {sideways} and "
        f"{abs(down):.1%} of the height {upright}"
    )
    for name, points in (("A", found.focal_a), ("B", found.focal_b)):
        shown = ", ".join(f"{point.attention:.0%} at ({point.column}, {point.row})" for point in points)
        print(f"focal points of {name} (column, row): {shown}")
