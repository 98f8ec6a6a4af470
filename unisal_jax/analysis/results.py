"""The results of an analysis as files: figures, tables and numbers."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unisal_jax.documents import rounded
from unisal_jax.files import atomic_path, write_errors, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = "results.json"
_FORMATS = ("png", "svg")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      name: stem of its files.
      caption: what it shows.
      columns: titles of the columns.
      rows: rows with a cell per column; None if there is no value.
      digits: decimal places of floats.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    digits: int = 3

    def __post_init__(self):
        for row in self.rows:
            assert len(row) == len(self.columns), (self.name, row)

    def texts(self) -> list[list[str]]:
        """The cells as text, row by row; "-" for no value."""
        return [[self._text(cell) for cell in row] for row in self.rows]

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        rule = ["---", *["---:" for _ in self.columns[1:]]]
        lines = [list(self.columns), rule, *self.texts()]
        return "\n".join(
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
        )

    def latex(self) -> str:
        """The table as a LaTeX `tabular` with booktabs rules."""
        head, *body = (
            " & ".join(_tex(cell) for cell in line) for line in [list(self.columns), *self.texts()]
        )
        rows = [f"{line} \\\\" for line in body]
        layout = "l" + "r" * (len(self.columns) - 1)
        begin, end = f"\\begin{{tabular}}{{{layout}}}", "\\end{tabular}"
        return "\n".join([begin, "\\toprule", f"{head} \\\\", "\\midrule", *rows, "\\bottomrule", end])

    def _text(self, cell: object) -> str:
        if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
            return "-"
        return f"{cell:.{self.digits}f}" if isinstance(cell, float) else str(cell)


@dataclasses.dataclass(frozen=True)
class NamedFigure:
    """A figure with the stem of its files and its caption."""

    name: str
    caption: str
    figure: "Figure"


@dataclasses.dataclass(frozen=True)
class Analysis:
    """The results of one analysis.

    Attributes:
      title: title, with the figure or table of the paper.
      text: what was done, and with which data.
      figures, tables: in the order of the page.
      numbers: all measurements, for JSON.
    """

    title: str
    text: str
    figures: tuple[NamedFigure, ...] = ()
    tables: tuple[Table, ...] = ()
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write(folder: Path, name: str, analysis: Analysis, command: str) -> None:
    """Writes an analysis into `folder/name/`.

    Figures are written as PNG and SVG, tables as Markdown, LaTeX and JSON. `results.json` is written last
    and contains the texts, tables and numbers.

    Raises:
      UnisalError: a file cannot be written.
    """
    home = folder / name
    with write_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    for each in analysis.figures:
        for kind in _FORMATS:
            save_figure(home / f"{each.name}.{kind}", each.figure)
    for table in analysis.tables:
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        write_text(home / f"{table.name}.md", f"{table.markdown()}\n")
        write_text(home / f"{table.name}.tex", f"{table.latex()}\n")
        write_text(home / f"{table.name}.json", to_json(rows))
    document = {
        "command": command,
        "numbers": dict(analysis.numbers),
        "pictures": [{"caption": each.caption, "name": each.name} for each in analysis.figures],
        "tables": [
            {"caption": each.caption, "columns": each.columns, "name": each.name, "rows": each.texts()}
            for each in analysis.tables
        ],
        "text": analysis.text,
        "title": analysis.title,
    }
    write_text(home / RESULTS, to_json(document))


def save_figure(path: Path, figure: "Figure") -> None:
    """Writes a figure atomically, as .png or .svg by the suffix of the path.

    Raises:
      UnisalError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    with atomic_path(path) as temporary:
        # Without a date, the same figure gives the same file.
        about = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(temporary, format=kind, metadata=about)


def to_json(value: Any) -> str:
    """JSON with sorted keys and floats of ten digits; NaN and infinity become null; ends with a newline."""
    return json.dumps(_plain(value), sort_keys=True, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return rounded(value, 10) if math.isfinite(value) else None
    return value


def _tex(cell: str) -> str:
    marks = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$"}
    return "".join(marks.get(char, char) for char in cell)
