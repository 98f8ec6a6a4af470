"""The report of a fine-tuning: its verdict, a table for the terminal, and `report.json`."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unisal_jax.documents import rounded
from unisal_jax.evaluate.protocols import SCORES
from unisal_jax.evaluate.wording import LOWER_IS_BETTER, SCORE_TITLES, printable
from unisal_jax.finetune.plan import FEW_TESTED, SPLITS, TEST, Division
from unisal_jax.finetune.scores import Difference, Document, differences, paired, per_stimulus

# Scores that the verdict is based on; the others are only reported.
DECIDING = ("nss", "cc", "kld")
_DIGITS = 6

CENTRE_PRIOR, BEFORE, AFTER, PEOPLE = "centre prior", "before", "after", "other people"


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves of the training, or of the first of several.

    Attributes:
      steps: (step, loss) of training steps.
      epochs: `epoch`, `step`, `loss`, `kld`, `cc`, `nss` of each validation.
      best_step: step of the validation whose weights were used.
    """

    steps: tuple[tuple[int, float], ...]
    epochs: tuple[Mapping[str, float], ...]
    best_step: int


@dataclasses.dataclass(frozen=True)
class Shown:
    """A held-out frame shown in the report.

    Attributes:
      name: name of the stimulus, with the frame number for a video.
      scores: by name, (before, after).
      image: uint8 RGB [H, W, 3].
      truth, before, after: densities, float [H, W].
    """

    name: str
    scores: Mapping[str, tuple[float, float]]
    image: np.ndarray
    truth: np.ndarray
    before: np.ndarray
    after: np.ndarray


@dataclasses.dataclass(frozen=True)
class Report:
    """The report of a fine-tuning.

    Attributes:
      title: name of the data.
      kind: "image" or "video".
      about: facts, by name.
      lines: what was chosen, and why.
      division: the stimuli.
      before, after, people: evaluations; `people` is None if observers are unknown.
      curves: curves of the training.
      commands: commands that reproduce the scores and use the weights, by purpose.
      files: written files, by description.
      shown: example frames; not part of the JSON.
    """

    title: str
    kind: str
    about: Mapping[str, str]
    lines: tuple[str, ...]
    division: Division
    before: Document
    after: Document
    people: Document | None
    curves: Curves
    commands: Mapping[str, str]
    files: Mapping[str, str]
    shown: tuple[Shown, ...] = ()

    @property
    def differences(self) -> dict[str, Difference]:
        """After minus before, by score."""
        return differences(self.before, self.after)

    @property
    def methods(self) -> dict[str, Document]:
        """`mean` and `ci` by method: centre prior, before, after, other people."""
        found = {CENTRE_PRIOR: self.before["baselines"].get("centre_prior"), BEFORE: self.before}
        found |= {AFTER: self.after}
        if self.people is not None:
            found[PEOPLE] = self.people["baselines"].get("inter_observer")
        return {name: each for name, each in found.items() if each}

    @property
    def columns(self) -> list[str]:
        """The available scores, in the order of the protocols."""
        return [name for name in SCORES if any(name in each["mean"] for each in self.methods.values())]


def verdict(report: Report) -> tuple[list[str], list[str]]:
    """(gains, warnings) as lines.

    A score has a gain if the 95% interval of the paired difference contains improvements only.
    """
    gains, warnings = [], []
    found = report.differences
    for name in DECIDING:
        if name not in found:
            continue
        difference, title = found[name], SCORE_TITLES[name]
        (low, high), unit = difference.ci, f"{difference.stimuli} held-out {report.kind}s"
        change = f"{title} {difference.mean:+.3f}"
        if math.isnan(low):
            warnings.append(f"{change} on one held-out {report.kind}: it may be due to chance")
            continue
        line = f"{change} ({low:+.3f} to {high:+.3f}) on {unit}"
        if low <= 0 <= high:
            warnings.append(f"no significant gain: {line}; the 95% interval contains zero")
        elif (difference.mean > 0) == (name in LOWER_IS_BETTER):
            warnings.append(f"worse than before: {line}")
        else:
            gains.append(line)
    if tested(report.division) < FEW_TESTED:
        warnings.append(
            f"the test has only {tested(report.division)} {report.kind}s: its intervals hardly generalise"
        )
    return gains, warnings


