"""Files on a disk: which ones a folder is said to hold, what may be written, and whole or not at all."""

import errno
import os
import re
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from unisal_jax.errors import OutputError, UnisalError

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

# What a disk says where it cannot hold a name: too long, or bytes that it does not take.
_BAD_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_NAME_BYTES = 255  # of most disks, for where the disk does not say


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(path: str | Path) -> bool:
    """Whether a path has a scheme, as gs://bucket/folder has: it is on no disk."""
    return _ADDRESS.match(str(path)) is not None


def check_on_disk(path: str | Path) -> None:
    """Refuses an address, of which `Path` would make a folder `gs:`.

    Raises:
      UnisalError: it is one; says what to do.
    """
    if is_address(path):
        raise UnisalError(
            f"{path}: must be on a disk; copy it here, or mount the bucket (gs:// with gcsfuse) and name the "
            "folder"
        )


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or the system's own: no listing shows it."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def is_system(name: str) -> bool:
    """Whether a file of this name is the system's own: it puts them into folders that people look into."""
    return name.lower() in (*_SYSTEM_NAMES, ".ds_store") or name.startswith("._")


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


def walk_folders(starts: Iterable[Path]) -> list[Path]:
    """The folders and all folders below them, each real folder once, hidden and system ones left out.

    Links to folders are followed, however they loop, after all else: a folder that is reached both ways
    has its own path here and not the link's. Folders that cannot be read are passed over.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting, links = deque(starts), deque[Path]()
    while waiting or links:
        folder = waiting.popleft() if waiting else links.popleft()
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            found.append(folder)
            with os.scandir(folder) as entries:
                inner = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in inner:
            if not is_hidden(entry.name):
                (links if entry.is_symlink() else waiting).append(folder / entry.name)
    return found


def files_below(path: str | Path) -> Iterator[Path]:
    """The path itself and, if it is a folder, all files in it and in its folders (`walk_folders`)."""
    path = Path(path)
    yield path
    if path.is_dir():
        for folder in walk_folders([path]):
            with suppress(OSError):
                yield from (entry for entry in folder.iterdir() if not entry.is_dir())


def keep_inputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuses outputs that would replace what is read; asked before anything is written.

    Args:
      outputs: files that will be written, and folders that will be replaced whole.
      inputs: files and folders that are read. What is not there, such as `camera:0`, is passed over.
        Not asked for where no output is there yet.

    Raises:
      UnisalError: an output is an input (by name, through a link, or as the same file on the disk), or
        a folder that holds one.
    """
    there = [output for output in outputs if os.path.exists(output)]
    if not there:
        return
    read = {_identity(path): path for path in inputs if os.path.exists(path)}
    holding: dict[str, str | Path] = {}  # every folder above an input
    if any(os.path.isdir(output) for output in there):
        for path in read.values():
            folder = os.path.dirname(os.path.realpath(path))
            while folder not in holding:
                holding[folder] = path
                folder = os.path.dirname(folder)
    for output in there:
        taken = read.get(_identity(output), holding.get(os.path.realpath(output)))
        if taken is not None:
            raise UnisalError(f"{output}: would overwrite {taken}, which is read; name another output")


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def check_utf8(path: str | Path, what: str) -> None:
    """Refuses a path that the libraries in C++ which read and write big arrays cannot be given.

    Args:
      path: it may be relative; where it leads to is checked.
      what: it is, for the message, such as "--workdir".

    Raises:
      UnisalError: the name of the file or of a folder above is not UTF-8.
    """
    whole = os.path.abspath(path)
    if any("\udc80" <= letter <= "\udcff" for letter in whole):
        # Told with escapes: few programs could show it.
        shown = whole.encode("utf-8", "backslashreplace").decode()
        raise UnisalError(f"{what}: the path {shown} is not UTF-8; rename the file or folder, or use another")


