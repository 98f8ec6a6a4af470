"""The folder of a fine-tuning: its files, and the check that it contains one fine-tuning only.

`plan.json` is written first and describes the fine-tuning; a later start with other settings is refused. Each
stage writes its result atomically, so existing results are complete and are not computed again.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from unisal_jax.documents import read_json, write_json
from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder, make_folder
from unisal_jax.finetune.plan import Division
from unisal_jax.train.config import TrainConfig
from unisal_jax.train.fields import typed

PLAN = "plan.json"
DATA = "data"
TRAINING = "training"
SCORES = "scores"
WEIGHTS = "weights.safetensors"
BLEND = "blend.json"
REPORT, PAGE = "report.json", "report.html"


@dataclasses.dataclass(frozen=True)
class FinetunePlan:
    """The plan of a fine-tuning.

    Attributes:
      settings: identify the fine-tuning: `data`, `domain`, `train`, `seed`, `stride`, `overrides`.
      division: division of the stimuli.
      config: config of the first training.
      runs: number of trainings (`recipe.variant`).
      lines: what was chosen, and why.
    """

    settings: dict[str, Any]
    division: Division
    config: TrainConfig
    runs: int
    lines: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The plan as JSON data."""
        plan = {
            "settings": self.settings,
            "parts": self.division.parts,
            "config": json.loads(self.config.to_json()),
            "runs": self.runs,
            "lines": self.lines,
        }
        stored: dict[str, Any] = json.loads(json.dumps(plan))
        return stored


def start(folder: Path, plan: FinetunePlan, given: frozenset[str]) -> FinetunePlan:
    """Returns the plan to follow: the one stored in the folder, or else this one, which is then stored.

    A stored plan keeps its training config and choices, even if a later version of the package would choose
    differently.

    Args:
      folder: folder of the fine-tuning; created if missing.
      plan: the new plan.
      given: names of the settings that the user gave; the others follow from the amount of data.

    Raises:
      UnisalError: the folder contains another fine-tuning or other files, or cannot be written.
    """
    path = folder / PLAN
    if not path.exists() and folder.is_dir() and (there := list_folder(folder)):
        raise UnisalError(f"{folder}: contains {there[0].name} but no fine-tuning; choose another --out")
    # A stored plan without any results can be replaced.
    if not any((folder / each).exists() for each in (SCORES, TRAINING, WEIGHTS)):
        make_folder(folder)
        write_json(path, plan.document())
        return plan
    new, old = plan.document(), read_json(path, "the plan of a fine-tuning")
    try:
        config = typed(TrainConfig, old["config"], "config")
        for name, value in new["settings"].items():
            before = old["settings"][name]
            if before != value and (name in given or name not in ("domain", "train")):
                raise _Other(f"{path}: {_told(name, before)}, not {_told(name, value)}; choose another --out")
        if old["parts"] != new["parts"]:
            raise _Other(f"{path}: was made for other stimuli than are in the data now; choose another --out")
        runs = typed(int, old["runs"], "runs")
        return FinetunePlan(old["settings"], plan.division, config, runs, tuple(map(str, old["lines"])))
    except _Other:
        raise
    except (UnisalError, KeyError, TypeError, AttributeError) as error:
        raise UnisalError(f"{path}: damaged ({error}); choose another --out") from error


class _Other(UnisalError):
    """The stored fine-tuning is a different one."""


def _told(name: str, value: Any) -> str:
    if name == "overrides":
        return " ".join(value) if value else "no --config.NAME=VALUE"
    return f"--{name} {value}" if name != "stride" else f"a frame stride of {value}"
