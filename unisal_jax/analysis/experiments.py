"""The paper's trainings: its ablation (Table 5) and its six settings (Table 2).

A run is a training with a config and a seed in its own folder, followed by its scores on the datasets of
the table, stored in that folder. Finished runs are not repeated, so an interrupted command resumes.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.analysis import published
from unisal_jax.analysis.context import Context, title_of
from unisal_jax.analysis.results import Analysis, Table, to_json
from unisal_jax.domains import RELEASED_DOMAINS
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.run import EvaluateOptions, evaluate
from unisal_jax.evaluate.sources import open_data
from unisal_jax.evaluate.wording import SCORE_TITLES
from unisal_jax.files import write_text
from unisal_jax.predict.model import load
from unisal_jax.train.cloud import BEST
from unisal_jax.train.config import load_config
from unisal_jax.train.inputs import PrepareSynthetic, data_folder

SCORES = "scores.json"


@dataclasses.dataclass(frozen=True)
class Study:
    """One of the paper's tables of trainings.

    Attributes:
      name: name of the config file and of the folder of its runs.
      title: title to display.
      variants: names in the config file, with their names in the paper.
      datasets: datasets that the table scores.
      splits: splits to score, in order of preference; the first with ground truth is used.
      scores: columns of the table.
      table: number of the table.
    """

    name: str
    title: str
    variants: dict[str, str]
    datasets: tuple[str, ...]
    splits: tuple[str, ...]
    scores: tuple[str, ...]
    table: int


ABLATION = Study(
    "ablation",
    "Ablation (Table 5)",
    {row.config: row.method for row in published.scores(5)},
    ("dhf1k", "salicon"),
    ("validation",),
    ("kld", *published.SCORES),
    5,
)
SETTINGS = Study(
    "settings",
    "Training settings (Table 2)",
    {name: f"UNISAL, training setting ({name})" for name in ("i", "ii", "iii", "iv", "v", "vi")},
    ("dhf1k", "hollywood2", "ucf_sports"),
    ("test", "validation"),
    published.SCORES,
    2,
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a study."""

    variant: str
    seed: int
    folder: Path


def runs(study: Study, folder: Path, seeds: Sequence[int]) -> list[Run]:
    """All runs in `folder`: each variant with each seed."""
    return [Run(v, seed, folder / study.name / f"{v}_{seed}") for v in study.variants for seed in seeds]


def tiny_overrides() -> tuple[str, ...]:
    """Overrides that turn the paper's configs into short trainings on synthetic data, to test the code.

    They set small images, few steps, a random and frozen encoder, and the form of depthwise convolution
    that compiles fastest.
    """
    domain = {"data": "synthetic", "batch_size": 2, "input_size": (32, 64), "target_size": (32, 64)}
    domain |= {"validation_clips": 1}
    return (
        "epochs=1",
        "clip_frames=2",
        "init.encoder=None",
        "model.depthwise=grouped",
        "optimizer.frozen_encoder_epochs=1",
        "optimizer.lr=0.001",
        "synthetic.train=4",
        "synthetic.size=(36,64)",
        *(f"domains.{d.name}.{field}={value}" for d in RELEASED_DOMAINS for field, value in domain.items()),
    )


