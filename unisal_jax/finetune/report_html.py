"""A fine-tuning as a self-contained HTML page with style, curves and images inside."""

import math

from unisal_jax.evaluate import html_parts as parts
from unisal_jax.evaluate.histogram import histogram_svg
from unisal_jax.evaluate.protocols import get_protocol
from unisal_jax.evaluate.wording import LOWER_IS_BETTER, SCORE_TITLES, averaging, definitions, number_of
from unisal_jax.finetune import chart
from unisal_jax.finetune.plan import TEST
from unisal_jax.finetune.report import (
    AFTER,
    BEFORE,
    DECIDING,
    Report,
    Shown,
    share_of_ceiling,
    tested,
    verdict,
)
from unisal_jax.finetune.scores import PROTOCOL, paired
from unisal_jax.media.overlay import overlay

_STYLE = (
    chart.STYLE
    + """
.warning { border-left: .25rem solid var(--mean); padding: .25rem 0 .25rem .75rem; margin: .5rem 0; }
.charts.curves { grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); }
.change td, .change th[scope="row"] { border-top: 2px solid var(--line); }
details { margin: .5rem 0; }
summary { cursor: pointer; }
code { overflow-x: auto; white-space: pre; }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr 1fr; } }
"""
)

_CURVES = {"loss": "loss", **{name: SCORE_TITLES[name] for name in ("nss", "cc", "kld")}}


def page(report: Report) -> str:
    """The page as text, with all names escaped. The same arguments give the same bytes."""
    sections = [
        f"<h1>{parts.text(report.title)}: before and after fine-tuning</h1>",
        f'<p class="quiet">New domain <b>{parts.text(report.about.get("domain", ""))}</b>, scored on '
        f"{number_of(tested(report.division), report.kind)} held out of training and validation</p>",
        _verdict(report),
        _tiles(report),
        _table(report),
        _changes(report),
        _curves(report),
        _examples(report),
        _plan(report),
        _definitions(report),
        _commands(report),
    ]
    return parts.document(f"{report.title}: fine-tuning", sections, _STYLE)


def _verdict(report: Report) -> str:
    gains, warnings = verdict(report)
    shown = [f"<p><b>Gain:</b> {parts.text(line)}.</p>" for line in gains]
    shown += [f'<p class="warning"><b>Warning:</b> {parts.text(line)}.</p>' for line in warnings]
    if ceiling := share_of_ceiling(report):
        shown.append(f"<p>{parts.text(ceiling[0].upper() + ceiling[1:])}.</p>")
    return "".join(shown)


def _tiles(report: Report) -> str:
    tiles = []
    for name in report.columns:
        old, new = (report.methods[method]["mean"].get(name) for method in (BEFORE, AFTER))
        if old is not None and new is not None:
            tiles.append(
                f'<div class="tile">{SCORE_TITLES[name]}<b>{new:.3f}</b>'
                f'<span class="quiet">before: {old:.3f}</span></div>'
            )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(report: Report) -> str:
    names = report.columns
    head = "".join(
        f'<th scope="col" title="{"lower" if name in LOWER_IS_BETTER else "higher"} is better">'
        f"{SCORE_TITLES[name]} {'↓' if name in LOWER_IS_BETTER else '↑'}</th>"
        for name in names
    )
    rows = []
    for title, method in report.methods.items():
        cells = "".join(_cell(method["mean"].get(name), method["ci"].get(name)) for name in names)
        mark = ' class="first"' if title == AFTER else ""
        rows.append(f'<tr{mark}><th scope="row">{parts.text(title)}</th>{cells}</tr>')
    found = report.differences
    cells = "".join(
        _cell(found[name].mean, found[name].ci, "+") if name in found else "<td>–</td>" for name in names
    )
    rows.append(f'<tr class="change"><th scope="row">after minus before</th>{cells}</tr>')
    over = averaging(get_protocol(PROTOCOL), report.kind)
    return (
        f'<h2>Scores on the held-out {report.kind}s</h2><div class="wide"><table><tr><th scope="col"></th>'
        f'{head}</tr>{"".join(rows)}</table></div><p class="quiet">Protocol {PROTOCOL}: {over}; for '
        f"the difference, over pairs by {report.kind}. Centre prior: the mean map of the training "
        f"{report.kind}s. Other people: each observer's fixations scored by those of the others (if "
        "observers are known), a ceiling for any map.</p>"
    )


