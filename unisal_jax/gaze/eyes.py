"""Two eyes: which to take, and the mean of both."""

import numpy as np

from unisal_jax.errors import UnisalError

EYES = ("mean", "left", "right")

BOTH = "both eyes: the mean of left and right, or the one that was tracked"


def mean_of_samples(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The mean of both eyes' coordinates; the other eye's where one is NaN."""
    return np.where(np.isnan(left), right, np.where(np.isnan(right), left, (left + right) / 2))


def choose(path: object, eye: str, recorded: set[str]) -> str:
    """The eye to read: "left", "right" or, where both were recorded and the mean is wanted, "mean".

    Args:
      eye: one of `EYES`.
      recorded: "left", "right" or both.

    Raises:
      UnisalError: the eye that is wanted was not recorded.
    """
    if eye == "mean":
        return next(iter(recorded)) if len(recorded) == 1 else "mean"
    if recorded and eye not in recorded:
        raise UnisalError(f"{path}: the {eye} eye was not recorded; leave out --eye {eye}")
    return eye


def merge_fixations(
    group: np.ndarray, right: np.ndarray, start: np.ndarray, end: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One list of fixations from those of two eyes, which a tracker detects in each by itself.

    A left fixation and the right one of the same group that overlaps it longest become their mean. What
    overlaps nothing of the other eye stays as it is; what overlaps only fixations that are paired already
    is left out, since its time is covered.

    Args:
      group: int [n], fixations of different ones never meet, such as the number of the trial.
      right: bool [n], whose eye.
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
