"""What is scored: our network's maps, or anyone's from a folder of files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from natsort import natsorted

from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import Group, ScoringData, closing_frames
from unisal_jax.limits import MAX_PIXELS
from unisal_jax.media.images import IMAGE_SUFFIXES, read_image, resize_frame
from unisal_jax.predict.model import SaliencyModel
from unisal_jax.predict.network import finish

_SUFFIXES = (".npy", *sorted(IMAGE_SUFFIXES))


class NetworkMaps:
    """Our network's densities.

    Args:
      model: the network.
      domain: whose parameters score the data.
      input_size, stride: in the place of those that the data brings.
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
                    yield np.exp(finish(small, frame.shape[:2]))
                return
            first = next(frames, None)
            if first is None:
                return
            size = self._input_size or self._data.input_size(self._domain, first.shape[:2])

            def again() -> Iterator[np.ndarray]:
                yield first
                yield from frames

            predicted = self._model.predict_video(again(), self._domain.name, size, self._stride)
            for _, density in predicted:
                yield density


class FolderMaps:
    """Maps from files: an image's `NAME.png` or `.npy`; a video's folder `NAME/`, or `NAME.npy` [T, H, W].

    Pictures are read as grey values. An array that holds no positive value is taken for a
    log-density, as `unisal predict --save raw` writes it. What `unisal predict` leaves in `map/` or
    `raw/` fits.
    """

    def __init__(self, folder: Path, data: ScoringData):
        if not folder.is_dir():
            raise UnisalError(f"{folder}: no such folder")
        self._folder, self._kind = folder, data.kind

    def maps(self, group: Group) -> Iterator[np.ndarray | UnisalError]:
        """The maps of a group's frames in order, float [H, W] of any size and range.

        Yields an error in the place of one frame's map that cannot be read.

        Raises:
          UnisalError: a group's files are missing, or are too few or too many.
        """
        if self._kind == "image":
            yield read_map(self._file(self._folder, group.id))
            return
        stack = self._folder / f"{group.id}.npy"
        if stack.is_file():
            frames = _load(stack)
            if frames.ndim != 3 or len(frames) != len(group.frame_names):
                raise UnisalError(f"{stack}: shape {list(frames.shape)} for {len(group.frame_names)} frames")
            yield from (_as_map(stack, np.asarray(frame)) for frame in frames)
            return
        folder = self._folder / group.id
        if not folder.is_dir():
            raise UnisalError(f"{folder}: missing, as is {stack.name}")
        for path in self._frame_files(folder, group):
            try:
                yield read_map(path)
            except UnisalError as error:
                yield error

    def _frame_files(self, folder: Path, group: Group) -> list[Path]:
        """Files by the frames' own names, else one for each frame in natural order."""
        by_stem = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES}
        if all(name in by_stem for name in group.frame_names):
            return [by_stem[name] for name in group.frame_names]
        if len(by_stem) != len(group.frame_names):
            lacks = next(name for name in group.frame_names if name not in by_stem)
            held = f"{len(by_stem)} maps for {len(group.frame_names)} frames"
            raise UnisalError(f"{folder}: holds {held}; {lacks} is missing")
        return [by_stem[stem] for stem in natsorted(by_stem)]

    @staticmethod
    def _file(folder: Path, stem: str) -> Path:
        for suffix in _SUFFIXES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
        raise UnisalError(f"{folder / stem}: missing (.npy, .png or another image)")


def read_map(path: Path) -> np.ndarray:
    """A map from a .npy file or a picture, float64 [H, W]; a log-density is exponentiated.

    Raises:
      UnisalError: it cannot be read, or is no map.
    """
    if path.suffix.lower() == ".npy":
        return _as_map(path, np.asarray(_load(path)))
    return read_image(path)[..., 0].astype(np.float64)


def _load(path: Path) -> np.ndarray:
    try:
        # Mapped: a video's file may be larger than the memory. A claim of 2**60 rows overflows in silence.
        with np.errstate(over="ignore"):
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        # A header is parsed as Python: OSError, ValueError, EOFError, SyntaxError, TokenError and more.
        raise UnisalError(f"{path}: not a readable .npy file ({error})") from error


def _as_map(path: Path, array: np.ndarray) -> np.ndarray:
    if not 0 < array.size <= MAX_PIXELS:
        raise UnisalError(f"{path}: {list(array.shape)}, not a map of 1 to {MAX_PIXELS:,} pixels")
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise UnisalError(f"{path}: {array.dtype} {list(array.shape)}, not a map of finite numbers")
    array = array.astype(np.float64)
    return np.exp(array - array.max()) if array.max() <= 0 and array.min() < 0 else array
