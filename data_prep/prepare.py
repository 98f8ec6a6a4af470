"""Prepares a dataset: with a lock, verified and resumable, and only if it is not prepared already."""

import contextlib
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from filelock import FileLock, Timeout

from data_prep.builders import BUILDERS, SaliencyBuilder
from data_prep.manifest import check_files, read_manifest, source_digest
from data_prep.shards import CannotStore
from unisal_jax.data.stored import open_stored
from unisal_jax.data.synthetic import Amount, make
from unisal_jax.errors import UnisalError
from unisal_jax.files import check_utf8
from unisal_jax.packages import check_array_record

_LOCK = ".lock"


@dataclass(frozen=True)
class PrepareResult:
    """The result of `prepare`.

    Attributes:
      path: the dataset's folder.
      manifest: its manifest, see `build_manifest`.
      made: False if the dataset was prepared already.
      notes: a line about each kind of files that were left out.
    """

    path: Path
    manifest: dict[str, Any]
    made: bool
    notes: tuple[str, ...] = ()


def prepare(
    builder: SaliencyBuilder,
    raw: str | Path,
    *,
    verify: bool = False,
    beam_runner: str | None = None,
) -> PrepareResult:
    """Prepares a dataset, or does nothing if it is prepared already from the same data.

    The dataset's folder appears only when it is complete. An interrupted preparation keeps its finished
    shards, and the next one resumes from them.

    Args:
      builder: the dataset's builder.
      raw: the folder of the unpacked release.
      verify: for a dataset that is prepared already, compare checksums, not only sizes.
      beam_runner: name of an Apache Beam runner that writes the shards, such as "DirectRunner".

    Raises:
      UnisalError: the release is incomplete or damaged, another process prepares the same dataset, it is
        prepared already from other data or damaged, one of the folders is in the other, the disk is full,
        or array_record is not installed.
    """
    check_array_record("preparing a dataset")
    root, path = Path(raw), Path(builder.data_path)
    if not root.is_dir():
        raise UnisalError(f"{root}: no such folder")
    check_utf8(path, "--data-dir")
    _keep_apart(root, path)
    try:
        # Before creating folders, so that a failure leaves none.
        release, plan = builder.plan(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / _LOCK, timeout=0):
            made = not path.exists()
            if made:
                try:
                    _build(builder, root, path, beam_runner)
                except UnisalError:
                    _remove_empty(path.parent)
                    raise
            open_stored(path)
            manifest = read_manifest(path)
            if manifest.get("source") != source_digest(plan, release):
                raise UnisalError(
                    f"{path}: prepared from other files than those in {root}, or with another seed; "
                    "remove it, or use another --data-dir"
                )
            check_files(path, manifest, verify and not made)
            # Includes shards of an earlier preparation of other data.
            shutil.rmtree(builder.stage, ignore_errors=True)
            return PrepareResult(path, manifest, made, release.notes)
    except Timeout as error:
        raise UnisalError(f"{path}: another process is preparing it") from error
    except CannotStore as error:
        raise UnisalError(f"{error}; free some disk space and run it again to resume") from error
    except OSError as error:
        raise UnisalError(f"{error.filename or path}: {error.strerror or error}") from error


def prepare_synthetic(name: str, folder: Path, amount: Amount, seed: int) -> Path:
    """Makes a synthetic release in `folder` and prepares it, unless it exists; returns its folder.

    Args:
      name: name of the released dataset.
      folder: folder for the release and the prepared dataset.
      amount: amount of data to make.
      seed: seed of the data.
    """
    builder = BUILDERS[name](data_dir=folder, partial=True)
    path = Path(builder.data_path)
    if not path.is_dir():
        raw = folder / "raw" / name
        make(name, raw, seed, amount)
        prepare(builder, raw)
    return path


def _remove_empty(folder: Path) -> None:
    """Removes the folder of a failed preparation and its parent, if they contain only its lock."""
    if all(entry.name == _LOCK for entry in folder.iterdir()):
        (folder / _LOCK).unlink(missing_ok=True)
        for each in (folder, folder.parent):
            with contextlib.suppress(OSError):
                each.rmdir()  # fails if the folder is not empty


def _keep_apart(root: Path, path: Path) -> None:
    """Raises UnisalError if one of the folders that are read and written is in the other."""
    raw, written = Path(os.path.realpath(root)), Path(os.path.realpath(path.parent))
    if written.is_relative_to(raw) or raw.is_relative_to(written):
        raise UnisalError(
            f"{path.parent}: is for output and {root} for input, but one is in the other; use another "
            "--data-dir"
        )


def _build(builder: SaliencyBuilder, root: Path, path: Path, beam_runner: str | None) -> None:
    # Removes what an interrupted run left. With the lock, no other process uses it.
    for left in path.parent.glob(f"incomplete.*_{path.name}"):
        shutil.rmtree(left)
    config = tfds.download.DownloadConfig(manual_dir=root, beam_runner=beam_runner, try_download_gcs=False)
    # TFDS prints a message about downloads, and creates a folder for them.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=builder.stage / "downloads", download_config=config)
