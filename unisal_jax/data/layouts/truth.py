"""Reads the ground truth of a frame, saliency maps and fixations, from files or from points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_FIXATIONS, MAX_MAP_PIXELS
from unisal_jax.media import mat
from unisal_jax.media.images import map_to_grey
from unisal_jax.media.maps import looks_blurred, read_map_image, read_marks

UNKNOWN_OBSERVER = -1

# Threshold for fixated pixels in an image with lossy compression, where other pixels need not be 0: half of
# the range, which is the original's rule for MIT1003's JPEG files.
_LOSSY_MARK = 128
_MAT = ".mat"


@dataclass(frozen=True)
class Files:
    """Files of one folder, in order. A `Path` for each of a release's million files takes too much memory."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Path:
        return self.folder / self.names[index]


@dataclass(frozen=True)
class Fixations:
    """The fixations of one frame.

    Attributes:
      points: int32 [n, 2], (row, column) of each fixation, 0-based, in pixels of `size`.
      observers: int32 [n], the observer of each fixation; -1 if unknown.
      size: (height, width) of the image that the fixations refer to.
      outside: number of additional fixations outside the image, which are left out.
      faults: problems of the file: "lossy_fixations" (lossy compression, so only pixels of 128 and more
        count), "blurred_fixations" (it looks like a map; each pixel above 0 counts).
    """

    points: np.ndarray
    observers: np.ndarray
    size: Size
    outside: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class TruthFiles:
    """The files of a clip's ground truth, one map and one file of fixations per frame: images, or .mat files.

    Attributes:
      maps: the files of maps.
      fixations: the files of fixations.
      released: whether they are from a known release, whose faults are not reported.
    """

    maps: Files
    fixations: Files
    released: bool = False

    def __len__(self) -> int:
        return len(self.maps)

    def read_map(self, index: int, size: Size | None = None) -> np.ndarray:
        """The map of frame number `index`, [H, W], with the values of the file (`read_map`).

        Args:
          index: number of the frame, from 0.
          size: (height, width) that it must have; None accepts any.

        Raises:
          UnisalError: the file is missing or damaged, or has another size.
        """
        path = self.maps[index]
        pixels = read_map(path)
        if size is not None:
            _check_size(path, pixels.shape, size)
        return pixels

    def read_fixations(self, index: int, size: Size) -> Fixations:
        """The fixations of frame number `index`, which has `size` (height, width).

        Raises:
          UnisalError: the file is missing or damaged, or has another size than the frame.
        """
        path = self.fixations[index]
        is_mat = path.suffix.lower() == _MAT
        found = read_mat_fixations(path, size) if is_mat else _image_fixations(path)
        _check_size(path, found.size, size)
        points, observers, outside = keep_inside(found.points, found.observers, size)
        return Fixations(points, observers, size, outside, () if self.released else found.faults)


@dataclass(frozen=True)
class TruthPoints:
    """A clip's fixations as points; a frame's map is the sum of one Gaussian for each of its fixations.

    Attributes:
      frames: int64 [n], frame of each fixation, from 0, ascending.
      xy: float64 [n, 2], (x, y) in pixels; 0 is the left or upper edge of the image.
      observers: int32 [n], observer of each fixation.
      sigma: standard deviation of the Gaussian in pixels.
    """

    frames: np.ndarray
    xy: np.ndarray
    observers: np.ndarray
    sigma: float

    def read_map(self, index: int, size: Size) -> np.ndarray:
        """The map of frame number `index`, uint8 [*size], scaled to its peak."""
        return map_to_grey(gaussian_map(self.read_fixations(index, size).points, size, self.sigma))

    def read_fixations(self, index: int, size: Size) -> Fixations:
        """The fixations of frame number `index`, which has `size` (height, width)."""
        first, last = np.searchsorted(self.frames, [index, index + 1])
        points = np.floor(self.xy[first:last, ::-1]).astype(np.int32)
        points, observers, outside = keep_inside(points, self.observers[first:last], size)
        return Fixations(points, observers, size, outside)


def gaussian_map(points: np.ndarray, size: Size, sigma: float) -> np.ndarray:
    """The sum of one untruncated Gaussian with peak 1 for each point, float32 [*size].

    Args:
      points: int [n, 2], (row, column).
      sigma: standard deviation in pixels, above 0.
    """

    def falloff(centres: np.ndarray, length: int) -> np.ndarray:
        distance = (np.arange(length)[:, None] - centres[None, :]) / sigma
        return np.exp(-0.5 * distance**2).astype(np.float32)

    # A Gaussian is separable, so the sum over the points is one matrix product.
    return falloff(points[:, 0], size[0]) @ falloff(points[:, 1], size[1]).T


def keep_inside(points: np.ndarray, observers: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray, int]:
    """The points, int [n, 2], inside an image of `size`, their observers, and how many are outside."""
    inside = ((points >= 0) & (points < np.asarray(size))).all(axis=1)
    return points[inside], observers[inside], int((~inside).sum())


def read_map(path: Path) -> np.ndarray:
    """Reads a saliency map from an image file or a .mat file: [H, W], with the values of the file.

    Raises:
      UnisalError: it cannot be read, is not a map, or has values that are negative or not finite.
    """
    if path.suffix.lower() == _MAT:
        matrices = _matrices(mat.read_mat(path))
        if len(matrices) != 1:
            raise UnisalError(
                f"{path}: {len(matrices)} matrices{_listed(matrices)}; a map must be one matrix"
            )
        (pixels,) = matrices.values()
    else:
        pixels = read_map_image(path)
    if not pixels.size or pixels.size > MAX_MAP_PIXELS:
        raise UnisalError(f"{path}: {list(pixels.shape)}, not a map of 1 to {MAX_MAP_PIXELS:,} pixels")
    # If there is a NaN, it is both the minimum and the maximum.
    with np.errstate(invalid="ignore"):
        low, high = pixels.min(), pixels.max()
    if not (np.isfinite(high) and low >= 0):
        raise UnisalError(f"{path}: not a saliency map: it has values that are negative or not finite")
    return pixels


