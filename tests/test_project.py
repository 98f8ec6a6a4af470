"""Files about the project agree with each other: constraints.txt, setup.cfg, CITATION.cff."""

import configparser
import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY
from unisal_jax.version import __version__


def required() -> list[Requirement]:
    """What setup.cfg requires, with the extra `test`."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    return [Requirement(line) for line in lines.splitlines() if line.strip()]


def test_the_locked_versions_are_those_that_setup_cfg_allows():
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    locked = {canonicalize_name(each.name): each for each in map(Requirement, lines)}
    for line, each in zip(lines, locked.values(), strict=True):
        assert [clause.operator for clause in each.specifier] == ["=="] and each.url is None, line
    for each in required():
        if each.marker is not None and not each.marker.evaluate({"sys_platform": "linux"}):
            continue
        (clause,) = locked[canonicalize_name(each.name)].specifier
        assert each.specifier.contains(clause.version), f"run `make lock`: {each}, locked at {clause.version}"


def test_the_tests_environment_builds_the_docs():
    """`make docs` installs nothing where `make test` ran."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    extras = {name: set(lines.split()) for name, lines in config["options.extras_require"].items()}
    assert extras["docs"] <= extras["test"]


def test_the_citation_names_this_version():
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", text, re.M)[1] == __version__
