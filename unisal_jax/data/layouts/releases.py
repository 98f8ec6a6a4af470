"""The clips of a release, and the list of its missing files."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unisal_jax.data.layouts.truth import Files, TruthFiles, TruthPoints
from unisal_jax.errors import UnisalError

# Number of names that a message lists of each kind.
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Clip:
    """A video, or an image as a video of one frame.

    Attributes:
      id: its name, unique in its split.
      frames: an image file for each frame, or one video file.
      truth: ground truth of the frames; None if the release has none.
    """

    id: str
    frames: Files | Path
    truth: TruthFiles | TruthPoints | None

    @property
    def frame_count(self) -> int | None:
        """Number of frames; None if it is unknown until the video file is read."""
        if isinstance(self.frames, Files):
            return len(self.frames)
        return len(self.truth) if isinstance(self.truth, TruthFiles) else None


@dataclass(frozen=True)
class Release:
    """A release to be prepared.

    Attributes:
      root: the folder that file names are relative to in messages and the manifest.
      splits: split -> clips, in the order in which they are stored.
      fps: frames per second of the videos; None for images, and if unknown.
      cross_validation_folds: ids of each fold's validation clips; empty without cross-validation.
      notes: a line about each kind of files that were left out.
    """

    root: Path
    splits: dict[str, tuple[Clip, ...]]
    fps: float | None = None
    cross_validation_folds: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Missing:
    """Collects the missing files of a release, so that one message can list them all."""

    root: Path
    _names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, path: Path | str) -> None:
        """Adds a missing file or folder; `kind` is a plural, such as "maps"."""
        shown = path.relative_to(self.root).as_posix() if isinstance(path, Path) else path
        self._names[kind].append(shown)

    def add_count(self, kind: str, found: int, expected: int) -> None:
        """Adds missing files of a kind by their number, if their names are not known."""
        if found < expected:
            self._names[kind] += [f"{found} of {expected} found"] + [""] * (expected - found - 1)

    def check(self, release: str) -> None:
        """Raises UnisalError with every kind, its number and its first names, if anything is missing."""
        if self._names:
            kinds = "; ".join(_listed(kind, names) for kind, names in self._names.items())
            raise UnisalError(f"{self.root}: not a complete {release}: {kinds}")


def whole_release(
    title: str,
    missing: Missing,
    splits: dict[str, list[Clip]],
    fps: float | None = None,
    cross_validation_folds: tuple[tuple[str, ...], ...] = (),
    notes: Iterable[str] = (),
) -> Release:
    """Makes the release, after checking that nothing is missing, without empty splits.

    Raises:
      UnisalError: files are missing, or there are no clips.
    """
    missing.check(f"{title} release")
    present = {split: tuple(clips) for split, clips in splits.items() if clips}
    if not present:
        raise UnisalError(f"{missing.root}: contains nothing in the layout of {title}")
    return Release(missing.root, present, fps, cross_validation_folds, tuple(notes))


def _listed(kind: str, names: list[str]) -> str:
    shown = [name for name in names[:_NAMES_SHOWN] if name]
    # A count replaces all names of its kind.
    more = len(names) - _NAMES_SHOWN if len(shown) == _NAMES_SHOWN else 0
    rest = f" and {more} more" if more > 0 else ""
    return f"{len(names)} {kind} missing ({', '.join(shown)}{rest})"


def frame_number(name: str) -> int:
    """The number at the end of a frame's file name: 12 for Diving-Side_001_012.png.

    Raises:
      UnisalError: there is no number at its end.
    """
    digits = re.search(r"(\d+)\.[^.]+$", name)
    if digits is None:
        raise UnisalError(f"{name}: no frame number at the end of the file name")
    return int(digits[1])


def require_run(names: Sequence[str], folder: Path, kind: str, missing: Missing) -> None:
    """Adds the missing numbers in a sequence of frames, such as 7 in 6, 8, 9."""
    numbers = [frame_number(name) for name in names]
    if not numbers:
        return
    absent = set(range(numbers[0], numbers[-1] + 1)) - set(numbers)
    stem, suffix = re.sub(r"\d+\.[^.]+$", "", names[0]), Path(names[0]).suffix
    digits = len(names[0]) - len(stem) - len(suffix)
    for number in sorted(absent):
        missing.add(kind, folder / f"{stem}{number:0{digits}d}{suffix}")


def require_same(
    wanted: Iterable[str], present: Iterable[str], folder: Path, kind: str, missing: Missing, ending: str = ""
) -> None:
    """Adds the names in `wanted` that are not in `present`, as files of `folder` with this suffix."""
    for name in sorted(set(wanted) - set(present)):
        missing.add(kind, folder / f"{name}{ending}")


def held_out(names: Sequence[str], seed: int) -> frozenset[str]:
    """A tenth of the training videos, for validation, determined by their sorted names and the seed.

    The names are shuffled with NumPy's legacy generator, whose numbers never change. Then round(n / 10)
    consecutive names are selected, from the same position as in the original (its third cross-validation
    step). For UCF Sports and seed 27, these are the original's ten videos. Of fewer than two videos, none is
    held out.
    """
    ordered = np.array(sorted(names))
    if len(ordered) < 2:
        return frozenset()
    size = max(1, round(len(ordered) / 10))
    np.random.RandomState(seed).shuffle(ordered)
    start = (len(ordered) - size) // 2 * 2
    return frozenset(str(name) for name in ordered[start : start + size])


def split_into_folds(names: Sequence[str], count: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Splits the shuffled names into `count` folds, as the original does for MIT1003 with seed 27."""
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    edges = [int(len(names) / count * step) for step in range(count + 1)]
    return tuple(tuple(names[i] for i in order[a:b]) for a, b in itertools.pairwise(edges))
