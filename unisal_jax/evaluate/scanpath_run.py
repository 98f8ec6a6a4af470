"""Scores sequences of fixations, from a table or sampled from maps, against those of people."""

import dataclasses
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from unisal_jax.data.layouts.fixation_tables import read_table
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import scanpaths
from unisal_jax.evaluate.results import Evaluation, FrameScores, MethodScores
from unisal_jax.evaluate.run import MapSource
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData
from unisal_jax.limits import MAX_PATH_FIXATIONS
from unisal_jax.predict.scanpath import OSIE, Parameters, draw_scanpaths, log_likelihood

PROTOCOL = "scanpath"
SCORES = ("string_edit", "time_delay", "bits", "saccade", "returns")

# Paths sampled per image.
COUNT = 10
# Floor of a density relative to its mean, so that logarithms are finite.
_LEAST_DENSITY = 1e-12

_ALONE = dataclasses.replace(OSIE, start=None, saccade=None, inhibition=None)
_MODELS: dict[str, Parameters] = {
    "prediction": OSIE,
    "no_inhibition": dataclasses.replace(OSIE, inhibition=None),
    "no_saccades": dataclasses.replace(OSIE, saccade=None),
    "density_alone": _ALONE,
}
"""The scanpath model, and the model without each of its parts, by name in the report."""


class TablePaths:
    """Paths from a table with columns stimulus, path, x, y and optionally index, as from `unisal scanpath`.

    The rows of a path are in temporal order. A stimulus has the image's name, with or without suffix.

    Raises:
      UnisalError: the table cannot be read, or `index` does not increase along a path.
    """

    def __init__(self, path: Path):
        self._path = path
        last: dict[tuple[str, str], float] = {}

        def in_order(row: dict[str, str]) -> bool:
            key = row["stimulus"], row["path"]
            try:
                index = float(row["index"] or last.get(key, 0) + 1)
            except ValueError:
                index = math.nan
            if not index > last.get(key, -math.inf):
                number = getattr(row, "number", "?")
                raise UnisalError(f"{path}: line {number}: index {row['index']!r} does not increase")
            last[key] = index
            return True

        self._gaze = read_table(path, keep=in_order, observer="path").gaze
        self._names = {Path(name).stem: name for name in self._gaze}

    def of(self, group: Group, size: Size) -> list[np.ndarray]:
        """The paths over an image of this size.

        Raises:
          UnisalError: there is no path, or a path leaves the image.
        """
        name = group.id if group.id in self._gaze else self._names.get(group.id)
        if name is None:
            raise UnisalError(f"{self._path}: contains no path over {group.id}")
        gaze = self._gaze[name]
        xy = np.array(gaze.xy).reshape(-1, 2)
        outside = ((xy < 0) | (xy > size[::-1])).any(1)
        if outside.any():
            x, y = xy[outside][0]
            raise UnisalError(
                f"{self._path}: {name}: a fixation at {x:g}, {y:g} lies outside the image of "
                f"{size[1]}x{size[0]} pixels"
            )
        return _by_person(f"{self._path}: {name}", xy, gaze.observers)

    def notes(self, data: ScoringData) -> list[str]:
        """A line on stimuli in the table that are not in the data."""
        ids = {group.id for group in data.groups}
        left = [name for name in self._gaze if name not in ids and Path(name).stem not in ids]
        return [f"{len(left):,} stimuli in the table are not in the data, such as {left[0]}"] if left else []


