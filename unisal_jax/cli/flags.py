"""Flag types that several commands share."""

import argparse
import re

from unisal_jax.domains import Size, check_input_size
from unisal_jax.errors import UnisalError


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Adds --dtype, the precision of the network's computation."""
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the network's computation; bfloat16 is for GPU and TPU (default: float32)",
    )


def input_size(text: str) -> Size:
    """HxW in multiples of 32, as 224x384."""
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


def choices(allowed: tuple[str, ...]):
    """A comma-separated list of some of `allowed`, without repeats, in their order."""

    def parse(text: str) -> tuple[str, ...]:
        given = [part.strip() for part in text.split(",") if part.strip()]
        unknown = [part for part in given if part not in allowed]
        if unknown or not given:
            raise argparse.ArgumentTypeError(f"{text!r}: name some of {','.join(allowed)}")
        return tuple(part for part in allowed if part in given)

    return parse
