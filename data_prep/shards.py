"""Divides a split into shards, files of whole clips, each written once and atomically.

Finished shards are stored in a hidden folder, named after a digest of their inputs. An interrupted
preparation resumes from them; one of other data, or at another resolution, does not use them.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data_prep.records import Fitting, Record, read_records
from unisal_jax.data.layouts.releases import Clip, Release
from unisal_jax.data.layouts.truth import Files, TruthFiles, TruthPoints
from unisal_jax.data.prepared import check_id
from unisal_jax.data.stored import FEATURES
from unisal_jax.errors import UnisalError, one_line
from unisal_jax.files import atomic_path, write_text

FORMAT = 1
"""Version of the records, increased when the same release gives other records."""

_SERIALIZER = ExampleSerializer(FEATURES.get_serialized_info())

# Large enough that the largest dataset has only some hundred files (a reader keeps all of them open), small
# enough that an interrupted preparation loses little.
_SHARD_BYTES = 256 << 20
_MOST_SHARDS = 512

# Estimated ratio of the size of PNG frames to that of the video file, to make shards of similar size.
_VIDEO_EXPANSION = 30


class CannotStore(UnisalError):
    """The disk is full or cannot be written, so the next shard would fail too."""


@dataclass(frozen=True)
class Shard:
    """The clips of one file.

    Attributes:
      clips: the clips, in order.
      fitting: how to resize frames; None stores them as released.
      digest: digest of everything that determines the content: names and sizes of files, points, sizes.
    """

    clips: tuple[Clip, ...]
    fitting: Fitting | None
    digest: str


def plan_shards(release: Release, fittings: dict[str, Fitting | None]) -> dict[str, tuple[Shard, ...]]:
    """Divides each split into shards.

    Args:
      release: the release.
      fittings: split -> how to resize its frames.

    Raises:
      UnisalError: a file is missing, or a clip's id cannot be stored.
    """
    clips = {
        split: [(clip, *_identity(clip, release.root)) for clip in some]
        for split, some in release.splits.items()
    }
    total = sum(size for some in clips.values() for _, _, size in some)
    limit = max(_SHARD_BYTES, total // _MOST_SHARDS)
    return {split: tuple(_cut(some, fittings[split], limit)) for split, some in clips.items()}


def _cut(clips: list[tuple[Clip, str, int]], fitting: Fitting | None, limit: int) -> Iterator[Shard]:
    group: list[tuple[Clip, str, int]] = []
    held = 0
    for entry in clips:
        if group and held + entry[2] > limit:
            yield _shard(group, fitting)
            group, held = [], 0
        group.append(entry)
        held += entry[2]
    yield _shard(group, fitting)


def _shard(group: list[tuple[Clip, str, int]], fitting: Fitting | None) -> Shard:
    content = json.dumps([FORMAT, repr(fitting), [identity for _, identity, _ in group]])
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Shard(tuple(clip for clip, _, _ in group), fitting, digest)


def _identity(clip: Clip, root: Path) -> tuple[str, int]:
    """(digest of the clip's id, names and sizes of its files, and points; estimated size in bytes).

    Raises:
      UnisalError: a file is missing, or `open_prepared` would not accept the id.
    """
    try:
        check_id(clip.id)
    except ValueError as error:
        path = clip.frames if isinstance(clip.frames, Path) else clip.frames[0]
        raise UnisalError(f"{path}: {error}; rename the file or folder") from error
    digest = hashlib.sha256(clip.id.encode())
    total = 0
    groups: list[Files | Path] = [clip.frames]
    if isinstance(clip.truth, TruthFiles):
        groups += [clip.truth.maps, clip.truth.fixations]
    elif isinstance(clip.truth, TruthPoints):
        digest.update(repr(clip.truth.sigma).encode())
        for array in (clip.truth.frames, clip.truth.xy, clip.truth.observers):
            digest.update(array.tobytes())
    for group in groups:
        is_video = isinstance(group, Path)
        for path in (group,) if isinstance(group, Path) else (group[i] for i in range(len(group))):
            try:
                size = path.stat().st_size
            except OSError as error:
                raise UnisalError(f"{path}: cannot be read ({error.strerror})") from error
            digest.update(b"|%b|%d" % (os.fsencode(os.path.relpath(path, root)), size))
            total += size * (_VIDEO_EXPANSION if is_video else 1)
    return digest.hexdigest(), total


def shard_facts(shard: Shard, stage: Path) -> dict[str, Any] | None:
    """The facts of a finished shard; None if it is not finished.

    They are `records`, `bytes` and `sha256` of the file, and in `videos` for each clip `id`, `frames`, `size`
    (height, width, as released), `fixations`, `outside` (see `Record`), and the number of `doubtful` frames
    if there are any.
    """
    try:
        return json.loads(_facts_path(shard, stage).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def shard_file(shard: Shard, stage: Path) -> Path:
    """The path of a finished shard in the stage."""
    return stage / f"{shard.digest}.array_record"


def _facts_path(shard: Shard, stage: Path) -> Path:
    return stage / f"{shard.digest}.json"


def write_shard(shard: Shard, stage: Path, on_frame: Callable[[], object] | None = None) -> None:
    """Writes a shard into the folder `stage`, unless it exists already.

    Args:
      shard: the shard.
      stage: the folder for finished shards.
      on_frame: called after each frame, for progress.

    Raises:
      UnisalError: the release is damaged; see `read_records`.
      CannotStore: the shard cannot be written.
    """
    if shard_facts(shard, stage) is not None:
        return
    path = shard_file(shard, stage)
    videos: dict[str, dict[str, Any]] = {}
    with atomic_path(path) as temporary:
        count = _write_records(temporary, read_records(shard.clips, shard.fitting), videos, on_frame)
        facts = {
            "records": count,
            "bytes": temporary.stat().st_size,
            "sha256": file_digest(temporary),
            "videos": list(videos.values()),
        }
    # Written last, as it marks the shard as finished.
    try:
        write_text(_facts_path(shard, stage), json.dumps(facts))
    except UnisalError as error:
        raise CannotStore(str(error)) from error


def _write_records(
    path: Path,
    records: Iterator[Record],
    videos: dict[str, dict[str, Any]],
    on_frame: Callable[[], object] | None,
) -> int:
    """Writes all records, adds their counts to `videos`, and returns the number of records."""
    # Imported here, as it is not available on Windows.
    from array_record.python.array_record_module import ArrayRecordWriter

    count = 0
    try:
        # Uncompressed: images do not compress further.
        writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    except (RuntimeError, ValueError) as error:
        raise CannotStore(f"{path.parent}: cannot be written ({_reason(error)})") from error
    try:
        for record in records:
            writer.write(_serialize(record))
            _note(videos, record)
            count += 1
            # The writer works in the background and does not raise, so check here for a full disk.
            if not writer.ok():
                break
            if on_frame:
                on_frame()
    finally:
        try:
            writer.close()
        except RuntimeError as error:
            raise CannotStore(f"{path.parent}: cannot be written ({_reason(error)})") from error
    _check_count(path, count)
    return count


def _serialize(record: Record) -> bytes:
    """Serialises the record as TFDS does, but with features in a fixed order.

    TFDS's order, and so the checksums, would differ between processes.
    """
    example = _SERIALIZER.get_tf_example(FEATURES.encode_example(record.example()))
    return example.SerializeToString(deterministic=True)


def _check_count(path: Path, count: int) -> None:
    """Checks that the file can be opened and has this number of records."""
    from array_record.python.array_record_module import ArrayRecordReader

    reader = None
    try:
        reader = ArrayRecordReader(str(path))
        stored = reader.num_records()
    except (RuntimeError, ValueError) as error:
        raise CannotStore(f"{path.parent}: a shard cannot be read back ({_reason(error)})") from error
    finally:
        if reader is not None:
            reader.close()
    if stored != count:
        raise CannotStore(f"{path.parent}: a shard has {stored} records instead of {count}")


def _note(videos: dict[str, dict[str, Any]], record: Record) -> None:
    new = {"id": record.video, "frames": 0, "size": list(record.size), "fixations": 0, "outside": 0}
    video = videos.setdefault(record.video, new)
    video["frames"] += 1
    video["fixations"] += len(record.points)
    video["outside"] += record.outside
    if record.doubtful:
        video["doubtful"] = video.get("doubtful", 0) + 1


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frame_total(shards: Sequence[Shard]) -> int | None:
    """Total number of frames; None if it is unknown until a video file is read."""
    counts = [clip.frame_count for shard in shards for clip in shard.clips]
    return None if None in counts else sum(count or 0 for count in counts)


def _reason(error: Exception) -> str:
    # Removes the file's temporary name and the position from the library's message.
    return one_line(error).split("; writing")[0].removeprefix("write() failed: ")
