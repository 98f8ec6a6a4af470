"""Reads tables of fixations, and matches them with their images and videos."""

import math
import os
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from natsort import natsorted

from unisal_jax import tables
from unisal_jax.data.layouts.releases import Clip, Missing, Release, whole_release
from unisal_jax.data.layouts.truth import Files, TruthPoints
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_TABLE_NAMES, MAX_TABLE_ROWS
from unisal_jax.media.video import VIDEO_SUFFIXES, open_video

# Frame numbers and pixel coordinates are stored in 32 bits.
_LARGEST = 2**31 - 1


class Gaze:
    """The fixations on one stimulus, in arrays, as a table has millions.

    Attributes:
      frames: frame of each fixation, from 0; negative if the table has it before its first frame.
      observers: label of the observer of each fixation.
      xy: x and y of each fixation, interleaved, in pixels from the left and upper edge.
    """

    def __init__(self) -> None:
        self.frames, self.observers, self.xy = array("q"), list[str](), array("d")

    def __len__(self) -> int:
        return len(self.frames)

    def add(self, frame: int, observer: str, x: float, y: float) -> None:
        """Adds a fixation."""
        self.frames.append(frame)
        self.observers.append(observer)
        self.xy.extend((x, y))


@dataclass(frozen=True)
class Table:
    """A table of fixations.

    Attributes:
      path: its file, for messages.
      gaze: name of a stimulus in the table -> the fixations on it.
      first_frame: the number of a video's first frame in the table.
    """

    path: Path
    gaze: dict[str, Gaze]
    first_frame: int = 0


def read_table(
    path: Path,
    first_frame: int = 0,
    keep: Callable[[dict[str, str]], bool] = lambda row: True,
    stimulus: str = "stimulus",
    observer: str = "observer",
) -> Table:
    """Reads a table of fixations with columns stimulus, observer, x, y and, for videos, frame.

    See `unisal_jax.tables` for the format.

    Args:
      path: the table's file.
      first_frame: the number of a video's first frame in the table.
      keep: selects rows by their columns.
      stimulus: name of the column of stimuli.
      observer: name of the column of observers.

    Raises:
      UnisalError: no such file, a column is missing, a value is not a number, there are no rows, or more
        than `MAX_TABLE_ROWS` rows or `MAX_TABLE_NAMES` stimuli or observers.
    """
    table = Table(path, defaultdict(Gaze), first_frame)
    labels: dict[str, str] = {}
    count = 0
    for line in tables.read_table(path, "a table of fixations", (stimulus, observer, "x", "y")):
        if not keep(line):
            continue
        count += 1
        try:
            if count > MAX_TABLE_ROWS:
                raise ValueError(f"more than {MAX_TABLE_ROWS} fixations")
            if max(len(table.gaze), len(labels)) > MAX_TABLE_NAMES:
                raise ValueError(f"more than {MAX_TABLE_NAMES} {stimulus} or {observer}")
            name, label = line[stimulus], line[observer]
            if not name:
                raise ValueError(f"no {stimulus}")
            frame = _whole(line["frame"], first_frame)
            if frame < min(first_frame, 0):
                raise ValueError(f"frame {frame} before the first, {first_frame}")
            x, y = _number(line["x"]), _number(line["y"])
        except ValueError as error:
            raise UnisalError(f"{path}: line {line.number}: {error}") from error
        table.gaze[name].add(frame - first_frame, labels.setdefault(label, label), x, y)
    if not count:
        raise UnisalError(f"{path}: contains no fixations")
    return table


def clips_with_points(
    root: Path, splits: dict[str, list[Path]], table: Table, sigma: float, notes: Iterable[str] = ()
) -> Release:
    """Image and video files with their fixations.

    Args:
      root: the folder of the data.
      splits: the files of each split.
      table: the fixations. Its stimuli are file names, with or without the suffix, and with or without the
        folder below `root`; case matters only if two files differ in nothing else. A file may have no
        fixations.
      sigma: standard deviation of the Gaussian in pixels.
      notes: see `Release`.

    Raises:
      UnisalError: a stimulus matches no file, or more than one; or an image has fixations on several
        frames.
    """
    names = _match(root, [path for paths in splits.values() for path in paths], table)
    number = _observer_numbers({label for gaze in table.gaze.values() for label in gaze.observers})
    clips: dict[str, list[Clip]] = {split: [] for split in splits}
    rates: set[float | None] = set()
    for split, paths in splits.items():
        for path in paths:
            is_video = path.suffix.lower() in VIDEO_SUFFIXES
            if is_video:
                with open_video(path) as video:
                    rates.add(video.fps)
            truth = _points([table.gaze[name] for name in names[path]], number, sigma)
            if is_video:
                _check_start(truth.frames, path, table)
            else:
                _check_image(truth.frames, path, table)
                truth.frames[:] = 0
            clips[split].append(
                Clip(path.stem, path if is_video else Files(path.parent, (path.name,)), truth)
            )
    fps = rates.pop() if len(rates) == 1 else None
    return whole_release("own data (images or videos)", Missing(root), clips, fps, notes=notes)


