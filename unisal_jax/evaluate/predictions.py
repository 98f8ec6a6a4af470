"""The maps to score: those of this model, or those in a folder of files."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from natsort import natsorted

from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import Group, ScoringData, closing_frames
from unisal_jax.files import list_folder
from unisal_jax.limits import MAX_MAP_PIXELS
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.images import IMAGE_SUFFIXES, resize_frame
from unisal_jax.media.maps import read_map_image
from unisal_jax.media.mat import read_mat
from unisal_jax.media.stems import by_stem, match_stems, passed_over_lines
from unisal_jax.predict.model import SaliencyModel

_STACK, _MAT = ".npy", ".mat"
# Folders that `unisal predict` writes maps to, the exact ones first.
_PREDICTED = ("raw", "map")


class NetworkMaps:
    """Densities predicted by this model.

    Args:
      model: the model.
      domain: domain whose parameters to use.
      input_size: overrides that of the data.
      stride: overrides that of the data.
    """

    def __init__(
        self,
        model: SaliencyModel,
        data: ScoringData,
        domain: Domain,
        input_size: Size | None = None,
        stride: int | None = None,
    ):
        self._model, self._data, self._domain = model, data, domain
        self._input_size, self._stride = input_size, stride or data.stride(domain)

    def maps(self, group: Group) -> Iterator[np.ndarray]:
        """The densities of a group's frames in order, float32 [H, W] at the frames' size."""
        with closing_frames(group) as frames:
            if self._data.kind == "image":
                for frame in frames:
                    size = self._input_size or self._data.input_size(self._domain, frame.shape[:2])
                    small = self._model.predict_resized(resize_frame(frame, size)[None], self._domain)[0]
                    yield np.exp(resize_log_density(small, frame.shape[:2]))
                return
            first = next(frames, None)
            if first is None:
                return
            size = self._input_size or self._data.input_size(self._domain, first.shape[:2])

            def again() -> Iterator[np.ndarray]:
                yield first
                yield from frames

            predicted = self._model.predict_video(again(), self._domain, size, self._stride)
            # It reads frames in a thread of its own, which must end before the frames can be closed.
            with contextlib.closing(predicted):
                for _, density in predicted:
                    yield density


class FolderMaps:
    """Maps from files: an image's `NAME.png` or `.npy`; a video's folder `NAME/`, or `NAME.npy` [T, H, W].

    `read_map` reads them. `NAME` is the image's stem or its full name (`a.jpg.png`), as in the folders
    `map/` and `raw/` that `unisal predict` writes. Hidden files are ignored.

    Attributes:
      notes: one line on files and folders that belong to no image or video, if there are any.
    """

    def __init__(self, folder: Path, data: ScoringData):
        if not folder.is_dir():
            raise UnisalError(f"{folder}: no such folder")
        self._folder, self._kind = folder, data.kind
        entries = list_folder(folder)
        self._folders = {entry.name for entry in entries if entry.is_dir()}
        self._files = _files_of(
            folder, [name for group in data.groups for name in (group.id, group.file_stem)]
        )
        used = {found.name for group in data.groups if (found := self._find(group)) is not None}
        left = [entry.name for entry in entries if entry.name not in used]
        self.notes = passed_over_lines(
            {f"of predictions that belong to no {data.kind}": left} if left else {}
        )

    def maps(self, group: Group) -> Iterator[np.ndarray | UnisalError]:
        """Yields the maps of a group's frames in order, float64 [H, W] of any size and range.

        Yields a `UnisalError` in place of a map that cannot be read.

        Raises:
          UnisalError: the group's files are missing, or their number is wrong.
        """
        found = self._find(group)
        if found is None:
            raise UnisalError(f"{self._folder / group.id}: missing ({self._wanted(group)})")
        if self._kind == "image":
            yield read_map(found)
            return
        if not found.is_dir():
            frames = _load(found)
            if frames.ndim != 3 or len(frames) != len(group.frame_names):
                raise UnisalError(f"{found}: shape {list(frames.shape)} for {len(group.frame_names)} frames")
            for frame in frames:
                try:
                    yield _as_map(found, np.asarray(frame))
                except UnisalError as error:
                    yield error
            return
        for path in self._frame_files(found, group):
            try:
                yield read_map(path)
            except UnisalError as error:
                yield error

    def _find(self, group: Group) -> Path | None:
        """The file of an image, or the folder or .npy file of a video; None if there is none."""
        for name in filter(None, (group.id, group.file_stem)):
            if self._kind == "image":
                if name in self._files:
                    return self._folder / self._files[name]
            elif self._files.get(name, "").lower().endswith(_STACK):
                return self._folder / self._files[name]
            elif name in self._folders:
                return self._folder / name
        return None

    def _wanted(self, group: Group) -> str:
        """The expected file types, and the subfolder that contains them, if any."""
        wanted = ".npy, .png or another image" if self._kind == "image" else "a folder of maps, or a .npy"
        for name in sorted(self._folders, key=lambda name: (name not in _PREDICTED, name)):
            below = self._folder / name
            if _files_of(below, [group.id]) or (self._kind == "video" and (below / group.id).is_dir()):
                return f"{wanted}; did you mean {below}?"
        return wanted

    def _frame_files(self, folder: Path, group: Group) -> list[Path]:
        """Files named like the frames, else one file per frame in natural order."""
        matched = _files_of(folder, group.frame_names)
        if len(matched) == len(group.frame_names):
            return [folder / matched[name] for name in group.frame_names]
        names = list(by_stem(folder, (_STACK,), (_MAT,), IMAGE_SUFFIXES).values())
        if len(names) != len(group.frame_names):
            lacks = next(name for name in group.frame_names if name not in matched)
            held = f"{len(names)} maps for {len(group.frame_names)} frames"
            raise UnisalError(f"{folder}: contains {held}; {lacks} is missing")
        return [folder / name for name in natsorted(names)]


def _files_of(folder: Path, stems: Iterable[str]) -> dict[str, str]:
    """The map files of these stems; for one stem, .npy takes precedence over .mat and images."""
    return match_stems(by_stem(folder, (_STACK,), (_MAT,), IMAGE_SUFFIXES), stems)


def read_map(path: Path) -> np.ndarray:
    """Reads a map from a .npy file, an image or a .mat file with one matrix, float64 [H, W].

    Images keep 16 bits or floats; colour is converted to grey. An array without positive values is taken
    for a log-density, as `unisal predict --save raw` writes it, and exponentiated: -inf becomes 0.

    Raises:
      UnisalError: the file cannot be read, or does not contain a map.
    """
    suffix = path.suffix.lower()
    if suffix == _STACK:
        return _as_map(path, np.asarray(_load(path)))
    if suffix == _MAT:
        matrices = [value for value in read_mat(path).values() if isinstance(value, np.ndarray)]
        large = [value for value in matrices if value.ndim == 2 and min(value.shape) > 1]
        if len(large) != 1:
            raise UnisalError(f"{path}: contains {len(large)} matrices; a map requires exactly one")
        return _as_map(path, large[0])
    return _as_map(path, read_map_image(path))


def _load(path: Path) -> np.ndarray:
    try:
        # Memory-mapped, as a video may exceed the memory. NumPy warns about a forged shape of 2**60 rows.
        with np.errstate(over="ignore"):
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        # NumPy parses the header as Python, which raises OSError, ValueError, SyntaxError and others.
        raise UnisalError(f"{path}: not a readable .npy file ({error})") from error


def _as_map(path: Path, array: np.ndarray) -> np.ndarray:
    if not 0 < array.size <= MAX_MAP_PIXELS:
        raise UnisalError(f"{path}: {list(array.shape)}, not a map of 1 to {MAX_MAP_PIXELS:,} pixels")
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise UnisalError(f"{path}: {array.dtype} {list(array.shape)}, not a map of finite numbers")
    # A signalling NaN warns when it is converted; the check below reports it.
    with np.errstate(invalid="ignore"):
        array = array.astype(np.float64)
        low, high = array.min(), array.max()
    if np.isnan(low):
        raise UnisalError(f"{path}: contains NaN, not a map of finite numbers")
    if high == np.inf or (low == -np.inf and high > 0):
        raise UnisalError(f"{path}: contains infinity, not a map of finite numbers or a log-density")
    if high == -np.inf:
        return np.zeros_like(array)
    return np.exp(array - high) if high <= 0 and low < 0 else array