def _changes(report: Report) -> str:
    charts = []
    for name in DECIDING:
        pairs = paired(report.before, report.after, name)
        if len(pairs) > 1:
            values = [new - old for old, new in pairs.values()]
            svg = histogram_svg(values, sum(values) / len(values), report.kind)
            charts.append(f'<div class="chart">{SCORE_TITLES[name]}{svg}</div>')
    if not charts:
        return ""
    return f'<h2>After minus before, by {report.kind}</h2><div class="charts curves">{"".join(charts)}</div>'


def _curves(report: Report) -> str:
    curves = report.curves
    if not curves.epochs:
        return ""
    per_epoch = curves.epochs[0]["step"] / curves.epochs[0]["epoch"]
    best = curves.best_step / per_epoch
    charts = []
    for name, title in _CURVES.items():
        points = [(each["epoch"], each[name]) for each in curves.epochs if math.isfinite(each[name])]
        if not points:
            continue
        behind = [(step / per_epoch, loss) for step, loss in curves.steps] if name == "loss" else []
        svg = chart.curve_svg(points, title, best, behind)
        charts.append(f'<div class="chart">{title}{svg}</div>')
    return (
        f'<h2>Training</h2><p class="quiet">On the validation {report.kind}s, after each epoch. The weights '
        "of the marked epoch were used. Thin line: training loss. If there were several trainings, this is "
        "the first.</p>"
        f'<div class="charts curves">{"".join(charts)}</div>'
    )


def _examples(report: Report) -> str:
    if not report.shown:
        return ""
    rows = "".join(_example(shown) for shown in report.shown)
    return (
        f'<h2>Held-out {report.kind}s</h2><p class="quiet">Evenly spaced from largest gain to largest '
        f"loss. The page contains these images of the dataset: consider this before you share it.</p>{rows}"
    )


def _example(shown: Shown) -> str:
    scores = " · ".join(
        f"{SCORE_TITLES[name]} {old:.3f} to {new:.3f}"
        for name, (old, new) in shown.scores.items()
        if name in SCORE_TITLES
    )
    images = {
        "input": shown.image,
        "ground truth": overlay(shown.image, shown.truth),
        BEFORE: overlay(shown.image, shown.before),
        AFTER: overlay(shown.image, shown.after),
    }
    return (
        f'<h3>{parts.text(shown.name)}</h3><p class="quiet">{scores}</p>{parts.figures(images, shown.name)}'
    )


def _plan(report: Report) -> str:
    ids = ", ".join(parts.text(each) for each in report.division.parts[TEST][1])
    count = number_of(tested(report.division), f"held-out {report.kind}")
    return (
        f"<h2>What was done</h2>{parts.listed(parts.text(line) for line in report.lines)}"
        f'<details><summary>{count}</summary><p class="quiet">{ids}</p></details>'
        f"{parts.facts(report.about)}"
    )


def _definitions(report: Report) -> str:
    meant = definitions(get_protocol(PROTOCOL))
    rows = {SCORE_TITLES[name]: meant[name] for name in report.columns}
    title = f"Definitions of the scores in protocol {PROTOCOL}"
    return f"<details><summary>{title}</summary>{parts.facts(rows)}</details>"


def _commands(report: Report) -> str:
    shown = "".join(
        f"<h3>{parts.text(what[0].upper() + what[1:])}</h3><code>{parts.text(command)}</code>"
        for what, command in report.commands.items()
    )
    return f"<h2>Commands</h2>{shown}"


def _cell(mean: float | None, ci: object, sign: str = "") -> str:
    if mean is None or not math.isfinite(mean):
        return "<td>–</td>"
    low, high = ci if isinstance(ci, list | tuple) else (math.nan, math.nan)
    interval = f"{low:{sign}.3f} to {high:{sign}.3f}" if math.isfinite(low + high) else ""
    return f"<td>{mean:{sign}.3f}<small>{interval}</small></td>"
