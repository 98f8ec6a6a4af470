"""Rows of input, truth and prediction (paper, Figure 4)."""

import numpy as np

from unisal_jax.analysis import plots
from unisal_jax.analysis.context import AnalysisDataset, Context, Sample, frames_of
from unisal_jax.analysis.results import Analysis, NamedFigure
from unisal_jax.evaluate import wording
from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.sources import Group
from unisal_jax.media.images import resize_frame
from unisal_jax.predict.model import SaliencyModel

_COLUMNS = 6
# Longer side in pixels: large enough to recognise the image, small enough for a page.
_SIDE = 320


def analyse(context: Context) -> Analysis:
    """Shows samples of each image dataset, and frames of one video of each video dataset.

    Raises:
      UnisalError: there is no dataset, or one of its frames cannot be read.
    """
    model = context.model()
    figures, shown = [], {}
    for dataset in context.need_datasets():
        columns = (
            _images(model, dataset, context)
            if dataset.data.kind == "image"
            else _video(model, dataset, context)
        )
        shown[dataset.data.name] = [sample.name for sample, _ in columns]
        figures.append(_sheet(dataset, columns))
    return Analysis(
        "Qualitative results (Figure 4)",
        f"{context.extent}\nWeights: {context.weights}. Images and videos are sampled at random.",
        tuple(figures),
        numbers={"frames": shown},
    )


def _images(
    model: SaliencyModel, dataset: AnalysisDataset, context: Context
) -> list[tuple[Sample, np.ndarray]]:
    drawn = list(dataset.samples(_COLUMNS, context.seed))
    return [
        (
            sample,
            model.predict(sample.pixels, dataset.domain, dataset.input_size(sample.pixels.shape[:2])),
        )
        for sample in drawn
    ]


def _video(
    model: SaliencyModel, dataset: AnalysisDataset, context: Context
) -> list[tuple[Sample, np.ndarray]]:
    groups = dataset.data.groups
    group: Group = groups[int(np.random.default_rng(context.seed).integers(len(groups)))]
    count = len(group.frame_names)
    chosen = sorted({int(each) for each in np.linspace(0, count - 1, min(_COLUMNS, count))})
    # The recurrence requires every frame, in order; only a few are shown.
    maps = NetworkMaps(model, dataset.data, dataset.domain).maps(group)
    densities = {number: density for number, density in enumerate(maps) if number in set(chosen)}
    return list(zip(frames_of(group, chosen), (densities[number] for number in chosen), strict=True))


def _sheet(dataset: AnalysisDataset, columns: list[tuple[Sample, np.ndarray]]) -> NamedFigure:
    height, width = columns[0][0].pixels.shape[:2]
    figure, axes = plots.grid(3, len(columns), 1.5 + 1 / len(columns), 1.5 * height / width + 0.12)
    names = [f"{number}: {wording.printable(sample.name)}" for number, (sample, _) in enumerate(columns, 1)]
    for column, (sample, density) in enumerate(columns):
        for row, each in enumerate((sample.pixels, sample.truth.map, density)):
            plots.show(axes[row, column], _small(each))
        axes[0, column].set_title(str(column + 1), fontsize=8)
    for row, label in enumerate(("input", "truth", "prediction")):
        plots.label_row(axes[row, 0], label)
    return NamedFigure(
        dataset.data.name,
        f"{dataset.title} ({dataset.data.split}), {dataset.domain.name} parameters: input, ground "
        f"truth and prediction. {'; '.join(names)}.",
        figure,
    )


def _small(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    if image.ndim == 3:
        return resize_frame(image, (round(height * scale), round(width * scale)))
    step = max(1, round(1 / scale))
    return image[::step, ::step]
