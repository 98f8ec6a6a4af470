"""A prepared dataset on disk: the table of its videos, and one record a frame.

It is what `unisal prepare` leaves: a tensorflow-datasets folder of array_record files, in which the
frames of a video follow each other, and `videos.json`, which says where each video begins. An image
is a video of one frame.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import open_encoded

SIDECAR = "videos.json"

Resolution = Literal["full", "input"]
"""How frames for training are stored: as released, or already at the network's input size. A test
split is always as released."""

_RESOLUTIONS = ("full", "input")

# What is prepared is in one of these; Pillow's other readers need not see it.
_FORMATS = ("PNG", "JPEG")


@dataclasses.dataclass(frozen=True)
class Video:
    """A video's place in its split.

    Attributes:
      id: its name in the release.
      start: number of the record that holds its first frame.
      frames: how many records, one a frame; 1 for an image.
      size: (height, width) of the released frames, also where smaller ones are stored.
    """

    id: str
    start: int
    frames: int
    size: Size


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One split of a prepared dataset.

    Attributes:
      name: the dataset's, such as `dhf1k`.
      path: the folder.
      split: such as `train`.
      resolution: "full" or "input", see `Resolution`.
      videos: in the order of their records.
      folds: ids of each fold's validation videos; empty where there is no cross-validation.
      records: random access to the records, whose pictures are still encoded.
    """

    name: str
    path: Path
    split: str
    resolution: Resolution
    videos: tuple[Video, ...]
    folds: tuple[tuple[str, ...], ...]
    records: Sequence[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Truth:
    """Where people looked at one frame.

    Attributes:
      map: uint8 [H, W], the released saliency map in 0 to 255.
      fixations: int32 [n, 2], (row, column) of each fixation, 0-based, in pixels of `fixation_size`.
      observers: int32 [n], who made it; -1 where unknown.
      fixation_size: (height, width) of the picture that the fixations refer to.
    """

    map: np.ndarray
    fixations: np.ndarray
    observers: np.ndarray
    fixation_size: Size


@dataclasses.dataclass(frozen=True)
class Frame:
    """One record.

    Attributes:
      id: `dataset/split/video/frame`, the frame counted from 0: for error messages.
      pixels: uint8 RGB [H, W, 3].
      truth: None where the release holds none, as in a benchmark's test set.
    """

    id: str
    pixels: np.ndarray
    truth: Truth | None


def open_prepared(path: str | Path, split: str) -> Prepared:
    """Opens one split of a prepared dataset.

    Args:
      path: the folder that holds `dataset_info.json` and `videos.json`.
    Raises:
      UnisalError: the folder holds no prepared dataset, its table of videos is missing, damaged or
        does not fit the records, or there is no such split.
    """
    path = Path(path)
    if not path.is_dir():
        raise UnisalError(f"{path}: no such folder; `unisal prepare` makes it")
    try:
        # Only reads the folder: the builder's own code need not be there.
        builder = tfds.builder_from_directory(path)
    except Exception as error:
        # What the reader raises depends on the file at fault and on the release of the library.
        raise UnisalError(f"{path}: not a prepared dataset ({_reason(error)})") from error
    table = _read_table(path / SIDECAR, split)
    if split not in builder.info.splits:
        raise UnisalError(f"{path}: no split {split!r}, only {', '.join(builder.info.splits)}")
    # The pictures are decoded below: with another decoder installed the library would take that one,
    # and a cut-off PNG would go through.
    encoded = tfds.decode.SkipDecoding()
    try:
        records = builder.as_data_source(split, decoders={"frame": encoded, "map": encoded})
        count = len(records)
    except Exception as error:
        raise UnisalError(f"{path}: split {split!r} cannot be read ({_reason(error)})") from error
    listed = sum(video.frames for video in table.videos)
    if count != listed:
        raise UnisalError(
            f"{path / SIDECAR}: lists {listed} frames in split {split!r}, the records are {count}; "
            "prepare the dataset again"
        )
    return Prepared(builder.name, path, split, table.resolution, table.videos, table.folds, records)


def split_names(path: str | Path) -> tuple[str, ...]:
    """The splits of the prepared dataset in this folder.

    Raises:
      UnisalError: its table of videos is missing or damaged.
    """
    sidecar = Path(path) / SIDECAR
    try:
        return tuple(json.loads(sidecar.read_text(encoding="utf-8"))["splits"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnisalError(
            f"{sidecar}: missing or damaged ({_reason(error)}); prepare the dataset again"
        ) from error


def cross_validation(prepared: Prepared, fold: int) -> tuple[Prepared, Prepared]:
    """Splits a cross-validated dataset (MIT1003) into a fold's training and validation videos.

    Raises:
      UnisalError: the dataset has no such fold.
    """
    if not 0 <= fold < len(prepared.folds):
        raise UnisalError(f"{prepared.path}: no fold {fold}, there are {len(prepared.folds)} from 0 on")
    held_out = frozenset(prepared.folds[fold])
    training = tuple(video for video in prepared.videos if video.id not in held_out)
    validation = tuple(video for video in prepared.videos if video.id in held_out)
    return dataclasses.replace(prepared, videos=training), dataclasses.replace(prepared, videos=validation)


def read_frames(prepared: Prepared, numbers: Iterable[int]) -> list[Frame]:
    """Reads and decodes the records with these numbers, in this order.

    Raises:
      UnisalError: a record cannot be read, or a picture in it is damaged; names video and frame.
    """
    numbers = [int(number) for number in numbers]
    try:
        records = prepared.records.__getitems__(numbers)  # type: ignore[attr-defined]
    except Exception as error:
        # The C++ reader raises RuntimeError, the parser of records a dozen others.
        shown = f"records {numbers[0]} to {numbers[-1]} of split {prepared.split!r}"
        raise UnisalError(f"{prepared.path}: {shown} cannot be read ({_reason(error)})") from error
    return [_frame(prepared, record) for record in records]


def check_size(prepared: Prepared, frame: Frame, video: Video, input_size: Size) -> None:
    """Refuses a frame that was not prepared for `input_size`: it would be resized twice, unseen.

    Raises:
      UnisalError: the frame is neither as released nor, at resolution "input", of `input_size`.
    """
    height, width = frame.pixels.shape[:2]
    if (height, width) == video.size or (prepared.resolution == "input" and (height, width) == input_size):
        return
    raise UnisalError(
        f"{frame.id}: is stored at {height}x{width}, where {input_size[0]}x{input_size[1]} or the released "
        f"{video.size[0]}x{video.size[1]} can be used; prepare the dataset at full resolution"
    )


def _frame(prepared: Prepared, record: dict[str, Any]) -> Frame:
    name = f"{prepared.name}/{prepared.split}/{record['video'].decode()}/{record['index']}"
    truth = None
    if record["has_truth"]:
        height, width = (int(side) for side in record["fixation_size"])
        truth = Truth(
            _decode(record["map"], "L", f"{name}: map"),
            record["fixations"],
            record["observers"],
            (height, width),
        )
    return Frame(name, _decode(record["frame"], "RGB", f"{name}: frame"), truth)


def _decode(encoded: bytes, mode: str, name: str) -> np.ndarray:
    """Decodes a picture to uint8, [H, W, 3] for mode "RGB" and [H, W] for "L"."""
    try:
        with open_encoded(encoded, "its image", _FORMATS) as image:
            if image.mode != mode:
                raise ValueError(f"{image.mode} instead of {mode}")
            return np.array(image)
    except UnisalError as error:
        raise UnisalError(f"{name} is damaged or cut off ({error})") from error


class _Table(NamedTuple):
    """What `videos.json` says of a split."""

    resolution: Resolution
    videos: tuple[Video, ...]
    folds: tuple[tuple[str, ...], ...]


def _read_table(path: Path, split: str) -> _Table:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        resolution, splits = content["resolution"], content["splits"]
        videos = tuple(
            Video(str(v["id"]), int(v["start"]), int(v["frames"]), (int(v["size"][0]), int(v["size"][1])))
            for v in splits.get(split, [])
        )
        folds = tuple(tuple(map(str, ids)) for ids in content["folds"])
    except FileNotFoundError as error:
        raise UnisalError(f"{path}: missing; the preparation did not end, run it again") from error
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UnisalError(f"{path}: damaged ({_reason(error)}); prepare the dataset again") from error
    if resolution not in _RESOLUTIONS:
        raise UnisalError(f"{path}: resolution {resolution!r}, known: {', '.join(_RESOLUTIONS)}")
    if split not in splits:
        raise UnisalError(f"{path}: no split {split!r}, only {', '.join(splits)}")
    start = 0
    for video in videos:
        if video.start != start or video.frames < 1:
            raise UnisalError(
                f"{path}: video {video.id!r} has {video.frames} frames from record {video.start} on, "
                f"where record {start} comes next; prepare the dataset again"
            )
        start += video.frames
    return _Table(resolution, videos, folds)


def _reason(error: Exception) -> str:
    """What went wrong in one line; some readers' messages run over several."""
    return " ".join(str(error).split()) or type(error).__name__