def match_names(root: Path, paths: Iterable[Path], names: Iterable[str]) -> dict[str, list[Path]]:
    """The files that each name matches, in natural order: none, one, or more if the name is incomplete.

    Args:
      root: names may include the folder below it.
      paths: image and video files.
      names: file names, with or without the suffix; case matters only if two files differ in nothing else.
    """
    full, stems = defaultdict[str, set[Path]](set), defaultdict[str, set[Path]](set)
    for path in paths:
        below = Path(os.path.relpath(path, root)).as_posix()
        for name in (path.name, below):
            full[name].add(path)
            stems[name.removesuffix(path.suffix)].add(path)
    levels = [full, stems, _casefold_names(full), _casefold_names(stems)]
    fits: dict[str, list[Path]] = {}
    for name in names:
        below = name.removeprefix("./")
        keys = (below, below, _casefold(below), _casefold(below))
        found = next((level[key] for level, key in zip(levels, keys, strict=True) if key in level), set())
        fits[name] = natsorted(found, key=lambda path: os.path.relpath(path, root))
    return fits


def _match(root: Path, paths: list[Path], table: Table) -> dict[Path, list[str]]:
    """The names of each file in the table. Each name matches one file; a file may have several names."""
    matched: dict[Path, list[str]] = {path: [] for path in paths}
    unknown = []
    for name, fits in match_names(root, paths, table.gaze).items():
        if len(fits) > 1:
            first, second = (os.path.relpath(path, root) for path in fits[:2])
            raise UnisalError(
                f"{table.path}: {len(table.gaze[name])} rows of {name!r}, which matches {first} and {second};"
                " write the full name"
            )
        if fits:
            matched[fits[0]].append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UnisalError(f"{table.path}: {len(unknown)} stimuli are not in {root}, such as {unknown[0]!r}")
    return matched


def _casefold_names(level: dict[str, set[Path]]) -> dict[str, set[Path]]:
    matched = defaultdict[str, set[Path]](set)
    for name, paths in level.items():
        matched[_casefold(name)] |= paths
    return matched


def _casefold(name: str) -> str:
    """Casefolds a name, with accents as in NFC: macOS writes file names in NFD."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _points(gazes: list[Gaze], number: dict[str, int], sigma: float) -> TruthPoints:
    """The fixations of one file in the order of their frames."""
    frames = np.concatenate([np.array(gaze.frames, np.int64) for gaze in gazes] or [np.zeros(0, np.int64)])
    xy = np.concatenate([np.array(gaze.xy, np.float64) for gaze in gazes] or [np.zeros(0)]).reshape(-1, 2)
    observers = np.array([number[label] for gaze in gazes for label in gaze.observers], np.int32)
    order = np.argsort(frames, kind="stable")
    # Clips to 32 bits: such points are outside every image.
    xy = np.clip(xy[order], -_LARGEST, _LARGEST)
    return TruthPoints(frames[order], xy, observers[order], sigma)


def _check_start(frames: np.ndarray, path: Path, table: Table) -> None:
    early = int((frames < 0).sum())
    if early:
        raise UnisalError(
            f"{table.path}: {early} of {len(frames)} rows of {path.name} are on frames before the first, "
            f"{table.first_frame}, such as frame {frames[0] + table.first_frame}; check --first-frame"
        )


def _check_image(frames: np.ndarray, path: Path, table: Table) -> None:
    """Checks that an image's fixations are all on frame 0, 1 or `first_frame`."""
    numbers = np.unique(frames) + table.first_frame
    if len(numbers) > 1:
        raise UnisalError(
            f"{table.path}: {len(frames)} rows of {path.name} are on {len(numbers)} frames, such as "
            f"{numbers[0]} and {numbers[-1]}, but it is an image; remove the column frame, or the rows of "
            "other frames"
        )
    if len(numbers) and numbers[0] not in (0, 1, table.first_frame):
        raise UnisalError(
            f"{table.path}: {len(frames)} rows of {path.name} are on frame {numbers[0]}, but it is an image; "
            f"remove the column frame, or use --first-frame {numbers[0]}"
        )


def _observer_numbers(labels: set[str]) -> dict[str, int]:
    """Observer label -> number: the label itself if all are integers of 32 bits, else numbered naturally."""
    # Only canonical integers: "07" and "7" must remain different observers.
    if all(
        label.isdecimal() and len(label) < 11 and str(int(label)) == label and int(label) <= _LARGEST
        for label in labels
    ):
        return {label: int(label) for label in labels}
    return {label: number for number, label in enumerate(natsorted(labels))}


def _number(text: str) -> float:
    if "," in text:
        raise ValueError(f"{text!r} is not a number with a decimal point")
    # Python parses 1_0 as 10.
    number = float(text.replace("_", "?"))
    if not math.isfinite(number):
        raise ValueError("x or y is not a finite number")
    return number


def _whole(text: str, default: int) -> int:
    """Parses a frame's number; some programs write 3 as 3.0."""
    if not text:
        return default
    number = float(text.replace("_", "?"))
    if not number.is_integer() or abs(number) > _LARGEST:
        raise ValueError(f"frame {text} is not a whole number below 2^31")
    return int(number)
