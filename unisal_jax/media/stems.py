"""Names of files that belong together: by their stem, with endings and folders in any case.

This is the one place where an ending or a folder's name is compared with what a disk holds.
"""

from collections.abc import Iterable
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.images import IMAGE_SUFFIXES

# How many names a line shows.
_SHOWN = 5


def names_in(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names of the files in a folder with one of these suffixes (lower case), sorted.

    Hidden and system files are left out. A folder that does not exist has none.
    """
    if not folder.is_dir():
        return []
    return [entry.name for entry in list_folder(folder) if entry.name.lower().endswith(suffixes)]


def by_stem(folder: Path, *endings: Iterable[str]) -> dict[str, str]:
    """Names of the files in a folder, by what comes before their ending; sorted by name.

    This is where an ending is compared: in lower case, so that a.PNG is found as a.png is.

    Args:
      endings: groups of endings in lower case, such as (".jpg", ".jpeg"). Of files with the same stem,
        one of an earlier group is taken.

    Raises:
      UnisalError: two files of one group have the same stem.
    """
    found: dict[str, str] = {}
    for group in endings:
        mine: dict[str, str] = {}
        for name in names_in(folder, tuple(group)):
            # The longest, so that one ending may be the end of another.
            ending = max((each for each in group if name.lower().endswith(each)), key=len)
            stem = name[: -len(ending)]
            if stem in mine:
                raise UnisalError(f"{folder / name}: has the same stem as {mine[stem]}; stems must differ")
            mine[stem] = name
        found |= {stem: name for stem, name in mine.items() if stem not in found}
    return found


def match_stems(found: dict[str, str], stems: Iterable[str]) -> dict[str, str]:
    """The files `found` (`by_stem`) that belong to files of these stems, by stem.

    A file belongs to another if it has its stem, or its full name and one more ending (a.jpg.png). The
    first has precedence.

    Raises:
      UnisalError: two files have the full names of files with one stem.
    """
    wanted = set(stems)
    matched = {stem: name for stem, name in found.items() if stem in wanted}
    by_full_name: dict[str, str] = {}
    for full, name in found.items():
        stem, dot, suffix = full.rpartition(".")
        if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES and stem in wanted and stem not in matched:
            if stem in by_full_name:
                raise UnisalError(
                    f"{name}: belongs to {stem}, as {by_full_name[stem]} does; keep one of them"
                )
            by_full_name[stem] = name
    return matched | by_full_name


def passed_over_lines(names: dict[str, list[str]]) -> list[str]:
    """A line for each kind of file that is passed over: how many, and a few of their names."""
    lines = []
    for kind, some in names.items():
        shown = ", ".join(some[:_SHOWN]) + (", ..." if len(some) > _SHOWN else "")
        lines.append(f"{len(some):,} {'file' if len(some) == 1 else 'files'} {kind} ({shown})")
    return lines


def subfolder(folder: Path, *names: str) -> Path:
    """The folder `names[0]/names[1]/...` in `folder`, whatever case its names have on the disk.

    Where there is none, its path as it would be called.

    Raises:
      UnisalError: there are two that differ in case alone, and none of this very name.
    """
    for name in names:
        exact = folder / name
        if not exact.is_dir() and folder.is_dir():
            like = [
                path for path in list_folder(folder) if path.name.lower() == name.lower() and path.is_dir()
            ]
            if len(like) > 1:
                raise UnisalError(f"{like[0]}: {like[1].name} is there too; keep one of them")
            exact = like[0] if like else exact
        folder = exact
    return folder
