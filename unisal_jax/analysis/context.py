"""The input of an analysis: weights, datasets, and samples drawn from them."""

import dataclasses
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from unisal_jax.data.synthetic import Amount, make
from unisal_jax.domains import RELEASED_DOMAINS, Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import wording
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData, closing_frames, open_data
from unisal_jax.predict.model import SaliencyModel, load

# Names and order as in the paper.
TITLES = {"dhf1k": "DHF1K", "hollywood2": "Hollywood-2", "ucf_sports": "UCF Sports", "salicon": "SALICON"}


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sampled frame.

    Attributes:
      name: name of the frame, for captions.
      pixels: uint8 RGB [H, W, 3].
      truth: its ground truth.
    """

    name: str
    pixels: np.ndarray
    truth: FrameTruth


@dataclasses.dataclass(frozen=True)
class AnalysisDataset:
    """A dataset to analyse, and the domain whose parameters to use for it."""

    data: ScoringData
    domain: Domain

    @property
    def title(self) -> str:
        """Name to display."""
        return wording.printable(title_of(self.data.name))

    def input_size(self, frame_size: Size) -> Size:
        """Size of the network input for a frame of this size."""
        return self.data.input_size(self.domain, frame_size)

    def samples(self, count: int, seed: int) -> Iterator[Sample]:
        """Yields `count` random frames in the order of the data, or all frames if there are fewer.

        Raises:
          UnisalError: a frame or its truth cannot be read.
        """
        groups = self.data.groups
        ends = np.cumsum([len(group.frame_names) for group in groups])
        rng = np.random.default_rng([seed, len(groups), int(ends[-1])])
        flat = np.sort(rng.choice(ends[-1], min(count, int(ends[-1])), replace=False))
        owners = np.searchsorted(ends, flat, side="right")
        for number in np.unique(owners):
            group = groups[number]
            first = int(ends[number]) - len(group.frame_names)
            yield from frames_of(group, [int(each) - first for each in flat[owners == number]])


def frames_of(group: Group, indices: list[int]) -> Iterator[Sample]:
    """Yields the frames of a video with these indices (from 0), in ascending order."""
    wanted = set(indices)
    with closing_frames(group) as frames:
        for index, pixels in enumerate(islice(frames, max(indices) + 1)):
            if index in wanted:
                name = group.id if len(group.frame_names) == 1 else f"{group.id}, {group.frame_names[index]}"
                yield Sample(name, pixels, group.truth(index))


@dataclasses.dataclass(frozen=True)
class Context:
    """The arguments of the command.

    Attributes:
      weights: name of a release, or a path.
      datasets: datasets to analyse; may be empty.
      synthetic: the datasets are synthetic.
      samples: frames to sample from each dataset.
      seed: random seed.
      runs: folder of trainings (`ablation`, `settings`).
      module: the batch norm that `retrospective` plots.
      protocol: protocol of the scores.
    """

    weights: str
    datasets: tuple[AnalysisDataset, ...]
    synthetic: bool
    samples: int
    seed: int
    runs: Path
    module: str = "upsampling_16/expand_norm"
    protocol: str = "unisal"

    def model(self) -> SaliencyModel:
        """Loads the model to analyse."""
        return load(self.weights)

    def need_datasets(self) -> tuple[AnalysisDataset, ...]:
        """The datasets.

        Raises:
          UnisalError: there are none.
        """
        if not self.datasets:
            raise UnisalError("--data: this analysis requires a dataset, or --data synthetic")
        return self.datasets

    @property
    def extent(self) -> str:
        """A sentence on the data, for the page."""
        names = ", ".join(f"{each.title} ({each.data.split})" for each in self.datasets)
        drawn = (
            " The datasets are synthetic: the figures show that the code runs, not where people look."
            if self.synthetic
            else ""
        )
        return f"Data: {names}; up to {self.samples} frames of each, seed {self.seed}.{drawn}"


def open_datasets(paths: list[str], model_domains: tuple[Domain, ...]) -> tuple[AnalysisDataset, ...]:
    """Opens datasets; released ones use the domain of their name, others salicon or dhf1k.

    Args:
      paths: as `evaluate.sources.open_data` takes them; PATH:SPLIT names a split.
      model_domains: domains of the weights.

    Raises:
      UnisalError: a path contains no data with ground truth.
    """
    found = []
    for path in paths:
        folder, _, split = path.rpartition(":") if not Path(path).exists() and ":" in path else (path, "", "")
        data = open_data(folder, split or None, partial=True)
        usual = "salicon" if data.kind == "image" else "dhf1k"
        names = [domain.name for domain in model_domains]
        name = next((each for each in (data.name, usual) if each in names), names[0])
        found.append(AnalysisDataset(data, next(domain for domain in model_domains if domain.name == name)))
    order = list(TITLES)
    return tuple(
        sorted(found, key=lambda each: order.index(each.data.name) if each.data.name in order else 99)
    )


def make_synthetic(folder: Path, seed: int) -> list[str]:
    """Makes four synthetic datasets in the released layouts, unless they exist; returns their folders."""
    paths = []
    for domain in RELEASED_DOMAINS:
        root = folder / domain.name
        if not root.is_dir():
            make(domain.name, root, seed, Amount(12 if domain.static else 3, 4, 2, 16, (90, 120)))
        paths.append(str(root))
    return paths


def title_of(name: str) -> str:
    """The name of a dataset or domain to display."""
    return TITLES.get(name, name)
