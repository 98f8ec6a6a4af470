"""Matches files that belong together by their stem, ignoring the case of endings and folders."""

from collections.abc import Iterable
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.images import IMAGE_SUFFIXES

# How many names a line shows.
_SHOWN = 5


def names_in(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Returns the names of the files in a folder with one of these suffixes (lower case), sorted.

    Returns an empty list if there is no such folder. Skips hidden and system files.
    """
    if not folder.is_dir():
        return []
    return [entry.name for entry in list_folder(folder) if entry.name.lower().endswith(suffixes)]


def by_stem(folder: Path, *endings: Iterable[str]) -> dict[str, str]:
    """Returns the names of the files in a folder by their stem, sorted by name.

    Endings match in any case, so a.PNG is found like a.png.

    Args:
      folder: the folder; it may be missing.
      endings: groups of endings in lower case, such as (".jpg", ".jpeg"). If files in several groups have
        the same stem, the one in the earliest group is returned.

    Raises:
      UnisalError: two files of one group have the same stem.
    """
    found: dict[str, str] = {}
    for group in endings:
        mine: dict[str, str] = {}
        for name in names_in(folder, tuple(group)):
            # The longest match, since one ending may be the end of another.
            ending = max((each for each in group if name.lower().endswith(each)), key=len)
            stem = name[: -len(ending)]
            if stem in mine:
                raise UnisalError(f"{folder / name}: has the same stem as {mine[stem]}; stems must differ")
            mine[stem] = name
        found |= {stem: name for stem, name in mine.items() if stem not in found}
    return found


def match_stems(found: dict[str, str], stems: Iterable[str]) -> dict[str, str]:
    """Returns the files in `found` (`by_stem`) that belong to files of these stems, by stem.

    A file belongs to another if it has the same stem, or the other's full name plus another ending
    (a.jpg.png). The same stem takes precedence.

    Raises:
      UnisalError: two files match the full names of files with the same stem.
    """
    wanted = set(stems)
    matched = {stem: name for stem, name in found.items() if stem in wanted}
    by_full_name: dict[str, str] = {}
    for full, name in found.items():
        stem, dot, suffix = full.rpartition(".")
        if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES and stem in wanted and stem not in matched:
            if stem in by_full_name:
                raise UnisalError(
                    f"{name}: belongs to {stem}, and so does {by_full_name[stem]}; keep one of them"
                )
            by_full_name[stem] = name
    return matched | by_full_name


def passed_over_lines(names: dict[str, list[str]]) -> list[str]:
    """Returns a line per kind of skipped file: how many, and a few of their names."""
    lines = []
    for kind, some in names.items():
        shown = ", ".join(some[:_SHOWN]) + (", ..." if len(some) > _SHOWN else "")
        lines.append(f"{len(some):,} {'file' if len(some) == 1 else 'files'} {kind} ({shown})")
    return lines


def subfolder(folder: Path, *names: str) -> Path:
    """Returns the folder `names[0]/names[1]/...` in `folder`, ignoring case.

    Returns the path as given if no such folder exists.

    Raises:
      UnisalError: two folders differ only in case, and neither has exactly this name.
    """
    for name in names:
        exact = folder / name
        if not exact.is_dir() and folder.is_dir():
            like = [
                path for path in list_folder(folder) if path.name.lower() == name.lower() and path.is_dir()
            ]
            if len(like) > 1:
                raise UnisalError(f"{like[0]}: {like[1].name} also exists; keep one of them")
            exact = like[0] if like else exact
        folder = exact
    return folder