def train_missing(
    study: Study,
    configs: Path,
    folder: Path,
    seeds: Sequence[int],
    overrides: Sequence[str],
    prepare_synthetic: PrepareSynthetic,
) -> None:
    """Trains and scores the missing runs, one after the other.

    Args:
      study: the study.
      configs: folder of `ablation.py` and `settings.py`.
      folder: folder of the runs.
      seeds: random seeds; each variant is trained once per seed.
      overrides: as for `unisal train`; those of domains that a variant does not train on are ignored.
      prepare_synthetic: makes the data of a config with synthetic data.

    Raises:
      UnisalError: a training fails; the message names its folder.
    """
    for run in runs(study, folder, seeds):
        if _is_done(run):
            continue
        config = f"{configs / study.name}.py:{run.variant}"
        own = [f"--config.seed={run.seed}", *(f"--config.{each}" for each in _fitting(config, overrides))]
        command = [
            sys.executable,
            "-m",
            "unisal_jax",
            "train",
            "--config",
            config,
            "--workdir",
            str(run.folder),
        ]
        # A separate process, which frees its memory and compiled programs when it ends.
        status = subprocess.run([*command, *own], check=False).returncode
        if status != 0:
            raise UnisalError(
                f"{run.folder}: the training ended with status {status}; run the same command to resume"
            )
        if not (run.folder / BEST).exists():
            raise UnisalError(f"{run.folder}: the training was interrupted; run the same command to resume")
        # Score every dataset of the table, including those that this variant was not trained on.
        everything = load_config(f"{configs / study.name}.py:{list(study.variants)[-1]}", overrides)
        paths = {name: data_folder(name, everything, folder, prepare_synthetic) for name in study.datasets}
        write_text(run.folder / SCORES, to_json(_score(study, run, paths)))


def analyse(study: Study, context: Context, seeds: Sequence[int]) -> Analysis:
    """Makes tables of the finished runs: the paper's scores, and ours as mean and deviation over seeds."""
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in study.variants}
    for run in runs(study, context.runs, seeds):
        if _is_done(run):
            found[run.variant].append(_read(run.folder / SCORES))
    done = sum(map(len, found.values()))
    tables = tuple(_table(study, dataset, found) for dataset in study.datasets)
    missing = [f"{run.variant}_{run.seed}" for run in runs(study, context.runs, seeds) if not _is_done(run)]
    plan = f"Not run yet: {', '.join(missing)}. `--train` runs or resumes them." if missing else ""
    drawn = (
        " Trained for a few steps on synthetic images: the scores are meaningless."
        if context.synthetic
        else ""
    )
    return Analysis(
        study.title,
        f"{done} of {len(seeds) * len(study.variants)} runs, seeds {', '.join(map(str, seeds))}.{drawn}\n"
        f"{plan}",
        tables=tables,
        numbers={"runs": found},
    )


def _is_done(run: Run) -> bool:
    return (run.folder / SCORES).is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {
            dataset: {name: float(value) for name, value in row.items()} for dataset, row in document.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UnisalError(f"{path}: damaged ({error})") from error


def _fitting(config: str, overrides: Sequence[str]) -> Iterator[str]:
    known = load_config(config).domains
    for override in overrides:
        head, *rest = override.removeprefix("--").removeprefix("config.").split(".")
        if head != "domains" or rest[0] in known:
            yield ".".join((head, *rest))


def _score(study: Study, run: Run, paths: dict[str, Path]) -> dict[str, dict[str, float]]:
    model = load(run.folder / BEST)
    scores = {}
    for name, path in paths.items():
        data = None
        for split in study.splits:
            try:
                data = open_data(path, split)
                break
            except UnisalError:
                if split == study.splits[-1]:
                    raise
        assert data is not None
        domain = model.domain(name if name in model.domains else None, video=data.kind == "video")
        prediction, *_ = evaluate(
            data, NetworkMaps(model, data, domain), EvaluateOptions(baselines=()), {}
        ).methods
        scores[name] = {score: prediction.mean[score] for score in study.scores if score in prediction.mean}
    return scores


def _table(study: Study, dataset: str, found: dict[str, list[dict[str, Any]]]) -> Table:
    columns = ["", "runs"]
    for score in study.scores:
        columns += [f"{SCORE_TITLES[score]}, paper", "ours"]
    theirs = {(row.method, row.dataset): row.scores for row in published.scores(study.table)}
    rows = []
    for variant, method in study.variants.items():
        cells: list[object] = [f"{variant} ({method.removeprefix('UNISAL, ')})", len(found[variant])]
        for score in study.scores:
            ours = [run[dataset][score] for run in found[variant] if score in run.get(dataset, {})]
            cells += [theirs[method, dataset].get(score), _with_spread(ours)]
        rows.append(tuple(cells))
    return Table(f"{study.name}_{dataset}", title_of(dataset), tuple(columns), tuple(rows))


def _with_spread(values: list[float]) -> str | None:
    if not values:
        return None
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
