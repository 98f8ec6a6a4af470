"""Output names: derived from the input paths, unique, and short enough for the file system."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from unisal_jax.files import name_limit
from unisal_jax.media.addresses import Address

# Generic names of a folder of frames; the parent folder names the video.
_FRAME_FOLDERS = ("frames", "images")
_DIGEST_LETTERS = 8

# Windows treats these as devices, whatever the suffix.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
_HAS_DEVICES = os.name == "nt"


def frames_name(folder: Path) -> str:
    """Returns the name of a folder of frames, or its parent's name if it is called `images` or `frames`."""
    folder = Path(os.path.abspath(folder))
    generic = folder.name.lower() in _FRAME_FOLDERS and folder.parent.name
    return folder.parent.name if generic else folder.name


def name_bytes(out: Path, kinds: Iterable[str]) -> int:
    """Returns the maximum length in bytes of a name, so that its output files fit the file system's limit."""
    return name_limit(out) - (len(".json") if "json" in kinds else len(".png"))


def unique_names(paths: Sequence[str | Path], limit: int) -> list[str]:
    """Returns one name of at most `limit` bytes per path, longer than the stem only where stems clash."""
    candidates = [[shorten(_harmless(name), limit) for name in _candidates(path)] for path in paths]
    level = [0] * len(paths)
    while True:
        names = [options[i] for options, i in zip(candidates, level, strict=True)]
        counts = Counter(name.casefold() for name in names)
        raised = False
        for index, name in enumerate(names):
            if counts[name.casefold()] > 1 and level[index] + 1 < len(candidates[index]):
                level[index] += 1
                raised = True
        if not raised:
            break
    taken: set[str] = set()
    # Names may still clash: X.jpg beside x.jpg, or a_b/x.jpg and a/b_x.jpg.
    return [number(name, taken, limit) for name in names]


def number(name: str, taken: set[str], limit: int) -> str:
    """Returns NAME, or NAME_2, NAME_3, ... if taken, of at most `limit` bytes, and adds it to `taken`."""
    free, count = name, 2
    while free.casefold() in taken:
        free, count = shorten(f"{name}_{count}", limit), count + 1
    taken.add(free.casefold())
    return free


def shorten(name: str, limit: int) -> str:
    """Shortens a name to at most `limit` bytes; a shortened name ends in a hash that keeps it unique."""
    encoded = os.fsencode(name)
    if len(encoded) <= limit:
        return name
    end = "_" + hashlib.sha256(encoded).hexdigest()[:_DIGEST_LETTERS]
    head = name[: limit - len(end)]
    while len(os.fsencode(head)) > limit - len(end):
        head = head[:-1]
    return head + end


def _harmless(name: str) -> str:
    """Prefixes names of a folder or a device: ".", "..", the root's empty name, and Windows' devices."""
    is_device = _HAS_DEVICES and name.partition(".")[0].lower() in _DEVICES
    return f"_{name}" if is_device or name in ("", ".", "..") else name


def _candidates(path: str | Path) -> list[str]:
    """Returns possible names for a path, from the shortest to the longest."""
    if isinstance(path, Address):
        return [path.name]
    if isinstance(path, str):
        return [path.replace(":", "_")]
    # Not resolve(): a link keeps the name that the user sees.
    whole = Path(os.path.abspath(path))
    if not whole.is_dir():
        names = [whole.stem, f"{whole.stem}_{whole.suffix[1:]}"]
    elif frames_name(whole) == whole.name:  # a folder's name has no suffix
        names = [whole.name]
    else:
        names = [whole.parent.name, f"{whole.parent.name}_{whole.name}"]
        whole = whole.parent
    for parent in whole.parents:
        if parent.name:
            names.append(f"{parent.name}_{names[-1]}")
    return names
