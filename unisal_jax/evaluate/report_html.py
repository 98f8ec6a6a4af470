"""An evaluation as a self-contained HTML page with style, charts and images inside."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from unisal_jax.evaluate import html_parts as parts
from unisal_jax.evaluate import wording
from unisal_jax.evaluate.histogram import histogram_svg
from unisal_jax.evaluate.protocols import get_protocol
from unisal_jax.evaluate.results import Evaluation, Example, MethodScores
from unisal_jax.media.overlay import overlay

# Skipped inputs listed on the page; the rest are only counted.
_MAX_SKIPPED = 200


def page(evaluation: Evaluation, made: Mapping[str, str] = MappingProxyType({})) -> str:
    """The page as text.

    It shows the mean scores of the predictions, all methods with 95% intervals, a histogram of each
    score, examples as rows of input, ground truth and prediction, what was left out, how the protocol
    defines its scores, and how the page was made (`about`, with `about["command"]` as a command line).
    All text is escaped. The same arguments give the same bytes.

    Args:
      evaluation: the evaluation to show.
      made: facts about the report, such as version and date, to show with `about`.

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
        f"<h1>{parts.text(headline)}</h1>",
        f'<p class="quiet">Saliency evaluation, protocol <b>{parts.text(evaluation.protocol)}</b>, '
        f"{wording.extent(evaluation)}</p>",
        _tiles(evaluation),
        _table(evaluation),
        _histograms(evaluation),
        _examples(evaluation),
        _left_out(evaluation),
        _definitions(evaluation),
        _made_by(facts, evaluation.about.get("command")),
    ]
    return parts.document(f"{headline}: saliency evaluation", sections)


def _tiles(evaluation: Evaluation) -> str:
    """The mean scores of the predictions in large type."""
    scored = evaluation.methods[0]
    tiles = [
        f'<div class="tile">{wording.SCORE_TITLES[name]}<b>{_number(scored.mean[name])}</b>'
        f'<span class="quiet">{_interval(scored, name, digits=3) or "no interval"}</span></div>'
        for name in wording.columns(evaluation)
        if name in scored.mean
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(evaluation: Evaluation) -> str:
    """A table with a row per method; the row of the predictions is highlighted."""
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
        rows.append(
            f'<tr{mark}><th scope="row">{parts.text(wording.method_title(method.name))}</th>{cells}</tr>'
        )
    averaging = wording.averaging(get_protocol(evaluation.protocol), evaluation.kind)
    return (
        f'<h2>Scores and baselines</h2><div class="wide"><table><tr><th scope="col">method</th>{head}</tr>'
        f'{"".join(rows)}</table></div><p class="quiet">{averaging}</p>'
    )


def _histograms(evaluation: Evaluation) -> str:
    """Histograms of the predictions' scores over images or videos, or over the frames of a single one."""
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
    chosen = f'<p class="quiet">Chosen by the {by} of the prediction.</p>' if by else ""
    return f"<h2>Examples</h2>{chosen}{shown}"


def _example(example: Example, in_video: bool) -> str:
    """One frame: its scores, and three images in a row."""
    name = f"{example.group}, frame {example.frame}" if in_video else example.group
    scores = " · ".join(
        f"{title} {example.scores[score]:.3f}"
        for score, title in wording.SCORE_TITLES.items()
        if math.isfinite(example.scores.get(score, math.nan))
    )
    images = {
        "input": example.image,
        "ground truth": overlay(example.image, example.truth),
        "prediction": overlay(example.image, example.prediction),
    }
    return (
        f'<h3>{parts.text(example.title.capitalize())}: {parts.text(name)}</h3><p class="quiet">{scores}</p>'
        f"{parts.figures(images, name)}"
    )


def _left_out(evaluation: Evaluation) -> str:
    """Lists degenerate frames, and inputs that could not be scored."""
    noted = [parts.text(line) for line in wording.noted_lines(evaluation)]
    skipped = [parts.text(line) for line in evaluation.skipped[:_MAX_SKIPPED]]
    if len(evaluation.skipped) > _MAX_SKIPPED:
        skipped.append(f"and {len(evaluation.skipped) - _MAX_SKIPPED:,} more")
    found = []
    if noted:
        found.append(parts.listed(noted))
    if skipped:
        found.append(
            f"<h3>Skipped: {wording.number_of(len(evaluation.skipped), 'input')}</h3>{parts.listed(skipped)}"
        )
    return "<h2>Left out, and notes</h2>" + ("".join(found) or '<p class="quiet">Nothing.</p>')


def _definitions(evaluation: Evaluation) -> str:
    definitions = wording.definitions(get_protocol(evaluation.protocol))
    rows = {wording.SCORE_TITLES[name]: definitions[name] for name in wording.columns(evaluation)}
    return (
        f"<h2>Definitions of the scores in protocol {parts.text(evaluation.protocol)}</h2>{parts.facts(rows)}"
    )


def _made_by(facts: dict[str, str], command: object) -> str:
    line = f"<code>{parts.text(command)}</code>" if command else ""
    rows = (
        parts.facts({name.replace("_", " "): value for name, value in sorted(facts.items())}) if facts else ""
    )
    return f"<h2>How this was made</h2>{line}{rows}" if line or rows else ""


def _number(value: float) -> str:
    return f"{value:z.4f}"


def _interval(method: MethodScores, name: str, digits: int = 4) -> str:
    """The 95% interval, or an empty text if there is none."""
    low, high = method.ci.get(name, (math.nan, math.nan))
    return f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(low + high) else ""
