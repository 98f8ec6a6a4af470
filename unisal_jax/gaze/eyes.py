"""Chooses an eye, or computes the mean of both."""

import numpy as np

from unisal_jax.errors import UnisalError

EYES = ("mean", "left", "right")

BOTH = "both eyes: the mean of left and right, or the one that was tracked"


def mean_of_samples(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the mean of both eyes' coordinates, or the other eye's where one is NaN."""
    return np.where(np.isnan(left), right, np.where(np.isnan(right), left, (left + right) / 2))


def choose(path: object, eye: str, recorded: set[str]) -> str:
    """Returns the eye to read: "left", "right", or "mean" if both were recorded and the mean is requested.

    Args:
      path: the file, for the message.
      eye: one of `EYES`.
      recorded: "left", "right" or both.

    Raises:
      UnisalError: the requested eye was not recorded.
    """
    if eye == "mean":
        return next(iter(recorded)) if len(recorded) == 1 else "mean"
    if recorded and eye not in recorded:
        raise UnisalError(f"{path}: the {eye} eye was not recorded; omit --eye {eye}")
    return eye


def merge_fixations(
    group: np.ndarray, right: np.ndarray, start: np.ndarray, end: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Merges the fixations of two eyes, which a tracker detects separately.

    A left fixation and the right fixation of the same group with the longest overlap are replaced by their
    mean. A fixation that overlaps none of the other eye is kept. A fixation that overlaps only fixations that
    are already paired is dropped, since its time is covered.

    Args:
      group: int [n]; fixations of different groups, such as trials, are never merged.
      right: bool [n], whether the fixation is of the right eye.
      start: float64 [n], of each fixation, in any unit.
      end: float64 [n], in the same unit.
      x: float64 [n].
      y: float64 [n].

    Returns:
      rows: the index of a fixation that stands for each of the merged ones, in order of group and start.
      start, end, x, y: of the merged ones.
    """
    order = np.lexsort((start, group))
    lefts, rights = order[~right[order]].tolist(), order[right[order]].tolist()
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    met: set[int] = set()
    first = 0
    for left in lefts:
        while first < len(rights) and (group[rights[first]], end[rights[first]]) <= (
            group[left],
            start[left],
        ):
            first += 1
        best, longest, is_free = left, 0.0, True
        for other in (rights[place] for place in range(first, len(rights))):
            if (group[other], start[other]) >= (group[left], end[left]):
                break
            overlap = min(end[other], end[left]) - max(start[other], start[left])
            met.add(other)
            if other in taken:
                is_free = False
            elif overlap > longest:
                best, longest = other, overlap
        if best != left or is_free:
            pairs.append((left, best))
            taken.add(best)
    pairs += [(other, other) for other in rights if other not in met]
    one, two = np.array(pairs, int).reshape(-1, 2).T
    means = [(values[one] + values[two]) / 2 for values in (start, end)]
    means += [mean_of_samples(values[one], values[two]) for values in (x, y)]
    order = np.lexsort((means[0], group[one]))
    return one[order], means[0][order], means[1][order], means[2][order], means[3][order]
