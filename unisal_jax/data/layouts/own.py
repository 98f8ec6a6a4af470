"""The layouts of own data: images or clips with folders of maps and fixations, or a table of fixations."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from natsort import natsorted

from unisal_jax.data.layouts.fixation_tables import Table, clips_with_points, read_table
from unisal_jax.data.layouts.releases import Clip, Missing, Release, require_same, whole_release
from unisal_jax.data.layouts.truth import Files, TruthFiles
from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.images import IMAGE_SUFFIXES, list_images
from unisal_jax.media.stems import by_stem, match_stems, names_in, passed_over_lines, subfolder
from unisal_jax.media.video import VIDEO_SUFFIXES

SPLITS = ("train", "validation", "test")
"""Names of folders that are splits; without any of them, all data is for training."""

_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES

# Number of names in a note about files that were left out.
_NAMES_SHOWN = 5

# Kinds of files that are left out.
_UNREAD, _UNMATCHED = (
    "next to the images, in an unsupported format",
    "of maps or fixations without an image",
)

_FIXATION_FOLDERS = ("fixations", "fixation")


def scan_folders(root: Path, fps: float | None = None, partial: bool = False) -> Release:
    """Reads folders `images/`, `maps/` and `fixations/` with the same stems, or such a set for each clip.

    `fixation/` is accepted too. A set without maps and fixations has no ground truth. A clip is a folder with
    frames in `images/`. `train/`, `validation/` and `test/` are splits. These names and the files' suffixes
    are not case-sensitive.

    Args:
      root: the folder of the data.
      fps: frames per second of the clips.
      partial: accept missing maps and fixations; reading them fails.

    Raises:
      UnisalError: files are missing, or two files have the same stem.
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
    """Reads images or videos in a folder, with a table of fixations (`fixation_tables.read_table`).

    It reads all image and video files directly in `root` (or in its splits, see `SPLITS`), and matches them
    with the column `stimulus` as `clips_with_points` does. Maps are sums of Gaussians.

    Args:
      root: the folder of the data.
      table: the table's file.
      sigma: standard deviation of the Gaussian in pixels.
      first_frame: the number of a video's first frame in the table.

    Raises:
      UnisalError: the table cannot be read or does not fit the files, or there are no images or videos.
    """
    return scan_points(root, read_table(table, first_frame), sigma, [table])


def scan_points(root: Path, rows: Table, sigma: float, sources: Sequence[Path]) -> Release:
    """As `scan_table`, for a table that has been read already.

    Args:
      root: the folder of the data.
      rows: the table.
      sigma: standard deviation of the Gaussian in pixels.
      sources: the files that the table was read from.

    Raises:
      UnisalError: as `scan_table`.
    """
    splits = stimuli_files(root)
    folders = _split_folders(root)
    taken = {path for paths in splits.values() for path in paths} | {folder for _, folder in folders}
    listed = {root, *(folder for _, folder in folders)}
    others = [path for folder in sorted(listed) for path in list_folder(folder) if path not in taken]
    return clips_with_points(root, splits, rows, sigma, _left_out(others, root, sources))


def stimuli_files(root: Path) -> dict[str, list[Path]]:
    """The image and video files directly in a folder, or in its splits (`SPLITS`), in natural order.

    Raises:
      UnisalError: two files in a folder have the same stem, or a folder cannot be read.
    """
    return {split: _stimuli(folder) for split, folder in _split_folders(root)}


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    named = [(split, found) for split in SPLITS if (found := subfolder(root, split)).is_dir()]
    return named or [("train", root)]


def _stimuli(folder: Path) -> list[Path]:
    paths = [folder / name for name in natsorted(names_in(folder, tuple(_SUFFIXES)))]
    _require_unique(paths)
    return paths


def _left_out(paths: list[Path], root: Path, sources: Sequence[Path]) -> list[str]:
    """A note about each kind of files that were left out, without the files of the fixations."""
    read = {path.resolve() for path in sources}
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir() and path.resolve() not in read]
    stimuli = [path for path in files if path.suffix.lower() in _SUFFIXES]
    kinds = {
        ("folder", "folders"): folders,
        ("image or video outside the splits", "images or videos outside the splits"): stimuli,
        ("file in an unsupported format", "files in an unsupported format"): [
            path for path in files if path.suffix.lower() not in _SUFFIXES
        ],
    }
    lines = []
    for (one, many), some in kinds.items():
        names = ", ".join(path.relative_to(root).as_posix() for path in some[:_NAMES_SHOWN])
        if some:
            more = ", ..." if len(some) > _NAMES_SHOWN else ""
            lines.append(f"{len(some)} {one if len(some) == 1 else many} ({names}{more})")
    return lines


def _folder_clips(folder: Path, root: Path, missing: Missing, left: dict[str, list[str]]) -> Iterator[Clip]:
    if subfolder(folder, "images").is_dir():
        # Each image is a clip of its own.
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
            # Missing files are reported after all clips are listed.
            truth = TruthFiles(
                Files(maps, tuple(map_names.get(stems[i], f"{stems[i]}.png") for i in group)),
                Files(fixations, tuple(mark_names.get(stems[i], f"{stems[i]}.png") for i in group)),
            )
        name = folder.name if one_clip else stems[group[0]]
        yield Clip(name, Files(image_folder, tuple(images[i].name for i in group)), truth)


def _truth_names(folder: Path, stems: list[str]) -> dict[str, str]:
    """The files of maps or fixations by the stem of their image. MATLAB files take precedence over images.

    A file may also be named after the full name of its image, as a.jpg.png.
    """
    return match_stems(by_stem(folder, (".mat",), IMAGE_SUFFIXES), stems)


def _others(folder: Path, taken: set[str], root: Path) -> list[str]:
    """Paths, relative to `root`, of the files of a folder that are not in `taken`."""
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
