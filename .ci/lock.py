"""Prints a constraints file: the packages of `.[test]` as they are installed here (`make lock`).

A package that is required under a condition keeps it, so that the file serves other systems too. What another
system alone requires is not in it, and stays free there.
"""

import platform
from collections import defaultdict
from importlib.metadata import requires, version

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "unisal-jax"


def condition(marker: Marker | None, extras: set[str]) -> str | None:
    """A marker without its extra: "" where nothing is left; None where it does not hold here."""
    if marker is None:
        return ""
    if not any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
        return None
    # Build tools write the extra last: `(sys_platform == "win32") and extra == "test"`.
    kept = str(marker).split("extra ==")[0].rstrip().removesuffix("and").rstrip()
    return kept.removeprefix("(").removesuffix(")") if kept.count("(") == 1 else kept


def conditions() -> dict[str, set[str]]:
    """Name of each package -> the conditions under which it is required; "" for always."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    extras: defaultdict[str, set[str]] = defaultdict(set)
    waiting = [(Requirement(f"{PACKAGE}[test]"), "")]
    while waiting:
        requirement, when = waiting.pop()
        name = canonicalize_name(requirement.name)
        if when in found[name] and requirement.extras <= extras[name]:
            continue
        found[name].add(when)
        extras[name] |= requirement.extras
        for needed in map(Requirement, requires(name) or []):
            also = condition(needed.marker, extras[name])
            if also is not None:
                waiting.append((needed, " and ".join(filter(None, (when, also)))))
    del found[PACKAGE]
    return found


def main() -> None:
    """Prints the file."""
    system = f"{platform.system()} {platform.machine()}"
    print(f"# Made by `make lock` with Python {platform.python_version()}, {system}.")
    print("# For use as constraints: pip install --constraint constraints.txt --editable '.[test]'")
    for name, when in sorted(conditions().items()):
        print(f"{name}=={version(name)}" + ("" if "" in when else f" ; {' or '.join(sorted(when))}"))


if __name__ == "__main__":
    main()
