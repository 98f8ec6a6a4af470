"""DHF1K, Hollywood-2 and UCF Sports, as they were released."""

import re
from pathlib import Path

from unisal_jax.data.layouts.releases import (
    Clip,
    Missing,
    Release,
    frame_number,
    held_out,
    require_run,
    whole_release,
)
from unisal_jax.data.layouts.truth import Files, TruthFiles
from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.images import IMAGE_SUFFIXES
from unisal_jax.media.stems import by_stem, subfolder
from unisal_jax.media.video import VIDEO_SUFFIXES

# Official numbers of videos.
DHF1K_TRAIN, DHF1K_ANNOTATED, DHF1K_ALL = range(1, 601), range(1, 701), range(1, 1001)
HOLLYWOOD2_VIDEOS = {"train": range(1, 824), "test": range(1, 885)}
UCF_SPORTS_VIDEOS = {"training": 103, "testing": 47}

# Frames a second of the releases, as the original has them.
DHF1K_FPS, HOLLYWOOD2_FPS, UCF_SPORTS_FPS = 30.0, 24.0, 24.0

# As of the releases; another format is read as well, as people extract the frames themselves.
_PNG = ".png"


def scan_dhf1k(root: Path, partial: bool, seed: int) -> Release:
    """Videos 1-600 for training, 601-700 for validation, 701-1000 for the test, without ground truth.

    `annotation/0001/{maps,fixation}/0001.png`, and the frames from `annotation/0001/images/0001.png`
    (or .jpg, any image format) or, where that folder is not there, from `video/001.AVI` (any video format).

    Args:
        partial: take the videos that are there, instead of all thousand.
        seed: not used, the split is official.

    Raises:
        UnisalError: something is missing.
    """
    missing = Missing(root)
    video_folder, annotation = subfolder(root, "video"), subfolder(root, "annotation")
    videos = by_stem(video_folder, VIDEO_SUFFIXES)
    clips: dict[str, list[Clip]] = {"train": [], "validation": [], "test": []}
    for number in DHF1K_ALL:
        folder = annotation / f"{number:04d}"
        video = videos.get(f"{number:03d}")
        extracted = by_stem(subfolder(folder, "images"), IMAGE_SUFFIXES)
        if not extracted and video is None:
            if not partial or folder.is_dir():
                missing.add("videos", f"{number:04d}")
            continue
        annotated = number in DHF1K_ANNOTATED
        if extracted:
            clip = _frames_clip(folder, folder.name, annotated, missing)
        else:
            clip = _video_clip(video_folder / str(video), folder, annotated, missing)
        split = "train" if number in DHF1K_TRAIN else "validation" if annotated else "test"
        clips[split].append(clip)
    return whole_release("DHF1K", missing, clips, DHF1K_FPS)


def scan_hollywood2(root: Path, partial: bool, seed: int) -> Release:
    """823 training and 884 test videos, cut into shots; a tenth of the training videos for validation.

    `training/actioncliptrain00001_1/{images,maps,fixation}/actioncliptrain00001_00001.png`. A shot is a
    clip of its own; all shots of a video are in the same split.
    """
    missing = Missing(root)
    shots: dict[str, list[tuple[int, int, Path]]] = {}
    for phase, folder in (("train", subfolder(root, "training")), ("test", subfolder(root, "testing"))):
        pattern = re.compile(rf"actionclip{phase}(\d{{5}})_(\d{{1,2}})")
        found = [(match, path) for path in _folders(folder) if (match := pattern.fullmatch(path.name))]
        # Shot 10 comes after shot 9, and not after shot 1.
        shots[phase] = sorted((int(match[1]), int(match[2]), path) for match, path in found)
        if not partial:
            present = {video for video, _, _ in shots[phase]}
            for number in HOLLYWOOD2_VIDEOS[phase]:
                if number not in present:
                    missing.add(f"videos of {folder.name}/", f"actionclip{phase}{number:05d}")
    names = {f"{video:05d}" for video, _, _ in shots["train"]}
    held = held_out(list(names), seed)
    clips: dict[str, list[Clip]] = {"train": [], "validation": [], "test": []}
    for phase, entries in shots.items():
        for video, _, path in entries:
            split = "validation" if phase == "train" and f"{video:05d}" in held else phase
            clips[split].append(_frames_clip(path, path.name, True, missing))
    return whole_release("Hollywood-2", missing, clips, HOLLYWOOD2_FPS)


