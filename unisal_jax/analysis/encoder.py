"""Features of the encoder alone: MobileNetV2 with ImageNet weights, before training on gaze."""

import dataclasses
from collections.abc import Callable
from itertools import islice
from typing import Any

import jax
import numpy as np

from unisal_jax.analysis.context import AnalysisDataset, Context, Sample
from unisal_jax.data.geometry import fit_fixations, fit_image, training_geometry
from unisal_jax.domains import DHF1K
from unisal_jax.media.images import resize_frame
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.initialization import init_variables
from unisal_jax.models.mobilenet_v2 import MobileNetV2
from unisal_jax.normalization import normalize
from unisal_jax.weights.store import imagenet_encoder

_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Encoded samples of a dataset.

    Attributes:
      dataset: the dataset.
      features: last features of the encoder, float16 [N, height / 32, width / 32, 1280].
      maps: ground-truth maps at the input size, float32 [N, height, width], in 0 to 1.
      fixations: bool [N, height, width].
    """

    dataset: AnalysisDataset
    features: np.ndarray
    maps: np.ndarray
    fixations: np.ndarray


def encode(context: Context) -> list[Encoded]:
    """Encodes the samples of each dataset at the input size of its first frame, with one compiled program.

    Raises:
      UnisalError: there is no dataset, a frame cannot be read, or the ImageNet weights are unavailable.
    """
    config = UnisalConfig(domains=(DHF1K,))
    variables = imagenet_encoder(init_variables(config, jax.random.key(0)))
    encoder = {collection: variables[collection]["encoder"] for collection in ("params", "batch_stats")}

    @jax.jit
    def features(frames: jax.Array) -> jax.Array:
        found: Any = MobileNetV2().apply(encoder, normalize(frames), DHF1K)
        return found.at_32.astype(np.float16)

    return [_encode(dataset, context, features) for dataset in context.need_datasets()]


def _encode(
    dataset: AnalysisDataset, context: Context, features: Callable[[np.ndarray], jax.Array]
) -> Encoded:
    size = dataset.input_size(dataset.data.groups[0].truth(0).size)
    geometry = training_geometry(dataset.data.name)
    found: list[np.ndarray] = []
    maps, fixations = [], []

    def pixels(sample: Sample) -> np.ndarray:
        maps.append(np.float32(fit_image(sample.truth.map, size, geometry.fit)) / 255)
        fixations.append(fit_fixations(sample.truth.points, sample.truth.size, size, geometry))
        return resize_frame(sample.pixels, size)

    samples = dataset.samples(context.samples, context.seed)
    while batch := [pixels(sample) for sample in islice(samples, _BATCH)]:
        # Pad the last batch, so that one compiled program suffices.
        full = np.zeros((_BATCH, *size, 3), np.uint8)
        full[: len(batch)] = batch
        found.append(np.asarray(features(full))[: len(batch)])
    return Encoded(dataset, np.concatenate(found), np.stack(maps), np.stack(fixations))
