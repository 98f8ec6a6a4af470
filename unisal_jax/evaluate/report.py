"""Reports of an evaluation: a table for the terminal, JSON, CSV and an HTML page."""

import csv
import io
import json
import math
import time
from pathlib import Path
from typing import Any

from unisal_jax.documents import rounded
from unisal_jax.evaluate import wording
from unisal_jax.evaluate.protocols import PROTOCOLS, SCORES
from unisal_jax.evaluate.report_html import page
from unisal_jax.evaluate.results import Evaluation, MethodScores
from unisal_jax.files import write_text
from unisal_jax.version import __version__

# Sums in another order (on other hardware or library releases) differ in the last digits of a float. Ten
# digits are stable, and more than any score is accurate to.
_DIGITS = 10


def table_text(evaluation: Evaluation) -> str:
    """A table of means and 95% intervals, and a description of the data; ends with a newline.

    Each method has a row and each score a column; the ends of the interval are in the two rows below.
    The table is 80 columns wide, apart from file names.
    """
    names = wording.columns(evaluation)
    rows = [["", *(wording.score_title(name) for name in names)]]
    for method in evaluation.methods:
        low, high = ({name: ends[at] for name, ends in method.ci.items()} for at in (0, 1))
        rows.append([wording.method_title(method.name), *_cells(method.mean, names)])
        rows.append(["  95% from", *_cells(low, names)])
        rows.append(["  to", *_cells(high, names)])
    label_width = max(len(row[0]) for row in rows)
    lines = [
        " ".join([row[0].ljust(label_width), *(cell.rjust(8) for cell in row[1:])]).rstrip() for row in rows
    ]
    averaging = wording.averaging(PROTOCOLS.get(evaluation.protocol), evaluation.kind)
    facts = [
        ("protocol", [f"{evaluation.protocol}: {averaging}"]),
        ("domain", [evaluation.about["domain"]] if "domain" in evaluation.about else []),
        ("scored", [wording.extent(evaluation)]),
        ("noted", wording.noted_lines(evaluation)),
        ("skipped", [wording.printable(line) for line in evaluation.skipped]),
    ]
    lines.append("")
    for title, texts in facts:
        lines += [f"{title if not at else '':<10}{text}" for at, text in enumerate(texts)]
    return "\n".join(lines) + "\n"


def to_json(evaluation: Evaluation) -> str:
    """The evaluation as JSON text, identical from run to run; ends with a newline.

    Keys: `mean` and `ci` (by score) of the predictions; `per_image` or `per_video` (by name, then
    by score); `counts` (`frames`, `images` or `videos`, `scored` by score, `left_out` by reason,
    `skipped`); `notes`, if there are any; `protocol`; `about`; `baselines` (by method: `mean`, `ci`).
    NaN and infinite scores have no key. Floats are rounded to 10 significant digits.
    """
    scored, *baselines = evaluation.methods
    document = {
        **_means(scored),
        "about": evaluation.about,
        "baselines": {method.name: _means(method) for method in baselines},
        "counts": {
            "frames": len(scored.frames),
            f"{evaluation.kind}s": len(scored.groups),
            "left_out": scored.left_out,
            "scored": scored.scored,
            "skipped": len(evaluation.skipped),
        },
        "protocol": evaluation.protocol,
        **({"notes": list(evaluation.notes)} if evaluation.notes else {}),
        f"per_{evaluation.kind}": scored.groups,
    }
    return json.dumps(_rounded(document), sort_keys=True, indent=1, allow_nan=False) + "\n"


def write_json(path: str | Path, evaluation: Evaluation) -> None:
    """Writes `to_json` atomically.

    Raises:
      UnisalError: the file cannot be written.
    """
    write_text(path, to_json(evaluation))


def write_csv(path: str | Path, evaluation: Evaluation) -> None:
    """Writes a row for each method and frame, atomically.

    Columns: method, group (the image's or video's name), frame (from 1), the protocol's scores
    (an empty cell is NaN), faults (separated by spaces).

    Raises:
      UnisalError: the file cannot be written.
    """
    names = SCORES if evaluation.protocol in PROTOCOLS else wording.columns(evaluation)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "group", "frame", *names, "faults"])
    for method in evaluation.methods:
        for frame in method.frames:
            scores = [frame.scores.get(name, math.nan) for name in names]
            cells = ["" if math.isnan(score) else repr(rounded(score, _DIGITS)) for score in scores]
            writer.writerow([method.name, frame.group, frame.frame, *cells, " ".join(frame.faults)])
    write_text(path, text.getvalue())


def write_html(path: str | Path, evaluation: Evaluation) -> None:
    """Writes a self-contained HTML page atomically (`report_html.page`).

    The page shows the package version and the date.

    Raises:
      UnisalError: the file cannot be written.
    """
    made = {"version": f"unisal-jax {__version__}", "date": time.strftime("%Y-%m-%d")}
    write_text(path, page(evaluation, made))


def _cells(values: dict[str, float], names: list[str]) -> list[str]:
    return [f"{values[name]:z.4f}" if math.isfinite(values.get(name, math.nan)) else "-" for name in names]


def _means(method: MethodScores) -> dict[str, Any]:
    return {"ci": method.ci, "mean": method.mean}


def _rounded(value: Any) -> Any:
    """The value with rounded floats, and without NaN and infinite entries."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items() if _is_finite(each)}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return rounded(value, _DIGITS) if isinstance(value, float) else value


def _is_finite(value: Any) -> bool:
    """False for NaN and infinity, and for a list or pair that contains one."""
    if isinstance(value, (list, tuple)):
        return all(_is_finite(each) for each in value)
    return not isinstance(value, float) or math.isfinite(value)
