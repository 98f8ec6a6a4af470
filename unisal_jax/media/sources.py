"""Finds the images and videos that a user names (files, folders, globs, cameras) and names their outputs."""

import glob
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.addresses import Address, allowed, is_network
from unisal_jax.media.formats import IMAGE_SUFFIXES, extra_line, unread_by_suffix, unread_line
from unisal_jax.media.frame_counts import count_frames
from unisal_jax.media.globs import match
from unisal_jax.media.listing import VIDEO_SUFFIXES, camera_number, list_images
from unisal_jax.media.names import unique_names

Kind = Literal["image", "video"]

NAME_BYTES = 250
"""Bytes that most file systems allow for a name, minus those of the longest output suffix, ".json"."""

_ANIMATED = frozenset({".gif", ".png", ".webp", ".avif", ".avifs"})
_EXAMPLES = 5


@dataclass(frozen=True)
class MediaSource:
    """One image or video to process.

    Attributes:
      kind: "image" (for `read_image`) or "video" (for `open_video`).
      path: a file; for a video also a folder of frames, the string "camera:N", or an `Address`.
      name: stem of the output files, unique among the sources.
    """

    kind: Kind
    path: str | Path
    name: str

    @property
    def is_live(self) -> bool:
        """Whether this is a camera or on the network: the user may end it, and it cannot be read twice."""
        return isinstance(self.path, str)

    def files(self) -> list[str | Path]:
        """Returns the files that are read: the path and, for a folder of frames, the frames."""
        return [self.path, *(list_images(Path(self.path)) if os.path.isdir(self.path) else ())]


@dataclass(frozen=True)
class Found:
    """The result of `find_inputs`.

    Attributes:
      sources: the images and videos.
      notes: one line per kind of entry that was skipped: how many, and how to include them.
    """

    sources: list[MediaSource]
    notes: list[str]


@dataclass(frozen=True)
class _Listed:
    """The entries of one input: those to process, and the others in the same place."""

    taken: list[tuple[Kind, str | Path]]
    others: list[Path]


def expand_inputs(inputs: Sequence[str], video: bool = False) -> list[MediaSource]:
    """Returns the sources of `find_inputs`, with its defaults."""
    return find_inputs(inputs, video).sources


def find_inputs(
    inputs: Sequence[str], video: bool = False, name_bytes: int = NAME_BYTES, allow_network: bool = False
) -> Found:
    """Finds the images and videos that the inputs name, in the given order and without duplicates.

    An input is an image or video file (by its suffix, in any case), a folder of images, a glob (in natural
    order, `**` for any depth), "camera:N", or the address of a video (rtsp, http, https). In folders and
    globs, hidden files and files of other types are skipped. Links to the same file count as one.

    A source's name is its file's stem ("x" for a/x.jpg). A folder of frames has its own name, or its
    parent's if it is called `images` or `frames`. If two names are equal (ignoring case, as some file
    systems do), each gets its suffix ("x_jpg", "x_png") and, if that is not enough, its folders beginning
    with the nearest ("a_x_jpg", "b_x_jpg"). A name longer than `name_bytes` is cut and ends in a hash.

    Args:
      inputs: what the user named.
      video: treat a folder of images, and an animated image, as one video.
      name_bytes: maximum length of a name.
      allow_network: whether addresses may be opened.

    Raises:
      UnisalError: no such file, an address that is not allowed, a file type that cannot be read, a folder
        without images, a glob without a match.
    """
    listed = [_expand(text, video, allow_network) for text in inputs]
    real: dict[str, tuple[Kind, str | Path]] = {}
    links: set[str] = set()
    for kind, path in (entry for each in listed for entry in each.taken):
        place = path.url if isinstance(path, Address) else path
        place = place if isinstance(place, str) else os.path.realpath(place)
        _, first = real.setdefault(place, (kind, path))
        if os.path.abspath(first) != os.path.abspath(path):
            # Do not report links to folders, which may loop.
            links |= {os.path.abspath(each) for each in (first, path) if os.path.islink(each)}
            if os.path.islink(first) and not os.path.islink(path):
                real[place] = kind, path
    taken = list(real.values())
    names = unique_names([path for _, path in taken], name_bytes)
    sources = [MediaSource(kind, path, name) for (kind, path), name in zip(taken, names, strict=True)]
    paths = {os.path.realpath(path) for _, path in taken}
    paths |= {os.path.dirname(path) for path in paths}
    notes = [
        note
        for text, each in zip(inputs, listed, strict=True)
        for note in _left_out(text, each.others, paths)
    ]
    if links:
        notes.append(
            f"{_count(len(links), 'link')} to files that are also inputs: each file is processed once"
        )
    return Found(sources, [*dict.fromkeys(notes), *_still(sources)])


