"""The paper's tables (2 to 6) as data, from `published.json`."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCORES = ("auc_judd", "sim", "s_auc", "cc", "nss")
"""Those of Tables 2 to 4, in their order; Table 5 has `kld` before them."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One method's scores on one dataset.

    Attributes:
      table: the paper's number.
      method: its name there, without the reference.
      dataset, split: what was scored.
      scores: by our names; those the paper leaves out are missing.
      config: in Table 5, the name of `configs/ablation.py`.
    """

    table: int
    method: str
    dataset: str
    split: str
    scores: Mapping[str, float]
    config: str = ""


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return document


def scores(*tables: int) -> tuple[Row, ...]:
    """The rows of these tables."""
    return tuple(Row(**row) for row in _document()["scores"] if row["table"] in tables)


def costs() -> tuple[dict[str, Any], ...]:
    """Table 6: `method`, `megabytes`, `seconds` a frame on a GPU; either may be missing."""
    return tuple(_document()["costs"])
