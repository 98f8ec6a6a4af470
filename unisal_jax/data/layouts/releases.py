"""What a release holds, as clips; and the list of what it lacks."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unisal_jax.data.layouts.truth import Files, TruthFiles, TruthPoints
from unisal_jax.errors import UnisalError

# How many names a message lists of each kind.
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Clip:
    """A video, or an image as a video of one frame.

    Attributes:
        id: its name, unique in its split.
        frames: an image file for each frame, or one video file.
        truth: ground truth for each frame; None where the release has none.
    """

    id: str
    frames: Files | Path
    truth: TruthFiles | TruthPoints | None

    @property
    def frame_count(self) -> int | None:
        """How many frames there are; None where only reading the video file tells."""
        if isinstance(self.frames, Files):
            return len(self.frames)
        return len(self.truth) if isinstance(self.truth, TruthFiles) else None


@dataclass(frozen=True)
class Release:
    """What is to be prepared.

    Attributes:
        root: the folder that file names are shown and remembered against.
        splits: clips in the order in which they are stored.
        fps: frames a second of the videos; None for images, and where it is not known.
        cross_validation_folds: ids of each fold's validation clips, for sets that are cross-validated.
        notes: a line on each kind of file that was passed over.
    """

    root: Path
    splits: dict[str, tuple[Clip, ...]]
    fps: float | None = None
    cross_validation_folds: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Missing:
    """Collects what a release lacks, so that one message can list all of it."""

    root: Path
    _names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, path: Path | str) -> None:
        """Notes a missing file or folder; `kind` is a plural, such as "maps"."""
        shown = path.relative_to(self.root).as_posix() if isinstance(path, Path) else path
        self._names[kind].append(shown)

    def add_count(self, kind: str, found: int, expected: int) -> None:
        """Notes how many of a kind are missing where their names are not known."""
        if found < expected:
            self._names[kind] += [f"{found} of {expected} found"] + [""] * (expected - found - 1)

    def check(self, release: str) -> None:
        """Raises UnisalError with every kind, its number and its first names, if anything is missing."""
        if self._names:
            kinds = "; ".join(_listed(kind, names) for kind, names in self._names.items())
            raise UnisalError(f"{self.root}: not a whole {release}: {kinds}")


def whole_release(
    title: str,
    missing: Missing,
    splits: dict[str, list[Clip]],
    fps: float | None = None,
    cross_validation_folds: tuple[tuple[str, ...], ...] = (),
    notes: Iterable[str] = (),
) -> Release:
    """The release, once it is known that nothing is missing; splits without clips are left out.

    Raises:
        UnisalError: something is missing, or there is nothing at all.
    """
    missing.check(f"{title} release")
    present = {split: tuple(clips) for split, clips in splits.items() if clips}
    if not present:
        raise UnisalError(f"{missing.root}: holds nothing in the layout of {title}")
    return Release(missing.root, present, fps, cross_validation_folds, tuple(notes))


def _listed(kind: str, names: list[str]) -> str:
    shown = [name for name in names[:_NAMES_SHOWN] if name]
    # A count stands for all names of its kind.
    more = len(names) - _NAMES_SHOWN if len(shown) == _NAMES_SHOWN else 0
    rest = f" and {more} more" if more > 0 else ""
    return f"{len(names)} {kind} missing ({', '.join(shown)}{rest})"


def frame_number(name: str) -> int:
    """The number that a frame's file name ends in: 12 for Diving-Side_001_012.png.

    Raises:
        UnisalError: it ends in no number.
    """
    digits = re.search(r"(\d+)\.[^.]+$", name)
    if digits is None:
        raise UnisalError(f"{name}: no frame number at the end of the file's name")
    return int(digits[1])


def require_run(names: Sequence[str], folder: Path, kind: str, missing: Missing) -> None:
    """Notes the numbers that are left out in a run of frames, as 7 in 6, 8, 9."""
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
    """Notes the names in `wanted` that are not in `present`, as files of `folder` with this ending."""
    for name in sorted(set(wanted) - set(present)):
        missing.add(kind, folder / f"{name}{ending}")


def held_out(names: Sequence[str], seed: int) -> frozenset[str]:
    """A tenth of the training videos, for validation: a function of their sorted names and the seed.

    The names are shuffled with NumPy's legacy generator, whose numbers never change, and a run of
    round(n / 10) is taken from there on where the original takes it (two thirds of its three
    cross-validation steps). For UCF Sports and seed 27 these are the original's ten videos. One or no
    video is too few to hold any out.
    """
    ordered = np.array(sorted(names))
    if len(ordered) < 2:
        return frozenset()
    size = max(1, round(len(ordered) / 10))
    np.random.RandomState(seed).shuffle(ordered)
    start = (len(ordered) - size) // 2 * 2
    return frozenset(str(name) for name in ordered[start : start + size])


def split_into_folds(names: Sequence[str], count: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Cuts the shuffled names into `count` folds, as the original does for MIT1003 (its seed is 27)."""
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    edges = [int(len(names) / count * step) for step in range(count + 1)]
    return tuple(tuple(names[i] for i in order[a:b]) for a, b in itertools.pairwise(edges))
