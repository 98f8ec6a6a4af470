"""Files appear under their own name only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unisal_jax.errors import UnisalError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, renamed to `path` when the block ends well.

    When the block raises, the temporary file is removed, an older file at `path` is left as it was,
    and the exception goes on. The name begins with a dot, so that a reader of the folder passes it
    over, and holds the process's number, so that two processes never share one.

    Raises:
        UnisalError: the finished file could not take its name.
    """
    path = Path(path)
    if not path.name:
        raise UnisalError(f"{path}: cannot be written (not the name of a file)")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        try:
            os.replace(temporary, path)
        except OSError as error:
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