def share_of_ceiling(report: Report) -> str:
    """NSS before and after, on a scale from centre prior to other people; empty if unknown."""
    nss = {name: each["mean"].get("nss") for name, each in report.methods.items()}
    if any(nss.get(name) is None for name in (CENTRE_PRIOR, BEFORE, AFTER, PEOPLE)):
        return ""
    span = nss[PEOPLE] - nss[CENTRE_PRIOR]
    if span <= 0:
        return ""
    before, after = (100 * (nss[name] - nss[CENTRE_PRIOR]) / span for name in (BEFORE, AFTER))
    return f"from centre prior (0%) to other people (100%): NSS was at {before:.0f}%, is at {after:.0f}%"


def table_text(report: Report) -> str:
    """A table for the terminal with a row per method, and the differences with their intervals below."""
    names = report.columns
    rows = [["", *(SCORE_TITLES[name] for name in names)]]
    for title, method in report.methods.items():
        rows.append([title, *(_cell(method["mean"].get(name)) for name in names)])
    found = report.differences
    for title, numbers in (
        ("after - before", {name: each.mean for name, each in found.items()}),
        ("  95% from", {name: each.ci[0] for name, each in found.items()}),
        ("  to", {name: each.ci[1] for name, each in found.items()}),
    ):
        rows.append([title, *(_cell(numbers.get(name), "+") for name in names)])
    return "\n".join(
        " ".join([row[0].ljust(15), *(cell.rjust(8) for cell in row[1:])]).rstrip() for row in rows
    )


def to_json(report: Report) -> str:
    """The report as JSON text, identical for identical scores; ends with a newline.

    Keys: `about`; `plan` (lines); `stimuli` (ids of `train`, `validation` and `test`, and `split`, the
    split of the dataset that each comes from); `scores` by method (`mean`, `ci`); `difference` by score
    (`mean`, `ci`, `stimuli`); `gains` and `warnings`; `training` (`epochs`, `best_step`); `per_stimulus`
    (`before`, `after`); `commands`; `files`. Floats are rounded to 6 significant digits.
    """
    gains, warnings = verdict(report)
    document = {
        "about": dict(report.about),
        "plan": list(report.lines),
        "stimuli": {
            **{split: list(report.division.parts[split][1]) for split in SPLITS},
            "split": {split: report.division.parts[split][0] for split in SPLITS},
        },
        "scores": {
            name.replace(" ", "_"): {"mean": each["mean"], "ci": each["ci"]}
            for name, each in report.methods.items()
        },
        "difference": {
            name: {"mean": each.mean, "stimuli": each.stimuli}
            | ({} if math.isnan(each.ci[0]) else {"ci": list(each.ci)})
            for name, each in report.differences.items()
        },
        "gains": gains,
        "warnings": warnings,
        "training": {
            "epochs": [dict(each) for each in report.curves.epochs],
            "best_step": report.curves.best_step,
        },
        "per_stimulus": {
            name: {"before": per_stimulus(report.before).get(name, {}), "after": after}
            for name, after in per_stimulus(report.after).items()
        },
        "commands": dict(report.commands),
        "files": dict(report.files),
    }
    return json.dumps(_rounded(document), sort_keys=True, indent=1, allow_nan=False) + "\n"


def summary(report: Report) -> list[str]:
    """The lines printed at the end: scores, verdict, warnings, files and commands."""
    gains, warnings = verdict(report)
    ceiling = share_of_ceiling(report)
    return [
        table_text(report),
        "",
        *(f"gain: {line}" for line in gains),
        *(f"warning: {line}" for line in warnings),
        *([ceiling] if ceiling else []),
        *(f"{printable(path)}: {what}" for what, path in report.files.items()),
        *(f"{what}: {printable(command)}" for what, command in report.commands.items()),
    ]


def ranked(before: Document, after: Document) -> tuple[str, list[str]]:
    """(the first available deciding score; the stimuli, from the largest gain in it to the largest loss)."""
    name = next((name for name in DECIDING if paired(before, after, name)), "")
    sign = -1 if name in LOWER_IS_BETTER else 1
    gains = {each: sign * (new - old) for each, (old, new) in paired(before, after, name).items()}
    return name, sorted(gains, key=lambda each: (-gains[each], each))


def tested(division: Division) -> int:
    """The number of held-out stimuli."""
    return len(division.parts[TEST][1])


def _cell(value: float | None, sign: str = "") -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:{sign}.4f}"


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return rounded(value, _DIGITS) if isinstance(value, float) else value
