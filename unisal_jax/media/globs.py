"""Globs that handle looping links, brackets in names, and system files."""

import fnmatch
import glob
import os
from collections.abc import Iterable
from pathlib import Path

from natsort import natsorted, ns

from unisal_jax.errors import UnisalError
from unisal_jax.files import is_hidden, list_folder, walk_folders


def match(pattern: str) -> list[Path]:
    """Returns the files and folders that a glob matches, in natural order; `**` matches any depth.

    Each real folder is searched once, under its own path rather than a link's. The leading part of the
    pattern that is an existing folder is taken literally, including brackets. Hidden and system files match
    only if their name is given in full or the pattern component begins with a dot.
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
            else:  # a trailing ** matches everything below
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
    """Removes paths that lead to the same place, preferring those that are not links."""
    real: dict[str, Path] = {}
    for path in folders:
        place = os.path.realpath(path)
        if place not in real or (real[place].is_symlink() and not path.is_symlink()):
            real[place] = path
    return list(real.values())


def _entries(folder: Path, hidden: bool = False) -> list[Path]:
    """Returns the entries of a folder; none if it is not a folder or cannot be read."""
    try:
        if hidden:
            return sorted(entry for entry in folder.iterdir() if is_hidden(entry.name))
        return list_folder(folder)
    except (UnisalError, OSError):
        return []
