"""Small synthetic datasets in the layouts of the six releases, for tests, examples and benchmarks.

A disc moves over a gradient, and fixations are near it. Everything is determined by the seed.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
import scipy.io
from PIL import Image

from unisal_jax.data.layouts.truth import gaussian_map
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import map_to_grey

_GAZE_FIELDS = ("location", "timestamp", "fixations")


@dataclass(frozen=True)
class Amount:
    """The amount of data to make.

    Attributes:
      train, validation, test: number of videos or images of each split. Hollywood-2, UCF Sports and MIT1003
        have no validation split of their own: their training split has the sum of the first two.
      frames: frames per video.
      size: (height, width) of frames and maps.
      observers: number of observers, each with two fixations per frame.
    """

    train: int = 2
    validation: int = 1
    test: int = 1
    frames: int = 14
    size: Size = (72, 96)
    observers: int = 3


@dataclass(frozen=True)
class Drawn:
    """A synthetic frame.

    Attributes:
      frame: uint8 RGB [H, W, 3].
      map: uint8 [H, W].
      fixations: of each observer, int32 [n, 2] (row, column).
    """

    frame: np.ndarray
    map: np.ndarray
    fixations: tuple[np.ndarray, ...]

    @property
    def marks(self) -> np.ndarray:
        """The fixations as a map, uint8 [H, W], 255 at fixated pixels."""
        marks = np.zeros(self.map.shape, np.uint8)
        for points in self.fixations:
            marks[points[:, 0], points[:, 1]] = 255
        return marks


def draw(seed: int, clip: str, index: int, amount: Amount) -> Drawn:
    """Frame number `index` of the clip with this name."""
    height, width = amount.size
    motion = np.random.default_rng([seed, zlib.crc32(clip.encode())])
    # The disc moves on an ellipse. Each clip has its own start and colours.
    turn = motion.uniform(0, 2 * np.pi) + index * motion.uniform(0.1, 0.4)
    colours = motion.integers(40, 216, (3, 3))
    row, column = height * (0.5 + 0.25 * np.sin(turn)), width * (0.5 + 0.25 * np.cos(turn))
    y, x = np.mgrid[:height, :width]
    ramp = (x / width)[..., None]
    frame = ((1 - ramp) * colours[0] + ramp * colours[1]).astype(np.uint8)
    frame[(y - row) ** 2 + (x - column) ** 2 < (0.12 * height) ** 2] = colours[2]
    gaze = np.random.default_rng([seed, zlib.crc32(clip.encode()), index])
    places = gaze.normal((row, column), 0.06 * height, (amount.observers, 2, 2))
    fixations = tuple(np.clip(np.round(places), 0, (height - 1, width - 1)).astype(np.int32))
    density = gaussian_map(np.concatenate(fixations), amount.size, 0.08 * height)
    return Drawn(frame, map_to_grey(density), fixations)


def make(dataset: str, root: Path, seed: int = 0, amount: Amount | None = None) -> None:
    """Writes a synthetic release into the folder `root`.

    Args:
      dataset: one of `LAYOUTS`; "dhf1k-videos" is DHF1K without extracted frames, "salicon-png" SALICON
        with fixations as images.
      root: the folder.
      seed: the seed.
      amount: the amount of data; the default takes a second.

    Raises:
      UnisalError: unknown dataset.
    """
    if dataset not in LAYOUTS:
        raise UnisalError(f"no synthetic dataset {dataset!r}; known: {', '.join(LAYOUTS)}")
    LAYOUTS[dataset](Path(root), seed, amount or Amount())


def _dhf1k(root: Path, seed: int, amount: Amount) -> None:
    for number in _dhf1k_numbers(amount):
        folder = root / "annotation" / f"{number:04d}"
        names = [f"{i:04d}.png" for i in range(1, amount.frames + 1)]
        _write_clip(folder, folder.name, names, seed, amount, annotated=number <= 700)


def _dhf1k_videos(root: Path, seed: int, amount: Amount) -> None:
    for number in _dhf1k_numbers(amount):
        folder = root / "annotation" / f"{number:04d}"
        names = [f"{i:04d}.png" for i in range(1, amount.frames + 1)]
        if number <= 700:
            _write_clip(folder, folder.name, names, seed, amount, with_frames=False)
        frames = [draw(seed, folder.name, index, amount).frame for index in range(amount.frames)]
        _write_avi(root / "video" / f"{number:03d}.AVI", frames)


def _dhf1k_numbers(amount: Amount) -> list[int]:
    firsts = ((1, amount.train), (601, amount.validation), (701, amount.test))
    return [first + i for first, count in firsts for i in range(count)]


def _hollywood2(root: Path, seed: int, amount: Amount) -> None:
    parts = (("training", "train", amount.train + amount.validation), ("testing", "test", amount.test))
    for folder, phase, count in parts:
        for number in range(1, count + 1):
            first = 1
            # Two shots; the second continues the numbers of the frames.
            for shot in (1, 2):
                video = f"actionclip{phase}{number:05d}"
                names = [f"{video}_{first + i:05d}.png" for i in range(amount.frames)]
                _write_clip(root / folder / f"{video}_{shot}", f"{video}_{shot}", names, seed, amount)
                first += amount.frames


def _ucf_sports(root: Path, seed: int, amount: Amount) -> None:
    training = amount.train + amount.validation
    for folder, action, count in (
        ("training", "Diving-Side", training),
        ("testing", "Run-Side", amount.test),
    ):
        for number in range(1, count + 1):
            clip = f"{action}-{number:03d}"
            names = [f"{action}_{number:03d}_{i:03d}.png" for i in range(1, amount.frames + 1)]
            _write_clip(root / folder / clip, clip, names, seed, amount)


def _salicon(root: Path, seed: int, amount: Amount) -> None:
    for drawn, stem, part in _salicon_images(root, seed, amount):
        path = _made(root / "fixations" / part / f"{stem}.mat")
        gaze = np.empty((len(drawn.fixations), 1), [(name, "O") for name in _GAZE_FIELDS])
        for row, points in enumerate(drawn.fixations):
            xy = (points[:, ::-1] + 1).astype(np.uint16)
            gaze[row, 0] = (xy.astype(float), np.arange(len(xy))[:, None], xy)
        scipy.io.savemat(path, {"image": stem, "resolution": np.array([amount.size]), "gaze": gaze})


def _salicon_png(root: Path, seed: int, amount: Amount) -> None:
    for drawn, stem, part in _salicon_images(root, seed, amount):
        _write_image(root / "fixations" / part / f"{stem}.png", drawn.marks)


def _salicon_images(root: Path, seed: int, amount: Amount) -> list[tuple[Drawn, str, str]]:
    """Writes images and maps; returns those whose fixations are to be written."""
    annotated = []
    for part, count in (("train", amount.train), ("val", amount.validation), ("test", amount.test)):
        for number in range(1, count + 1):
            stem = f"COCO_{part}2014_{number:012d}"
            drawn = draw(seed, stem, 0, amount)
            _write_image(root / "images" / f"{stem}.jpg", drawn.frame)
            if part != "test":
                _write_image(root / "maps" / part / f"{stem}.png", drawn.map)
                annotated.append((drawn, stem, part))
    return annotated


def _mit1003(root: Path, seed: int, amount: Amount) -> None:
    truth = root / "ALLFIXATIONMAPS" / "ALLFIXATIONMAPS"
    for number in range(1, amount.train + amount.validation + 1):
        stem = f"i{number:010d}"
        # Landscape and portrait images.
        turned = amount if number % 2 else Amount(size=amount.size[::-1], observers=amount.observers)
        drawn = draw(seed, stem, 0, turned)
        _write_image(root / "ALLSTIMULI" / "ALLSTIMULI" / f"{stem}.jpeg", drawn.frame)
        _write_image(truth / f"{stem}_fixMap.jpg", drawn.map)
        _write_image(truth / f"{stem}_fixPts.jpg", drawn.marks)


def _mit300(root: Path, seed: int, amount: Amount) -> None:
    for number in range(1, amount.test + 1):
        _write_image(root / "BenchmarkIMAGES" / f"i{number}.jpg", draw(seed, f"i{number}", 0, amount).frame)


LAYOUTS: MappingProxyType[str, Callable[[Path, int, Amount], None]] = MappingProxyType(
    {
        "dhf1k": _dhf1k,
        "dhf1k-videos": _dhf1k_videos,
        "hollywood2": _hollywood2,
        "ucf_sports": _ucf_sports,
        "salicon": _salicon,
        "salicon-png": _salicon_png,
        "mit1003": _mit1003,
        "mit300": _mit300,
    }
)
"""Layout -> the function that writes it."""


def _write_clip(
    folder: Path,
    clip: str,
    names: Sequence[str],
    seed: int,
    amount: Amount,
    annotated: bool = True,
    with_frames: bool = True,
) -> None:
    for index, name in enumerate(names):
        drawn = draw(seed, clip, index, amount)
        if with_frames:
            _write_image(folder / "images" / name, drawn.frame)
        if annotated:
            _write_image(folder / "maps" / name, drawn.map)
            _write_image(folder / "fixation" / name, drawn.marks)


def _write_image(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(_made(path), quality=95)


def _write_avi(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Writes a lossless AVI file, so that decoded frames equal the drawn ones."""
    with av.open(f"file:{_made(path)}", "w", format="avi") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(rgb.reformat(format="bgr0")))
        container.mux(stream.encode(None))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
