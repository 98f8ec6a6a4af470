"""Differences between the datasets before joint training (paper, section 3.1 and Figure 2)."""

from typing import TYPE_CHECKING

import numpy as np

from unisal_jax.analysis import plots
from unisal_jax.analysis.context import Context
from unisal_jax.analysis.encoder import Encoded, encode
from unisal_jax.analysis.fusion_experiment import Losses, compare_fusion
from unisal_jax.analysis.results import Analysis, NamedFigure, Table
from unisal_jax.errors import UnisalError
from unisal_jax.packages import install_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PERPLEXITY = 30


def analyse(context: Context) -> Analysis:
    """Features, mean maps, the fusion experiment and sharpness, all on the same samples.

    Raises:
      UnisalError: there are fewer than two datasets, a frame cannot be read, or scikit-learn is missing.
    """
    if len(context.need_datasets()) < 2:
        raise UnisalError("--data: the shift between datasets requires at least two datasets")
    encoded = encode(context)
    sharp = {each.dataset.title: sharpness(each.maps) for each in encoded}
    losses = compare_fusion(encoded, context.seed)
    spread = {each.dataset.title: _spread(mean_map(each.maps)) for each in encoded}
    figures = (
        NamedFigure(
            "features",
            "t-SNE of average-pooled MobileNetV2 features (ImageNet weights), normalised over all samples or "
            "by dataset (Figure 2a).",
            _features(encoded, context.seed),
        ),
        NamedFigure(
            "mean_maps",
            "Mean of the ground-truth maps, each scaled to sum to 1 (Figure 2b).",
            _means(encoded),
        ),
        NamedFigure(
            "fusion",
            "Validation loss (KLD - 0.1 CC - 0.1 NSS, at a quarter of the input size) of a 1x1 fusion of the "
            "features of a frozen encoder, trained to convergence with one set of weights, or one per "
            "dataset (Figure 2c).",
            _fusion(losses),
        ),
        NamedFigure(
            "sharpness",
            "Sharpness of the ground-truth maps: largest gradient magnitude at the input size, of maps in 0 "
            "to 1 (Figure 2d).",
            _sharpness(sharp),
        ),
    )
    tables = (
        Table(
            "fusion_losses",
            "Fusion experiment: validation loss at convergence",
            ("dataset", "one set of weights", "one set per dataset", "difference"),
            tuple((name, shared, own, own - shared) for name, (shared, own) in losses.items()),
        ),
        Table(
            "shift",
            "Sharpness (median, quartiles) and spread of the mean map (deviation relative to the side)",
            ("dataset", "samples", "sharpness", "25%", "75%", "vertical spread", "horizontal spread"),
            tuple(
                (name, len(each), *(float(np.percentile(each, p)) for p in (50, 25, 75)), *spread[name])
                for name, each in sharp.items()
            ),
        ),
    )
    numbers = {"fusion_losses": losses, "sharpness": {name: each.tolist() for name, each in sharp.items()}}
    return Analysis("Domain shift between the datasets (Figure 2)", context.extent, figures, tables, numbers)


def sharpness(maps: np.ndarray) -> np.ndarray:
    """Largest gradient magnitude of each non-empty map, scaled to a peak of 1.

    Args:
      maps: [N, H, W].
    """
    peaks = maps.max((1, 2), keepdims=True)
    shown = peaks[:, 0, 0] > 0
    rows, columns = np.gradient(maps[shown] / peaks[shown], axis=(1, 2))
    return np.sqrt(rows**2 + columns**2).max((1, 2)).astype(np.float64)


def mean_map(maps: np.ndarray) -> np.ndarray:
    """Mean of the non-empty maps, each scaled to sum to 1, float64 [H, W]."""
    sums = maps.sum((1, 2), dtype=np.float64)
    return (maps[sums > 0] / sums[sums > 0, None, None]).mean(0)


def _spread(density: np.ndarray) -> tuple[float, float]:
    found = []
    for axis in (1, 0):
        share = density.sum(axis)
        at = (np.arange(len(share)) + 0.5) / len(share)
        found.append(float(np.sqrt((share * at**2).sum() - (share * at).sum() ** 2)))
    return found[0], found[1]


def normalised(features: list[np.ndarray], by_dataset: bool) -> np.ndarray:
    """Pooled features [sum of N, C] with mean 0 and standard deviation 1, over all samples or by dataset."""
    parts = features if by_dataset else [np.concatenate(features)]
    return np.concatenate([(x - x.mean(0)) / np.maximum(x.std(0), 1e-6) for x in parts])


def _features(encoded: list[Encoded], seed: int) -> "Figure":
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise UnisalError(
            f"t-SNE requires scikit-learn; install it with: {install_command('analysis')}"
        ) from error
    pooled = [each.features.mean((1, 2), dtype=np.float32) for each in encoded]
    owner = np.repeat(np.arange(len(pooled)), [len(each) for each in pooled])
    figure, axes = plots.grid(1, 2, 3.6, 3.4)
    for axis, by_dataset, title in zip(
        axes[0], (False, True), ("normalised over all samples", "normalised by dataset"), strict=True
    ):
        values = normalised(pooled, by_dataset)
        perplexity = min(_PERPLEXITY, (len(values) - 1) / 3)
        found = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(values)
        for number, each in enumerate(encoded):
            axis.scatter(
                *found[owner == number].T,
                s=6,
                color=plots.COLOURS[number % len(plots.COLOURS)],
                label=each.dataset.title,
                lw=0,
            )
        axis.set(xticks=[], yticks=[], title=title)
    plots.legend(figure, axes[0, 0])
    return figure


def _means(encoded: list[Encoded]) -> "Figure":
    figure, axes = plots.grid(1, len(encoded), 2.2, 1.7)
    for axis, each in zip(axes[0], encoded, strict=True):
        plots.show(axis, mean_map(each.maps), each.dataset.title)
    return figure


def _fusion(losses: Losses) -> "Figure":
    figure, axes = plots.grid(1, 1, max(5, 0.8 + 1.2 * len(losses)), 3)
    at = np.arange(len(losses))
    for place, (label, values) in enumerate(
        zip(("one set of weights", "one set per dataset"), zip(*losses.values(), strict=True), strict=True)
    ):
        axes[0, 0].bar(at + 0.4 * place - 0.2, values, 0.38, label=label, color=plots.COLOURS[place])
    axes[0, 0].set(
        xticks=at, xticklabels=[plots.wrapped(name, 14) for name in losses], ylabel="validation loss"
    )
    plots.legend(figure, axes[0, 0])
    return figure


def _sharpness(sharp: dict[str, np.ndarray]) -> "Figure":
    figure, axes = plots.grid(1, 1, 5, 3)
    low, high = map(float, np.percentile(np.concatenate(list(sharp.values())), [0.5, 99.5]))
    for number, (name, values) in enumerate(sharp.items()):
        axes[0, 0].hist(
            values,
            np.linspace(low, high, 40),
            density=True,
            histtype="step",
            lw=1.5,
            label=name,
            color=plots.COLOURS[number % len(plots.COLOURS)],
        )
    axes[0, 0].set(xlabel="largest gradient magnitude (1 / pixel)", ylabel="density of maps", yticks=[])
    plots.legend(figure, axes[0, 0])
    return figure
