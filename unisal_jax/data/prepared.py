"""Reads a prepared dataset: the table of its videos, and one record per frame.

`unisal prepare` writes it as a tensorflow-datasets folder of array_record files, in which the frames of a
video are consecutive, and `videos.json`, which lists the position of each video. An image is a video of one
frame. A folder with only `videos.json` may divide such a dataset into other splits (`write_division`).
"""

import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from unisal_jax.data.stored import open_stored
from unisal_jax.documents import read_json, write_json
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError, one_line
from unisal_jax.files import check_on_disk, check_utf8, write_errors
from unisal_jax.limits import MAX_PIXELS
from unisal_jax.media.images import open_encoded

SIDECAR = "videos.json"

# Key in the sidecar of a division: the folder of the divided dataset.
_DIVISION = "division_of"

Resolution = Literal["full", "input"]
"""The size of stored frames for training: as released ("full"), or the network's input size ("input"). Frames
of a test split are always stored as released."""

_RESOLUTIONS = ("full", "input")

# The formats of prepared images; Pillow's other decoders are disabled.
_FORMATS = ("PNG", "JPEG")


@dataclasses.dataclass(frozen=True)
class Video:
    """A video in a split.

    Attributes:
      id: its name in the release.
      start: number of the record of its first frame.
      frames: number of frames, and so of records; 1 for an image.
      size: (height, width) of the released frames, even if smaller ones are stored.
    """

    id: str
    start: int
    frames: int
    size: Size


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One split of a prepared dataset.

    Attributes:
      name: name of the dataset, such as `dhf1k`.
      path: its folder.
      split: name of the split, such as `train`.
      resolution: "full" or "input", see `Resolution`.
      videos: its videos, in the order of their records.
      cross_validation_folds: ids of each fold's validation videos; empty without cross-validation.
      records: random access to the records, with images still encoded.
    """

    name: str
    path: Path
    split: str
    resolution: Resolution
    videos: tuple[Video, ...]
    cross_validation_folds: tuple[tuple[str, ...], ...]
    records: Sequence[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Truth:
    """The ground truth of one frame.

    Attributes:
      map: uint8 [H, W], the released saliency map in 0 to 255.
      fixations: int32 [n, 2], (row, column) of each fixation, 0-based, in pixels of `fixation_size`.
      observers: int32 [n], the observer of each fixation; -1 if unknown.
      fixation_size: (height, width) of the image that the fixations refer to.
    """

    map: np.ndarray
    fixations: np.ndarray
    observers: np.ndarray
    fixation_size: Size


@dataclasses.dataclass(frozen=True)
class Frame:
    """One record.

    Attributes:
      id: `dataset/split/video/frame`, with the frame's number from 0, for messages.
      pixels: uint8 RGB [H, W, 3].
      truth: the ground truth; None if the release has none, as for a benchmark's test set.
    """

    id: str
    pixels: np.ndarray
    truth: Truth | None


def open_prepared(path: str | Path, split: str) -> Prepared:
    """Opens one split of a prepared dataset.

    Args:
      path: the folder with `dataset_info.json` and `videos.json`, or of a division.
      split: name of the split.

    Raises:
      UnisalError: the folder contains no prepared dataset, its table of videos is missing, damaged or does
        not fit the records, or there is no such split.
    """
    check_on_disk(path)
    path = Path(path)
    if not path.is_dir():
        raise UnisalError(f"{path}: no such folder; `unisal prepare` makes it")
    check_utf8(path, "data")
    if (source := divided(path)) is not None:
        return _open_part(path / SIDECAR, source, split)
    stored = open_stored(path)
    table = _read_table(path / SIDECAR, split)
    records = stored.records(split)
    count = len(records)
    listed = sum(video.frames for video in table.videos)
    if count != listed:
        raise UnisalError(
            f"{path / SIDECAR}: lists {listed} frames in split {split!r}, which has {count} records; "
            "prepare the dataset again"
        )
    return Prepared(
        stored.name, path, split, table.resolution, table.videos, table.cross_validation_folds, records
    )


def split_names(path: str | Path) -> tuple[str, ...]:
    """The splits of the prepared dataset in this folder.

    Raises:
      UnisalError: its table of videos is missing or damaged.
    """
    return tuple(_read_splits(Path(path) / SIDECAR)["splits"])


def frame_rate(path: str | Path) -> float | None:
    """Frames per second of a prepared dataset's videos; None if unknown.

    Raises:
      UnisalError: its table of videos is missing or damaged.
    """
    fps = _read_splits(Path(path) / SIDECAR).get("fps")
    return float(fps) if isinstance(fps, int | float) and fps > 0 else None


def divided(path: str | Path) -> Path | None:
    """The dataset that this folder divides into other splits; None if it contains records itself.

    Raises:
      UnisalError: its table of videos is damaged.
    """
    file = Path(path) / SIDECAR
    if not file.exists():  # reported when it is read
        return None
    source = _read_splits(file).get(_DIVISION)
    if source is not None and not isinstance(source, str):
        raise UnisalError(f"{file}: damaged ({_DIVISION} is not a folder)")
    return None if source is None else Path(source)


def write_division(folder: Path, source: Path, splits: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """Divides a prepared dataset into other splits, without copying its records.

    Args:
      folder: the folder of the division, to be created; `open_prepared` can open it.
      source: the folder of the prepared dataset.
      splits: name of the new split -> (split of the dataset, ids of its videos).

    Raises:
      UnisalError: the file cannot be written.
    """
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    parts = {name: {"split": old, "ids": list(ids)} for name, (old, ids) in splits.items()}
    write_json(folder / SIDECAR, {_DIVISION: str(source.resolve()), "splits": parts})


def cross_validation(prepared: Prepared, fold: int) -> tuple[Prepared, Prepared]:
    """Splits a cross-validated dataset (MIT1003) into a fold's training and validation videos.

    Raises:
      UnisalError: the dataset has no such fold.
    """
    if not 0 <= fold < len(prepared.cross_validation_folds):
        raise UnisalError(
            f"{prepared.path}: no fold {fold}, only {len(prepared.cross_validation_folds)} folds from 0"
        )
    held_out = frozenset(prepared.cross_validation_folds[fold])
    training = tuple(video for video in prepared.videos if video.id not in held_out)
    validation = tuple(video for video in prepared.videos if video.id in held_out)
    return dataclasses.replace(prepared, videos=training), dataclasses.replace(prepared, videos=validation)


def read_frames(prepared: Prepared, numbers: Iterable[int]) -> list[Frame]:
    """Reads and decodes the records with these numbers, in this order.

    Raises:
      UnisalError: a record cannot be read, or an image in it is damaged; names video and frame.
    """
    return list(iterate_frames(prepared, numbers))


def iterate_frames(prepared: Prepared, numbers: Iterable[int]) -> Iterator[Frame]:
    """As `read_frames`, but decodes one frame at a time, to save memory.

    Raises:
      UnisalError: as `read_frames`.
    """
    numbers = [int(number) for number in numbers]
    try:
        records = prepared.records.__getitems__(numbers)  # type: ignore[attr-defined]
    except Exception as error:
        # The C++ reader raises RuntimeError, the parser of records many others.
        shown = f"records {numbers[0]} to {numbers[-1]} of split {prepared.split!r}"
        raise UnisalError(f"{prepared.path}: {shown} cannot be read ({one_line(error)})") from error
    for number, record in zip(numbers, records, strict=True):
        try:
            name = f"{prepared.name}/{prepared.split}/{record['video'].decode()}/{record['index']}"
        except (KeyError, ValueError, AttributeError) as error:
            raise UnisalError(
                f"{prepared.path}: record {number} of split {prepared.split!r} is damaged ({one_line(error)})"
            ) from error
        yield _frame(name, record)


def check_size(prepared: Prepared, frame: Frame, video: Video, input_size: Size) -> None:
    """Checks that a frame was not prepared for another input size, as it would be resized twice.

    Raises:
      UnisalError: the frame has neither the released size nor, at resolution "input", `input_size`.
    """
    height, width = frame.pixels.shape[:2]
    if (height, width) == video.size or (prepared.resolution == "input" and (height, width) == input_size):
        return
    raise UnisalError(
        f"{frame.id}: is stored at {height}x{width}, not at {input_size[0]}x{input_size[1]} or the released "
        f"{video.size[0]}x{video.size[1]}; prepare the dataset at full resolution"
    )


def _frame(name: str, record: dict[str, Any]) -> Frame:
    try:
        has_truth, encoded_map, encoded = bool(record["has_truth"]), record["map"], record["frame"]
        points, observers = np.asarray(record["fixations"]), np.asarray(record["observers"])
        height, width = (int(side) for side in record["fixation_size"])
        if points.ndim != 2 or observers.shape != points.shape[:1] or len(record["fixation_size"]) != 2:
            raise ValueError("fixations and observers have wrong shapes")
        if min(height, width) < 1 or height * width > MAX_PIXELS:
            raise ValueError(f"fixations in an image of {height}x{width}")
    except (KeyError, ValueError, TypeError) as error:
        raise UnisalError(f"{name} is damaged ({one_line(error)})") from error
    if not has_truth:
        return Frame(name, _decode(encoded, "RGB", f"{name}: frame"), None)
    if len(points) and not ((points >= 0) & (points < (height, width))).all():
        raise UnisalError(f"{name}: a fixation is outside its {height}x{width} image")
    truth = Truth(_decode(encoded_map, "L", f"{name}: map"), points, observers, (height, width))
    return Frame(name, _decode(encoded, "RGB", f"{name}: frame"), truth)


def _decode(encoded: bytes, mode: str, name: str) -> np.ndarray:
    """Decodes an image to uint8, [H, W, 3] for mode "RGB" and [H, W] for "L"."""
    try:
        with open_encoded(encoded, "its image", _FORMATS) as image:
            if image.mode != mode:
                raise ValueError(f"{image.mode} instead of {mode}")
            return np.array(image)
    except UnisalError as error:
        raise UnisalError(f"{name} is damaged or cut off ({error})") from error


class _Table(NamedTuple):
    """The content of `videos.json` for one split."""

    resolution: Resolution
    videos: tuple[Video, ...]
    cross_validation_folds: tuple[tuple[str, ...], ...]


def check_id(name: str) -> None:
    """Checks that an id is a plain file name, as predictions are named after it, and reports show it.

    Raises:
      ValueError: it is empty, too long, "." or "..", or has a slash, a control character or a lone surrogate.
    """
    plain = 0 < len(name) < 256 and name not in (".", "..") and "/" not in name
    if not plain or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise ValueError(f"the id {name[:100]!r} is not a plain file name")


def _read_splits(path: Path) -> dict[str, Any]:
    """Reads the table of videos, and checks only its top level."""
    if not path.exists():
        if not (path.parent / "dataset_info.json").exists():
            raise UnisalError(f"{path.parent}: not a prepared dataset; `unisal prepare` makes one")
        raise UnisalError(f"{path}: missing; the preparation did not finish, run it again")
    try:
        content = read_json(path, "a table of videos")
        if not isinstance(content["splits"], dict):
            raise TypeError("splits")
        return content
    except (UnisalError, TypeError, KeyError) as error:
        raise UnisalError(f"{path}: damaged ({one_line(error)}); prepare the dataset again") from error


def _open_part(path: Path, source: Path, split: str) -> Prepared:
    """Opens a split of the division with the sidecar `path`; the result's `path` is that of the records."""
    parts = _read_splits(path)["splits"]
    if split not in parts:
        raise UnisalError(f"{path}: no split {split!r}, only {', '.join(parts)}")
    try:
        old, ids = parts[split]["split"], parts[split]["ids"]
        if not isinstance(old, str) or not isinstance(ids, list) or len(set(ids)) < len(ids):
            raise ValueError(f"split {split!r}")
    except (ValueError, TypeError, KeyError) as error:
        raise UnisalError(f"{path}: damaged ({one_line(error)})") from error
    if not source.is_dir():
        raise UnisalError(f"{path}: divides the dataset in {source}, which does not exist")
    if divided(source) is not None:
        raise UnisalError(f"{path}: divides {source}, which is a division itself")
    whole = open_prepared(source, old)
    wanted = frozenset(ids)
    videos = tuple(video for video in whole.videos if video.id in wanted)
    if len(videos) < len(ids):
        raise UnisalError(f"{path}: names {len(ids) - len(videos)} videos that {source} does not have")
    return dataclasses.replace(whole, split=split, videos=videos, cross_validation_folds=())


