"""Predicts a list of images and videos on a Ray cluster (Ray Data)."""

import time
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.inference.engines import Dtype, EngineName
from unisal_jax.media.sources import MediaSource
from unisal_jax.packages import install_command
from unisal_jax.predict.batch import PredictOptions, Summary, predict_sources
from unisal_jax.predict.model import MAX_BATCH, load
from unisal_jax.predict.outputs import Results

# Images that a worker predicts together: one batch.
_INPUTS = MAX_BATCH


def predict_on_cluster(
    weights: str,
    dtype: Dtype,
    engine: EngineName,
    sources: list[MediaSource],
    results: Results,
    options: PredictOptions,
) -> Summary:
    """Like `predict_sources`, on all workers of the Ray cluster that this process is connected to.

    Without a cluster, Ray starts workers on this machine. Each worker loads the weights once and, if there
    are GPUs, has one of its own. All workers must be able to read weights and inputs and to write `results`.

    Raises:
      UnisalError: Ray is not installed, or an input is bad and errors are not skipped.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UnisalError(f"--ray requires ray; install it with: {install_command('ray')}") from error
    began = time.monotonic()
    summary = Summary()
    # Each video is a separate unit, since it takes long.
    units = [[source] for source in sources if source.kind == "video"]
    images = [source for source in sources if source.kind == "image"]
    units += [images[start : start + _INPUTS] for start in range(0, len(images), _INPUTS)]
    if units:
        ray.init(ignore_reinit_error=True, log_to_driver=False)
        gpus = int(ray.cluster_resources().get("GPU", 0))
        workers = gpus or int(ray.cluster_resources().get("CPU", 1))
        rows = ray.data.from_items([{"unit": number} for number in range(len(units))])
        done = rows.repartition(len(units)).map_batches(
            _Worker,
            fn_constructor_args=(weights, dtype, engine, units, results, options),
            batch_size=1,
            concurrency=(1, max(1, min(workers, len(units)))),
            num_gpus=1 if gpus else 0,
        )
        for row in done.iter_rows():
            if row["failure"]:
                raise UnisalError(row["failure"])
            counts = row["images"], row["videos"], row["frames"]
            done_there = Summary(*counts, errors=list(row["errors"]), notes=list(row["notes"]))
            done_there.domains = set(row["domains"])
            summary.add(done_there)
    summary.seconds = time.monotonic() - began
    return summary


class _Worker:
    """Predicts units of inputs in a worker process."""

    def __init__(
        self,
        weights: str,
        dtype: Dtype,
        engine: EngineName,
        units: list[list[MediaSource]],
        results: Results,
        options: PredictOptions,
    ):
        self._model, self._units = load(weights, dtype, engine), units
        self._results, self._options = results, options

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        found, failure = Summary(), ""
        try:
            for number in batch["unit"]:
                found.add(
                    predict_sources(self._model, self._units[int(number)], self._results, self._options)
                )
        except UnisalError as error:
            # Return the message in the row: Ray would wrap a raised exception in its own.
            failure = str(error)
        return {
            "images": [found.images],
            "videos": [found.videos],
            "frames": [found.frames],
            "errors": [found.errors],
            "notes": [found.notes],
            "domains": [sorted(found.domains)],
            "failure": [failure],
        }
