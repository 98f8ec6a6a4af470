"""From what a user names (files, folders, globs, cameras) to images and videos with output names."""

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
"""Bytes that most disks allow a name, less those of the longest suffix of an output, ".json"."""

_ANIMATED = frozenset({".gif", ".png", ".webp", ".avif", ".avifs"})
_EXAMPLES = 5


@dataclass(frozen=True)
class MediaSource:
    """One image or video to work on.

    Attributes:
        kind: "image" (for `read_image`) or "video" (for `open_video`).
        path: a file; for a video also a folder of frames, the text "camera:N", or an `Address`.
        name: a stem for output files, unique in its list.
    """

    kind: Kind
    path: str | Path
    name: str

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or on the network: a user may end it, and it is not seen twice."""
        return isinstance(self.path, str)

    def files(self) -> list[str | Path]:
        """What is read: the path and, of a folder of frames, the frames."""
        return [self.path, *(list_images(Path(self.path)) if os.path.isdir(self.path) else ())]


@dataclass(frozen=True)
class Found:
    """What inputs name.

    Attributes:
        sources: the images and videos.
        notes: a line for each kind of thing that was left out, with the number and what to do about it.
    """

    sources: list[MediaSource]
    notes: list[str]


@dataclass(frozen=True)
class _Listed:
    """What one input names: what is taken, and what a listing showed beside that."""

    taken: list[tuple[Kind, str | Path]]
    others: list[Path]


def expand_inputs(inputs: Sequence[str], video: bool = False) -> list[MediaSource]:
    """The sources of `find_inputs`."""
    return find_inputs(inputs, video).sources


def find_inputs(
    inputs: Sequence[str], video: bool = False, name_bytes: int = NAME_BYTES, allow_network: bool = False
) -> Found:
    """Finds the images and videos that the inputs name, in the order given, each once.

    An input is an image or video file (told by its suffix, in any case), a folder of images, a glob
    (in natural order, `**` for any depth), "camera:N", or a video's address (rtsp, http, https). In
    folders and globs, hidden files and files of other kinds are passed over. A file that links lead to as
    well is taken once.

    A source's name is its file's stem ("x" for a/x.jpg); a folder of frames has its own name, or its
    parent's if it is called `images` or `frames`. Where two would be the same (upper and lower case
    count as one, as on some disks), each of them gets its suffix ("x_jpg", "x_png"), and where that is
    not enough its folders from the nearest on ("a_x_jpg", "b_x_jpg"). A longer name than `name_bytes`
    is cut, and ends in letters that tell it from others like it.

    Args:
        video: a folder of images is one video, and so is an animated image.
        allow_network: addresses may be opened; no address is looked for in a file.

    Raises:
        UnisalError: no such file, an address that is not allowed, a kind of file that is not read, a folder
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
            # Of links to whole folders, which may loop, there is nothing to tell.
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
            f"{_count(len(links), 'link')} to files that are named themselves: each file is taken once"
        )
    return Found(sources, [*dict.fromkeys(notes), *_still(sources)])


def _expand(text: str, video: bool, allow_network: bool) -> _Listed:
    if is_network(text):
        return _Listed([("video", allowed(text, allow_network))], [])
    if camera_number(text) is not None:
        return _Listed([("video", text)], [])
    # A file whose name holds brackets is a file first.
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
    if not path.is_file():  # opening a pipe would wait for somebody to write into it
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
    """Whether images or videos, or those of one kind, lie in a folder; not in one that cannot be read."""
    try:
        kinds = {_kind(entry) for entry in list_folder(folder) if entry.is_file()} - {None}
    except UnisalError:
        return False
    return bool(kinds) if kind is None else kind in kinds


def _no_images(folder: Path) -> str:
    """Says that a folder holds no images, and what was perhaps meant."""
    inner = folder / "images"
    if inner.is_dir():
        return f"{folder}: holds no images itself; did you mean {inner}?"
    entries = list_folder(folder)
    videos = [entry for entry in entries if _kind(entry) == "video"]
    if videos:
        return f"{folder}: holds videos but no images; name the videos, or a glob such as {_glob_of(videos)}"
    unread = sorted({name for entry in entries if (name := unread_by_suffix(entry.suffix))})
    if unread:
        return unread_line(folder, unread[0], "holds")
    return f"{folder}: holds no images"


def _glob_of(files: Sequence[Path]) -> str:
    """A glob for files of one folder, to be pasted into a shell."""
    suffixes = {file.suffix for file in files}
    pattern = str(files[0].parent / (f"*{suffixes.pop()}" if len(suffixes) == 1 else "*"))
    return shlex.quote(f"./{pattern}" if pattern.startswith("-") else pattern)


def _left_out(text: str, others: Iterable[Path], paths: set[str]) -> list[str]:
    """One line on what was found under an input and is in no source; none if that is nothing.

    Args:
        paths: the real paths of the sources, and the folders that they lie in.
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
    cure = f"; name the videos too, as {_glob_of(videos)}" if videos else ""
    unread = sorted({name for path in files if (name := unread_by_suffix(path.suffix))})
    cure += "".join(f"; {line}" for name in unread if (line := extra_line(name)))
    return [f"{text}: {whole} {'was' if len(left) == 1 else 'were'} left out{cure}"]


def _still(sources: list[MediaSource]) -> list[str]:
    """One line on animations of which the first frame alone is taken."""
    found = [source.path for source in sources if source.kind == "image" and _is_animated(Path(source.path))]
    if not found:
        return []
    frames = count_frames(found[0]) - 1
    more = f", as those of {_count(len(found) - 1, 'other animation')}" if len(found) > 1 else ""
    return [f"{found[0]}: {_count(frames, 'frame')} after the first left out{more}; --video takes all frames"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
