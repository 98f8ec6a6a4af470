"""Downloads the released weights into a cache, and verifies them.

Each file's size and sha256 are pinned, so the source does not matter. The first source is the authors'
repository, the second a Python package with byte-identical copies. Modules that only downloading requires are
imported late: most calls find the file in the cache.
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
      name: its name for commands and `unisal.load`.
      filename: its name in the cache.
      size: its size in bytes.
      sha256: its sha256, in hexadecimal.
      url: its URL in the authors' repository.
      wheel_member: its path in the wheel of WHEEL_REQUIREMENT.
      description: one line about it.
      is_model: whether it is a whole network that can predict, not only the encoder.
      shared_sha256: `Weights.shared_sha256` of a network, which domain packs refer to.
    """

    name: str
    filename: str
    size: int
    sha256: str
    url: str
    wheel_member: str
    description: str
    is_model: bool
    shared_sha256: str | None


def _released(
    name: str, path: str, size: int, sha256: str, description: str, shared_sha256: str | None = None
) -> Released:
    url, member = f"{_REPOSITORY}/{path}", f"{_WHEEL_FOLDER}/{path}"
    filename, is_model = path.rsplit("/", 1)[-1], shared_sha256 is not None
    return Released(name, filename, size, sha256, url, member, description, is_model, shared_sha256)


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
            "initial weights of the encoder for training: MobileNet V2 trained on ImageNet",
        ),
    )
}


class _SourceError(Exception):
    """A source failed, for the reason in the message; another one may work."""


def is_offline() -> bool:
    """Whether `UNISAL_OFFLINE` forbids downloads."""
    return os.environ.get("UNISAL_OFFLINE", "0") not in ("", "0")


def cache_dir() -> Path:
    """The folder of the downloaded files: `UNISAL_CACHE`, else the user's cache folder. It may not exist."""
    chosen = os.environ.get("UNISAL_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("unisal-jax")


def programs_dir() -> Path:
    """The folder of compiled programs, unless JAX is configured to use another. It may not exist."""
    return cache_dir() / "xla"


def packs_dir() -> Path:
    """The folder of the domain packs that a user has added (`installed`). It may not exist."""
    return cache_dir() / "domains"


def cached_path(name: str) -> Path:
    """The path of a released file in the cache. It may not exist."""
    return cache_dir() / RELEASED[name].filename


def converted_path(name: str) -> Path:
    """The path of a released file converted to .safetensors in the cache. It may not exist."""
    return cache_dir() / f"{name}.safetensors"


def verify(name: str) -> Literal["missing", "ok", "corrupt"]:
    """Compares the cached file's size and sha256 with the pinned ones; works offline.

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
    """Returns the path of a released file, after verifying it, and downloading it if necessary.

    Concurrent processes download it once. A file has its name only once it is complete.

    Args:
      name: one of RELEASED.
      offline: do not download; `UNISAL_OFFLINE=1` does the same.
      progress: show a progress bar on stderr if it is a terminal.

    Raises:
      UnisalError: the name is unknown, the cache cannot be written, or no source has the file. In the last
        case the message says where to download it and where to put it.
    """
    released = _by_name(name)
    path = cached_path(name)
    if verify(name) == "ok":
        return path
    if offline or is_offline():
        raise UnisalError(_manual_instructions(released, f"{verify(name)} in the cache, and offline"))
    with _cache_lock(path.parent):
        if verify(name) != "ok":  # another process may have downloaded it in the meantime
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
        raise UnisalError(f"weights {name!r}: not one of {', '.join(RELEASED)}")
    return RELEASED[name]


def _fetch_from_any_source(released: Released, folder: Path, progress: bool) -> None:
    try:
        return _fetch_url(released, folder, progress)
    except _SourceError as error:
        url_reason = str(error)
    if progress:
        print(f"{url_reason}; downloading {WHEEL_REQUIREMENT}, which has a copy, with pip", file=sys.stderr)
    try:
        _fetch_wheel(released, folder)
    except _SourceError as error:
        reasons = f"cannot be downloaded ({url_reason}; pip: {error})"
        raise UnisalError(_manual_instructions(released, reasons)) from error


def _manual_instructions(released: Released, reason: str) -> str:
    wheel = f"the wheel from `pip download --no-deps {WHEEL_REQUIREMENT}`"
    return (
        f"weights {released.name!r}: {reason}. "
        f"Download {released.url} (or take {released.wheel_member} from {wheel}), "
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
    """Stores all released files from the package, including the requested one."""
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

    # -P prevents a folder named `pip` in the working directory from being run. Only a wheel is accepted:
    # pip would run the setup script of a source package.
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
    """Copies a source into the cache; fails unless it is the pinned file, byte for byte."""
    from tqdm import tqdm

    partial = folder / f"{released.filename}.part"
    digest, done = hashlib.sha256(), 0
    hidden = None if progress else True  # None: shown only on a terminal
    bar = tqdm(total=released.size, desc=released.filename, unit="B", unit_scale=True, disable=hidden)
    try:
        with bar, open(partial, "wb") as file:
            # Reads at most one chunk past the pinned size, which suffices to reject a larger file.
            while done <= released.size and (chunk := source.read(_CHUNK_BYTES)):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                bar.update(len(chunk))
        if done != released.size or digest.hexdigest() != released.sha256:
            got = f"{done} bytes" if done < released.size else "another file"
            raise ValueError(f"returned {got}, not the {released.size} bytes with the pinned sha256")
        os.replace(partial, folder / released.filename)
    finally:
        partial.unlink(missing_ok=True)
