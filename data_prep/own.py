"""Own data: pictures or clips in folders with maps and fixations, or with a table of fixations."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from natsort import natsorted

from data_prep.releases import (
    Clip,
    Missing,
    Release,
    require_same,
    whole_release,
)
from data_prep.truth import Files, TruthFiles, TruthPoints
from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.images import IMAGE_SUFFIXES, list_images
from unisal_jax.media.stems import by_stem, match_stems, names_in, passed_over_lines, subfolder
from unisal_jax.media.video import VIDEO_SUFFIXES, open_video

SPLITS = ("train", "validation", "test")
"""Folders of these names are splits; without any of them all data is for training."""

COLUMNS = ("stimulus", "frame", "observer", "x", "y")
"""Columns of a table of fixations; others are passed over. Of images, `frame` may be left out."""

# A small .gz can unpack to anything.
_MAX_TABLE = 1 << 30

# Kinds of files that are passed over.
_UNREAD, _UNMATCHED = (
    "beside the images, in no format that is read",
    "of maps or fixations that belong to no image",
)

_FIXATION_FOLDERS = ("fixations", "fixation")


@dataclass(frozen=True)
class Row:
    """A fixation of a table: frame from 0, x and y in pixels from the left and upper edge."""

    frame: int
    observer: str
    x: float
    y: float


def scan_folders(root: Path, fps: float | None = None, partial: bool = False) -> Release:
    """Data in folders: `images/`, `maps/` and `fixations/` with the same stems, or such a set for each clip.

    `fixation/` is taken as well; a set without maps and fixations has no ground truth. Clips are
    folders that hold the frames in `images/`. `train/`, `validation/` and `test/` are splits. Case matters
    neither in these names nor in the files' endings.

    Args:
        fps: of the clips.
        partial: let maps and fixations be missing; what is missing fails when it is read.

    Raises:
        UnisalError: something is missing, or two files have the same stem.
    """
    missing = Missing(root)
    left: dict[str, list[str]] = {_UNREAD: [], _UNMATCHED: []}
    splits = {
        split: list(_folder_clips(folder, root, missing, left)) for split, folder in _split_folders(root)
    }
    if partial:
        missing = Missing(root)
    lines = passed_over_lines({kind: names for kind, names in left.items() if names})
    return whole_release("own data (images/, maps/ and fixations/)", missing, splits, fps, notes=lines)


def scan_table(root: Path, table: Path, sigma: float, first_frame: int = 0) -> Release:
    """Images or videos in a folder, with a table of fixations (`COLUMNS`, CSV, perhaps .gz).

    Every picture and video file under `root` (and in its splits, see `SPLITS`) is taken; `stimulus` is a
    file's name with or without its suffix. Maps are sums of Gaussians.

    Args:
        sigma: standard deviation of the Gaussian in pixels.
        first_frame: the number that the table gives to a video's first frame.

    Raises:
        UnisalError: the table cannot be read or names other stimuli, or there are no pictures or videos.
    """
    rows = read_table(table, first_frame)
    splits: dict[str, list[Path]] = {split: _stimuli(folder) for split, folder in _split_folders(root)}
    release = clips_with_points(root, splits, rows, sigma)
    known = {name for paths in splits.values() for path in paths for name in (path.name, path.stem)}
    unknown = natsorted(set(rows) - known)
    if unknown:
        raise UnisalError(f"{table}: {len(unknown)} stimuli are not in {root}, such as {unknown[0]!r}")
    return release


def clips_with_points(
    root: Path, splits: dict[str, list[Path]], rows: dict[str, list[Row]], sigma: float
) -> Release:
    """Picture and video files with their fixations.

    Args:
        splits: the files of each split.
        rows: fixations by a file's name or stem; a file without any is looked at by nobody.
        sigma: standard deviation of the Gaussian in pixels.
    """
    number = _observer_numbers({row.observer for some in rows.values() for row in some})
    clips: dict[str, list[Clip]] = {split: [] for split in splits}
    rates: set[float | None] = set()
    for split, paths in splits.items():
        for path in paths:
            is_video = path.suffix.lower() in VIDEO_SUFFIXES
            if is_video:
                with open_video(path) as video:
                    rates.add(video.fps)
            some = sorted(rows.get(path.name, rows.get(path.stem, [])), key=lambda row: row.frame)
            truth = TruthPoints(
                np.array([row.frame for row in some], np.int64),
                np.array([(row.x, row.y) for row in some], np.float64).reshape(-1, 2),
                np.array([number[row.observer] for row in some], np.int32),
                sigma,
            )
            frames = path if is_video else Files(path.parent, (path.name,))
            clips[split].append(Clip(path.stem, frames, truth))
    fps = rates.pop() if len(rates) == 1 else None
    return whole_release("own data (pictures or videos)", Missing(root), clips, fps)


def read_table(
    path: Path,
    first_frame: int = 0,
    keep: Callable[[dict[str, str]], bool] = lambda row: True,
    stimulus: str = "stimulus",
) -> dict[str, list[Row]]:
    """Reads a table of fixations (`COLUMNS`, CSV with a header, gzip if its name ends in .gz).

    Args:
        first_frame: the number that the table gives to a video's first frame.
        keep: which rows to take, by their columns.
        stimulus: the name of that column, where it has another.

    Returns:
        The rows of each stimulus.

    Raises:
        UnisalError: no such file, a column is missing, or a line holds no number where one must be.
    """
    rows: dict[str, list[Row]] = {}
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_MAX_TABLE + 1)
        if len(data) > _MAX_TABLE:
            raise UnisalError(f"{path}: larger than {_MAX_TABLE >> 20} MiB, unpacked")
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        needed = {stimulus, "observer", "x", "y"}
        absent = sorted(needed - set(reader.fieldnames or ()))
        if absent:
            raise UnisalError(f"{path}: no column {absent[0]!r}; there must be {', '.join(COLUMNS)}")
        for line in filter(keep, reader):
            frame = int(line.get("frame") or first_frame) - first_frame
            if frame < 0:
                raise ValueError(f"frame {line['frame']} before the first, {first_frame}")
            row = Row(frame, line["observer"], float(line["x"]), float(line["y"]))
            if not np.isfinite([row.x, row.y]).all():
                raise ValueError("x or y is not a finite number")
            rows.setdefault(line[stimulus], []).append(row)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise UnisalError(f"{path}: cannot be read ({error})") from error
    except (ValueError, TypeError) as error:
        if isinstance(error, UnisalError):
            raise
        raise UnisalError(f"{path}: line {reader.line_num}: {error}") from error
    return rows


def _observer_numbers(labels: set[str]) -> dict[str, int]:
    """Whole numbers of 32 bits stay as they are; other labels are numbered in natural order."""
    if all(label.isdecimal() and int(label) < 2**31 for label in labels):
        return {label: int(label) for label in labels}
    return {label: number for number, label in enumerate(natsorted(labels))}


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    named = [(split, found) for split in SPLITS if (found := subfolder(root, split)).is_dir()]
    return named or [("train", root)]


def _stimuli(folder: Path) -> list[Path]:
    suffixes = tuple(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    paths = [folder / name for name in natsorted(names_in(folder, suffixes))]
    _require_unique(paths)
    return paths


def _folder_clips(folder: Path, root: Path, missing: Missing, left: dict[str, list[str]]) -> Iterator[Clip]:
    if subfolder(folder, "images").is_dir():
        # Pictures: each is a clip of its own.
        yield from _set_clips(folder, root, missing, left, one_clip=False)
        return
    for path in natsorted(list_folder(folder)):
        if subfolder(path, "images").is_dir():
            yield from _set_clips(path, root, missing, left, one_clip=True)


def _set_clips(
    folder: Path, root: Path, missing: Missing, left: dict[str, list[str]], one_clip: bool
) -> Iterator[Clip]:
    """The clips of one set of `images/`, `maps/` and `fixations/`."""
    image_folder, maps = subfolder(folder, "images"), subfolder(folder, "maps")
    images = list_images(image_folder)
    _require_unique(images)
    stems = [path.stem for path in images]
    left[_UNREAD] += _others(image_folder, {path.name for path in images}, root)
    fixations = next(
        (found for name in _FIXATION_FOLDERS if (found := subfolder(folder, name)).is_dir()), None
    )
    if not maps.is_dir() and fixations is None:
        map_names = mark_names = None
    else:
        fixations = fixations or folder / _FIXATION_FOLDERS[0]
        map_names, mark_names = _truth_names(maps, stems), _truth_names(fixations, stems)
        left[_UNMATCHED] += _others(maps, set(map_names.values()), root)
        left[_UNMATCHED] += _others(fixations, set(mark_names.values()), root)
        require_same(stems, map_names, maps, "maps", missing)
        require_same(stems, mark_names, fixations, "files of fixations", missing)
    groups = [range(len(images))] if one_clip else [range(i, i + 1) for i in range(len(images))]
    for group in groups:
        truth = None
        if map_names is not None and mark_names is not None and fixations is not None:
            # What is missing is told of after all clips are known.
            truth = TruthFiles(
                Files(maps, tuple(map_names.get(stems[i], f"{stems[i]}.png") for i in group)),
                Files(fixations, tuple(mark_names.get(stems[i], f"{stems[i]}.png") for i in group)),
            )
        name = folder.name if one_clip else stems[group[0]]
        yield Clip(name, Files(image_folder, tuple(images[i].name for i in group)), truth)


def _truth_names(folder: Path, stems: list[str]) -> dict[str, str]:
    """The files of maps or fixations by the stem of their image; MATLAB's before images of the same stem.

    A file that is called by its image's full name, as a.jpg.png is, counts as the image's as well.
    """
    return match_stems(by_stem(folder, (".mat",), IMAGE_SUFFIXES), stems)


def _others(folder: Path, taken: set[str], root: Path) -> list[str]:
    """Paths of the files of a folder that are not taken, below `root`."""
    entries = list_folder(folder) if folder.is_dir() else []
    return [
        entry.relative_to(root).as_posix() for entry in entries if entry.name not in taken and entry.is_file()
    ]


def _require_unique(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if path.stem in seen:
            raise UnisalError(f"{path}: has the same stem as {seen[path.stem].name}; stems must differ")
        seen[path.stem] = path
