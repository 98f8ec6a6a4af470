"""Data to score: a released dataset, own folders or a prepared dataset, as groups of frames with truth."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np

from unisal_jax.data.geometry import evaluation_input_size
from unisal_jax.data.layouts.datasets import DATASETS
from unisal_jax.data.layouts.own import scan_folders
from unisal_jax.data.layouts.releases import Clip
from unisal_jax.data.layouts.truth import Files, TruthFiles
from unisal_jax.data.prepared import SIDECAR, Prepared, Video, open_prepared, read_frames, split_names
from unisal_jax.domains import RELEASED_DOMAINS, Domain, Size, shown_size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.information_gain import mean_map
from unisal_jax.evaluate.metrics import count_map
from unisal_jax.files import list_folder
from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video

# The default split is the first of these with ground truth.
ALL_SPLITS = "all"
_USUAL_SPLITS = ("test", "validation", "train", "all")


@dataclasses.dataclass(frozen=True)
class FrameTruth:
    """The ground truth of a frame.

    Attributes:
      map: saliency map [H, W]: uint8 for 8-bit files, else the dtype of the file.
      points: int32 [n, 2], (row, column) of each fixation in pixels of `map`.
      observers: int32 [n], the observer of each fixation; -1 if unknown.
      faults: problems of the files (`unisal_jax.data.layouts.truth.Fixations`).
    """

    map: np.ndarray
    points: np.ndarray
    observers: np.ndarray
    faults: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """(height, width) at which scores are computed."""
        return self.map.shape[0], self.map.shape[1]

    def counts(self, size: Size | None = None) -> np.ndarray:
        """Number of fixations on each pixel, uint32 [H, W] at `size`, or at the size of the map."""
        return count_map(self.points, size or self.size, source_size=self.size)


@dataclasses.dataclass(frozen=True)
class Group:
    """A video, or an image as a video of one frame.

    Attributes:
      id: name of the video or image.
      frame_names: file stems of its frames, to match files of predictions.
      pixels: opens its frames, uint8 RGB [H, W, 3], in order.
      truth: reads the truth of frame `index`, from 0.
      file_stem: stem of its video file, which also matches files of predictions.
    """

    id: str
    frame_names: tuple[str, ...]
    pixels: Callable[[], Iterator[np.ndarray]]
    truth: Callable[[int], FrameTruth]
    file_stem: str = ""


@dataclasses.dataclass(frozen=True)
class ScoringData:
    """A dataset to score.

    Attributes:
      name: name of a released dataset (`dhf1k`, ...), else of the folder.
      split: split of the dataset.
      kind: whether the groups are images or videos.
      groups: the videos or images, in order.
      notes: a line on each type of file that was ignored.
    """

    name: str
    split: str
    kind: Literal["image", "video"]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()

    def input_size(self, domain: Domain, frame_size: Size) -> Size:
        """Size of the network input. A released dataset has a fixed one, whatever the domain."""
        return evaluation_input_size(self.name, domain, frame_size, video=self.kind == "video")

    def stride(self, domain: Domain) -> int:
        """Frame stride, by the same rule."""
        return next((known.stride for known in RELEASED_DOMAINS if known.name == self.name), domain.stride)


def open_data(path: str | Path, split: str | None = None, partial: bool = False) -> ScoringData:
    """Opens data; the contents of the folder determine its type.

    Args:
      path: a prepared dataset; a released dataset in its own layout, possibly incomplete; or own data:
        `images/`, `maps/` and `fixations/` (or `fixation/`) with the same stems, or one folder of these
        per clip.
      split: name of the split, or `all`; None for the first of test, validation, train with truth.
      partial: accept own data with missing maps or fixations; reading the truth of such a frame fails.

    Raises:
      UnisalError: the folder contains no such data, a file has no counterpart, or the split has no
        truth.
    """
    root = Path(path)
    if not root.is_dir():
        raise UnisalError(f"{root}: no such folder")
    prepared = find_prepared(root)
    notes: tuple[str, ...] = ()
    if prepared is not None:
        name, splits = _prepared_splits(prepared)
    else:
        name, splits, notes = _released_splits(root, partial)
    splits = {each: groups for each, groups in splits.items() if groups}
    present = [each for each in _USUAL_SPLITS if each in splits]
    if split == ALL_SPLITS and present:
        chosen = present
    elif split is None and present:
        chosen = present[:1]
    elif split in present:
        chosen = [split]
    else:
        wanted = f"no split {split!r} with ground truth" if split else "no ground truth (maps and fixations)"
        raise UnisalError(f"{root}: {wanted}" + (f", only {', '.join(present)}" if present else ""))
    groups = tuple(group for each in chosen for group in splits[each])
    twice = [name for name, count in Counter(group.id for group in groups).items() if count > 1]
    if twice:
        raise UnisalError(
            f"{root}: {len(twice)} names occur in several splits, such as {twice[0]}; choose a split"
        )
    known = next((each for each in RELEASED_DOMAINS if each.name == name), None)
    static = known.static if known else all(len(group.frame_names) == 1 for group in groups)
    return ScoringData(name, split or chosen[0], "image" if static else "video", groups, notes)


def find_prepared(root: Path) -> Path | None:
    """The prepared dataset in the folder itself or below it (name/variant/version/); None if there is none.

    Raises:
      UnisalError: there are several; the message names one.
    """
    level = [root]
    for _ in range(4):
        found = [folder for folder in level if (folder / SIDECAR).is_file()]
        if len(found) > 1:
            raise UnisalError(f"{root}: contains several prepared datasets; name one, such as {found[0]}")
        if found:
            return found[0]
        level = [entry for folder in level for entry in list_folder(folder) if entry.is_dir()]
    return None


def _released_splits(root: Path, partial: bool) -> tuple[str, dict[str, tuple[Group, ...]], tuple[str, ...]]:
    """(name, groups with truth by split, notes) of a folder in the layout of a release or of own data."""
    dataset = next((each for each in DATASETS.values() if each.recognise(root)), None)
    if dataset is not None:
        name, release = dataset.name, dataset.scan(root, True, dataset.seed)
    else:
        name, release = root.resolve().name, scan_folders(root, partial=partial)
    splits = {
        split: tuple(_clip_group(clip) for clip in clips if clip.truth is not None)
        for split, clips in release.splits.items()
    }
    bare = [
        clip.id
        for split, clips in release.splits.items()
        for clip in clips
        if splits[split] and clip.truth is None
    ]
    notes = (f"{len(bare):,} without maps and fixations (such as {bare[0]})",) if bare else ()
    return name, splits, (*release.notes, *notes)


def _clip_group(clip: Clip) -> Group:
    def pixels() -> Iterator[np.ndarray]:
        if isinstance(clip.frames, Files):
            for index in range(len(clip.frames)):
                yield read_image(clip.frames[index])
        else:
            with open_video(clip.frames) as reader:
                yield from reader

    truth_files = clip.truth
    assert isinstance(truth_files, TruthFiles)  # a release has files; clips without truth are left out above

    def truth(index: int) -> FrameTruth:
        pixels = truth_files.read_map(index)
        found = truth_files.read_fixations(index, (pixels.shape[0], pixels.shape[1]))
        return FrameTruth(pixels, found.points, found.observers, found.faults)

    if isinstance(clip.frames, Files):
        names = tuple(Path(name).stem for name in clip.frames.names)
    else:
        names = tuple(f"{number:04d}" for number in range(1, (clip.frame_count or 0) + 1))
    stem = clip.frames.stem if isinstance(clip.frames, Path) else ""
    return Group(clip.id, names, pixels, truth, stem)


def _prepared_splits(folder: Path) -> tuple[str, dict[str, tuple[Group, ...]]]:
    splits = {}
    name = folder.name
    for split in split_names(folder):
        prepared = open_prepared(folder, split)
        # All own data share a builder; the name of the dataset is that of its folder.
        name = prepared.name if prepared.name in DATASETS else prepared.path.parent.name
        first = read_frames(prepared, [video.start for video in prepared.videos[:1]])
        has_truth = any(frame.truth is not None for frame in first)
        splits[split] = tuple(_prepared_group(prepared, video) for video in prepared.videos if has_truth)
    return name, splits


def _prepared_group(prepared: Prepared, video: Video) -> Group:
    def pixels() -> Iterator[np.ndarray]:
        for index in range(video.frames):
            yield read_frames(prepared, [video.start + index])[0].pixels

    def truth(index: int) -> FrameTruth:
        frame = read_frames(prepared, [video.start + index])[0]
        if frame.truth is None:
            raise UnisalError(f"{frame.id}: has no ground truth")
        size = frame.truth.map.shape
        if not size == tuple(frame.truth.fixation_size) == tuple(video.size):
            raise UnisalError(
                f"{frame.id}: its map is {shown_size(size)}, but the released frame "
                f"{shown_size(video.size)}; scoring requires the dataset prepared with --resolution full"
            )
        return FrameTruth(frame.truth.map, frame.truth.fixations, frame.truth.observers)

    names = (
        tuple(f"{number:04d}" for number in range(1, video.frames + 1)) if video.frames > 1 else (video.id,)
    )
    return Group(video.id, names, pixels, truth)


def mean_truth(data: ScoringData, skip_errors: bool = False) -> np.ndarray:
    """Mean of the ground-truth maps, each scaled to sum to 1; [H, W] at the size of the first.

    Args:
      data: the dataset.
      skip_errors: skip frames whose truth cannot be read.

    Raises:
      UnisalError: the truth of a frame, or of every frame, cannot be read.
    """

    def maps() -> Iterator[np.ndarray]:
        for group in data.groups:
            for index in range(len(group.frame_names)):
                try:
                    yield group.truth(index).map
                except UnisalError:
                    if not skip_errors:
                        raise

    first = next(maps(), None)
    if first is None:
        raise UnisalError(f"{data.name}: cannot read any map of split {data.split}")
    return mean_map(maps(), (first.shape[0], first.shape[1]))


def closing_frames(group: Group) -> closing:
    """The frames of a group as a context manager, which closes the file even if frames remain."""
    return closing(group.pixels())  # type: ignore[type-var]
