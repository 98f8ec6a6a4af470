"""The released weights: where they are, their sha256, and a cache that holds them once fetched.

Every file is pinned by size and sha256, so it does not matter which source it came from. The first
source is the authors' repository; the second a Python package that carries byte-identical copies.
What only fetching needs is imported late: most calls find the file in the cache.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import platformdirs

from unisal_jax.errors import UnisalError

WHEEL_REQUIREMENT = "pyautoflip==0.2.1"
_REPOSITORY = "https://raw.githubusercontent.com/rdroste/unisal/master"
_WHEEL_FOLDER = "pyautoflip/3rd_party_libs/unisal"
PACK_SUFFIX = ".pack.safetensors"
_TIMEOUT_SECONDS = 10
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Released:
    """One released file.

    Attributes:
      name: what commands and `unisal.load` call it.
      filename: its name in the cache.
      size: in bytes.
      sha256: in hexadecimal.
      url: its place in the authors' repository.
      wheel_member: its place in the wheel of WHEEL_REQUIREMENT.
      description: one line for people.
      is_network: a whole network that can predict, not the encoder alone.
      shared_sha256: of a network, `Weights.shared_sha256`, by which a domain pack names it.
    """

    name: str
    filename: str
    size: int
    sha256: str
    url: str
    wheel_member: str
    description: str
    is_network: bool
    shared_sha256: str | None


def _released(
    name: str, path: str, size: int, sha256: str, description: str, shared_sha256: str | None = None
) -> Released:
    url, member = f"{_REPOSITORY}/{path}", f"{_WHEEL_FOLDER}/{path}"
    filename, is_network = path.rsplit("/", 1)[-1], shared_sha256 is not None
    return Released(name, filename, size, sha256, url, member, description, is_network, shared_sha256)


RELEASED: dict[str, Released] = {
    released.name: released
    for released in (
        _released(
            "unisal",
            "training_runs/pretrained_unisal/weights_best.pth",
            15368928,
            "4a9157411f1741d588b15670d15295e998805648b8b6348599fe447298338481",
            "UNISAL trained on DHF1K, Hollywood-2, UCF Sports and SALICON",
            "b6de3a14e069148edd064f35a097e5e0bdee66416f839712d8b221756e4ac6e1",
        ),
        _released(
            "unisal-mit1003",
            "training_runs/pretrained_unisal/weights_ft_mit1003.pth",
            15387271,
            "a6de8ea27d812cfc3fbc2b8cab59862a8e48aaf4d512e670468d3b6972a81262",
            "the same, fine-tuned on MIT1003",
            "7e99a1fbd05deeb795621f60c7b7ac515eaf45f51fcc60cd5fb9237c5df72625",
        ),
        _released(
            "mobilenet_v2",
            "unisal/models/weights/mobilenet_v2.pth.tar",
            14205652,
            "ecbe2b568c8602549fa9e1d5833c63848f490a48d92e5d224d1eb2063e152cf8",
            "the encoder's start for training: MobileNet V2 trained on ImageNet",
        ),
    )
}


class _SourceError(Exception):
    """One source has failed, for the reason in the message; the next one may do."""


def cache_dir() -> Path:
    """The folder of the fetched files: `UNISAL_CACHE`, else the user's cache folder. May not exist."""
    chosen = os.environ.get("UNISAL_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("unisal-jax")


def programs_dir() -> Path:
    """The folder of compiled programs, where JAX was not told another. May not exist."""
    return cache_dir() / "xla"


def packs_dir() -> Path:
    """The folder of the domain packs that were added (`installed`). May not exist."""
    return cache_dir() / "domains"


def cached_path(name: str) -> Path:
    """Where a released file is kept once it is fetched."""
    return cache_dir() / RELEASED[name].filename


def converted_path(name: str) -> Path:
    """Where a released network is kept in our own form, once it was loaded."""
    return cache_dir() / f"{name}.safetensors"


def verify(name: str) -> Literal["missing", "ok", "corrupt"]:
    """Compare the cached file's size and sha256 with the pinned ones; touches no network.

    Raises:
      UnisalError: an unknown name, or a cached file that cannot be read.
    """
    released = _by_name(name)
    path = cached_path(name)
    try:
        if not path.is_file():
            return "missing"
        with open(path, "rb") as file:
            same_size = os.fstat(file.fileno()).st_size == released.size
            same = same_size and hashlib.file_digest(file, "sha256").hexdigest() == released.sha256
    except OSError as error:
        raise UnisalError(f"{path}: cannot be read: {error.strerror}") from error
    return "ok" if same else "corrupt"


def fetch(name: str, offline: bool = False, progress: bool = True) -> Path:
    """Return the path of a released file, verified, fetching it if the cache lacks a good copy.

    Processes that ask at the same time fetch once. A file is under its name only once it is whole.

    Args:
      name: one of RELEASED.
      offline: do not use the network; so does `UNISAL_OFFLINE=1`.
      progress: show a progress bar on stderr where that is a terminal.

    Raises:
      UnisalError: an unknown name; a cache that cannot be written; or no source that has the file. Then
        the message tells where to get it and where to put it.
    """
    released = _by_name(name)
    path = cached_path(name)
    if verify(name) == "ok":
        return path
    if offline or os.environ.get("UNISAL_OFFLINE", "0") not in ("", "0"):
        raise UnisalError(_manual_instructions(released, f"{verify(name)} in the cache, and offline"))
    with _cache_lock(path.parent):
        if verify(name) != "ok":  # another process may have fetched it meanwhile
            _fetch_from_any_source(released, path.parent, progress)
    return path


@contextlib.contextmanager
def _cache_lock(folder: Path) -> Iterator[None]:
    from filelock import FileLock

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        reason = error.strerror or error
        raise UnisalError(f"{folder}: the weights' cache cannot be written: {reason}") from error
    try:
        yield
    finally:
        lock.release()


def _by_name(name: str) -> Released:
    if name not in RELEASED:
        raise UnisalError(f"weights {name!r}: not a released file; there are {', '.join(RELEASED)}")
    return RELEASED[name]


def _fetch_from_any_source(released: Released, folder: Path, progress: bool) -> None:
    try:
        return _fetch_url(released, folder, progress)
    except _SourceError as error:
        url_reason = str(error)
    if progress:
        print(f"{url_reason}; fetching {WHEEL_REQUIREMENT}, which has a copy, with pip", file=sys.stderr)
    try:
        _fetch_wheel(released, folder)
    except _SourceError as error:
        reasons = f"cannot be fetched ({url_reason}; pip: {error})"
        raise UnisalError(_manual_instructions(released, reasons)) from error


def _manual_instructions(released: Released, reason: str) -> str:
    wheel = f"the wheel from `pip download --no-deps {WHEEL_REQUIREMENT}`"
    return (
        f"weights {released.name!r}: {reason}. "
        f"Get {released.url} (or {released.wheel_member} out of {wheel}), "
        f"sha256 {released.sha256}, and put it at {cached_path(released.name)}"
    )


def _fetch_url(released: Released, folder: Path, progress: bool) -> None:
    import http.client
    import urllib.request

    try:
        with urllib.request.urlopen(released.url, timeout=_TIMEOUT_SECONDS) as response:
            _store(response, released, folder, progress)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise _SourceError(f"{released.url}: {reason}") from error


def _fetch_wheel(released: Released, folder: Path) -> None:
    """Take the file out of the package, and the other released files as well: it has them all."""
    import tempfile
    import zipfile
    import zlib

    damage = (OSError, ValueError, KeyError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)
    others = [other for other in RELEASED.values() if other != released and verify(other.name) != "ok"]
    try:
        with (
            tempfile.TemporaryDirectory(prefix="unisal-") as temporary,
            zipfile.ZipFile(_download_wheel(temporary)) as archive,
        ):
            for wanted in (released, *others):
                with archive.open(wanted.wheel_member) as member:
                    _store(member, wanted, folder, progress=False)
    except damage as error:
        raise _SourceError(f"the wheel of {WHEEL_REQUIREMENT}: {error}") from error


def _download_wheel(folder: str) -> Path:
    import subprocess

    # -P: else a folder `pip` in the working directory would run. Only a wheel: pip would run the setup
    # program of a source package.
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
    command = [sys.executable, "-P", "-m", "pip", "download", *options, WHEEL_REQUIREMENT]
    pip = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if pip.returncode != 0:
        raise _SourceError(_last_error_line(pip.stderr))
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def _last_error_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no message"])[-1].removeprefix("ERROR: ")[:300]


def _store(source: IO[bytes], released: Released, folder: Path, progress: bool) -> None:
    """Copy a source into the cache, under its name only if it is the pinned file, byte for byte."""
    from tqdm import tqdm

    partial = folder / f"{released.filename}.part"
    digest, done = hashlib.sha256(), 0
    hidden = None if progress else True  # None: shown on a terminal only
    bar = tqdm(total=released.size, desc=released.filename, unit="B", unit_scale=True, disable=hidden)
    try:
        with bar, open(partial, "wb") as file:
            # One byte past the pinned size is enough to know that it is another file.
            while done <= released.size and (chunk := source.read(_CHUNK_BYTES)):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                bar.update(len(chunk))
        if done != released.size or digest.hexdigest() != released.sha256:
            got = f"{done} bytes" if done < released.size else "another file"
            raise ValueError(f"gave {got}, not the {released.size} bytes with the pinned sha256")
        os.replace(partial, folder / released.filename)
    finally:
        partial.unlink(missing_ok=True)
