"""Flags for eye-tracker files, shared by the commands that read them."""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable

from unisal_jax.cli import flags
from unisal_jax.errors import UnisalError
from unisal_jax.gaze.settings import CLOCKS, SHOWN, SPACES, Ivt, Settings, Shown

# Copied from `gaze.formats.FORMATS`, so that `--help` is fast.
FORMATS = (
    "tobii",
    "pupil_core",
    "neon",
    "eyelink_asc",
    "eyelink_report",
    "gazepoint",
    "smi",
    "bids",
    "table",
)
_EYES = ("mean", "left", "right")
_READ = {"format": None, "columns": None, "eye": _EYES[0]}
_LARGEST_SIDE = 100_000


def add_reading(group: argparse._ArgumentGroup) -> None:
    """Adds how files are read: --format, --columns, --eye, --coordinates, --stimulus."""
    group.add_argument(
        "--format",
        choices=FORMATS,
        metavar="NAME",
        help=f"file format (default: detected from the content): {', '.join(FORMATS)}",
    )
    group.add_argument(
        "--columns",
        type=columns,
        metavar="OURS=THEIRS,...",
        help="column names in a table of any other tracker, for stimulus, observer, x, y, time, duration, "
        "trial and validity, such as x=PosX,y=PosY,stimulus=Bild",
    )
    group.add_argument(
        "--eye", choices=_EYES, default=_EYES[0], help="which eye to use of two (default: their mean)"
    )
    group.add_argument(
        "--coordinates",
        type=one_of(SPACES),
        metavar="SYSTEM",
        help=f"coordinate system of x and y (default: by format): {', '.join(map(_dashed, SPACES))}; up: y "
        "points up; centre: pixels from the centre of the screen, as PsychoPy writes them",
    )
    group.add_argument(
        "--stimulus", metavar="NAME", help="the image or film shown, for files that do not name it"
    )


def add_placing(group: argparse._ArgumentGroup) -> None:
    """Adds where and when stimuli were shown, and which fixations are taken."""
    group.add_argument(
        "--screen",
        type=screen,
        metavar="WxH",
        help="size of the screen in pixels, such as 1920x1080 (default: from the file)",
    )
    group.add_argument(
        "--shown",
        type=shown,
        default=Settings().shown,
        metavar="HOW",
        help="where a stimulus was shown on the screen: fit (default: centred, as large as the screen "
        "allows, aspect ratio kept), stretch (the whole screen), actual (centred, at its own size), or "
        "LEFT,TOP,WIDTH,HEIGHT in screen pixels",
    )
    group.add_argument(
        "--clock",
        choices=CLOCKS,
        help="origin of the times: the stimulus' onset, or the start of the recording; then a stimulus "
        "appears with the first row of its viewing (default: by format)",
    )
    group.add_argument(
        "--onset",
        type=number,
        default=0.0,
        metavar="MS",
        help="when the stimulus (for a film, its first frame) appeared, in ms after the origin that --clock "
        "selects (default: 0)",
    )
    group.add_argument(
        "--film-fps",
        type=above_zero,
        metavar="N",
        help="frames per second at which films were shown (default: the films' own times)",
    )
    group.add_argument(
        "--drop-first",
        action="store_true",
        help="drop the first fixation of each viewing, for example on a fixation cross shown before",
    )
    group.add_argument(
        "--screen-cm",
        type=screen_cm,
        metavar="WxH",
        help="size of the screen in cm, or its width alone, such as 53x30",
    )
    group.add_argument(
        "--distance-cm", type=above_zero, metavar="D", help="distance from eyes to screen, for visual angles"
    )
    group.add_argument(
        "--screen-pixels-per-degree",
        type=above_zero,
        metavar="P",
        help="pixels per degree of visual angle, instead of --screen-cm and --distance-cm",
    )
    defaults = dataclasses.asdict(Ivt()).items()
    group.add_argument(
        "--ivt",
        type=ivt,
        default=Ivt(),
        metavar="NAME=VALUE,...",
        help="I-VT thresholds that turn raw gaze into fixations, in degrees/s, ms and degrees (default: "
        f"{','.join(f'{_dashed(name)}={value:g}' for name, value in defaults)})",
    )


