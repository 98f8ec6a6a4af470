"""Reads JSON files from elsewhere, with limits and checks, and writes JSON files."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from unisal_jax.errors import UnisalError
from unisal_jax.files import write_text
from unisal_jax.limits import MAX_JSON_BYTES


def read_json(path: str | Path, what: str) -> Any:
    """Reads a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
      path: the file.
      what: what it should contain, for messages, such as "a list of boxes".

    Raises:
      UnisalError: the file does not exist, is larger than `MAX_JSON_BYTES`, or is not valid JSON. NaN,
        infinity, numbers of thousands of digits, deep nesting and repeated keys are also refused.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise UnisalError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_JSON_BYTES:
        raise UnisalError(f"{path}: larger than {MAX_JSON_BYTES >> 20} MiB")
    try:
        return json.loads(data, parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UnisalError(f"{path}: not {what} ({error})") from error


def write_json(path: str | Path, document: Any) -> None:
    """Writes a JSON file with sorted keys, atomically.

    Raises:
      UnisalError: the file cannot be written.
    """
    write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def rounded(number: float, digits: int = 6) -> float:
    """The number rounded to `digits` significant digits; further digits depend on the machine."""
    return float(f"{number:.{digits}g}")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice[:100]!r} occurs twice")
    return content
