"""JSON files: those that others made, of a bounded size and with numbers that are numbers; and our own."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from unisal_jax.errors import UnisalError
from unisal_jax.files import write_text
from unisal_jax.limits import MAX_JSON_BYTES


def read_json(path: str | Path, what: str) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
      path: the file.
      what: it is to be, for messages, such as "a list of boxes".

    Raises:
      UnisalError: no such file, larger than `MAX_JSON_BYTES`, or not JSON; a NaN, an infinity, a number
        of thousands of digits, thousands of nested lists and a key that is there twice are not.
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
    """Writes a JSON file with sorted keys, whole or not at all.

    Raises:
      UnisalError: it cannot be written.
    """
    write_text(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def rounded(number: float, digits: int = 6) -> float:
    """With so many significant digits: the others are the machine's own."""
    return float(f"{number:.{digits}g}")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice[:100]!r} is there twice")
    return content
