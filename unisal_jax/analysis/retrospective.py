"""The parameters of each domain after training (paper, section 4.5 and Figure 5)."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from flax.traverse_util import flatten_dict

from unisal_jax.analysis import plots
from unisal_jax.analysis.context import Context, title_of
from unisal_jax.analysis.priors import compare_priors
from unisal_jax.analysis.results import Analysis, NamedFigure, Table
from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.weights.store import load_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By domain, all of the same length.
Vectors = dict[str, np.ndarray]


def analyse(context: Context) -> Analysis:
    """Correlations of statistics and fusion weights between domains, prior maps and smoothing kernels.

    Raises:
      UnisalError: the weights have fewer than two domains, or no such module.
    """
    weights = load_weights(context.weights)
    config, variables = weights.config, weights.variables
    if len(config.domains) < 2:
        raise UnisalError(f"{context.weights}: has only one domain; nothing to compare")
    means, variances = (statistics(variables, config, context.module, kind) for kind in ("mean", "var"))
    # Smoothing follows fusion, so negating both gives the same map, and training may end with either
    # sign. Normalise the sign such that the smoothing kernel has a positive sum.
    signs = {d.name: np.sign(variables[d.name]["smoothing"]["kernel"].sum()) for d in config.domains}
    kernels = {name: sign * variables[name]["smoothing"]["kernel"] for name, sign in signs.items()}
    fusion = {name: sign * np.ravel(variables[name]["fusion"]["kernel"]) for name, sign in signs.items()}
    widths = {name: kernel_width(kernel) for name, kernel in kernels.items()}
    priors = compare_priors(variables, config)
    measured = {
        "fusion_correlation": correlations(fusion),
        "mean_correlation": correlations(means),
        "smoothing_width_pixels": widths,
        "variance_correlation": correlations(variances),
    }
    figures = [
        NamedFigure(
            "batch_norm",
            f"Running statistics of {context.module} for pairs of domains: means above the "
            "diagonal, variances below. Each point is a channel; r is Pearson's correlation (Figure 5a).",
            _scatter(means, variances),
        ),
        NamedFigure(
            "fusion",
            "Fusion weights of pairs of domains above the diagonal, their distribution on it, Pearson's "
            "correlation below (Figure 5b). Negating fusion and smoothing gives the same network, so signs "
            "are normalised such that each smoothing kernel has a positive sum.",
            _fusion_figure(fusion),
        ),
        priors,
        NamedFigure(
            "smoothing",
            "Smoothing kernels, 41x41 pixels at the input size, each scaled to its largest value; below each "
            "the standard deviation of its positive part in pixels (Figure 5d).",
            _kernels(kernels, widths),
        ),
    ]
    tables = [_pairs(measured), _all_norms(variables, config)]
    claims = _claims(measured, config.domains)
    if claims:
        tables.insert(0, claims)
    return Analysis(
        "Retrospective analysis of the domain-adaptive modules (Figure 5)",
        f"Weights: {context.weights}. Module of the batch norms: {context.module}.",
        tuple(figures),
        tuple(tables),
        measured,
    )


def statistics(variables: Mapping[str, Any], config: UnisalConfig, module: str, kind: str) -> Vectors:
    """Running means or variances of a batch norm, or of several, concatenated.

    Args:
      variables: variables of the model.
      config: its config.
      module: a batch norm, such as `upsampling_16/expand_norm`, or a module that contains some.
      kind: `mean` or `var`.

    Raises:
      UnisalError: the module contains no domain-specific batch norms.
    """
    found = {}
    for domain in config.domains:
        own = flatten_dict(variables.get(domain.stats, {}))
        path = tuple(module.split("/"))
        leaves = {name: leaf for name, leaf in own.items() if name[: len(path)] == path}
        if not leaves:
            known = ", ".join(norms(variables, config)) or "none"
            raise UnisalError(f"--module {module}: has no domain-specific batch norms; choose from {known}")
        found[domain.name] = np.concatenate(
            [np.ravel(leaves[path]) for path in sorted(leaves) if path[-1] == kind]
        )
    return found


def norms(variables: Mapping[str, Any], config: UnisalConfig) -> list[str]:
    """Names of all domain-specific batch norms."""
    own = flatten_dict(variables.get(config.domains[0].stats, {}))
    return sorted({"/".join(path[:-1]) for path in own})


def correlations(vectors: Vectors) -> dict[str, float]:
    """Pearson's correlation of each pair of domains, by "a b"; NaN if either is constant."""
    return {f"{a} {b}": _pearson(vectors[a], vectors[b]) for a, b in combinations(vectors, 2)}


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    # Statistics of a bypassed recurrence are constant: they keep their initial values.
    return float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(np.corrcoef(a, b)[0, 1])


