"""Shared parts of the self-contained HTML reports: the style sheet, and elements with escaped text."""

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape

import cv2
import numpy as np
from PIL import Image

from unisal_jax.evaluate import wording

# Enough pixels for three images side by side on a high-density desktop screen.
_IMAGE_SIDE = 640
_JPEG_QUALITY = 85

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
.row { display: grid; grid-auto-columns: minmax(0, 1fr); grid-auto-flow: column; gap: .5rem; }
@media (max-width: 40rem) { .row { grid-auto-flow: row; } }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border-radius: .25rem; }
code { display: block; padding: .75rem; border-radius: .5rem; background: var(--card); }
"""


def document(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole page.

    Args:
      title: plain text, which is escaped.
      sections: HTML; empty sections are left out.
      style: CSS in addition to `STYLE`.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """A value as HTML text or attribute; unprintable characters become escapes."""
    return escape(wording.printable(value))


def facts(rows: Mapping[str, str]) -> str:
    """A table of names and values, both escaped."""
    cells = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows.items()
    )
    return f'<table class="facts">{cells}</table>'


def listed(items: Iterable[str]) -> str:
    """An unordered list of items, each HTML."""
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def figures(images: Mapping[str, np.ndarray], name: str) -> str:
    """A row of images.

    Args:
      images: uint8 RGB [H, W, 3] by caption, which is escaped.
      name: what they show, for the alternative text.
    """
    shown = "".join(
        f'<figure><img src="{data_uri(image)}" alt="{text(what)}, {text(name)}">'
        f'<figcaption class="quiet">{text(what)}</figcaption></figure>'
        for what, image in images.items()
    )
    return f'<div class="row">{shown}</div>'


def data_uri(image: np.ndarray) -> str:
    """uint8 RGB [H, W, 3] as a JPEG data URI, shrunk to the size that a page shows."""
    shrink = min(1.0, _IMAGE_SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(side * shrink)) for side in image.shape[1::-1])
    if shrink < 1:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
