"""The folder of a fine-tuning: what it holds, and that it holds one fine-tuning alone.

`plan.json` is written first, and says what is done; a later start with other settings is refused. What a
stage leaves is written whole, so what is there is finished, and not done again.
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
class Plan:
    """What a fine-tuning does.

    Attributes:
      settings: what tells it from another one: `data`, `domain`, `train`, `seed`, `stride`, `overrides`.
      division: its stimuli.
      config: of the first training.
      runs: how many trainings there are (`recipe.variant`).
      lines: what was chosen, and why.
    """

    settings: dict[str, Any]
    division: Division
    config: TrainConfig
    runs: int
    lines: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        plan = {
            "settings": self.settings,
            "parts": self.division.parts,
            "config": json.loads(self.config.to_json()),
            "runs": self.runs,
            "lines": self.lines,
        }
        stored: dict[str, Any] = json.loads(json.dumps(plan))
        return stored


def start(folder: Path, plan: Plan, given: frozenset[str]) -> Plan:
    """The plan to follow: this one, which is written down, or the one that the folder has already.

    A stored one keeps its training's config and its choices, also where a later version of the package would
    make others.

    Args:
      folder: of the fine-tuning; is made.
      plan: made now.
      given: names of the settings that were asked for, and not chosen by the amount of data.

    Raises:
      UnisalError: the folder holds another fine-tuning, or other things; or cannot be written.
    """
    path = folder / PLAN
    if not path.exists() and folder.is_dir() and (there := list_folder(folder)):
        raise UnisalError(f"{folder}: holds {there[0].name} and no fine-tuning; name another --out")
    # A plan that nothing was done by is no other one.
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
                raise _Other(f"{path}: {_told(name, before)}, not {_told(name, value)}; name another --out")
        if old["parts"] != new["parts"]:
            raise _Other(f"{path}: was made for other stimuli than the data have now; name another --out")
        runs = typed(int, old["runs"], "runs")
        return Plan(old["settings"], plan.division, config, runs, tuple(map(str, old["lines"])))
    except _Other:
        raise
    except (UnisalError, KeyError, TypeError, AttributeError) as error:
        raise UnisalError(f"{path}: damaged ({error}); name another --out") from error


class _Other(UnisalError):
    """Another fine-tuning than the stored one."""


def _told(name: str, value: Any) -> str:
    if name == "overrides":
        return " ".join(value) if value else "no --config.NAME=VALUE"
    return f"--{name} {value}" if name != "stride" else f"a frame stride of {value}"
