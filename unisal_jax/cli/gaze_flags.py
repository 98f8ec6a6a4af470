"""The flags on trackers' files, for the commands that read them."""

import argparse
import dataclasses
import math
import re
from collections.abc import Callable

from unisal_jax.cli import flags
from unisal_jax.errors import UnisalError
from unisal_jax.gaze.settings import CLOCKS, SHOWN, SPACES, Ivt, Settings, Shown

# As `gaze.formats.FORMATS` has them: `--help` is to be quick.
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
        help=f"of the files (default: by their content): {', '.join(FORMATS)}",
    )
    group.add_argument(
        "--columns",
        type=columns,
        metavar="OURS=THEIRS,...",
        help="of a table of any other tracker: what it calls stimulus, observer, x, y, time, duration, trial "
        "and validity, as x=PosX,y=PosY,stimulus=Bild",
    )
    group.add_argument("--eye", choices=_EYES, default=_EYES[0], help="of two eyes (default: their mean)")
    group.add_argument(
        "--coordinates",
        type=one_of(SPACES),
        metavar="KIND",
        help=f"what x and y are (default: by format): {', '.join(map(_dashed, SPACES))}; up: y counts "
        "from below; centre: pixels from the middle of the screen, as PsychoPy writes them",
    )
    group.add_argument(
        "--stimulus", metavar="NAME", help="the image or film that was shown, for files that name none"
    )


def add_placing(group: argparse._ArgumentGroup) -> None:
    """Adds where and when stimuli were shown, and which fixations are taken."""
    group.add_argument(
        "--screen",
        type=screen,
        metavar="WxH",
        help="pixels of the screen, as 1920x1080 (default: by the file)",
    )
    group.add_argument(
        "--shown",
        type=shown,
        default=Settings().shown,
        metavar="HOW",
        help="where a stimulus lay on the screen: fit (default: as large as the screen allows, aspect kept, "
        "in the middle), stretch (over the whole screen), actual (its own pixels, in the middle), or "
        "LEFT,TOP,WIDTH,HEIGHT in pixels of the screen",
    )
    group.add_argument(
        "--clock",
        choices=CLOCKS,
        help="what times count from: the stimulus' onset, or the recording; then a stimulus appeared with "
        "the first row of its viewing (default: by format)",
    )
    group.add_argument(
        "--onset",
        type=number,
        default=0.0,
        metavar="MS",
        help="when the stimulus appeared (of a film, its first frame), in ms after what --clock says "
        "(default: 0)",
    )
    group.add_argument(
        "--film-fps",
        type=above_zero,
        metavar="N",
        help="frames a second at which films were shown (default: the films' own times)",
    )
    group.add_argument(
        "--drop-first",
        action="store_true",
        help="drop each viewing's first fixation, as on a cross that was shown before",
    )
    group.add_argument(
        "--screen-cm",
        type=screen_cm,
        metavar="WxH",
        help="size of the screen in cm, or its width alone, as 53x30",
    )
    group.add_argument(
        "--distance-cm", type=above_zero, metavar="D", help="from the eyes to the screen, for degrees"
    )
    group.add_argument(
        "--screen-pixels-per-degree",
        type=above_zero,
        metavar="P",
        help="of the screen, in the place of --screen-cm and --distance-cm",
    )
    defaults = dataclasses.asdict(Ivt()).items()
    group.add_argument(
        "--ivt",
        type=ivt,
        default=Ivt(),
        metavar="NAME=VALUE,...",
        help="how raw gaze becomes fixations, in degrees/s, ms and degrees (default: "
        f"{','.join(f'{_dashed(name)}={value:g}' for name, value in defaults)})",
    )


def settings(args: argparse.Namespace) -> Settings:
    """What the flags ask for.

    Raises:
      UnisalError: they do not go together.
    """
    if (args.screen_cm is None) != (args.distance_cm is None):
        given, other = ("--screen-cm", "--distance-cm")[:: 1 if args.distance_cm is None else -1]
        raise UnisalError(f"{given}: goes together with {other}")
    if args.screen_cm is not None and args.screen_pixels_per_degree is not None:
        raise UnisalError("--screen-pixels-per-degree: goes in the place of --screen-cm and --distance-cm")
    if args.columns is not None and args.format not in (None, "table"):
        raise UnisalError(f"--columns: for tables of other trackers, and --format is {args.format}")
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
    """Whether any of these flags is given a value of its own."""
    return settings(args) != Settings(read=_READ, first_frame=args.first_frame)


def columns(text: str) -> dict[str, str]:
    """OURS=THEIRS,... as a mapping."""
    found: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (each.strip() for each in part.partition("="))
        if not (ours and equals and theirs) or ours in found:
            raise argparse.ArgumentTypeError(f"{text!r} is not OURS=THEIRS,..., such as x=PosX,y=PosY")
        found[ours] = theirs
    return found


def one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    """One of some names, in which - and _ are the same."""

    def parse(text: str) -> str:
        name = text.lower().replace("-", "_")
        if name not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(map(_dashed, names))}")
        return name

    return parse


def screen(text: str) -> tuple[int, int]:
    """WxH in pixels, as (height, width)."""
    match = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", text)
    if not match or not all(0 < int(side) <= _LARGEST_SIDE for side in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, such as 1920x1080")
    return int(match[2]), int(match[1])


def screen_cm(text: str) -> tuple[float | None, float]:
    """WxH or W in cm, as (height or None, width)."""
    sides = [above_zero(side) for side in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, such as 53x30")
    return (None if len(sides) == 1 else sides[1]), sides[0]


def shown(text: str) -> Shown:
    """Of `SHOWN`, or LEFT,TOP,WIDTH,HEIGHT."""
    if text in SHOWN:
        return text
    try:
        left, top, width, height = (float(side) for side in text.split(","))
    except ValueError:
        left = top = width = height = math.nan
    if not (math.isfinite(left + top) and 0 < width < math.inf and 0 < height < math.inf):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(SHOWN)}, and not LEFT,TOP,WIDTH,HEIGHT such as 240,0,1440,1080"
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
    """NAME=VALUE,... as thresholds."""
    names = [field.name for field in dataclasses.fields(Ivt)]
    given = columns(text)
    unknown = [name for name in given if name.replace("-", "_") not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(map(_dashed, names))}")
    return Ivt(**{name.replace("-", "_"): flags.not_negative(value) for name, value in given.items()})


def _dashed(name: str) -> str:
    return name.replace("_", "-")
