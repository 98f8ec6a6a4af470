"""A workdir in cloud storage, at any address that `etils.epath` supports, such as gs://bucket/folder.

Training runs in a temporary local folder. It is downloaded at the start and uploaded after each checkpoint
and validation, because TensorBoard's writer, the lock and the checks of a checkpoint require local files, and
Orbax supports only Google's storage. Objects are uploaded atomically. A checkpoint is complete once its file
COMMITTED exists, which is uploaded last and removed first. `best`, a link locally, is a text file with the
link's target.
"""

import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from etils import epath

from unisal_jax.errors import OutputError, UnisalError, one_line
from unisal_jax.files import is_address, is_hidden
from unisal_jax.packages import install_command

CHECKPOINTS, BEST, LOCK = "checkpoints", "best", ".lock"
COMMITTED = "commit_success.txt"
"""Orbax's name of the file that marks a complete checkpoint."""

BEAT, PATIENCE, SETTLE = 10.0, 45.0, 2.0
"""Seconds: between two updates of the lock; without an update until its owner is considered dead; for two
processes that start at the same moment to notice each other."""

_THREADS = 16

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where training runs.

    Attributes:
      folder: a folder on a local disk.
      send: uploads the folder to the workdir; None if they are the same.
    """

    folder: Path
    send: Callable[[], None] | None


def open_address(address: str) -> epath.Path:
    """Opens an address as a path, after checking that it can be read. It need not exist.

    Raises:
      UnisalError: its scheme is unknown, its package is not installed, or it cannot be reached.
    """
    try:
        path = epath.Path(address)
        path.exists()
    except KeyError as error:
        scheme = address.partition("://")[0]
        raise UnisalError(f"{address}: unknown storage {scheme}://; use gs://") from error
    except ImportError as error:
        cure = f"; install it with: {install_command('gcs')}" if address.startswith("gs://") else ""
        raise UnisalError(f"{address}: a package is missing ({one_line(error)}){cure}") from error
    except Exception as error:
        raise UnisalError(f"{address}: cannot be read ({one_line(error)})") from error
    return path


@contextmanager
def working_folder(workdir: str | Path, writes: bool, keep_local: Iterable[str] = ()) -> Iterator[Place]:
    """The folder to train in: the workdir itself, or a local one for a workdir in the cloud.

    Args:
      workdir: a folder, or an address (`files.is_address`).
      writes: whether this process reads and writes the workdir. The folders of the other processes start
        empty and are not uploaded.
      keep_local: names in the folder that are not uploaded.

    Raises:
      UnisalError: the address cannot be used, or another process is training there. Errors raised in the
        block name the address instead of the local folder.
    """
    if not is_address(workdir):
        yield Place(Path(workdir), None)
        return
    remote = open_address(str(workdir)) if writes else None
    with tempfile.TemporaryDirectory(prefix="unisal_") as name:
        folder = Path(name)
        if remote is None:
            yield Place(folder, lambda: None)
            return
        with _hold(remote / LOCK) as lost:
            mirror = _Mirror(remote, folder, frozenset(keep_local), lost)
            mirror.fetch()
            try:
                yield Place(folder, mirror.send)
            except UnisalError as error:
                raise type(error)(str(error).replace(str(folder), str(remote))) from error
            finally:
                mirror.send()


class _Mirror:
    """Synchronises a local folder with the workdir, and remembers which files it uploaded."""

    def __init__(self, remote: epath.Path, folder: Path, keep_local: frozenset[str], lost: threading.Event):
        self._remote, self._folder, self._keep_local, self._lost = remote, folder, keep_local, lost
        self._sent: dict[str, tuple[int, int]] = {}
        self._best = ""

    def fetch(self) -> None:
        """Copies the workdir to the folder, and removes incomplete checkpoints from the workdir."""
        with _errors(self._remote, "read"), ThreadPoolExecutor(_THREADS) as pool:
            names = list(self._list(self._remote, ""))
            whole = {_step(name) for name in names if name.endswith(f"/{COMMITTED}")}
            left = {step for step in map(_step, names) if step and step not in whole}
            for step in left:
                (self._remote / step).rmtree()
            wanted = [name for name in names if _step(name) not in left and Path(name).name != COMMITTED]
            for done in [pool.submit(self._fetch, name) for name in wanted]:
                done.result()
        self._sent = self._local()

    def send(self) -> None:
        """Uploads new and changed files and removes deleted ones; if interrupted, the workdir can be resumed.

        Raises:
          UnisalError: the upload fails, or another process has taken over the workdir.
        """
        if self._lost.is_set():
            raise UnisalError(f"{self._remote}: another process has taken over and is training in it")
        with _errors(self._remote, "written"), ThreadPoolExecutor(_THREADS) as pool:
            local = self._local()
            changed = [name for name, state in local.items() if self._sent.get(name) != state]
            gone = self._sent.keys() - local.keys()
            steps = {step for step in map(_step, local) if step}
            # Logs and lists first: on resume, their entries after the checkpoint's step are dropped.
            self._put(pool, (name for name in changed if not _step(name)))
            for step in sorted({_step(name) for name in (*changed, *gone)} & steps):
                (self._remote / step / COMMITTED).unlink(missing_ok=True)
                self._put(pool, (name for name in changed if _step(name) == step))
                self._remove(name for name in gone if _step(name) == step)
                (self._remote / step / COMMITTED).write_text(f"{step} is complete\n")
            best = self._folder / BEST
            if best.is_symlink() and (target := os.readlink(best)) != self._best:
                (self._remote / best.name).write_text(f"{target}\n")
                self._best = target
            for step in sorted({_step(name) for name in gone if _step(name)} - steps):
                (self._remote / step / COMMITTED).unlink(missing_ok=True)
                with suppress(FileNotFoundError):
                    (self._remote / step).rmtree()
            self._remove(name for name in gone if not _step(name))
            self._sent = local

    def _put(self, pool: ThreadPoolExecutor, names: Iterable[str]) -> None:
        names = list(names)
        for parent in sorted({(self._remote / name).parent for name in names}):
            parent.mkdir(parents=True, exist_ok=True)
        for done in [pool.submit(self._send, name) for name in names]:
            done.result()

    def _send(self, name: str) -> None:
        (self._remote / name).write_bytes((self._folder / name).read_bytes())

    def _fetch(self, name: str) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((self._remote / name).read_bytes())

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._remote / name).unlink(missing_ok=True)

    def _local(self) -> dict[str, tuple[int, int]]:
        """File name relative to the folder -> (size, modification time)."""
        found = {}
        for path in self._folder.rglob("*"):
            name = path.relative_to(self._folder)
            if path.is_symlink() or path.is_dir() or name.parts[0] in self._keep_local:
                continue
            # Skips checkpoints that Orbax has not finished: their folders' names are not numbers.
            if not any(is_hidden(part) for part in name.parts) and (
                name.parts[0] != CHECKPOINTS or name.parts[1].isdigit()
            ):
                state = path.stat()
                found[name.as_posix()] = state.st_size, state.st_mtime_ns
        return found

    def _list(self, folder: epath.Path, prefix: str) -> Iterator[str]:
        """The names of the workdir's files, without the lock and `best`, which are created again."""
        if not folder.is_dir():
            return
        for entry in folder.iterdir():
            name = f"{prefix}{entry.name}"
            # A folder may list itself as an object without a name, and an object may be named "..".
            if entry.name in ("", ".", "..") or entry == folder or name in (LOCK, BEST):
                continue
            if entry.is_dir():
                yield from self._list(entry, f"{name}/")
            else:
                yield name


