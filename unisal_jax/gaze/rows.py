"""Fixations stored in columns: joining, sorting, removing duplicates."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Fixations:
    """Fixations, one per row; on videos, one row per frame of a fixation.

    Attributes:
      stimulus: int64 [n], index in `Import.stimuli`.
      observer: int64 [n], index in `Import.observers`.
      viewing: int64 [n], number of the viewing in its file; after `in_order`, number among the observer's
        viewings of the stimulus, from 1.
      fixation: int64 [n], number of the fixation; the same in all its rows on a video.
      frame: int64 [n], from 0; 0 on images.
      start: float64 [n], ms from the stimulus' onset.
      duration: float64 [n], ms; NaN if unknown.
      x: float64 [n], pixels of the stimulus.
      y: float64 [n], pixels of the stimulus.
    """

    stimulus: np.ndarray
    observer: np.ndarray
    viewing: np.ndarray
    fixation: np.ndarray
    frame: np.ndarray
    start: np.ndarray
    duration: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.stimulus)

    def take(self, rows: np.ndarray) -> "Fixations":
        """Returns some rows, by a mask or by indices."""
        return Fixations(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def once(self) -> "Fixations":
        """Returns the first row of each fixation."""
        return self.take(np.unique(self.fixation, return_index=True)[1])


def joined(parts: Sequence[Fixations]) -> Fixations:
    """Concatenates parts."""
    names = [field.name for field in dataclasses.fields(Fixations)]
    return Fixations(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def without_copies(parts: Sequence[Fixations]) -> tuple[Fixations, int]:
    """Joins the rows of all files without duplicate fixations; also returns the number of duplicates."""
    rows = joined(parts)
    file = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    keys = (rows.y, rows.x, rows.frame, np.nan_to_num(rows.start), rows.observer, rows.stimulus)
    order = np.lexsort((file, *keys))
    new = np.ones(len(rows), bool)
    new[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    first = np.maximum.accumulate(np.where(new, np.arange(len(rows)), 0))
    copies = np.zeros(len(rows), bool)
    copies[order] = file[order] != file[order][first]
    return rows.take(~copies), len(np.unique(rows.fixation[copies]))


def in_order(rows: Fixations) -> Fixations:
    """Sorts by stimulus, observer, viewing, frame and start; numbers the viewings of each pair from 1."""
    rows = rows.take(np.lexsort((rows.start, rows.frame, rows.viewing, rows.observer, rows.stimulus)))
    if not len(rows):
        return rows
    pair = rows.stimulus * (rows.observer.max() + 1) + rows.observer
    new_pair = np.diff(pair, prepend=-1) != 0
    new_viewing = new_pair | (np.diff(rows.viewing, prepend=-1) != 0)
    number = np.cumsum(new_viewing)
    first = np.maximum.accumulate(np.where(new_pair, number, 0))
    return dataclasses.replace(rows, viewing=number - first + 1)


def groups(numbers: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Returns each distinct number and its rows."""
    order = np.argsort(numbers, kind="stable")
    each, first = np.unique(numbers[order], return_index=True)
    return list(zip(each.tolist(), np.split(order, first[1:]), strict=True)) if len(each) else []
