"""The layouts of DHF1K, Hollywood-2 and UCF Sports."""

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

# Frames per second of the releases, as in the original.
DHF1K_FPS, HOLLYWOOD2_FPS, UCF_SPORTS_FPS = 30.0, 24.0, 24.0

# The format of the releases; others are accepted too, as users extract the frames themselves.
_PNG = ".png"


def scan_dhf1k(root: Path, partial: bool, seed: int) -> Release:
    """Reads DHF1K: videos 1-600 for training, 601-700 for validation, 701-1000 for test without ground truth.

    The files are `annotation/0001/{maps,fixation}/0001.png`, and for the frames
    `annotation/0001/images/0001.png` (any image format) or, if that folder does not exist, `video/001.AVI`
    (any video format).

    Args:
      root: the folder of the release.
      partial: accept a subset of the thousand videos.
      seed: not used, as the split is official.

    Raises:
      UnisalError: files are missing.
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
    """Reads Hollywood-2: 823 training and 884 test videos in shots; a tenth of the former for validation.

    The files are `training/actioncliptrain00001_1/{images,maps,fixation}/actioncliptrain00001_00001.png`.
    Each shot is a clip; all shots of a video are in the same split.
    """
    missing = Missing(root)
    shots: dict[str, list[tuple[int, int, Path]]] = {}
    for phase, folder in (("train", subfolder(root, "training")), ("test", subfolder(root, "testing"))):
        pattern = re.compile(rf"actionclip{phase}(\d{{5}})_(\d{{1,2}})")
        found = [(match, path) for path in _folders(folder) if (match := pattern.fullmatch(path.name))]
        # Numeric order: shot 10 follows shot 9.
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
    """Reads UCF Sports: 103 training and 47 test videos; ten of the training videos for validation.

    The files are `training/Diving-Side-001/{images,maps,fixation}/Diving-Side_001_001.png`.
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
    """A clip from `images/`, `maps/` and `fixation/`, whose files have the same numbers."""
    parts = {part: _numbered(subfolder(folder, part)) for part in ("images", "maps", "fixation")}
    images = subfolder(folder, "images")
    # Detects frames that are missing everywhere, and frames that have only ground truth.
    known = parts["fixation"] | parts["maps"] | parts["images"]
    if not parts["images"]:
        missing.add("folders of frames", images)
    require_run([known[number] for number in sorted(known)], images, "frames", missing)
    frames = _files(images, known, parts["images"], "frames", missing)
    if not annotated:
        return Clip(name, frames, None)
    return Clip(name, frames, _truth_files(folder, known, parts["maps"], parts["fixation"], missing))


def _video_clip(video: Path, folder: Path, annotated: bool, missing: Missing) -> Clip:
    """A clip from a video file; its frames are numbered from 1 in `maps/` and `fixation/`."""
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
    """The files of the `known` numbers; those that are not `present` are added to `missing`."""
    names = []
    for number in sorted(known):
        wanted = present.get(number, f"{Path(known[number]).stem}{_PNG}")
        if number not in present:
            missing.add(kind, folder / wanted)
        names.append(wanted)
    return Files(folder, tuple(names))


def _numbered(folder: Path) -> dict[int, str]:
    """The images of a folder by the number at the end of their names."""
    found: dict[int, str] = {}
    for name in by_stem(folder, IMAGE_SUFFIXES).values():
        number = frame_number(name)
        if number in found:
            raise UnisalError(f"{folder / name}: has the same number as {found[number]}")
        found[number] = name
    return found


def _folders(folder: Path) -> list[Path]:
    return [path for path in list_folder(folder) if path.is_dir()] if folder.is_dir() else []
