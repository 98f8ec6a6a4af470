"""The README and the documentation site: tables, lists, links and citations agree with the code."""

import configparser
import math
import re
import shlex
from pathlib import Path

import numpy as np

import unisal_jax
from tests.conftest import REPOSITORY
from unisal_jax.cli.main import COMMANDS
from unisal_jax.domains import find_domain
from unisal_jax.evaluate.protocols import PROTOCOLS
from unisal_jax.evaluate.wording import SCORE_TITLES, SEQUENCE_TITLES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.trees import flatten

DOCS = REPOSITORY / "docs"


def table_after(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table behind a heading, without its head."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"(?:^\|.*\n)+", text, re.M).group().splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_networks_table():
    """Shapes and numbers of parameters are the code's own."""
    config = UnisalConfig()
    shapes = variable_shapes(config)

    def count(collection: str, part: str) -> int:
        named = {
            name: tree
            for name, tree in shapes[collection].items()
            if name == part or name.startswith(f"{part}_")
        }
        return sum(map(math.prod, flatten(named).values()))

    totals = {"params": 0, "dhf1k": 0}
    for _, names, _, shared, own in table_after("network.md", "## Its parts"):
        part = re.search(r"`(\w+)`", names)
        for collection, cell in (("params", shared), ("dhf1k", own)):
            stated = int(cell.replace(",", "") or 0)
            if part is None:
                assert (
                    stated == totals[collection] == sum(map(math.prod, flatten(shapes[collection]).values()))
                )
            elif cell or part[1] != "encoder":
                assert stated == count(collection, part[1]), (collection, part[1])
                totals[collection] += stated
    total = sum(totals.values()) + 3 * totals["dhf1k"]
    assert f"{total:,} parameters" in (DOCS / "network.md").read_text(encoding="utf-8")


def test_the_networks_shapes(golden_file):
    found = unisal_jax.load(golden_file).features(np.zeros((224, 384, 3), np.uint8), "dhf1k", (224, 384))
    shown = {}
    for _, names, shape, _, _ in table_after("network.md", "## Its parts"):
        name = re.search(r"\(`(\w+)`\)", names)
        if name:
            shown[name[1]] = tuple(int(side) for side in shape.split("x"))
    assert shown == {name: each.shape for name, each in found.items()}


def test_the_domains_table():
    rows = table_after("network.md", "## Domains")
    for name, kind, size, stride, _ in rows:
        domain = find_domain(name.strip("`"))
        assert size == "{}x{}".format(*domain.input_size) and int(stride) == domain.stride
        assert kind == ("images" if domain.static else "video")
    assert len(rows) == len(UnisalConfig().domains)


def test_the_metrics_page_names_all():
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in PROTOCOLS)
    assert {row[0] for row in table_after("metrics.md", "## The scores")} == set(SCORE_TITLES.values())
    sequences = {row[0] for row in table_after("metrics.md", "## Sequences of fixations")}
    assert sequences == set(SEQUENCE_TITLES.values())


def test_the_start_page_names_all_extras():
    """With the packages to install elsewhere than in a clone."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")

    def names(words: list[str]) -> set[str]:
        return {re.split("[>=;]", word)[0].strip() for word in words}

    required = {
        extra: names(lines.strip().splitlines())
        for extra, lines in config["options.extras_require"].items()
        if extra != "test"
    }
    shown = {
        row[0].strip("`"): names(shlex.split(row[1].strip("`")))
        for row in table_after("index.md", "## Install")
    }
    assert shown == required


def test_the_features_page():
    """Each of its paths exists, and no command, room or module beside the rooms is missing."""
    text = (DOCS / "features.md").read_text(encoding="utf-8")
    for path in re.findall(r"`([\w/.]+/[\w.]+\.py)`", text):
        assert (REPOSITORY / path).is_file() or (REPOSITORY / "unisal_jax" / path).is_file(), path
    for name in COMMANDS:
        assert f"`unisal {name}" in text, name
    rooms = {path.parent.name for path in (REPOSITORY / "unisal_jax").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)/` \|", text, re.M)) - {
        "configs",
        "data_prep",
        "tests",
        "benchmarks",
        "docs",
    }
    modules = {path.name for path in (REPOSITORY / "unisal_jax").glob("*.py")}
    assert {name for name in modules if f"`{name}`" not in text} == {
        "__init__.py",
        "__main__.py",
        "version.py",
    }


def test_the_commands_page_names_all():
    shown = re.findall(r"^\| `unisal ([\w-]+)", (DOCS / "commands.md").read_text(encoding="utf-8"), re.M)
    assert sorted(shown) == sorted(COMMANDS)


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_links_of_the_readme():
    """To files that exist, and to headings of the pages."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (REPOSITORY / path).is_file(), target
        assert not anchor or anchor in headings(REPOSITORY / path), target


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_citations_of_the_original_code():
    """What comments cite as sections of reference.md are sections of docs/reference.md."""
    sections, cited = headings(DOCS / "reference.md"), 0
    for folder in ("unisal_jax", "configs", "tests", "data_prep"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for name in re.findall(r'reference\.md,\s+"(\w[\w -]*)"', path.read_text(encoding="utf-8")):
                assert name.lower().replace(" ", "-") in sections, f"{path}: {name}"
                cited += 1
    assert cited
