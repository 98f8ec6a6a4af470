"""Submissions: predictions of a test set in the file format of a benchmark server.

| benchmark | files |
|---|---|
| DHF1K | a folder per video, `0701/0001.png ...`: 8-bit grey maps scaled to the peak |
| SALICON | such a map per image, `STEM.png` |
| MIT300, CAT2000, COCO-Freeview | one HDF5 file with a dataset of log-densities per image file name |

`pysaliency.HDF5Model` reads the HDF5 file. The MIT/Tuebingen benchmark derives the best map for each metric
from it. The benchmark's code (github.com/matthias-k/saliency-benchmarking) covers these three test sets and
refuses densities whose sum deviates from 1 by more than a thousandth.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, list_folder, new_folders, write_errors
from unisal_jax.media.images import list_images, read_image, write_map_png
from unisal_jax.media.names import frames_name
from unisal_jax.media.sources import Found, Kind, MediaSource, find_inputs
from unisal_jax.packages import install_command
from unisal_jax.predict.outputs import PredictionFiles, make_folders

if TYPE_CHECKING:
    from unisal_jax.predict.model import SaliencyModel

_HDF5_SUFFIXES = (".h5", ".hdf5")
# Log-densities are smooth, so their high bytes repeat. With HDF5's byte shuffle, this gzip level compresses
# as well as the highest one, in a fraction of the time.
_GZIP_LEVEL = 4


@dataclass(frozen=True)
class Benchmark:
    """The rules of a benchmark.

    Attributes:
      title: name to display.
      kind: whether the stimuli are images or videos.
      count: number of stimuli in the test set.
      by_category: images are in one folder per category, which is part of their names.
      hdf5: the submission is one HDF5 file of log-densities instead of PNGs.
      name: returns the name of a stimulus in the submission, from its absolute path.
    """

    title: str
    kind: Kind
    count: int
    by_category: bool
    hdf5: bool
    name: Callable[[Path], str]


def _video_name(path: Path) -> str:
    return frames_name(path) if path.is_dir() else path.stem


BENCHMARKS = {
    "dhf1k": Benchmark("DHF1K", "video", 300, by_category=False, hdf5=False, name=_video_name),
    "salicon": Benchmark(
        "SALICON", "image", 5000, by_category=False, hdf5=False, name=lambda path: path.stem
    ),
    "mit300": Benchmark("MIT300", "image", 300, by_category=False, hdf5=True, name=lambda path: path.name),
    "coco-freeview": Benchmark(
        "COCO-Freeview", "image", 1000, by_category=False, hdf5=True, name=lambda path: path.name
    ),
    "cat2000": Benchmark(
        "CAT2000",
        "image",
        2000,
        by_category=True,
        hdf5=True,
        name=lambda path: f"{path.parent.name}/{path.name}",
    ),
}
"""By name, as given to `unisal submit`."""


def find_stimuli(benchmark: Benchmark, inputs: Iterable[str]) -> Found:
    """Finds the images or videos, each with its name in the submission, and notes on ignored files.

    Args:
      benchmark: the benchmark.
      inputs: files, folders and globs as for `find_inputs`. DHF1K: video files, or folders of
        frames (a folder called `images` or `frames` takes its parent's name). CAT2000: also a folder
        of category folders.

    Raises:
      UnisalError: an input does not exist or has the wrong type, or two have the same name.
    """
    if benchmark.by_category:
        inputs = [each for text in inputs for each in _category_folders(text)]
    stimuli: dict[str, MediaSource] = {}
    found = find_inputs(list(inputs), video=benchmark.kind == "video")
    for source in found.sources:
        if source.kind != benchmark.kind or isinstance(source.path, str):
            raise UnisalError(f"{source.path}: {benchmark.title} requires {benchmark.kind}s on disk")
        name = benchmark.name(Path(os.path.abspath(source.path)))
        if name in stimuli:
            raise UnisalError(f"{source.path}: would be {name} in the submission, like {stimuli[name].path}")
        stimuli[name] = MediaSource(source.kind, source.path, name)
    return Found(list(stimuli.values()), found.notes)


def write_submission(
    model: "SaliencyModel",
    benchmark: Benchmark,
    stimuli: list[MediaSource],
    out: Path,
    domain: str | Domain | None = None,
) -> None:
    """Predicts the stimuli and writes a submission.

    Each video folder, each image and the HDF5 file is written atomically.

    Args:
      model: the model.
      benchmark: the benchmark.
      stimuli: from `find_stimuli`.
      out: for PNGs a new or empty folder (a stray file invalidates a submission), else an .h5 or .hdf5
        file.
      domain: domain whose parameters to use; None for the default.

    Raises:
      UnisalError: `out` is unsuitable or cannot be written, or a stimulus cannot be read.
    """
    chosen = model.domain(domain, video=benchmark.kind == "video")
    check_out(benchmark, out)
    if benchmark.hdf5:
        write_log_densities(out, _log_densities(model, stimuli, chosen))
        return
    with new_folders([out]):
        if benchmark.kind == "video":
            for source in stimuli:
                _write_video_maps(model, source, out, chosen)
        else:
            for name, log_density in _log_densities(model, stimuli, chosen):
                write_map_png(out / f"{name}.png", np.exp(log_density))


def check_out(benchmark: Benchmark, out: Path) -> None:
    """Checks the output path of a submission.

    Raises:
      UnisalError: `out` is not a new or empty folder, or does not end in .h5 or .hdf5.
    """
    if benchmark.hdf5:
        if out.suffix.lower() not in _HDF5_SUFFIXES:
            raise UnisalError(f"{out}: {benchmark.title} requires a {' or '.join(_HDF5_SUFFIXES)} file")
        _import_h5py()
    elif out.exists() and not (out.is_dir() and not list_folder(out)):
        raise UnisalError(f"{out}: is not a new or empty folder")


def write_log_densities(path: str | Path, predictions: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes log-densities atomically to an HDF5 file that `pysaliency.HDF5Model` reads.

    Args:
      path: path of the file; its folder is created.
      predictions: (file name of the image, possibly with folders; log-density, float32 [H, W]).

    Raises:
      UnisalError: the file cannot be written, or h5py is not installed.
    """
    h5py = _import_h5py()
    with (
        new_folders([Path(path).parent]),
        atomic_path(path) as temporary,
        h5py.File(temporary, "w") as file,
    ):
        for name, log_density in predictions:
            file.create_dataset(
                name, data=log_density, compression="gzip", compression_opts=_GZIP_LEVEL, shuffle=True
            )


def _log_densities(
    model: "SaliencyModel", stimuli: list[MediaSource], domain: Domain
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, log-density float32 [H, W]) of each image."""
    for source in tqdm(stimuli, unit="image", disable=None):
        yield source.name, model.predict(read_image(source.path), domain, log=True)


def _write_video_maps(model: "SaliencyModel", source: MediaSource, out: Path, domain: Domain) -> None:
    """Writes the folder of maps of a video; it appears once it is complete."""
    from unisal_jax.predict.batch import PredictOptions, predict_sources  # late, as it imports JAX

    with write_errors(out), TemporaryDirectory(prefix=".", dir=out) as folder:
        files = PredictionFiles(Path(folder), kinds=("map",))
        make_folders(files.out, files.kinds)
        predict_sources(model, [source], files, PredictOptions(domain=domain))
        (files.out / "map" / source.name).rename(out / source.name)


def _category_folders(text: str) -> list[str]:
    """The category folders in a folder without images of its own; any other input unchanged."""
    folder = Path(text)
    if not folder.is_dir() or list_images(folder):
        return [text]
    return [str(each) for each in list_folder(folder) if each.is_dir() and list_images(each)] or [text]


def _import_h5py():
    try:
        import h5py
    except ImportError:
        raise UnisalError(
            f"an HDF5 submission requires h5py; install it with: {install_command('submit')}"
        ) from None
    return h5py
