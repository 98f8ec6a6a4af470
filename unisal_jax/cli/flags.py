"""Flags, flag types and help examples that several commands share."""

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from unisal_jax.domains import Size, check_input_size, check_stride
from unisal_jax.errors import UnisalError
from unisal_jax.media.film_options import DEFAULT_ENCODING, PRESETS, Part

if TYPE_CHECKING:
    from unisal_jax.predict.model import SaliencyModel

_WORST_QUALITY = 51


def add_examples(parser: argparse.ArgumentParser, first: str, second: str, note: str = "") -> None:
    """Ends a command's help with two example command lines.

    Args:
      parser: the command's parser.
      first: the most common use, as typed in a shell.
      second: another use.
      note: text before the examples, wrapped by hand.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{note}\n\n" if note else ""
    parser.epilog += f"examples:\n  {first}\n  {second}"


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds INPUT... and how inputs are read: --video, --stride, --on-error."""
    parser.add_argument(
        "input",
        nargs="+",
        help="image or video files, folders of images, folders of frames (with --video), globs, camera:N; "
        "with --allow-network also rtsp://, http:// and https:// URLs of videos",
    )
    add_allow_network(parser)
    parser.add_argument(
        "--video", action="store_true", help="treat a folder of images as the frames of a video"
    )
    parser.add_argument(
        "--stride",
        type=stride,
        metavar="N",
        help="frame stride: the interval between frames of one recurrence (default: frame rate / 6)",
    )
    parser.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="on an input that cannot be read: stop (default), or skip it and continue",
    )


def add_film(parser: argparse.ArgumentParser) -> None:
    """Adds which part of a video is read, and how: --start, --end, --every, --across-cuts."""
    parser.add_argument(
        "--start",
        type=seconds,
        default=0.0,
        metavar="TIME",
        help="start of the part of a video to read: seconds, or H:MM:SS.S (default: 0)",
    )
    parser.add_argument(
        "--end",
        type=seconds,
        metavar="TIME",
        help="end of the part to read, exclusive (default: the video's)",
    )
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="read every N-th frame of a video (default: 1)"
    )
    parser.add_argument(
        "--across-cuts",
        action="store_true",
        help="carry the recurrent state across cuts, as in the paper (default: reset it at each cut)",
    )


def add_encoding(parser: argparse.ArgumentParser) -> None:
    """Adds how videos are encoded: --preset, --quality."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        default=DEFAULT_ENCODING.preset,
        help=f"encoding of the videos written: {', '.join(PRESETS)} (default: {DEFAULT_ENCODING.preset})",
    )
    parser.add_argument(
        "--quality",
        type=quality,
        default=DEFAULT_ENCODING.quality,
        metavar="CRF",
        help="x264 constant rate factor of the videos written, 0 (lossless) to 51 (default: "
        f"{DEFAULT_ENCODING.quality:g})",
    )


def part(args: argparse.Namespace) -> Part:
    """The part of a video that --start, --end and --every select.

    Raises:
      UnisalError: the part is empty.
    """
    if args.end is not None and args.end <= args.start:
        raise UnisalError(f"--end: {args.end:g} s is not after --start, {args.start:g} s")
    return Part(args.start, args.end, args.every)


def add_allow_network(parser: argparse.ArgumentParser) -> None:
    """Adds --allow-network."""
    parser.add_argument(
        "--allow-network",
        action="store_true",
        help="allow URLs as inputs and open them",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds what predicts, and how: --domain, --input-size, --weights, --engine, --dtype."""
    parser.add_argument(
        "--domain",
        help="domain whose parameters to use, built in or from a domain pack (default: the one the weights "
        "were trained on; for the released weights salicon, or dhf1k for video)",
    )
    parser.add_argument(
        "--input-size",
        type=input_size,
        metavar="HxW",
        help="size of the network's input, multiples of 32 (default: by domain)",
    )
    add_weights(parser)
    add_engine(parser)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds --weights, which `load_weights` takes; its default is `installed.default_weights`."""
    parser.add_argument(
        "--weights",
        help="unisal, unisal-mit1003, hf://owner/name, or a .safetensors, .pth or checkpoint path (default: "
        "unisal, or the release that the domain pack requires)",
    )


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Adds --runtime, the JavaScript runtime of the web page."""
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE",
        help="tarball of onnxruntime-web for the page (default: the cached one, or download with npm)",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds which engine runs the network, and in which precision: --engine, --dtype."""
    parser.add_argument(
        "--engine",
        choices=("auto", "jax", "onnxruntime"),
        default="auto",
        help="engine that runs the network: onnxruntime (CPU), jax (CPU, GPU, TPU), or auto (default): jax "
        "if it finds a GPU or TPU, else onnxruntime",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="precision of the computation; bfloat16 is for GPU and TPU (default: float32)",
    )


def load_model(args: argparse.Namespace) -> "SaliencyModel":
    """Loads the model that --weights, --engine and --dtype select."""
    from unisal_jax.predict.model import load

    return load(args.weights, args.dtype, args.engine)


def printable(text: str) -> str:
    """A name on one line: characters that a terminal cannot print are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def input_size(text: str) -> Size:
    """HxW in multiples of 32, such as 224x384."""
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 224x384")
    size = int(match[1]), int(match[2])
    try:
        check_input_size(size, text)
    except UnisalError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return size


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def stride(text: str) -> int:
    """A frame stride."""
    value = positive(text)
    try:
        check_stride(value, "--stride")
    except UnisalError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return value


def positives(text: str) -> tuple[int, ...]:
    """Whole numbers above zero, separated by commas."""
    return tuple(positive(part.strip()) for part in text.split(","))


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def share(text: str) -> float:
    """A number above 0, at most 1."""
    value = fraction(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def not_negative(text: str) -> float:
    """A finite number, 0 or above."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or above")
    return value


def seconds(text: str) -> float:
    """A time: seconds, M:SS or H:MM:SS, with decimals."""
    match = re.fullmatch(r"(?:(?:([0-9]{1,4}):)?([0-9]{1,4}):)?([0-9]{1,9}(?:\.[0-9]{1,9})?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 12.5 or 1:02:30")
    hours, minutes = (int(part or 0) for part in match.groups()[:2])
    return 3600 * hours + 60 * minutes + float(match[3])


def quality(text: str) -> float:
    """A constant rate factor."""
    value = not_negative(text)
    if value > _WORST_QUALITY:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {_WORST_QUALITY}")
    return value


def aspect(text: str) -> tuple[float, float]:
    """W:H, both numbers above 0, such as 9:16 or 2.39:1."""
    number = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)"
    match = re.fullmatch(f"{number}:{number}", text)
    if not match or float(match[1]) == 0 or float(match[2]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not W:H, such as 9:16")
    return float(match[1]), float(match[2])


def aspects(text: str) -> tuple[tuple[float, float], ...]:
    """Aspect ratios, separated by commas; repeats are dropped."""
    return tuple(dict.fromkeys(aspect(part.strip()) for part in text.split(",")))


def choices(allowed: tuple[str, ...]):
    """Parses a comma-separated list of names in `allowed`; returns them in that order, without repeats."""

    def parse(text: str) -> tuple[str, ...]:
        given = [part.strip() for part in text.split(",") if part.strip()]
        unknown = [part for part in given if part not in allowed]
        if unknown or not given:
            raise argparse.ArgumentTypeError(f"{text!r}: choose from {','.join(allowed)}")
        return tuple(part for part in allowed if part in given)

    return parse