def _step(name: str) -> str:
    """`checkpoints/STEP` if the file is in one, else ""."""
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == CHECKPOINTS and len(parts) > 2 else ""


@contextmanager
def _errors(remote: epath.Path, what: str) -> Iterator[None]:
    """Converts the exceptions of any storage to OutputError."""
    try:
        yield
    except UnisalError:
        raise
    except Exception as error:
        raise OutputError(f"{remote}: cannot be {what} ({one_line(error)})") from error


@contextmanager
def _hold(file: epath.Path) -> Iterator[threading.Event]:
    """Holds a lock file. Its owner updates it regularly, as nothing removes it if the owner dies.

    A process that finds the file waits to see whether it still changes. So clocks need not agree.

    Yields:
      an event that is set once another process has taken the lock.

    Raises:
      UnisalError: another process holds it.
    """
    taken = UnisalError(f"{file.parent}: another process is training in it")
    with _errors(file.parent, "written"):
        before = _read(file)
        if before is not None:
            logger.warning("%s: exists; waiting %d s to see whether its owner still runs", file, PATIENCE)
            time.sleep(PATIENCE)
            if _read(file) not in (before, None):
                raise taken
        token = secrets.token_hex(8)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_beat(token, 0))
        time.sleep(SETTLE)
        if not _is(token, _read(file)):
            raise taken
    ended, lost = threading.Event(), threading.Event()

    def keep() -> None:
        number = 0
        while not ended.wait(BEAT):
            number += 1
            # The connection may be back at the next update.
            with suppress(Exception):
                if not _is(token, _read(file)):
                    lost.set()
                    return
                file.write_text(_beat(token, number))

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
        with suppress(Exception):
            if _is(token, _read(file)):
                file.unlink()


def _beat(token: str, number: int) -> str:
    # Of constant length: a storage may cache a file's length.
    return f"{token} {number:012}\n"


def _read(file: epath.Path) -> str | None:
    try:
        content: str = file.read_text()
        return content
    except FileNotFoundError:
        return None


def _is(token: str, content: str | None) -> bool:
    return content is not None and content.startswith(token)
