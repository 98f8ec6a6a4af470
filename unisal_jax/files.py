"""Files and folders on disk: listing, checks before writing, and atomic writes."""

import errno
import os
import re
import secrets
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from unisal_jax.errors import OutputError, UnisalError

# Files and folders that operating systems and file servers create in user folders, in lower case. Hidden
# files begin with a dot, including macOS's "._NAME" beside each NAME.
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

# Errors for a name that a file system cannot store: too long, or with invalid bytes.
_BAD_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
_NAME_BYTES = 255  # of most file systems, if the limit cannot be queried


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_address(path: str | Path) -> bool:
    """Whether a path is a URL, such as gs://bucket/folder, instead of a path on disk."""
    return _ADDRESS.match(str(path)) is not None


def check_on_disk(path: str | Path) -> None:
    """Refuses a URL, which `Path` would take for a folder such as `gs:`.

    Raises:
      UnisalError: the path is a URL; the message says what to do.
    """
    if is_address(path):
        raise UnisalError(
            f"{path}: must be on a disk; copy it here, or mount the bucket (gs:// with gcsfuse) and name the "
            "folder"
        )


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system file, and left out of listings."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def is_system(name: str) -> bool:
    """Whether a file of this name is one that systems create in the folders that users open."""
    return name.lower() in (*_SYSTEM_NAMES, ".ds_store") or name.startswith("._")


def list_folder(folder: str | Path) -> list[Path]:
    """The entries of a folder, sorted by name, without hidden and system files (`is_hidden`).

    All listings of user folders use this function, so that they see the same files.

    Raises:
      UnisalError: the folder cannot be read.
    """
    folder = Path(folder)
    try:
        return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
    except OSError as error:
        raise UnisalError(f"{folder}: cannot be read ({error.strerror})") from error


def walk_folders(starts: Iterable[Path]) -> list[Path]:
    """The folders and all folders below them, each real folder once, without hidden and system ones.

    Symbolic links to folders are followed last, with loops detected: a folder that is also reached directly
    keeps its real path. Folders that cannot be read are ignored.
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
    """Refuses outputs that would overwrite inputs; call it before anything is written.

    Args:
      outputs: files to write, and folders to replace.
      inputs: files and folders to read. Non-existing ones, such as `camera:0`, are ignored. Not iterated if
        no output exists yet.

    Raises:
      UnisalError: an output is an input (by name, through a link, or as the same file on disk), or a folder
        that contains one.
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
    """Refuses a path that the C++ libraries which store arrays cannot handle.

    Args:
      path: the path; a relative one is resolved first.
      what: what the path is, for the message, such as "--workdir".

    Raises:
      UnisalError: the name of the file or of a folder above it is not UTF-8.
    """
    whole = os.path.abspath(path)
    if any("\udc80" <= letter <= "\udcff" for letter in whole):
        # Shown with escapes, as most programs cannot display it.
        shown = whole.encode("utf-8", "backslashreplace").decode()
        raise UnisalError(f"{what}: the path {shown} is not UTF-8; rename the file or folder, or use another")


def temporary_path(path: Path) -> Path:
    """A temporary name next to `path`, to write to and then rename.

    It begins with a dot, so that listings leave it out; it is short, as `path` may have the maximum length;
    and it is unique among processes and threads.
    """
    return path.with_name(f".{secrets.token_hex(4)}.{os.getpid()}.tmp")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary name next to `path`, which is renamed to `path` if the block succeeds.

    If the block raises, the temporary file is removed and an existing file at `path` stays unchanged.

    Raises:
      UnisalError: `path` is a device or a pipe, or the block or the renaming raised an OSError
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
        # Whatever stops the block, including Ctrl-C, must not leave a partial file behind, and a failure to
        # remove it must not hide the original error.
        with suppress(OSError):
            temporary.unlink()
        raise


def check_no_device(path: str | Path) -> None:
    """Raises UnisalError if an output is a device or a pipe, such as /dev/null.

    Renaming a file to that name would replace the device for all programs.
    """
    # /dev/stdout is a link, to a regular file if the output is redirected.
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
    """Opens a text file in UTF-8 to write atomically.

    Raises:
      UnisalError: as `atomic_path`.
    """
    with (
        atomic_path(path) as temporary,
        # File names that are not valid UTF-8 contain lone surrogates, which cannot be encoded.
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (`text_file`)."""
    with text_file(path) as file:
        file.write(text)


@contextmanager
def write_errors(path: str | Path) -> Iterator[None]:
    """Converts an OSError in the block to the error for `path` (`cannot_write`)."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: str | Path, error: OSError) -> UnisalError:
    """The error for a failed write, in one line that begins with the path.

    It is an `OutputError`, unless the disk refuses the name, which comes from the input.
    """
    kind = UnisalError if error.errno in _BAD_NAME else OutputError
    return kind(f"{path}: cannot be written ({error.strerror or error})")


def check_name(path: Path) -> None:
    """Raises UnisalError for a path that the file system cannot store: too long, or with invalid bytes."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno in _BAD_NAME:
            raise cannot_write(path, error) from error


def name_limit(folder: Path) -> int:
    """Maximum length in bytes of a file name in a folder, which need not exist yet."""
    for place in (folder, *folder.absolute().parents):
        try:
            return os.pathconf(place, "PC_NAME_MAX")
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError):  # AttributeError on systems without pathconf
            break
    return _NAME_BYTES


def make_folder(folder: Path) -> None:
    """Creates a folder with its parents, and checks that it can be written to.

    Raises:
      UnisalError: the folder cannot be created or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: cannot be written (is a file); name a folder")
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = temporary_path(folder / "probe")
        probe.touch()
        probe.unlink()


def check_new_folder(folder: Path) -> None:
    """Refuses a path that is a file or a folder with content.

    Raises:
      UnisalError: it is one of these.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UnisalError(f"{folder}: is already there and is not replaced; remove it or name another folder")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `path`, which becomes `path` if the block succeeds.

    If the block raises, the temporary folder is removed.

    Raises:
      UnisalError: `path` is neither missing nor an empty folder, or the block raised an OSError
        (`write_errors`).
    """
    check_new_folder(path)
    temporary = temporary_path(path)
    try:
        with write_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                path.rmdir()
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Creates folders (`make_folder`); afterwards removes new ones that are still empty.

    A run that is refused or fails before its first result thus leaves no empty folders.

    Raises:
      UnisalError: a folder cannot be created or written to.
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
                folder.rmdir()  # fails for a folder that is not empty
