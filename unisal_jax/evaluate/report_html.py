"""An evaluation as one HTML page that needs no other file: style, charts and pictures are inside it."""

import base64
import io
import math
from collections.abc import Mapping
from html import escape
from types import MappingProxyType

import cv2
import numpy as np
from PIL import Image

from unisal_jax.evaluate import wording
from unisal_jax.evaluate.histogram import histogram_svg
from unisal_jax.evaluate.protocols import get_protocol
from unisal_jax.evaluate.results import Evaluation, Example, MethodScores
from unisal_jax.media.overlay import overlay

# Three pictures side by side on a desktop screen of twice the usual density.
_PICTURE_SIDE = 640
_JPEG_QUALITY = 85
# Shown at once; a reader with more of them wants the CSV.
_MAX_SKIPPED = 200

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1d2330; --quiet: #5d6677; --line: #dfe3ea;
  --card: #f5f7fa; --bar: #4c7dd9; --mean: #c4452f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171d; --text: #e6e9ef; --quiet: #9aa4b5;
  --line: #2e3440; --card: #1d222b; --bar: #6f9cf0; --mean: #ff8a70; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--ground);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .25rem 0; }
.quiet { color: var(--quiet); font-size: .875rem; }
.tiles, .charts { display: grid; gap: .75rem; margin-top: 1rem; }
.tiles { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); }
.tile, .chart { background: var(--card); border-radius: .5rem; padding: .75rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .4rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td small { display: block; color: var(--quiet); }
th[scope="row"] { font-weight: 400; }
.first td, .first th[scope="row"], .facts th[scope="row"] { font-weight: 600; }
.first small { font-weight: 400; }
.facts th, .facts td { text-align: left; white-space: normal; }
.facts th { width: 9rem; }
svg { display: block; width: 100%; height: auto; }
.bar { fill: var(--bar); }
.axis { stroke: var(--quiet); fill: none; }
.mean { stroke: var(--mean); stroke-width: 1.5; stroke-dasharray: 4 3; fill: none; }
.tick, .mean-label { font: 11px system-ui, sans-serif; fill: var(--quiet); }
.mean-label { fill: var(--mean); }
.row { display: grid; grid-template-columns: repeat(3, 1fr); gap: .5rem; }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr; } }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: .25rem; }
code { display: block; padding: .75rem; border-radius: .5rem; background: var(--card); }
"""


def page(evaluation: Evaluation, made: Mapping[str, str] = MappingProxyType({})) -> str:
    """The page as text.

    It shows the predictions' means, all methods with their 95% intervals, a histogram of each score,
    the examples as rows of input, ground truth and prediction, what was left out, what the protocol
    means by its scores, and how the page was made (`about`, with `about["command"]` as a command
    line). All text is escaped. The same arguments give the same bytes.

    Args:
      evaluation: what to show.
      made: facts on the making of the page, such as a version and a date, to show with `about`.

    Raises:
      UnisalError: the protocol is unknown.
      ValueError: an example's image and maps differ in size.
    """
    facts = {name: str(value) for name, value in evaluation.about.items() if name != "command"}
    facts |= made
    headline = (
        " on ".join(facts[name] for name in ("weights", "predictions", "data") if name in facts)
        or evaluation.protocol
    )
    sections = [
        f"<h1>{_text(headline)}</h1>",
        f'<p class="quiet">Saliency evaluation, protocol <b>{_text(evaluation.protocol)}</b>, '
        f"{wording.extent(evaluation)}</p>",
        _tiles(evaluation),
        _table(evaluation),
        _histograms(evaluation),
        _examples(evaluation),
        _left_out(evaluation),
        _definitions(evaluation),
        _made_by(facts, evaluation.about.get("command")),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(headline)}: saliency evaluation</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


def _tiles(evaluation: Evaluation) -> str:
    """The predictions' means in large type."""
    scored = evaluation.methods[0]
    tiles = [
        f'<div class="tile">{wording.SCORE_TITLES[name]}<b>{_number(scored.mean[name])}</b>'
        f'<span class="quiet">{_interval(scored, name, digits=3) or "no interval"}</span></div>'
        for name in wording.columns(evaluation)
        if name in scored.mean
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(evaluation: Evaluation) -> str:
    """All methods, a row each; the predictions' row stands out."""
    names = wording.columns(evaluation)
    head = "".join(
        f'<th scope="col" title="{"lower" if name in wording.LOWER_IS_BETTER else "higher"} is better">'
        f"{wording.SCORE_TITLES[name]} {'↓' if name in wording.LOWER_IS_BETTER else '↑'}</th>"
        for name in names
    )
    rows = []
    for method in evaluation.methods:
        cells = "".join(
            f"<td>{_number(method.mean[name])}<small>{_interval(method, name)}</small></td>"
            if name in method.mean
            else "<td>–</td>"
            for name in names
        )
        mark = ' class="first"' if method is evaluation.methods[0] else ""
        rows.append(f'<tr{mark}><th scope="row">{_text(wording.method_title(method.name))}</th>{cells}</tr>')
    averaging = wording.averaging(get_protocol(evaluation.protocol), evaluation.kind)
    return (
        f'<h2>Scores and baselines</h2><div class="wide"><table><tr><th scope="col">method</th>{head}</tr>'
        f'{"".join(rows)}</table></div><p class="quiet">{averaging}</p>'
    )


def _histograms(evaluation: Evaluation) -> str:
    """The predictions' scores over images or videos; over the frames where there is but one of these."""
    scored = evaluation.methods[0]
    by_group = len(scored.groups) > 1
    noun = evaluation.kind if by_group else "frame"
    everyone = list(scored.groups.values()) if by_group else [frame.scores for frame in scored.frames]
    charts = []
    for name in wording.columns(evaluation):
        values = [scores[name] for scores in everyone if math.isfinite(scores.get(name, math.nan))]
        if values:
            chart = histogram_svg(values, scored.mean.get(name, math.nan), noun)
            charts.append(f'<div class="chart">{wording.SCORE_TITLES[name]}{chart}</div>')
    if not charts:
        return ""
    return f'<h2>Distribution over {noun}s</h2><div class="charts">{"".join(charts)}</div>'


def _examples(evaluation: Evaluation) -> str:
    if not evaluation.examples:
        return ""
    shown = "".join(_example(example, evaluation.kind == "video") for example in evaluation.examples)
    by = wording.SCORE_TITLES.get(evaluation.examples_by, "")
    chosen = f'<p class="quiet">Chosen by the prediction\'s {by}.</p>' if by else ""
    return f"<h2>Examples</h2>{chosen}{shown}"


def _example(example: Example, in_video: bool) -> str:
    """One frame: its scores, and three pictures in a row."""
    name = f"{example.group}, frame {example.frame}" if in_video else example.group
    scores = " · ".join(
        f"{title} {example.scores[score]:.3f}"
        for score, title in wording.SCORE_TITLES.items()
        if math.isfinite(example.scores.get(score, math.nan))
    )
    pictures = {
        "input": example.image,
        "ground truth": overlay(example.image, example.truth),
        "prediction": overlay(example.image, example.prediction),
    }
    figures = "".join(
        f'<figure><img src="{_data_uri(picture)}" alt="{what}, {_text(name)}">'
        f'<figcaption class="quiet">{what}</figcaption></figure>'
        for what, picture in pictures.items()
    )
    return (
        f'<h3>{_text(example.title.capitalize())}: {_text(name)}</h3><p class="quiet">{scores}</p>'
        f'<div class="row">{figures}</div>'
    )


def _left_out(evaluation: Evaluation) -> str:
    """Frames with something amiss, and inputs that could not be scored."""
    noted = [_text(line) for line in wording.noted_lines(evaluation)]
    skipped = [_text(line) for line in evaluation.skipped[:_MAX_SKIPPED]]
    if len(evaluation.skipped) > _MAX_SKIPPED:
        skipped.append(f"and {len(evaluation.skipped) - _MAX_SKIPPED:,} more")
    parts = []
    if noted:
        parts.append(_list(noted))
    if skipped:
        parts.append(
            f"<h3>Skipped: {wording.number_of(len(evaluation.skipped), 'input')}</h3>{_list(skipped)}"
        )
    return "<h2>Left out and noted</h2>" + ("".join(parts) or '<p class="quiet">Nothing.</p>')


def _definitions(evaluation: Evaluation) -> str:
    definitions = wording.definitions(get_protocol(evaluation.protocol))
    rows = {wording.SCORE_TITLES[name]: definitions[name] for name in wording.columns(evaluation)}
    return f"<h2>The scores as protocol {_text(evaluation.protocol)} defines them</h2>{_facts(rows)}"


def _made_by(facts: dict[str, str], command: object) -> str:
    line = f"<code>{_text(command)}</code>" if command else ""
    rows = _facts({name.replace("_", " "): value for name, value in sorted(facts.items())}) if facts else ""
    return f"<h2>How this was made</h2>{line}{rows}" if line or rows else ""


def _facts(rows: dict[str, str]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in rows.items()
    )
    return f'<table class="facts">{cells}</table>'


def _list(items: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _text(value: object) -> str:
    return escape(wording.printable(value))


def _number(value: float) -> str:
    return f"{value:.4f}"


def _interval(method: MethodScores, name: str, digits: int = 4) -> str:
    """The 95% interval, or nothing where there is none."""
    low, high = method.ci.get(name, (math.nan, math.nan))
    return f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(low + high) else ""


def _data_uri(picture: np.ndarray) -> str:
    """uint8 RGB [H, W, 3] as a JPEG inside a URI, shrunk to what a page can show."""
    shrink = min(1.0, _PICTURE_SIDE / max(picture.shape[:2]))
    size = tuple(max(1, round(side * shrink)) for side in picture.shape[1::-1])
    if shrink < 1:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
