"""Globs over folders as people have them: links that loop, brackets in names, system files."""

import fnmatch
import glob
import os
from collections.abc import Iterable
from pathlib import Path

from natsort import natsorted, ns

from unisal_jax.errors import UnisalError
from unisal_jax.files import is_hidden, list_folder, walk_folders


def match(pattern: str) -> list[Path]:
    """The files and folders that a glob matches, in natural order; `**` is folders of any depth.

    Each real folder is looked into once, under its own path where links lead to it as well. The part
    of the pattern that is an existing folder is taken as it is written, brackets and all. Hidden and
    system files match where their name is written out, or the pattern's part begins with a dot.
    """
    parts = list(Path(pattern).parts)
    folder = Path()
    while len(parts) > 1 and os.path.isdir(folder / parts[0]):
        folder /= parts.pop(0)
    found = [folder]
    for number, part in enumerate(parts):
        if part == "**":
            folders = walk_folders(found)
            if number < len(parts) - 1:
                found = folders
            else:  # at the end: everything below
                found = [entry for each in folders for entry in (each, *_entries(each))]
        elif glob.has_magic(part):
            hidden = part.startswith(".")
            found = [
                entry
                for each in found
                for entry in _entries(each, hidden)
                if fnmatch.fnmatch(entry.name, part)
            ]
        else:
            found = [each / part for each in found if (each / part).exists()]
        if number < len(parts) - 1:
            found = _once(found)
    return natsorted(sorted(found), alg=ns.PATH)


def _once(folders: Iterable[Path]) -> list[Path]:
    """The paths that do not lead to the same place as another; of those that do, one that is no link."""
    real: dict[str, Path] = {}
    for path in folders:
        place = os.path.realpath(path)
        if place not in real or (real[place].is_symlink() and not path.is_symlink()):
            real[place] = path
    return list(real.values())


def _entries(folder: Path, hidden: bool = False) -> list[Path]:
    """What lies in a folder; nothing if that is no folder, or cannot be read."""
    try:
        if hidden:
            return sorted(entry for entry in folder.iterdir() if is_hidden(entry.name))
        return list_folder(folder)
    except (UnisalError, OSError):
        return []