def scan_ucf_sports(root: Path, partial: bool, seed: int) -> Release:
    """103 training and 47 test videos; ten of the training videos for validation.

    `training/Diving-Side-001/{images,maps,fixation}/Diving-Side_001_001.png`.
    """
    missing = Missing(root)
    folders: dict[str, list[Path]] = {}
    for phase, expected in UCF_SPORTS_VIDEOS.items():
        folders[phase] = [p for p in _folders(subfolder(root, phase)) if re.search(r"-\d{3}$", p.name)]
        if not partial:
            missing.add_count(f"videos of {phase}/", len(folders[phase]), expected)
    held = held_out([path.name for path in folders["training"]], seed)
    clips: dict[str, list[Clip]] = {"train": [], "validation": [], "test": []}
    for path in folders["training"]:
        split = "validation" if path.name in held else "train"
        clips[split].append(_frames_clip(path, path.name, True, missing))
    clips["test"] = [_frames_clip(path, path.name, True, missing) for path in folders["testing"]]
    return whole_release("UCF Sports", missing, clips, UCF_SPORTS_FPS)


def _frames_clip(folder: Path, name: str, annotated: bool, missing: Missing) -> Clip:
    """A clip of `images/`, `maps/` and `fixation/`, whose files have the same numbers."""
    parts = {part: _numbered(subfolder(folder, part)) for part in ("images", "maps", "fixation")}
    images = subfolder(folder, "images")
    # A frame that lacks everywhere, and one that lacks only where the frames are.
    known = parts["fixation"] | parts["maps"] | parts["images"]
    if not parts["images"]:
        missing.add("folders of frames", images)
    require_run([known[number] for number in sorted(known)], images, "frames", missing)
    frames = _files(images, known, parts["images"], "frames", missing)
    if not annotated:
        return Clip(name, frames, None)
    return Clip(name, frames, _truth_files(folder, known, parts["maps"], parts["fixation"], missing))


def _video_clip(video: Path, folder: Path, annotated: bool, missing: Missing) -> Clip:
    """A clip of a video file, whose frames are numbered from 1 in `maps/` and `fixation/`."""
    if not annotated:
        return Clip(folder.name, video, None)
    maps, fixations = _numbered(subfolder(folder, "maps")), _numbered(subfolder(folder, "fixation"))
    known = fixations | maps
    if not known:
        missing.add("folders of maps", folder / "maps")
        return Clip(folder.name, video, None)
    names = [known[number] for number in sorted(known)]
    require_run(["0001.png", *names] if min(known) > 1 else names, folder / "maps", "maps", missing)
    return Clip(folder.name, video, _truth_files(folder, known, maps, fixations, missing))


def _truth_files(
    folder: Path, known: dict[int, str], maps: dict[int, str], fixations: dict[int, str], missing: Missing
) -> TruthFiles:
    return TruthFiles(
        _files(subfolder(folder, "maps"), known, maps, "maps", missing),
        _files(subfolder(folder, "fixation"), known, fixations, "fixation maps", missing),
        released=True,
    )


def _files(
    folder: Path, known: dict[int, str], present: dict[int, str], kind: str, missing: Missing
) -> Files:
    """The files of the `known` numbers; those that are not `present` are noted."""
    names = []
    for number in sorted(known):
        wanted = present.get(number, f"{Path(known[number]).stem}{_PNG}")
        if number not in present:
            missing.add(kind, folder / wanted)
        names.append(wanted)
    return Files(folder, tuple(names))


def _numbered(folder: Path) -> dict[int, str]:
    """The images of a folder by the number that their names end in."""
    found: dict[int, str] = {}
    for name in by_stem(folder, IMAGE_SUFFIXES).values():
        number = frame_number(name)
        if number in found:
            raise UnisalError(f"{folder / name}: has the same number as {found[number]}")
        found[number] = name
    return found


def _folders(folder: Path) -> list[Path]:
    return [path for path in list_folder(folder) if path.is_dir()] if folder.is_dir() else []