def _read_table(path: Path, split: str) -> _Table:
    content = _read_splits(path)
    splits = content["splits"]
    try:
        resolution = content["resolution"]
        videos = tuple(_video(entry) for entry in splits.get(split, []))
        folds = tuple(tuple(map(str, ids)) for ids in content["folds"])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UnisalError(f"{path}: damaged ({one_line(error)}); prepare the dataset again") from error
    if resolution not in _RESOLUTIONS:
        raise UnisalError(f"{path}: resolution {resolution!r}, known: {', '.join(_RESOLUTIONS)}")
    if split not in splits:
        raise UnisalError(f"{path}: no split {split!r}, only {', '.join(splits)}")
    start = 0
    for video in videos:
        if video.start != start:
            raise UnisalError(
                f"{path}: video {video.id!r} starts at record {video.start} instead of {start}; "
                "prepare the dataset again"
            )
        start += video.frames
    if len({video.id for video in videos}) < len(videos):
        raise UnisalError(
            f"{path}: split {split!r} has two videos with the same id; prepare the dataset again"
        )
    return _Table(resolution, videos, folds)


def _video(entry: dict[str, Any]) -> Video:
    name, start, frames = entry["id"], entry["start"], entry["frames"]
    height, width = entry["size"]
    if not isinstance(name, str) or any(type(n) is not int for n in (start, frames, height, width)):
        raise TypeError(f"{str(name)[:100]!r}: start, frames and size are not whole numbers")
    check_id(name)
    if frames < 1 or min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"{name!r}: {frames} frames of {height}x{width}")
    return Video(name, start, frames, (height, width))
