"""The paper's tables (2 to 6) as data, from `published.json`."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCORES = ("auc_judd", "sim", "s_auc", "cc", "nss")
"""Scores of Tables 2 to 4, in order; Table 5 also has `kld`, before them."""


@dataclasses.dataclass(frozen=True)
class Row:
    """The scores of one method on one dataset.

    Attributes:
      table: number of the table in the paper.
      method: name of the method in the table, without the reference.
      dataset, split: the data scored.
      scores: by this package's names; scores that the paper leaves out are missing.
      config: for Table 5, the name in `configs/ablation.py`.
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
    """The rows of the given tables."""
    return tuple(Row(**row) for row in _document()["scores"] if row["table"] in tables)


def costs() -> tuple[dict[str, Any], ...]:
    """Table 6: `method`, `megabytes`, `seconds` per frame on a GPU; the last two may be missing."""
    return tuple(_document()["costs"])
