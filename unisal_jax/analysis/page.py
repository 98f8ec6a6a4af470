"""All analyses of a folder as one self-contained HTML page."""

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

from unisal_jax.analysis.results import RESULTS
from unisal_jax.data.prepared import check_id
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.html_parts import STYLE
from unisal_jax.files import write_text

PAGE = "index.html"


def write_page(folder: Path, order: tuple[str, ...]) -> Path:
    """Writes `folder/index.html` from the results of the analyses in `folder`; returns its path.

    Args:
      folder: folder of the results.
      order: names of the analyses, in the order of the page.

    Raises:
      UnisalError: files of an analysis are damaged, or the page cannot be written.
    """
    found = [name for name in order if (folder / name / RESULTS).is_file()]
    sections = [_section(folder / name, name) for name in found]
    contents = " ".join(f'<a href="#{name}">{name}</a>' for name in found)
    path = folder / PAGE
    write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>UNISAL: analyses</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>UNISAL: the paper\'s experiments</h1>\n<p class="quiet">{contents}</p>\n'
        + "\n".join(sections)
        + "\n</body>\n</html>\n",
    )
    return path


def _section(home: Path, name: str) -> str:
    path = home / RESULTS
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        parts = [
            f'<h2 id="{name}">{escape(document["title"])}</h2>',
            *(f"<p>{escape(line)}</p>" for line in document["text"].splitlines()),
            *(_figure(home, figure) for figure in document["pictures"]),
            *(_table(table) for table in document["tables"]),
            f"<code>{escape(document['command'])}</code>",
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnisalError(f"{path}: damaged ({type(error).__name__}: {error})") from error
    return "\n".join(parts)


def _figure(home: Path, figure: dict[str, str]) -> str:
    check_id(figure["name"])  # pages are shared: embed no file from outside the folder
    data = base64.b64encode((home / f"{figure['name']}.png").read_bytes()).decode()
    caption = escape(figure["caption"])
    return (
        f'<figure style="margin:1.5rem 0"><img alt="{caption}" src="data:image/png;base64,{data}" '
        f'style="width:auto;max-width:100%">'
        f'<figcaption class="quiet">{caption}</figcaption></figure>'
    )


def _table(table: dict[str, Any]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table["columns"])
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in table["rows"]
    )
    return (
        f'<h3>{escape(table["caption"])}</h3>\n<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