def settings(args: argparse.Namespace) -> Settings:
    """The settings that the flags select.

    Raises:
      UnisalError: flags contradict each other or one lacks its partner.
    """
    if (args.screen_cm is None) != (args.distance_cm is None):
        given, other = ("--screen-cm", "--distance-cm")[:: 1 if args.distance_cm is None else -1]
        raise UnisalError(f"{given}: requires {other}")
    if args.screen_cm is not None and args.screen_pixels_per_degree is not None:
        raise UnisalError("--screen-pixels-per-degree: cannot be combined with --screen-cm and --distance-cm")
    if args.columns is not None and args.format not in (None, "table"):
        raise UnisalError(f"--columns: requires --format table, but --format is {args.format}")
    return Settings(
        read={name: getattr(args, name) for name in _READ},
        shown=args.shown,
        screen=args.screen,
        coordinates=args.coordinates,
        stimulus=args.stimulus,
        clock=args.clock,
        onset=args.onset,
        fps=args.film_fps,
        first_frame=args.first_frame,
        drop_first=args.drop_first,
        screen_cm=args.screen_cm,
        distance_cm=args.distance_cm,
        pixels_per_degree=args.screen_pixels_per_degree,
        ivt=args.ivt,
    )


def given(args: argparse.Namespace) -> bool:
    """Whether any of these flags differs from its default."""
    return settings(args) != Settings(read=_READ, first_frame=args.first_frame)


def columns(text: str) -> dict[str, str]:
    """Parses OURS=THEIRS,... into a mapping."""
    found: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (each.strip() for each in part.partition("="))
        if not (ours and equals and theirs) or ours in found:
            raise argparse.ArgumentTypeError(f"{text!r} is not OURS=THEIRS,..., such as x=PosX,y=PosY")
        found[ours] = theirs
    return found


def one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    """Parses one of `names`; - and _ are equivalent."""

    def parse(text: str) -> str:
        name = text.lower().replace("-", "_")
        if name not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(map(_dashed, names))}")
        return name

    return parse


def screen(text: str) -> tuple[int, int]:
    """Parses WxH in pixels into (height, width)."""
    match = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", text)
    if not match or not all(0 < int(side) <= _LARGEST_SIDE for side in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, such as 1920x1080")
    return int(match[2]), int(match[1])


def screen_cm(text: str) -> tuple[float | None, float]:
    """Parses WxH or W in cm into (height or None, width)."""
    sides = [above_zero(side) for side in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, such as 53x30")
    return (None if len(sides) == 1 else sides[1]), sides[0]


def shown(text: str) -> Shown:
    """Parses a name in `SHOWN`, or LEFT,TOP,WIDTH,HEIGHT."""
    if text in SHOWN:
        return text
    try:
        left, top, width, height = (float(side) for side in text.split(","))
    except ValueError:
        left = top = width = height = math.nan
    if not (math.isfinite(left + top) and 0 < width < math.inf and 0 < height < math.inf):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one of {', '.join(SHOWN)}, nor LEFT,TOP,WIDTH,HEIGHT such as 240,0,1440,1080"
        )
    return left, top, width, height


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def above_zero(text: str) -> float:
    """A finite number above 0."""
    value = flags.not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def ivt(text: str) -> Ivt:
    """Parses NAME=VALUE,... into thresholds."""
    names = [field.name for field in dataclasses.fields(Ivt)]
    given = columns(text)
    unknown = [name for name in given if name.replace("-", "_") not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(map(_dashed, names))}")
    return Ivt(**{name.replace("-", "_"): flags.not_negative(value) for name, value in given.items()})


def _dashed(name: str) -> str:
    return name.replace("_", "-")