def _image_fixations(path: Path) -> Fixations:
    samples, lossy = read_marks(path)
    with np.errstate(invalid="ignore"):
        low, high = samples.min(), samples.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnisalError(f"{path}: has values that are not finite")
    if lossy:
        return _marked(path, samples >= _LOSSY_MARK, ("lossy_fixations",))
    return _marked(path, samples > 0, ("blurred_fixations",) if looks_blurred(samples) else ())


def _marked(path: Path, marks: np.ndarray, faults: tuple[str, ...] = ()) -> Fixations:
    number = int(np.count_nonzero(marks))
    if number > MAX_FIXATIONS:
        raise UnisalError(f"{path}: {number:,} pixels above 0: a map, not an image of fixations")
    points = np.argwhere(marks).astype(np.int32)
    observers = np.full(len(points), UNKNOWN_OBSERVER, np.int32)
    return Fixations(points, observers, (marks.shape[0], marks.shape[1]), faults=faults)


def read_mat_fixations(path: Path, size: Size) -> Fixations:
    """Reads fixations from a .mat file: SALICON's struct (`read_mat`), or a matrix of the image's size.

    The matrix may have any name. It is logical or numeric, possibly sparse, and nonzero at each fixation. Of
    several matrices, the one whose name begins with "fix" is used.

    Args:
      size: (height, width) of the image.

    Raises:
      UnisalError: it cannot be read, or has neither layout.
    """
    variables = mat.read_mat(path)
    if isinstance(variables.get("gaze"), list):
        points, observers, own_size = _salicon_fixations(path, variables)
        return Fixations(points, observers, own_size)
    matrices = _matrices(variables)
    fitting = {name: matrix for name, matrix in matrices.items() if matrix.shape == tuple(size)}
    named = {name: matrix for name, matrix in fitting.items() if name.lower().startswith("fix")}
    chosen = fitting if len(fitting) == 1 else named
    if len(chosen) != 1:
        raise UnisalError(
            f"{path}: {len(fitting) or 'no'} matrices of the image's size ({size[0]} rows, {size[1]} "
            f"columns){_listed(matrices)}, and {_NOT_SALICON}"
        )
    (matrix,) = chosen.values()
    if np.isnan(matrix).any():
        raise UnisalError(f"{path}: has values that are not numbers (NaN)")
    return _marked(path, matrix > 0)


_NOT_SALICON = "not SALICON's layout (a struct `gaze` with `fixations` for each observer, `resolution`)"


def _matrices(variables: dict[str, mat.Value]) -> dict[str, np.ndarray]:
    """The variables that are matrices with more than one row and column."""
    arrays = {name: value for name, value in variables.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in arrays.items() if value.ndim == 2 and min(value.shape) > 1}


def _listed(matrices: dict[str, np.ndarray]) -> str:
    shown = [f"{name} {value.shape[0]}x{value.shape[1]}" for name, value in list(matrices.items())[:5]]
    return f": {', '.join(shown)}" if shown else ""


def read_mat(path: Path) -> tuple[np.ndarray, np.ndarray, Size]:
    """Reads a SALICON .mat file, where `gaze` has a list of (x, y), 1-based, for each observer.

    Returns:
      (points int32 [n, 2] as (row, column), 0-based; observers int32 [n], numbered as listed;
      `resolution` as (height, width)).

    Raises:
      UnisalError: it is not a MATLAB file, or has another layout.
    """
    return _salicon_fixations(path, mat.read_mat(path))


def _salicon_fixations(path: Path, variables: dict[str, mat.Value]) -> tuple[np.ndarray, np.ndarray, Size]:
    gaze, resolution = variables.get("gaze"), variables.get("resolution")
    try:
        if not isinstance(gaze, list) or not isinstance(resolution, np.ndarray):
            raise TypeError("no struct and size")
        height, width = (int(side) for side in resolution.ravel())
        # An observer without fixations may have an empty list of any shape.
        points = [_points(person["fixations"]) for person in gaze]
    except (KeyError, ValueError, OverflowError, TypeError) as error:
        raise UnisalError(f"{path}: {_NOT_SALICON}") from error
    observers = [np.full(len(rows), number, np.int32) for number, rows in enumerate(points)]
    if not points:
        return np.zeros((0, 2), np.int32), np.zeros(0, np.int32), (height, width)
    if sum(map(len, points)) > MAX_FIXATIONS:
        raise UnisalError(f"{path}: more than {MAX_FIXATIONS:,} fixations")
    return np.concatenate(points), np.concatenate(observers), (height, width)


def _points(listed: mat.Value) -> np.ndarray:
    """Converts (x, y), 1-based, [n, 2] or empty of any shape, to int32 (row, column), 0-based."""
    if not isinstance(listed, np.ndarray):
        raise TypeError("no list of points")
    xy = listed.reshape(-1, 2) if listed.size else np.zeros((0, 2))
    # NaNs and values that are too large become points outside the image.
    with np.errstate(invalid="ignore"):
        inside = np.nan_to_num(np.float64(xy), nan=-1.0).clip(-1e9, 1e9)
    return inside.astype(np.int32)[:, ::-1] - 1


def _check_size(path: Path, shape: tuple[int, ...], size: Size) -> None:
    if tuple(shape) != tuple(size):
        raise UnisalError(
            f"{path}: {shape[1]}x{shape[0]}, but its frame is {size[1]}x{size[0]}; the sizes must be equal"
        )
