"""The table of the released datasets."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from unisal_jax.data.layouts.image_sets import scan_mit300, scan_mit1003, scan_salicon
from unisal_jax.data.layouts.releases import Release
from unisal_jax.data.layouts.video_sets import scan_dhf1k, scan_hollywood2, scan_ucf_sports
from unisal_jax.domains import DHF1K, HOLLYWOOD2, SALICON, UCF_SPORTS, Domain
from unisal_jax.files import list_folder


@dataclass(frozen=True)
class Dataset:
    """A released dataset.

    Attributes:
      name: name of the builder and of its folder.
      title: its name as its authors write it.
      mark: pattern of a folder or file that only this release has, ignoring case.
      scan: reads the release's layout: (root, partial, seed) -> release.
      seed: default seed of its validation videos or folds; the original's, if it has one.
      domain: domain whose input size frames can be stored at; None if they have many sizes.
      about: one line about it.
    """

    name: str
    title: str
    mark: str
    scan: Callable[[Path, bool, int], Release]
    seed: int
    domain: Domain | None
    about: str

    def recognise(self, root: Path) -> bool:
        """Whether a folder has this release's layout, complete or partial."""
        return _holds(root, self.mark.lower().split("/"))


def _holds(folder: Path, mark: list[str]) -> bool:
    """Whether a path in a folder matches these patterns, one per level, ignoring case."""
    if not mark:
        return True
    if not folder.is_dir():
        return False
    return any(
        _holds(entry, mark[1:])
        for entry in list_folder(folder)
        if fnmatch.fnmatchcase(entry.name.lower(), mark[0])
    )


_TABLE = (
    Dataset(
        "dhf1k",
        "DHF1K",
        "annotation/[0-9][0-9][0-9][0-9]",
        scan_dhf1k,
        0,
        DHF1K,
        "1000 videos, 600 / 100 / 300; 17 observers",
    ),
    Dataset(
        "hollywood2",
        "Hollywood-2",
        "t*ing/actionclip*",
        scan_hollywood2,
        42,
        HOLLYWOOD2,
        "823 training and 884 test videos in shots; a seeded tenth of the training videos for validation",
    ),
    Dataset(
        "ucf_sports",
        "UCF Sports",
        "t*ing/*-[0-9][0-9][0-9]",
        scan_ucf_sports,
        27,
        UCF_SPORTS,
        "103 training and 47 test videos; a seeded tenth of the training videos for validation",
    ),
    Dataset(
        "salicon",
        "SALICON",
        "images/COCO_*2014_*.jp*g",
        scan_salicon,
        0,
        SALICON,
        "20,000 images, 10,000 / 5,000 / 5,000",
    ),
    Dataset(
        "mit1003",
        "MIT1003",
        "ALLSTIMULI/ALLSTIMULI",
        scan_mit1003,
        27,
        None,
        "1003 images in ten seeded cross-validation folds",
    ),
    Dataset("mit300", "MIT300", "BenchmarkIMAGES", scan_mit300, 0, None, "300 images without ground truth"),
)

DATASETS = MappingProxyType({dataset.name: dataset for dataset in _TABLE})
