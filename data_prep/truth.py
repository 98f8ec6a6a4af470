"""Where people looked at a frame: saliency maps and fixations, from the releases' files or from points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io

from data_prep.pictures import encode_png, read_grey
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import map_to_grey

UNKNOWN_OBSERVER = -1

# The original marks a pixel as fixated when it is above one half of the range.
_FIXATED = 128


@dataclass(frozen=True)
class Truth:
    """Ground truth of one frame.

    Attributes:
        map: the encoded saliency map, 8-bit grey.
        map_pixels: the same decoded, uint8 [H, W].
        points: int32 [n, 2], (row, column) of each fixation, 0-based, in pixels of `size`.
        observers: int32 [n], who made it; -1 where unknown.
        size: (height, width) of the picture that the fixations refer to.
        outside: how many more there were that lie outside of the picture; they are left out.
    """

    map: bytes
    map_pixels: np.ndarray
    points: np.ndarray
    observers: np.ndarray
    size: Size
    outside: int = 0


@dataclass(frozen=True)
class Files:
    """Files of one folder, in order. A release has a million of them: a `Path` each would be too large."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Path:
        return self.folder / self.names[index]


@dataclass(frozen=True)
class TruthFiles:
    """A clip's files, one of each a frame: maps are pictures, fixations pictures or SALICON's .mat."""

    maps: Files
    fixations: Files

    def __len__(self) -> int:
        return len(self.maps)

    def read(self, index: int, size: Size) -> Truth:
        """Reads both for the frame number `index`, of `size` (height, width).

        Raises:
            UnisalError: a file is missing or damaged, or has another size than the frame.
        """
        map_path, path = self.maps[index], self.fixations[index]
        encoded, pixels = read_grey(map_path)
        _check_size(map_path, pixels.shape, size)
        if path.suffix.lower() == ".mat":
            points, observers, fixation_size = read_mat(path)
        else:
            marks = read_grey(path)[1]
            points = np.argwhere(marks >= _FIXATED).astype(np.int32)
            observers = np.full(len(points), UNKNOWN_OBSERVER, np.int32)
            fixation_size = marks.shape[0], marks.shape[1]
        _check_size(path, fixation_size, size)
        points, observers, outside = keep_inside(points, observers, size)
        return Truth(encoded, pixels, points, observers, size, outside)


@dataclass(frozen=True)
class TruthPoints:
    """A clip's fixations as numbers; a frame's map is the sum of one Gaussian for each of its fixations.

    Attributes:
        frames: int64 [n], the frame's number from 0, ascending.
        xy: float64 [n, 2], (x, y) in pixels; 0 is the left or upper edge of the picture.
        observers: int32 [n].
        sigma: standard deviation of the Gaussian in pixels.
    """

    frames: np.ndarray
    xy: np.ndarray
    observers: np.ndarray
    sigma: float

    def read(self, index: int, size: Size) -> Truth:
        """Makes the map for the frame number `index`, of `size` (height, width)."""
        first, last = np.searchsorted(self.frames, [index, index + 1])
        points = np.floor(self.xy[first:last, ::-1]).astype(np.int32)
        points, observers, outside = keep_inside(points, self.observers[first:last], size)
        pixels = map_to_grey(gaussian_map(points, size, self.sigma))
        return Truth(encode_png(pixels), pixels, points, observers, size, outside)


def gaussian_map(points: np.ndarray, size: Size, sigma: float) -> np.ndarray:
    """The sum of one Gaussian for each point, peak 1 each, not cut off anywhere: float32 [*size].

    Args:
        points: int [n, 2], (row, column).
        sigma: standard deviation in pixels, above 0.
    """

    def falloff(centres: np.ndarray, length: int) -> np.ndarray:
        distance = (np.arange(length)[:, None] - centres[None, :]) / sigma
        return np.exp(-0.5 * distance**2).astype(np.float32)

    # A Gaussian is a product of one along each side, so the sum over the points is one matrix product.
    return falloff(points[:, 0], size[0]) @ falloff(points[:, 1], size[1]).T


def keep_inside(points: np.ndarray, observers: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray, int]:
    """The points, int [n, 2], that lie in a picture of `size`, their observers, and how many do not."""
    inside = ((points >= 0) & (points < np.asarray(size))).all(axis=1)
    return points[inside], observers[inside], int((~inside).sum())


def read_mat(path: Path) -> tuple[np.ndarray, np.ndarray, Size]:
    """Reads a SALICON .mat: `gaze` holds a list of (x, y), 1-based, for each observer.

    Returns:
        (points int32 [n, 2] as (row, column), 0-based; observers int32 [n], numbered as listed;
        `resolution` as (height, width)).

    Raises:
        UnisalError: not a MATLAB file, or one of another layout.
    """
    try:
        content = scipy.io.loadmat(path, variable_names=["gaze", "resolution"])
    except FileNotFoundError as error:
        raise UnisalError(f"{path}: no such file") from error
    except Exception as error:
        # The reader raises ValueError, TypeError, struct.error, zlib.error and more for damaged files.
        reason = str(error) or type(error).__name__
        raise UnisalError(f"{path}: not a MATLAB file, or cut off ({reason})") from error
    try:
        lists = [np.asarray(person["fixations"]) for person in content["gaze"].ravel()]
        height, width = (int(side) for side in content["resolution"].ravel())
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise UnisalError(
            f"{path}: not SALICON's layout (a struct `gaze` with `fixations` for each observer, `resolution`)"
        ) from error
    # An observer without fixations has an empty list of any shape.
    points = [xy.reshape(-1, 2).astype(np.int32)[:, ::-1] - 1 for xy in lists]
    observers = [np.full(len(rows), number, np.int32) for number, rows in enumerate(points)]
    if not points:
        return np.zeros((0, 2), np.int32), np.zeros(0, np.int32), (height, width)
    return np.concatenate(points), np.concatenate(observers), (height, width)


def _check_size(path: Path, shape: tuple[int, ...], size: Size) -> None:
    if tuple(shape) != tuple(size):
        raise UnisalError(
            f"{path}: {shape[1]}x{shape[0]}, but its frame is {size[1]}x{size[0]}; they must have one size"
        )
