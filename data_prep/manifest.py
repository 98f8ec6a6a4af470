"""The manifest `videos.json`: the position of each video in the records, and checksums of the files."""

import hashlib
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.shards import FORMAT, Shard, file_digest
from unisal_jax.data.layouts.releases import Release
from unisal_jax.data.prepared import SIDECAR, check_id
from unisal_jax.documents import read_json
from unisal_jax.errors import UnisalError
from unisal_jax.files import write_text


@dataclass(frozen=True)
class StoredShard:
    """A finished shard: its file name in the dataset's folder, and its `shard_facts`."""

    name: str
    facts: dict[str, Any]


def source_digest(plan: dict[str, tuple[Shard, ...]], release: Release) -> str:
    """A digest of everything that determines the prepared data, to compare with another preparation."""
    content = [
        FORMAT,
        {split: [s.digest for s in shards] for split, shards in plan.items()},
        release.cross_validation_folds,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def build_manifest(
    dataset: str,
    resolution: str,
    seed: int,
    release: Release,
    source: str,
    stored: Mapping[str, Sequence[StoredShard]],
) -> dict[str, Any]:
    """The content of `videos.json`.

    `splits` lists the videos of each split in the order of their records: `id`, `start` (number of the record
    of the first frame), `frames`, `size` ([height, width] as released), `fixations` and `outside` (number of
    additional fixations outside the image, which are left out). `counts` has the sums of these. `files` has
    `bytes` and `sha256` of each file of records.
    """
    splits = {split: list(_with_starts(shards)) for split, shards in stored.items()}
    return {
        "format": FORMAT,
        "dataset": dataset,
        "resolution": resolution,
        "fps": release.fps,
        "seed": seed,
        "folds": release.cross_validation_folds,
        "source": source,
        "splits": splits,
        "counts": {
            split: {
                "videos": len(videos),
                **{key: sum(video[key] for video in videos) for key in ("frames", "fixations", "outside")},
            }
            for split, videos in splits.items()
        },
        "files": {
            shard.name: {"bytes": shard.facts["bytes"], "sha256": shard.facts["sha256"]}
            for shards in stored.values()
            for shard in shards
        },
    }


def _with_starts(shards: Sequence[StoredShard]) -> Iterator[dict[str, Any]]:
    start = 0
    for shard in shards:
        for video in shard.facts["videos"]:
            yield {**video, "start": start}
            start += video["frames"]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest into the dataset's folder, with sorted keys."""
    write_text(folder / SIDECAR, json.dumps(manifest, sort_keys=True, separators=(",", ":")))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest of a dataset's folder.

    Raises:
      UnisalError: it is missing or damaged.
    """
    path = folder / SIDECAR
    try:
        manifest = read_json(path, "a table of videos")
        _check(manifest)
    except (UnisalError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise UnisalError(f"{path}: damaged ({reason}); remove {folder} and prepare again") from error
    return manifest


def _check(manifest: dict[str, Any]) -> None:
    """Raises ValueError, TypeError, KeyError or AttributeError unless it has the content of a manifest."""
    for name, file in manifest["files"].items():
        check_id(name)
        operator.index(file["bytes"])
        str(file["sha256"])
    for split, videos in manifest["splits"].items():
        for video in videos:
            check_id(video["id"])
            height, width = video["size"]
            for count in (
                height,
                width,
                *(video[key] for key in ("start", "frames", "fixations", "outside")),
            ):
                operator.index(count)
        for key in ("videos", "frames", "fixations", "outside"):
            operator.index(manifest["counts"][split][key])
        if manifest["counts"][split]["frames"] < 1:
            raise ValueError(f"no frames in split {split!r}")
    if manifest["fps"] is not None:
        float(manifest["fps"])
    len(manifest["folds"])
    str(manifest["source"] + manifest["dataset"] + manifest["resolution"])


def check_files(folder: Path, manifest: dict[str, Any], checksums: bool) -> None:
    """Raises UnisalError unless every file of records has its size, and with `checksums` its SHA-256."""
    for name, wanted in manifest["files"].items():
        path = folder / name
        try:
            size = path.stat().st_size
            same = size == wanted["bytes"] and (not checksums or file_digest(path) == wanted["sha256"])
        except OSError as error:
            raise UnisalError(f"{path}: {error.strerror}; remove {folder} and prepare again") from error
        if not same:
            raise UnisalError(f"{path}: changed since it was written; remove {folder} and prepare again")
