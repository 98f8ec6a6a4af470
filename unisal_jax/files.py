"""Files on a disk: which ones a folder is said to hold, what may be written, and whole or not at all."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unisal_jax.errors import UnisalError

# What operating systems and file servers leave in every folder that a person opens, in lower case.
# Hidden files, among them macOS's "._NAME" beside each NAME, begin with a dot.
_SYSTEM_NAMES = frozenset(
    {
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "system volume information",
        "thumbs.db",
    }
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or the system's own: no listing shows it."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def list_folder(folder: str | Path) -> list[Path]:
    """What lies directly in a folder, sorted by name; hidden and system files (`is_hidden`) left out.

    Every listing of what a user has goes through here, so that all of them see the same files.

    Raises:
      UnisalError: the folder cannot be read.
    """
    folder = Path(folder)
    try:
        return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
    except OSError as error:
        raise UnisalError(f"{folder}: cannot be read ({error.strerror})") from error


def keep_inputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuses outputs that would replace what is read; asked before anything is written.

    Args:
      outputs: files that will be written, and folders that will be replaced whole.
      inputs: files and folders that are read. What is not there, such as `camera:0`, is passed over.
    Raises:
      UnisalError: an output is an input (by name, through a link, or as the same file on the disk), or
        a folder that holds one.
    """
    read = {_identity(path): path for path in inputs if os.path.exists(path)}
    places = [(os.path.realpath(path), path) for path in read.values()]
    for output in outputs:
        if not os.path.exists(output):
            continue
        replaced = os.path.realpath(output).rstrip(os.sep) + os.sep
        inner = next((path for place, path in places if place.startswith(replaced)), None)
        taken = read.get(_identity(output), inner)
        if taken is not None:
            raise UnisalError(f"{output}: would overwrite {taken}, which is read; name another output")


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def temporary_path(path: Path) -> Path:
    """A name beside `path` to write to before it is renamed.

    It begins with a dot, so that no listing shows it; it is short, as `path` may be as long as the
    disk allows; and no other process or thread has the same.
    """
    return path.with_name(f".{secrets.token_hex(4)}.{os.getpid()}.tmp")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, renamed to `path` when the block ends well.

    When the block raises, the temporary file is removed, an older file at `path` is left as it was,
    and the exception goes on.

    Raises:
        UnisalError: the finished file could not take its name.
    """
    path = Path(path)
    if not path.name:
        raise UnisalError(f"{path}: cannot be written (not the name of a file)")
    temporary = temporary_path(path)
    try:
        yield temporary
        try:
            os.replace(temporary, path)
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from error
    except BaseException:
        # Whatever stops the block, Ctrl-C included, must leave no half-written file behind; and a
        # failure to remove it must not hide what went wrong.
        with suppress(OSError, ValueError):
            temporary.unlink()
        raise


def cannot_write(path: str | Path, error: OSError | ValueError) -> UnisalError:
    """The error for a failed write, in one line that begins with the path."""
    return UnisalError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})")