def kernel_width(kernel: np.ndarray) -> float:
    """Standard deviation of the positive part of a kernel [n, n] along one side, in pixels."""
    positive = np.clip(np.asarray(kernel, np.float64), 0, None)
    positive /= positive.sum()
    at = np.arange(len(positive)) - (len(positive) - 1) / 2
    spreads = [
        (share * at**2).sum() - (share * at).sum() ** 2 for share in (positive.sum(0), positive.sum(1))
    ]
    return float(np.sqrt(np.mean(spreads)))


def _pairs(measured: Mapping[str, Mapping[str, float]]) -> Table:
    kinds = ("mean_correlation", "variance_correlation", "fusion_correlation")
    rows = tuple(
        (" and ".join(map(title_of, pair.split())), *(measured[kind][pair] for kind in kinds))
        for pair in measured["mean_correlation"]
    )
    columns = ("domains", "means", "variances", "fusion weights")
    return Table("correlations", "Pearson's correlation between domains", columns, rows)


def _all_norms(variables: Mapping[str, Any], config: UnisalConfig) -> Table:
    """Mean correlations of each batch norm, over pairs of video domains and over mixed pairs."""
    rows = []
    for module in norms(variables, config):
        cells: list[float | str | None] = [module]
        for kind in ("mean", "var"):
            found = correlations(statistics(variables, config, module, kind))
            cells += [_mean_of(found, config.domains, static) for static in (False, True)]
        rows.append(tuple(cells))
    return Table(
        "norms",
        "Each batch norm: mean correlation over pairs of video domains, and over pairs of video and static",
        ("batch norm", "means, video", "means, static", "variances, video", "variances, static"),
        tuple(rows),
    )


def _mean_of(pairs: Mapping[str, float], domains: tuple[Domain, ...], static: bool) -> float | None:
    chosen = list(_chosen(pairs, domains, static).values())
    return float(np.mean(chosen)) if chosen else None


def _chosen(pairs: Mapping[str, float], domains: tuple[Domain, ...], static: bool) -> dict[str, float]:
    """The pairs of two video domains, or of a video domain and a static one."""
    kinds = {domain.name: domain.static for domain in domains}
    return {p: r for p, r in pairs.items() if sum(kinds[name] for name in p.split()) == int(static)}


def _claims(measured: Mapping[str, Any], domains: tuple[Domain, ...]) -> Table | None:
    """The paper's statements and what these weights give; None unless the domains are the paper's."""
    if {domain.name for domain in domains} != {"dhf1k", "hollywood2", "ucf_sports", "salicon"}:
        return None

    def span(kind: str, static: bool) -> str:
        found = _chosen(measured[kind], domains, static).values()
        return f"{100 * min(found):.1f}% to {100 * max(found):.1f}%"

    least = min(measured["fusion_correlation"].values())
    means = {
        domain.name: np.mean(
            [r for p, r in measured["fusion_correlation"].items() if domain.name in p.split()]
        )
        for domain in domains
    }
    widths = measured["smoothing_width_pixels"]
    rows = (
        ("means of video domains correlate", "82% to 83%", span("mean_correlation", False)),
        ("means of SALICON and video", "below 3%", span("mean_correlation", True)),
        ("variances of video domains", "92%", span("variance_correlation", False)),
        ("variances of SALICON and video", "90%", span("variance_correlation", True)),
        ("fusion weights correlate", "above 81%", f"at least {100 * least:.1f}%"),
        ("least correlated fusion weights", "SALICON", title_of(min(means, key=means.__getitem__))),
        ("narrowest smoothing kernel", "DHF1K", title_of(min(widths, key=widths.__getitem__))),
    )
    return Table("statements", "The paper's statements and these weights", ("", "paper", "measured"), rows)


