"""Measured scores next to the published ones (Tables 2 to 4)."""

from unisal_jax.analysis import published
from unisal_jax.analysis.context import AnalysisDataset, Context
from unisal_jax.analysis.results import Analysis, Table
from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.results import MethodScores
from unisal_jax.evaluate.run import EvaluateOptions, evaluate
from unisal_jax.evaluate.wording import SCORE_TITLES, number_of
from unisal_jax.predict.model import SaliencyModel

OURS = "UNISAL, these weights"
_BASELINES = ("centre_prior",)


def analyse(context: Context) -> Analysis:
    """Makes a table per dataset: the published rows, then the measured ones.

    Raises:
      UnisalError: there is no dataset, or it cannot be scored.
    """
    model = context.model()
    tables, numbers = [], {}
    for dataset in context.need_datasets():
        prediction, *baselines = measured(dataset, model, context)
        rows = [
            (row.method, f"Table {row.table}", *(row.scores.get(name) for name in published.SCORES))
            for row in published.scores(2, 3, 4)
            if row.dataset == dataset.data.name
        ]
        here = number_of(len(prediction.groups), dataset.data.kind)
        for label, method in (
            (OURS, prediction),
            *((each.name.replace("_", " "), each) for each in baselines),
        ):
            rows.append((label, here, *(method.mean.get(name) for name in published.SCORES)))
        numbers[dataset.data.name] = {"ci": prediction.ci, "mean": prediction.mean}
        tables.append(
            Table(
                dataset.data.name,
                f"{dataset.title}, split {dataset.data.split}, parameters of {dataset.domain.name}",
                ("method", "from", *(SCORE_TITLES[name] for name in published.SCORES)),
                tuple(rows),
            )
        )
    return Analysis(
        "Scores and the published ones (Tables 2 to 4)",
        f"Weights: {context.weights}. Protocol: {context.protocol}; the published rows are from the "
        "benchmarks' servers and code, on the whole test set. They are comparable only if the same images "
        "are scored under the same protocol."
        + (" The datasets are synthetic, so these scores are meaningless." if context.synthetic else ""),
        tables=tuple(tables),
        numbers=numbers,
    )


def measured(dataset: AnalysisDataset, model: SaliencyModel, context: Context) -> tuple[MethodScores, ...]:
    """Scores of the model and of the centre prior on a whole dataset."""
    maps = NetworkMaps(model, dataset.data, dataset.domain)
    options = EvaluateOptions(protocol=context.protocol, baselines=_BASELINES, seed=context.seed)
    return evaluate(dataset.data, maps, options, {}).methods
