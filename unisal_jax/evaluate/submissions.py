"""Submissions: a test set's predictions in the files that its benchmark's server takes.

| benchmark | files |
|---|---|
| DHF1K | a folder for each video, `0701/0001.png ...`: 8-bit grey maps scaled to the peak |
| SALICON | `STEM.png` for each image, the same |
| MIT300, CAT2000, COCO-Freeview | one HDF5 file of log-densities, a dataset an image, under its file name |

The HDF5 file is what `pysaliency.HDF5Model` reads, from which the MIT/Tuebingen benchmark computes each
metric's own best map. Its code (github.com/matthias-k/saliency-benchmarking) has these three test sets, and
refuses a density whose sum is off by more than a thousandth.
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
# Log-densities are smooth, so their high bytes repeat: sorted by byte (HDF5's shuffle), this level of
# gzip leaves as much as the highest does, in a fraction of its time.
_GZIP_LEVEL = 4


@dataclass(frozen=True)
class Benchmark:
    """One benchmark's rules.

    Attributes:
      title: its name for people.
      kind: whether its stimuli are images or videos.
      count: how many there are in its test set.
      by_category: its images lie in one folder a category, which their names keep.
      hdf5: one HDF5 file of log-densities is wanted, not PNGs.
      name: a stimulus' name in the submission, from its absolute path.
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
    """The images or videos that the inputs name, each with its name in the submission; what is left out.

    Args:
      benchmark: whose stimuli they are.
      inputs: files, folders and globs as for `find_inputs`. DHF1K: video files, or folders of
        frames (one called `images` or `frames` has its parent's name). CAT2000: also a folder of
        category folders.

    Raises:
      UnisalError: an input is not there or of the wrong kind, or two have one name.
    """
    if benchmark.by_category:
        inputs = [each for text in inputs for each in _category_folders(text)]
    stimuli: dict[str, MediaSource] = {}
    found = find_inputs(list(inputs), video=benchmark.kind == "video")
    for source in found.sources:
        if source.kind != benchmark.kind or isinstance(source.path, str):
            raise UnisalError(f"{source.path}: {benchmark.title} has {benchmark.kind}s on disk only")
        name = benchmark.name(Path(os.path.abspath(source.path)))
        if name in stimuli:
            raise UnisalError(
                f"{source.path}: would be {name} in the submission, as {stimuli[name].path} is already"
            )
        stimuli[name] = MediaSource(source.kind, source.path, name)
    return Found(list(stimuli.values()), found.notes)


def write_submission(
    model: "SaliencyModel",
    benchmark: Benchmark,
    stimuli: list[MediaSource],
    out: Path,
    domain: str | Domain | None = None,
) -> None:
    """Predicts the stimuli into a submission.

    Each video, each image, and the HDF5 file appears when it is whole.

    Args:
      model: the network.
      benchmark: whose rules to follow.
      stimuli: from `find_stimuli`.
      out: a folder, new or empty, for PNGs (a stray file spoils a submission); else an .h5 or .hdf5
        file.
      domain: whose parameters to use; None for the usual one.

    Raises:
      UnisalError: `out` does not fit, cannot be written, or a stimulus cannot be read.
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
    """Refuses a place that the submission cannot be written to.

    Raises:
      UnisalError: `out` is not a new or empty folder, or not called .h5 or .hdf5.
    """
    if benchmark.hdf5:
        if out.suffix.lower() not in _HDF5_SUFFIXES:
            raise UnisalError(
                f"{out}: {benchmark.title} takes one file, called {' or '.join(_HDF5_SUFFIXES)}"
            )
        _import_h5py()
    elif out.exists() and not (out.is_dir() and not list_folder(out)):
        raise UnisalError(f"{out}: is not a new or empty folder")


def write_log_densities(path: str | Path, predictions: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes log-densities as the HDF5 file that `pysaliency.HDF5Model` reads, whole or not at all.

    Args:
      path: of the file; its folder is made.
      predictions: (file name of the image, perhaps below folders; log-density float32 [H, W]).

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
    """(name, log-density float32 [H, W]) of each image."""
    for source in tqdm(stimuli, unit="image", disable=None):
        yield source.name, model.predict(read_image(source.path), domain, log=True)


def _write_video_maps(model: "SaliencyModel", source: MediaSource, out: Path, domain: Domain) -> None:
    """Writes a video's folder of maps, which appears when all of it is there."""
    from unisal_jax.predict.batch import PredictOptions, predict_sources  # late, as it imports JAX

    with write_errors(out), TemporaryDirectory(prefix=".", dir=out) as folder:
        files = PredictionFiles(Path(folder), kinds=("map",))
        make_folders(files.out, files.kinds)
        predict_sources(model, [source], files, PredictOptions(domain=domain))
        (files.out / "map" / source.name).rename(out / source.name)


def _category_folders(text: str) -> list[str]:
    """The category folders in a folder that holds no images itself; any other input as it is."""
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