def _scatter(means: Vectors, variances: Vectors) -> "Figure":
    names = list(means)
    figure, axes = plots.grid(len(names), len(names), 1.7, 1.7)
    for row, a in enumerate(names):
        for column, b in enumerate(names):
            axis = axes[row, column]
            axis.set(xticks=[], yticks=[])
            if row == column:
                axis.text(
                    0.5, 0.5, title_of(a), ha="center", va="center", transform=axis.transAxes, fontsize=10
                )
                axis.set_frame_on(False)
                continue
            values, colour = (means, plots.COLOURS[0]) if row < column else (variances, plots.COLOURS[1])
            axis.scatter(values[b], values[a], s=3, alpha=0.35, color=colour, linewidths=0, rasterized=True)
            if row > column:  # variances span decades
                axis.set(xscale="log", yscale="log", xticks=[], yticks=[])
                axis.minorticks_off()
            _write_r(axis, _pearson(values[a], values[b]))
    figure.supxlabel("above the diagonal: means; below: variances (logarithmic axes)", fontsize=8)
    return figure


def _fusion_figure(fusion: Vectors) -> "Figure":
    names = list(fusion)
    figure, axes = plots.grid(len(names), len(names), 1.7, 1.7)
    edge = max(np.abs(weights).max() for weights in fusion.values())
    bins = np.linspace(-edge, edge, 25)
    for row, a in enumerate(names):
        for column, b in enumerate(names):
            axis = axes[row, column]
            axis.set(xticks=[], yticks=[])
            if row == column:
                axis.hist(fusion[a], bins, color=plots.COLOURS[row % len(plots.COLOURS)])
                axis.set_title(title_of(a), fontsize=8)
            elif row < column:
                axis.scatter(fusion[b], fusion[a], s=6, color=plots.COLOURS[0], linewidths=0)
                axis.axline((0, 0), slope=1, color="0.7", lw=0.6, zorder=0)
            else:
                axis.set_frame_on(False)
                r = _pearson(fusion[a], fusion[b])
                axis.text(
                    0.5,
                    0.5,
                    f"{100 * r:.0f}%",
                    ha="center",
                    va="center",
                    transform=axis.transAxes,
                    fontsize=12,
                )
    return figure


def _write_r(axis: Any, r: float) -> None:
    axis.text(0.05, 0.95, f"r = {100 * r:.0f}%", ha="left", va="top", transform=axis.transAxes, fontsize=7)


def _kernels(kernels: dict[str, np.ndarray], widths: Mapping[str, float]) -> "Figure":
    figure, axes = plots.grid(2, len(kernels), 2, 2)
    for column, (name, kernel) in enumerate(kernels.items()):
        plots.show(axes[0, column], kernel / kernel.max(), title_of(name))
        axes[0, column].set_xlabel(f"width {widths[name]:.1f} pixels", fontsize=8)
        middle = len(kernel) // 2
        axes[1, column].plot(
            np.arange(len(kernel)) - middle, kernel[middle] / kernel.max(), color=plots.COLOURS[0]
        )
        axes[1, column].set(xlabel="pixels from the centre", ylim=(-0.3, 1.1))
        axes[1, column].axhline(0, color="0.7", lw=0.6)
    axes[1, 0].set_ylabel("middle row")
    return figure