def temporary_path(path: Path) -> Path:
    """A name beside `path` to write to before it is renamed.

    It begins with a dot, so that no listing shows it; it is short, as `path` may be as long as the
    disk allows; and no other process or thread has the same.
    """
    return path.with_name(f".{secrets.token_hex(4)}.{os.getpid()}.tmp")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, renamed to `path` when the block ends well.

    When the block raises, the temporary file is removed and an older file at `path` is left as it was.

    Raises:
        UnisalError: there is a device or a pipe at `path`, or the block or the renaming met an OSError
            (`write_errors`).
    """
    path = Path(path)
    if not path.name or not _is_name(path):
        raise UnisalError(f"{path}: cannot be written (not the name of a file)")
    check_no_device(path)
    temporary = temporary_path(path)
    try:
        with write_errors(path):
            yield temporary
            os.replace(temporary, path)
    except BaseException:
        # Whatever stops the block, Ctrl-C included, must leave no half-written file behind; and a
        # failure to remove it must not hide what went wrong.
        with suppress(OSError):
            temporary.unlink()
        raise


def check_no_device(path: str | Path) -> None:
    """Raises UnisalError for an output in whose place a device or a pipe is, such as /dev/null.

    An output is renamed to its name, which would take the device away from everybody.
    """
    # /dev/stdout is a link, to a file where the output is redirected.
    is_device = os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))
    if is_device or os.path.dirname(os.path.abspath(path)) in ("/dev", "/dev/fd"):
        raise UnisalError(f"{path}: cannot be written (a device or a pipe); name a file")


def _is_name(path: Path) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


@contextmanager
def text_file(path: str | Path) -> Iterator[TextIO]:
    """A file to write text to in UTF-8, whole or not at all.

    Raises:
        UnisalError: as `atomic_path`.
    """
    with (
        atomic_path(path) as temporary,
        # A file name that is not valid UTF-8 comes as lone surrogates, which have no encoding.
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (`text_file`)."""
    with text_file(path) as file:
        file.write(text)


@contextmanager
def write_errors(path: str | Path) -> Iterator[None]:
    """Makes of an OSError in the block the error of `path` (`cannot_write`)."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str | Path, error: OSError) -> UnisalError:
    """The error for a failed write, in one line that begins with the path.

    An `OutputError`, unless the disk refuses the name, which comes from the input.
    """
    kind = UnisalError if error.errno in _BAD_NAME else OutputError
    return kind(f"{path}: cannot be written ({error.strerror or error})")


def check_name(path: Path) -> None:
    """Raises UnisalError for a path that the disk cannot hold: too long, or with bytes it does not take."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno in _BAD_NAME:
            raise cannot_write(path, error) from error


def name_limit(folder: Path) -> int:
    """Bytes that a file's name may have in a folder, or in the one that it will be made in."""
    for place in (folder, *folder.absolute().parents):
        try:
            return os.pathconf(place, "PC_NAME_MAX")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError):  # the last of systems without pathconf
            break
    return _NAME_BYTES


def make_folder(folder: Path) -> None:
    """Makes a folder, with those above, and finds out before any work whether it can be written to.

    Raises:
      UnisalError: it cannot be made, or not be written to.
    """
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(folder / "probe")
        probe.touch()
        probe.unlink()


def check_new_folder(folder: Path) -> None:
    """Refuses a folder that is there with something in it, or a file in its place.

    Raises:
      UnisalError: it is so.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UnisalError(f"{folder}: is already there and is not replaced; remove it or name another folder")


@contextmanager
def new_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Makes folders (`make_folder`); afterwards removes the new ones that nothing was put into.

    So a run that is refused, or fails before its first result, leaves no empty folders.

    Raises:
      UnisalError: one cannot be made, or not be written to.
    """
    made: list[Path] = []
    try:
        for folder in folders:
            made += reversed([each for each in (folder, *folder.parents) if not each.exists()])
            make_folder(folder)
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()  # refuses a folder that is not empty
