"""Preparation from end to end: one at a time, verified, resumable, done once."""

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
    """What `prepare` leaves.

    Attributes:
        path: the dataset's folder.
        manifest: see `build_manifest`.
        made: False where it was there already.
        notes: a line on each kind of file that was passed over.
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
    """Prepares a dataset, or does nothing when it is prepared already from the same data.

    The dataset's folder appears when all is done, under its own name and whole. What a stopped
    preparation has finished is kept beside it, and the next one goes on from there.

    Args:
        raw: the folder of the unpacked release.
        verify: compare checksums when it is there already, and not only sizes.
        beam_runner: name of an Apache Beam runner that writes the shards, such as "DirectRunner".

    Raises:
        UnisalError: the release is incomplete or damaged, another process prepares the same dataset,
            it is there already from other data or damaged, the one folder lies in the other, the disk is
            full, or array_record is not installed.
    """
    check_array_record("preparing a dataset")
    root, path = Path(raw), Path(builder.data_path)
    if not root.is_dir():
        raise UnisalError(f"{root}: no such folder")
    check_utf8(path, "--data-dir")
    _keep_apart(root, path)
    try:
        # First: a refused run leaves no folder.
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
                    f"{path}: prepared from other files than those of {root}, or with another seed; "
                    "remove it, or give another --data-dir"
                )
            check_files(path, manifest, verify and not made)
            # Also what an earlier preparation of other data may have left.
            shutil.rmtree(builder.stage, ignore_errors=True)
            return PrepareResult(path, manifest, made, release.notes)
    except Timeout as error:
        raise UnisalError(f"{path}: another process is preparing it") from error
    except CannotStore as error:
        raise UnisalError(f"{error}; make room and run it again, it goes on where it stopped") from error
    except OSError as error:
        raise UnisalError(f"{error.filename or path}: {error.strerror or error}") from error


def prepare_synthetic(name: str, folder: Path, amount: Amount, seed: int) -> Path:
    """Makes a synthetic release in `folder` and prepares it, unless it is there; returns its folder.

    Args:
        name: of the released dataset.
        amount: how much to make.
    """
    builder = BUILDERS[name](data_dir=folder, partial=True)
    path = Path(builder.data_path)
    if not path.is_dir():
        raw = folder / "raw" / name
        make(name, raw, seed, amount)
        prepare(builder, raw)
    return path


def _remove_empty(folder: Path) -> None:
    """Removes the folder of a refused preparation and the one above, if nothing but its lock is in them."""
    if all(entry.name == _LOCK for entry in folder.iterdir()):
        (folder / _LOCK).unlink(missing_ok=True)
        for each in (folder, folder.parent):
            with contextlib.suppress(OSError):
                each.rmdir()  # refuses a folder that is not empty


def _keep_apart(root: Path, path: Path) -> None:
    """Raises UnisalError where records would be written among the files that are read, or beside them."""
    raw, written = Path(os.path.realpath(root)), Path(os.path.realpath(path.parent))
    if written.is_relative_to(raw) or raw.is_relative_to(written):
        raise UnisalError(
            f"{path.parent}: would be written to, and {root} is read; one lies in the other, give another "
            "--data-dir"
        )


def _build(builder: SaliencyBuilder, root: Path, path: Path, beam_runner: str | None) -> None:
    # A killed run cannot tidy up; with the lock held nobody else is at work here.
    for left in path.parent.glob(f"incomplete.*_{path.name}"):
        shutil.rmtree(left)
    config = tfds.download.DownloadConfig(manual_dir=root, beam_runner=beam_runner, try_download_gcs=False)
    # TFDS prints on what it would download, and makes a folder for it.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_dir=builder.stage / "downloads", download_config=config)