def evaluate_scanpaths(
    data: ScoringData,
    prediction: TablePaths | MapSource,
    about: dict[str, Any],
    seed: int = 1,
    skip_errors: bool = False,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Scores sequences against those of people who looked at the same images.

    Args:
      data: images with fixations in temporal order and known observers.
      prediction: sequences; or maps, from which sequences are sampled with the whole scanpath model, without
        each of its parts, and without any.
      about: facts for the report.
      seed: random seed of the samples and intervals.
      skip_errors: skip images that cannot be read.
      notes: further lines for the report.

    Raises:
      UnisalError: the data are videos or lack observers, something cannot be read (unless errors are
        skipped), or nothing remains to score.
    """
    if data.kind != "image":
        raise UnisalError(f"{data.name}: sequences require images, but these are videos")
    rows: dict[str, list[FrameScores]] = defaultdict(list)
    skipped: list[str] = []
    for number, group in enumerate(tqdm(data.groups, unit="image", disable=None)):
        try:
            truth = group.truth(0)
            people = _people(data, group, truth)
            found = _of_image(prediction, group, truth.size, people, [seed, number])
        except UnisalError as error:
            if not skip_errors:
                raise
            skipped.append(str(error))
            continue
        for name, scores in found.items():
            rows[name].append(FrameScores(group.id, 1, scores))
    if not rows:
        raise UnisalError(f"{data.name}: nothing could be scored" + (f" ({skipped[0]})" if skipped else ""))
    methods = tuple(MethodScores.of(name, each, SCORES, "groups", seed) for name, each in rows.items())
    if isinstance(prediction, TablePaths):
        notes = [*prediction.notes(data), *notes]
    return Evaluation(PROTOCOL, "image", about, methods, (), tuple(skipped), (*data.notes, *notes))


def _people(data: ScoringData, group: Group, truth: FrameTruth) -> list[np.ndarray]:
    """The path of each person."""
    if (truth.observers < 0).any():
        raise UnisalError(
            f"{data.name}: {group.id}: the observers of the fixations are unknown; prepare the data from a "
            "table of fixations (unisal prepare own --table)"
        )
    if not len(truth.points):
        raise UnisalError(f"{data.name}: {group.id}: has no fixations")
    return _by_person(f"{data.name}: {group.id}", truth.points[:, ::-1] + 0.5, truth.observers.tolist())


def _by_person(what: str, xy: np.ndarray, people: Sequence[Any]) -> list[np.ndarray]:
    rows: dict[Any, list[int]] = defaultdict(list)
    for number, person in enumerate(people):
        rows[person].append(number)
    longest = max(map(len, rows.values()))
    if longest > MAX_PATH_FIXATIONS:
        raise UnisalError(
            f"{what}: a sequence of {longest:,} fixations; at most {MAX_PATH_FIXATIONS:,} are allowed"
        )
    return [xy[numbers] for numbers in rows.values()]


def _of_image(
    prediction: TablePaths | MapSource, group: Group, size: Size, people: list[np.ndarray], seed: list[int]
) -> dict[str, dict[str, float]]:
    """The scores of every method, by its name."""
    found: dict[str, dict[str, float]] = {}
    bits: Callable[[np.ndarray, Parameters], float] | None = None
    if isinstance(prediction, TablePaths):
        found["prediction"] = _scores(prediction.of(group, size), people, size)
    else:
        read = next(iter(prediction.maps(group)))
        if isinstance(read, UnisalError):
            raise read
        if not (read.min() >= 0 and read.max() > 0):
            raise UnisalError(f"{group.id}: its map is not a density: it is negative or all zero")
        density = np.maximum(read, _LEAST_DENSITY * read.mean(dtype=np.float64))
        scale = np.array(density.shape[::-1]) / size[::-1]
        alone = np.concatenate([log_likelihood(density, xy * scale, _ALONE) for xy in people])

        def bits(density: np.ndarray, parameters: Parameters) -> float:
            each = [log_likelihood(density, xy * scale, parameters) for xy in people]
            return float((np.concatenate(each) - alone).mean() / math.log(2))

        for name, parameters in _MODELS.items():
            drawn = draw_scanpaths(density, COUNT, seed=seed, parameters=parameters).xy / scale
            found[name] = {**_scores(list(drawn), people, size), "bits": bits(density, parameters)}
    # At the size of the map, so that both are compared on the same grid.
    even = np.ones(size) if isinstance(prediction, TablePaths) else np.ones_like(density)
    drawn = draw_scanpaths(even, COUNT, seed=seed, parameters=_ALONE).xy
    found["uniform"] = _scores(list(drawn * (np.array(size[::-1]) / even.shape[::-1])), people, size)
    if bits is not None:
        found["uniform"]["bits"] = bits(even, _ALONE)
    if len(people) > 1:
        found["inter_observer"] = _scores(people, people, size, same=True)
    return found


def _scores(
    paths: list[np.ndarray], people: list[np.ndarray], size: Size, same: bool = False
) -> dict[str, float]:
    """Means over all pairs of a path and a person's path; `same` leaves out pairs of a path with itself."""
    own = np.eye(len(paths), len(people), dtype=bool) if same else False
    pairs = {
        "string_edit": scanpaths.string_edit(paths, people, size),
        "time_delay": scanpaths.time_delay_embedding(paths, people, size),
    }
    each = {
        "saccade": [scanpaths.saccade_length(path, size) for path in paths],
        "returns": [scanpaths.return_share(path, size) for path in paths],
    }
    with warnings.catch_warnings():
        # NumPy warns if all values are NaN, as for people with a single fixation each.
        warnings.simplefilter("ignore", RuntimeWarning)
        return {
            **{name: float(np.nanmean(np.where(own, math.nan, values))) for name, values in pairs.items()},
            **{name: float(np.nanmean(values)) for name, values in each.items()},
        }