def _expand(text: str, video: bool, allow_network: bool) -> _Listed:
    if is_network(text):
        return _Listed([("video", allowed(text, allow_network))], [])
    if camera_number(text) is not None:
        return _Listed([("video", text)], [])
    # An existing file takes precedence over a glob, since its name may contain brackets.
    if Path(text).exists() or not glob.has_magic(text):
        return _expand_path(Path(text), video)
    taken: list[tuple[Kind, str | Path]] = []
    others = []
    for path in match(text):
        if _holds_media(path, "image") if path.is_dir() else path.is_file() and _kind(path):
            each = _expand_path(path, video)
            taken += each.taken
            others += each.others
        elif not path.is_dir() or _holds_media(path):
            others.append(path)
    if not taken:
        raise UnisalError(f"{text}: no image or video matches")
    return _Listed(taken, others)


def _expand_path(path: Path, video: bool) -> _Listed:
    if path.is_dir():
        images = list_images(path)
        if not images:
            raise UnisalError(_no_images(path))
        known = set(images)
        others = [
            entry
            for entry in list_folder(path)
            if entry not in known and (not entry.is_dir() or _holds_media(entry))
        ]
        return _Listed([("video", path)] if video else [("image", image) for image in images], others)
    if not path.exists():
        raise UnisalError(f"{path}: no such file or folder")
    if not path.is_file():  # opening a pipe would block
        raise UnisalError(f"{path}: is a pipe or a device, not a file")
    kind = _kind(path)
    unread = unread_by_suffix(path.suffix)
    if unread:
        raise UnisalError(unread_line(path, unread))
    if kind is None:
        of_images, of_videos = " ".join(sorted(IMAGE_SUFFIXES)), " ".join(sorted(VIDEO_SUFFIXES))
        raise UnisalError(f"{path}: not an image ({of_images}) nor a video ({of_videos}) by its suffix")
    return _Listed([("video" if video and _is_animated(path) else kind, path)], [])


def _kind(file: Path) -> Kind | None:
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _is_animated(path: Path) -> bool:
    return path.suffix.lower() in _ANIMATED and count_frames(path) > 1


def _holds_media(folder: Path, kind: Kind | None = None) -> bool:
    """Whether a folder holds images or videos, or those of one kind; False if it cannot be read."""
    try:
        kinds = {_kind(entry) for entry in list_folder(folder) if entry.is_file()} - {None}
    except UnisalError:
        return False
    return bool(kinds) if kind is None else kind in kinds


def _no_images(folder: Path) -> str:
    """Returns the error message for a folder without images, with a suggestion."""
    inner = folder / "images"
    if inner.is_dir():
        return f"{folder}: holds no images; did you mean {inner}?"
    entries = list_folder(folder)
    videos = [entry for entry in entries if _kind(entry) == "video"]
    if videos:
        return f"{folder}: holds videos but no images; name the videos, or a glob such as {_glob_of(videos)}"
    unread = sorted({name for entry in entries if (name := unread_by_suffix(entry.suffix))})
    if unread:
        return unread_line(folder, unread[0], "holds")
    return f"{folder}: holds no images"


def _glob_of(files: Sequence[Path]) -> str:
    """Returns a glob for files of one folder, quoted for a shell."""
    suffixes = {file.suffix for file in files}
    pattern = str(files[0].parent / (f"*{suffixes.pop()}" if len(suffixes) == 1 else "*"))
    return shlex.quote(f"./{pattern}" if pattern.startswith("-") else pattern)


def _left_out(text: str, others: Iterable[Path], paths: set[str]) -> list[str]:
    """Returns a line on the entries of an input that are in no source; empty if there are none.

    Args:
      text: the input.
      others: its entries that were not taken.
      paths: the real paths of the sources and of their folders.
    """
    left = list({place: path for path in others if (place := os.path.realpath(path)) not in paths}.values())
    if not left:
        return []
    folders = [path for path in left if path.is_dir()]
    rest = [path for path in left if not path.is_dir()]
    videos = [path for path in rest if _kind(path) == "video"]
    files = [path for path in rest if _kind(path) != "video"]
    parts = [_count(len(videos), "video")] if videos else []
    parts += [f"{_count(len(folders), 'folder')} with images or videos"] if folders else []
    if files:
        suffixes = sorted({file.suffix.lower() or file.name for file in files})
        shown = ", ".join([*suffixes[:_EXAMPLES], *(["..."] if len(suffixes) > _EXAMPLES else [])])
        parts.append(f"{_count(len(files), 'other file')} ({shown})")
    whole = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    remedy = f"; name the videos too, as {_glob_of(videos)}" if videos else ""
    unread = sorted({name for path in files if (name := unread_by_suffix(path.suffix))})
    remedy += "".join(f"; {line}" for name in unread if (line := extra_line(name)))
    return [f"{text}: {whole} {'was' if len(left) == 1 else 'were'} skipped{remedy}"]


def _still(sources: list[MediaSource]) -> list[str]:
    """Returns a line on animations of which only the first frame is used."""
    found = [source.path for source in sources if source.kind == "image" and _is_animated(Path(source.path))]
    if not found:
        return []
    frames = count_frames(found[0]) - 1
    more = f", as in {_count(len(found) - 1, 'other animation')}" if len(found) > 1 else ""
    return [f"{found[0]}: {_count(frames, 'frame')} after the first skipped{more}; --video reads all frames"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
