"""What a fine-tuning is to do, by the facts of its data: which stimuli train, validate and test; what moves.

The choice follows from the data and the seed alone. Each of its rules leaves a line that is told before the
training starts, and in the report.
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
"""What is trained: all weights, or the new domain's own parameters alone."""

# With fewer stimuli there is too little to train, choose and test on at once.
LEAST = {"image": 20, "video": 5}
# From so many training stimuli on all weights are trained. A clip has hundreds of frames.
LEAST_FOR_ALL = {"image": 100, "video": 4}
FEW_TESTED = 10
"""A test of fewer stimuli says little of others."""

_DEFAULT_NAME = "own"
# Images whose maps are looked at.
_SAMPLED = 8
# Names in two splits whose frames are compared.
_COMPARED = 100


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a prepared dataset.

    Attributes:
      folder: of the dataset.
      name: its name, such as `osie`.
      kind: whether its stimuli are images or videos.
      splits: by name, the stimuli of each split that has ground truth, at least `train`.
      stride: frame stride of a video's recurrences; 1 of images.
      lines: what was assumed or is odd.
    """

    folder: Path
    name: str
    kind: Literal["image", "video"]
    splits: Mapping[str, tuple[Video, ...]]
    stride: int
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Division:
    """Which stimuli train, validate and test.

    Attributes:
      parts: by `SPLITS`, (the dataset's split that they are in, their ids).
      own: all three are whole splits of the dataset.
      usable: how many stimuli to train with a training clip fits in.
      lines: how they were chosen.
    """

    parts: Mapping[str, tuple[str, tuple[str, ...]]]
    own: bool
    usable: int
    lines: tuple[str, ...]


def read_facts(data: str | Path, fps: float | None = None) -> Facts:
    """Looks at a prepared dataset.

    Args:
      data: its folder, or one above it.
      fps: frames a second of its videos, where the dataset does not know it.

    Raises:
      UnisalError: it is none, has no split `train` with ground truth, or is damaged.
    """
    folder = find_prepared(Path(data)) if Path(data).is_dir() else None
    folder = folder or Path(data)
    splits = {}
    for name in split_names(folder) if folder.is_dir() else (TRAIN,):
        prepared = open_prepared(folder, name)
        if prepared.videos and read_frames(prepared, [prepared.videos[0].start])[0].truth is not None:
            splits[name] = prepared.videos
    if TRAIN not in splits:
        raise UnisalError(f"{folder}: no split {TRAIN!r} with maps and fixations, which is trained on")
    scored = open_data(folder, TRAIN)
    if scored.kind == "image":
        return Facts(folder, scored.name, "image", splits, 1, _alike(folder, splits))
    rate, lines = fps or frame_rate(folder), _alike(folder, splits)
    stride = DHF1K.video_stride(rate)
    if rate is None:
        lines = (*lines, "the videos' frame rate is not known: taken for 30 a second; --fps sets it")
    return Facts(folder, scored.name, "video", splits, stride, lines)


def _alike(folder: Path, splits: Mapping[str, Sequence[Video]]) -> tuple[str, ...]:
    """A line on stimuli that are in two splits: of the same name, with the same first frame."""
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
                f"{same[0]}: what is held out was seen"
            )
    return tuple(lines)


def divide(facts: Facts, seed: int) -> Division:
    """Chooses the stimuli to train, validate and test with: the dataset's splits, or parts of `train`.

    What the dataset does not have is drawn from `train`, stimulus by stimulus, so that no person's gaze at a
    tested stimulus is trained on. A test takes a tenth, but 20 stimuli or a quarter where that is less; a
    validation a tenth, but 10 or an eighth. Videos shorter than a clip cannot be drawn.

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
            f"needs at least {LEAST[facts.kind]}"
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
            raise UnisalError(f"{facts.folder}: leaves no {facts.kind} for {split}; prepare more")
    shown = ", ".join(f"{len(parts[split][1])} {name}" for split, name in _PURPOSE.items())
    own = [split for split in SPLITS if split not in missing]
    how = "the dataset's own splits"
    if missing:
        how = f"{' and '.join(reversed(missing))} drawn from {TRAIN} by {facts.kind} with seed {seed}"
        how += f"; {' and '.join(own)} as the dataset has it" if len(own) > 1 else ""
    lines.append(f"{plural}: {shown}: {how}; no {facts.kind} is in two of them, whoever looked at it")
    if too_short:
        lines.append(f"{len(too_short)} videos are shorter than a clip and are not trained on")
    return Division(parts, not missing, usable[TRAIN], tuple(lines))


_PURPOSE = {TRAIN: "to train", VALIDATION: "to validate", TEST: "to test"}


def _usable(facts: Facts, videos: Sequence[Video]) -> tuple[list[str], tuple[str, ...]]:
    """Ids of the stimuli that a training clip fits in, and of the others."""
    shape = ClipShape(1, 1) if facts.kind == "image" else ClipShape(CLIP_FRAMES, facts.stride)
    kept, dropped = split_by_length(videos, shape)
    return [videos[place].id for place in kept], dropped


def what_to_train(facts: Facts, division: Division, asked: Moved | None) -> tuple[Moved, str]:
    """All weights or the domain's own parameters, by the amount of data, and a line that says why."""
    count, least = division.usable, LEAST_FOR_ALL[facts.kind]
    by_amount: Moved = "all" if count >= least else "domain"
    names = {"all": "all weights", "domain": "the domain's own parameters alone"}
    if asked is not None:
        return asked, f"trains {names[asked]}, as --train says"
    relation = "at least" if by_amount == "all" else "fewer than"
    return by_amount, (
        f"trains {names[by_amount]}: {count} training {facts.kind}s are {relation} {least} "
        f"(--train {'domain' if by_amount == 'all' else 'all'} changes that)"
    )


def frame_size(facts: Facts) -> tuple[Size, str]:
    """The size (height, width) of frames that most of the data share the aspect of, and a line on others."""
    sizes = Counter(video.size for videos in facts.splits.values() for video in videos)
    by_aspect: Counter[Size] = Counter()
    for size, count in sizes.items():
        by_aspect[size_by_aspect(size)] += count
    # The first of equals in ascending order, so that the order of the data does not matter.
    input_size = min(by_aspect, key=lambda size: (-by_aspect[size], size))
    fitting = {size: count for size, count in sizes.items() if size_by_aspect(size) == input_size}
    most = min(fitting, key=lambda size: (-fitting[size], size))
    others = sum(by_aspect.values()) - by_aspect[input_size]
    line = f"input size {shown_size(input_size)}, from {facts.kind}s of {shown_size(most)}"
    if others:
        line += (
            f"; {others} of {sum(by_aspect.values())} {facts.kind}s have another shape, and are stretched to "
            "it in training"
        )
    return most, line


def map_blur(facts: Facts) -> tuple[float | None, str]:
    """The blur of images' maps (`augment.blur_of`), where all of a sample agree, and a line on it."""
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
        return None, "maps are not Gaussians of the fixations: training crops little off the images"
    blur = float(np.median(known))
    return (
        blur,
        f"maps are Gaussians of the fixations, {100 * blur:.1f}% of the height wide: crops are drawn anew",
    )


def domain_name(facts: Facts, asked: str | None) -> str:
    """The new domain's name: as asked, else the dataset's, where that can be one.

    Raises:
      UnisalError: what is asked cannot be a new domain's name.
    """
    if asked is not None:
        return check_domain(asked)
    name = re.sub(r"[^a-z0-9]+", "_", facts.name.lower()).strip("_")
    try:
        return check_domain(name)
    except UnisalError:
        return _DEFAULT_NAME


def check_domain(name: str) -> str:
    """The name, if a new domain can have it.

    Raises:
      UnisalError: it is no domain name, or a released domain's.
    """
    if name in {domain.name for domain in RELEASED_DOMAINS}:
        raise UnisalError(f"--domain {name}: is a released domain, which stays as it is; name a new one")
    Domain(name, (32, 32))
    return name
