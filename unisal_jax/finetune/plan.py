"""Plans a fine-tuning from its data: the stimuli to train, validate and test with, and what to train.

The choices depend on the data and the seed only. Each rule adds a line that is printed before the training
starts, and is part of the report.
"""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from unisal_jax.data.augment import blur_of
from unisal_jax.data.clips import CLIP_FRAMES, ClipShape, permutation, split_by_length
from unisal_jax.data.prepared import (
    Video,
    frame_rate,
    iterate_frames,
    open_prepared,
    read_frames,
    split_names,
)
from unisal_jax.domains import DHF1K, RELEASED_DOMAINS, Domain, Size, shown_size, size_by_aspect
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import find_prepared, open_data

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)

Moved = Literal["all", "domain"]
"""What is trained: all weights, or only the parameters of the new domain."""

# Fewer stimuli are too few to train, validate and test.
LEAST = {"image": 20, "video": 5}
# With at least this many training stimuli, all weights are trained. A clip has hundreds of frames.
LEAST_FOR_ALL = {"image": 100, "video": 4}
FEW_TESTED = 10
"""Results on fewer test stimuli hardly generalise."""

_DEFAULT_NAME = "own"
# Images whose maps are examined.
_SAMPLED = 8
# Names common to two splits whose frames are compared.
_COMPARED = 100


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts about a prepared dataset.

    Attributes:
      folder: folder of the dataset.
      name: name of the dataset, such as `osie`.
      kind: whether its stimuli are images or videos.
      splits: by name, the stimuli of each split with ground truth; contains `train`.
      stride: frame stride; 1 for images.
      lines: assumptions and problems.
    """

    folder: Path
    name: str
    kind: Literal["image", "video"]
    splits: Mapping[str, tuple[Video, ...]]
    stride: int
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Division:
    """The stimuli to train, validate and test with.

    Attributes:
      parts: by `SPLITS`, (split of the dataset that contains them, their ids).
      own: whether all three are whole splits of the dataset.
      usable: number of training stimuli long enough for a training clip.
      lines: how they were chosen.
    """

    parts: Mapping[str, tuple[str, tuple[str, ...]]]
    own: bool
    usable: int
    lines: tuple[str, ...]


def read_facts(data: str | Path, fps: float | None = None) -> Facts:
    """Reads the facts of a prepared dataset.

    Args:
      data: folder of the dataset, or a folder above it.
      fps: frames per second of its videos, if the dataset does not store it.

    Raises:
      UnisalError: there is no prepared dataset, it has no split `train` with ground truth, or is damaged.
    """
    folder = find_prepared(Path(data)) if Path(data).is_dir() else None
    folder = folder or Path(data)
    splits = {}
    for name in split_names(folder) if folder.is_dir() else (TRAIN,):
        prepared = open_prepared(folder, name)
        if prepared.videos and read_frames(prepared, [prepared.videos[0].start])[0].truth is not None:
            splits[name] = prepared.videos
    if TRAIN not in splits:
        raise UnisalError(f"{folder}: no split {TRAIN!r} with maps and fixations to train on")
    scored = open_data(folder, TRAIN)
    if scored.kind == "image":
        return Facts(folder, scored.name, "image", splits, 1, _alike(folder, splits))
    rate, lines = fps or frame_rate(folder), _alike(folder, splits)
    stride = DHF1K.video_stride(rate)
    if rate is None:
        lines = (*lines, "the frame rate of the videos is unknown; assuming 30 fps (--fps sets it)")
    return Facts(folder, scored.name, "video", splits, stride, lines)


def _alike(folder: Path, splits: Mapping[str, Sequence[Video]]) -> tuple[str, ...]:
    """Lines on stimuli in two splits: with the same name and the same first frame."""
    lines = []
    for first, second in itertools.combinations(splits, 2):
        names = sorted({video.id for video in splits[first]} & {video.id for video in splits[second]})
        same = []
        for name in names[:_COMPARED]:
            one, other = (
                read_frames(open_prepared(folder, split), [video.start])[0]
                for split in (first, second)
                for video in splits[split]
                if video.id == name
            )
            if np.array_equal(one.pixels, other.pixels):
                same.append(name)
        if same:
            lines.append(
                f"{len(same)} {'is' if len(same) == 1 else 'are'} in both {first} and {second}, such as "
                f"{same[0]}: the held-out data were trained on"
            )
    return tuple(lines)


def divide(facts: Facts, seed: int) -> Division:
    """Chooses the stimuli to train, validate and test with: the dataset's splits, or parts of `train`.

    Missing splits are drawn from `train` by stimulus, so that nobody's gaze at a test stimulus is trained on.
    The test split takes a tenth of the stimuli, but at least 20 or a quarter of them, whichever is less; the
    validation split a tenth, but at least 10 or an eighth. Videos shorter than a clip are not drawn.

    Raises:
      UnisalError: there are too few stimuli.
    """
    missing = [split for split in (TEST, VALIDATION) if split not in facts.splits]
    long_enough, too_short = _usable(facts, facts.splits[TRAIN])
    plural = f"{facts.kind}s"
    lines: list[str] = []
    total = sum(len(_usable(facts, facts.splits[split])[0]) for split in SPLITS if split in facts.splits)
    if total < LEAST[facts.kind]:
        dropped = f" ({len(too_short)} more are shorter than a clip)" if too_short else ""
        raise UnisalError(
            f"{facts.folder}: {total} {plural} with ground truth{dropped}; fine-tuning with a held-out test "
            f"requires at least {LEAST[facts.kind]}"
        )
    count = len(long_enough)
    sizes = {
        TEST: max(round(count / 10), min(20, count // 4), 2),
        VALIDATION: max(round(count / 10), min(10, count // 8), 1),
    }
    order = [long_enough[place] for place in permutation(count, seed, "finetune")]
    drawn: dict[str, set[str]] = {}
    for split in missing:
        drawn[split] = {order.pop() for _ in range(min(sizes[split], max(len(order) - 1, 0)))}
    taken = set().union(*drawn.values())
    parts, usable = {}, {}
    for split in SPLITS:
        old = split if split in facts.splits else TRAIN
        videos = facts.splits[old]
        if split in drawn:
            ids = tuple(video.id for video in videos if video.id in drawn[split])
        else:
            ids = tuple(video.id for video in videos if split != TRAIN or video.id not in taken)
        parts[split] = old, ids
        usable[split] = len(_usable(facts, [video for video in videos if video.id in ids])[0])
        if not usable[split]:
            raise UnisalError(f"{facts.folder}: no {facts.kind} is left for {split}; prepare more data")
    shown = ", ".join(f"{len(parts[split][1])} {name}" for split, name in _PURPOSE.items())
    own = [split for split in SPLITS if split not in missing]
    how = "the dataset's own splits"
    if missing:
        how = f"{' and '.join(reversed(missing))} drawn from {TRAIN} by {facts.kind} with seed {seed}"
        how += f"; {' and '.join(own)} from the dataset" if len(own) > 1 else ""
    lines.append(f"{plural}: {shown}: {how}; no {facts.kind} is in two of them, whoever viewed it")
    if too_short:
        lines.append(f"{len(too_short)} videos are shorter than a clip and not used in training")
    return Division(parts, not missing, usable[TRAIN], tuple(lines))


_PURPOSE = {TRAIN: "to train", VALIDATION: "to validate", TEST: "to test"}


def _usable(facts: Facts, videos: Sequence[Video]) -> tuple[list[str], tuple[str, ...]]:
    """(ids of stimuli long enough for a training clip, ids of the others)."""
    shape = ClipShape(1, 1) if facts.kind == "image" else ClipShape(CLIP_FRAMES, facts.stride)
    kept, dropped = split_by_length(videos, shape)
    return [videos[place].id for place in kept], dropped


def what_to_train(facts: Facts, division: Division, requested: Moved | None) -> tuple[Moved, str]:
    """(what to train, by the amount of data unless requested; a line that explains it)."""
    count, least = division.usable, LEAST_FOR_ALL[facts.kind]
    by_amount: Moved = "all" if count >= least else "domain"
    names = {"all": "all weights", "domain": "only the domain's parameters"}
    if requested is not None:
        return requested, f"trains {names[requested]}, as set by --train"
    relation = "at least" if by_amount == "all" else "fewer than"
    return by_amount, (
        f"trains {names[by_amount]}: {count} training {facts.kind}s are {relation} {least} "
        f"(--train {'domain' if by_amount == 'all' else 'all'} changes that)"
    )


def frame_size(facts: Facts) -> tuple[Size, str]:
    """(the (height, width) of frames with the most common aspect ratio, a line on it and on others)."""
    sizes = Counter(video.size for videos in facts.splits.values() for video in videos)
    by_aspect: Counter[Size] = Counter()
    for size, count in sizes.items():
        by_aspect[size_by_aspect(size)] += count
    # Ties go to the smallest size, so that the order of the data does not matter.
    input_size = min(by_aspect, key=lambda size: (-by_aspect[size], size))
    fitting = {size: count for size, count in sizes.items() if size_by_aspect(size) == input_size}
    most = min(fitting, key=lambda size: (-fitting[size], size))
    others = sum(by_aspect.values()) - by_aspect[input_size]
    line = f"input size {shown_size(input_size)}, from {facts.kind}s of {shown_size(most)}"
    if others:
        line += (
            f"; {others} of {sum(by_aspect.values())} {facts.kind}s have another aspect ratio and are "
            "stretched in training"
        )
    return most, line


def map_blur(facts: Facts) -> tuple[float | None, str]:
    """(the blur of the images' maps (`augment.blur_of`), None if it varies; a line on it)."""
    prepared = open_prepared(facts.folder, TRAIN)
    videos = facts.splits[TRAIN]
    sample = [videos[place] for place in np.unique(np.linspace(0, len(videos) - 1, _SAMPLED).astype(int))]
    found = []
    for frame in iterate_frames(prepared, [video.start for video in sample]):
        truth = frame.truth
        if truth is not None and len(truth.fixations):
            found.append(blur_of(truth.map, truth.fixations, truth.fixation_size))
    known = [blur for blur in found if blur is not None]
    if not known or len(known) < len(found) or max(known) > 1.1 * min(known):
        return None, "maps are not Gaussians of the fixations; training crops images only slightly"
    blur = float(np.median(known))
    return (
        blur,
        f"maps are Gaussians of the fixations, {100 * blur:.1f}% of the height wide; crops recompute them",
    )


def domain_name(facts: Facts, requested: str | None) -> str:
    """The name of the new domain: the requested one, else the dataset's if valid, else `own`.

    Raises:
      UnisalError: the requested name is not valid for a new domain.
    """
    if requested is not None:
        return check_domain(requested)
    name = re.sub(r"[^a-z0-9]+", "_", facts.name.lower()).strip("_")
    try:
        return check_domain(name)
    except UnisalError:
        return _DEFAULT_NAME


def check_domain(name: str) -> str:
    """Returns the name if it is valid for a new domain.

    Raises:
      UnisalError: the name is not a domain name, or is that of a released domain.
    """
    if name in {domain.name for domain in RELEASED_DOMAINS}:
        raise UnisalError(f"--domain {name}: is a released domain; choose a new name")
    Domain(name, (32, 32))
    return name
