"""Names of outputs: from the paths of inputs, unique, and no longer than the disk takes."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from unisal_jax.files import name_limit
from unisal_jax.media.addresses import Address

# Names of a folder of frames that say nothing of its video.
_FRAME_FOLDERS = ("frames", "images")
_DIGEST_LETTERS = 8

# Windows takes these for devices, with any suffix; an address on the network may end in one.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
_HAS_DEVICES = os.name == "nt"


def frames_name(folder: Path) -> str:
    """A folder of frames' name; its parent's where it is called `images` or `frames`."""
    folder = Path(os.path.abspath(folder))
    generic = folder.name.lower() in _FRAME_FOLDERS and folder.parent.name
    return folder.parent.name if generic else folder.name


def name_bytes(out: Path, kinds: Iterable[str]) -> int:
    """Bytes that a name may have, so that the names of its files are short enough for the disk."""
    return name_limit(out) - (len(".json") if "json" in kinds else len(".png"))


def unique_names(paths: Sequence[str | Path], limit: int) -> list[str]:
    """One name of at most `limit` bytes for each path, longer than the stem only where stems clash."""
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
    # Names may still be the same: of X.jpg beside x.jpg, or a_b/x.jpg and a/b_x.jpg.
    return [number(name, taken, limit) for name in names]


def number(name: str, taken: set[str], limit: int) -> str:
    """The name, or NAME_2, NAME_3, ... of at most `limit` bytes; it is added to `taken`, in lower case."""
    free, count = name, 2
    while free.casefold() in taken:
        free, count = shorten(f"{name}_{count}", limit), count + 1
    taken.add(free.casefold())
    return free


def shorten(name: str, limit: int) -> str:
    """A name of at most `limit` bytes; a longer one ends in letters that tell it from others like it."""
    encoded = os.fsencode(name)
    if len(encoded) <= limit:
        return name
    end = "_" + hashlib.sha256(encoded).hexdigest()[:_DIGEST_LETTERS]
    head = name[: limit - len(end)]
    while len(os.fsencode(head)) > limit - len(end):
        head = head[:-1]
    return head + end


def _harmless(name: str) -> str:
    """The stems of "..mp4" and "...mp4", and the root's name, are folders when they stand alone."""
    is_device = _HAS_DEVICES and name.partition(".")[0].lower() in _DEVICES
    return f"_{name}" if is_device or name in ("", ".", "..") else name


def _candidates(path: str | Path) -> list[str]:
    """Names for a path from the shortest to the longest."""
    if isinstance(path, Address):
        return [path.name]
    if isinstance(path, str):
        return [path.replace(":", "_")]
    # Not resolve(): a link has the name that the user sees.
    whole = Path(os.path.abspath(path))
    if not whole.is_dir():
        names = [whole.stem, f"{whole.stem}_{whole.suffix[1:]}"]
    elif frames_name(whole) == whole.name:  # whose dots begin no suffix
        names = [whole.name]
    else:
        names = [whole.parent.name, f"{whole.parent.name}_{whole.name}"]
        whole = whole.parent
    for parent in whole.parents:
        if parent.name:
            names.append(f"{parent.name}_{names[-1]}")
    return names
