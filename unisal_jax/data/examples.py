"""One domain's training examples and the batches that they make, as NumPy arrays."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unisal_jax.data import clips
from unisal_jax.data.augment import (
    NO_AUGMENTATION,
    Augmentation,
    Change,
    cropped_points,
    draw,
    pixel_box,
    recolored,
    redrawn,
)
from unisal_jax.data.geometry import Geometry, fit_fixations, fit_image, training_geometry
from unisal_jax.data.prepared import Frame, Prepared, Video, check_size, iterate_frames
from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError


class Arrays(NamedTuple):
    """What goes to the device; `device.on_device` makes of it what the loss takes.

    Attributes:
      frames: uint8 RGB [B, T, h, w, 3] in 0 to 255.
      maps: uint8 [B, T, H, W], saliency maps in 0 to 255.
      fixations: uint8 [B, T, H, ceil(W / 8)], one bit a pixel, the leftmost the highest: static
        shapes, however many fixations there are, at an eighth of the maps' bytes.
    """

    frames: np.ndarray
    maps: np.ndarray
    fixations: np.ndarray


@dataclasses.dataclass(frozen=True)
class DomainSource:
    """A domain and the data that it is trained (or validated) with.

    Attributes:
      domain: which share of the network the batches are for; its sizes and stride.
      prepared: the data.
      batch_size: clips, or images, in a batch of all processes together.
      clip_frames: frames of a clip; a static domain's examples have one whatever it says.
      fixed_clips: None draws clips with random starts, all in random order. For validation a number:
        so many clips at fixed places of each video, in order.
      drawn_clips: how many clips are drawn of each video in an epoch.
      augmentation: how drawn examples are changed.
    """

    domain: Domain
    prepared: Prepared
    batch_size: int
    clip_frames: int = clips.CLIP_FRAMES
    fixed_clips: int | None = None
    drawn_clips: int = 1
    augmentation: Augmentation = NO_AUGMENTATION


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a source offers in each epoch.

    Attributes:
      source: where they come from.
      shape: of their clips.
      geometry: of their frames and targets.
      groups: positions in `source.prepared.videos`, one an example, of the examples that have the
        same sizes and so can share a batch. All of a source but MIT1003 are in one group.
      dropped: ids of the videos that are shorter than a clip.
    """

    source: DomainSource
    shape: clips.ClipShape
    geometry: Geometry
    groups: tuple[tuple[int, ...], ...]
    dropped: tuple[str, ...]

    @property
    def batches(self) -> int:
        """How many batches an epoch has. Examples that do not fill one more sit this epoch out."""
        return sum(len(group) // self.source.batch_size for group in self.groups)

    @property
    def left_out(self) -> int:
        """How many examples sit out in an epoch; drawn anew each time when they are in random order."""
        return sum(len(group) % self.source.batch_size for group in self.groups)

    @property
    def summary(self) -> str:
        """One line for a log: how many there are, and how many were dropped."""
        count = sum(len(group) for group in self.groups)
        text = (
            f"{self.source.domain.name}: {self.batches} batches of {self.source.batch_size} from {count} "
            f"examples, {self.left_out} sit out"
        )
        if self.shape.span == 1:  # images, or single frames: none is too short
            return text
        dropped = f"{len(self.dropped)} of {len(self.source.prepared.videos)} videos dropped"
        return f"{text}; {dropped} (shorter than {self.shape.span} frames)"


def find_examples(source: DomainSource) -> Examples:
    """Lists a source's examples.

    Raises:
      UnisalError: they do not fill a single batch.
    """
    domain, videos = source.domain, source.prepared.videos
    shape = clips.clip_shape(domain, source.clip_frames)
    geometry = training_geometry(source.prepared.name)
    kept, dropped = clips.split_by_length(videos, shape)
    groups: dict[tuple[Size, Size], list[int]] = {}
    for position in kept:
        sizes = geometry.sizes(domain, videos[position].size)
        groups.setdefault(sizes, []).extend([position] * (source.fixed_clips or source.drawn_clips))
    examples = Examples(
        source, shape, geometry, tuple(tuple(groups[sizes]) for sizes in sorted(groups)), dropped
    )
    if not examples.batches:
        raise UnisalError(
            f"{source.prepared.path}: split {source.prepared.split!r} does not fill a batch of "
            f"{source.batch_size}: {len(kept)} of {len(videos)} videos have {shape.span} frames or more"
        )
    return examples


def choose_batch(examples: Examples, seed: int, epoch: int, batch: int) -> list[tuple[int, int]]:
    """The examples in batch number `batch` of an epoch, as (group, place in the group)."""
    size = examples.source.batch_size
    drawn = examples.source.fixed_clips is None
    name = examples.source.domain.name
    rows = [(g, row) for g, group in enumerate(examples.groups) for row in range(len(group) // size)]
    if drawn:
        batch = int(clips.permutation(len(rows), seed, epoch, name, "batches")[batch])
    g, row = rows[batch]
    count = len(examples.groups[g])
    order = clips.permutation(count, seed, epoch, name, "examples", g) if drawn else np.arange(count)
    return [(g, int(place)) for place in order[row * size : (row + 1) * size]]


def read_batch(
    examples: Examples, chosen: Sequence[tuple[int, int]], seed: int, epoch: int
) -> tuple[Arrays, tuple[str, ...]]:
    """Reads the chosen examples.

    Returns:
      (arrays, for each example the id of its first frame).

    Raises:
      UnisalError: a frame is damaged, has no ground truth or an unexpected size; names it.
    """
    source = examples.source
    read = []
    ids = []
    for group, place in chosen:
        video = source.prepared.videos[examples.groups[group][place]]
        key = (seed, epoch, source.domain.name, group, place)
        sizes = examples.geometry.sizes(source.domain, video.size)
        change = draw(source.augmentation, *key) if source.fixed_clips is None else Change()
        fitted: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for frame in iterate_frames(source.prepared, _clip(examples, video, place, key)):
            check_size(source.prepared, frame, video, sizes[0])
            if not fitted:
                ids.append(frame.id)
            fitted.append(_fit(frame, sizes, examples.geometry, change, source.augmentation.sigma))
        read.append(fitted)
    parts = (np.array([[frame[part] for frame in clip] for clip in read]) for part in range(3))
    return Arrays(*parts), tuple(ids)


def _clip(examples: Examples, video: Video, place: int, key: tuple[int | str, ...]) -> range:
    count = examples.source.fixed_clips
    if count is None:
        return clips.random_clip(video, examples.shape, *key, "start")
    return clips.fixed_clip(video, examples.shape, place % count, count)


def _fit(
    frame: Frame, sizes: tuple[Size, Size], geometry: Geometry, change: Change, sigma: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels, map, packed fixations) of a frame at the sizes of training."""
    (input_size, target_size), truth = sizes, frame.truth
    if truth is None:
        raise UnisalError(f"{frame.id}: has no ground truth to train with")
    pixels = recolored(
        fit_image(frame.pixels[pixel_box(change, frame.pixels.shape[:2])], input_size, geometry.fit), change
    )
    if sigma is not None and change.cropped:
        density = redrawn(truth.fixations, truth.fixation_size, change, target_size, sigma)
    else:
        density = fit_image(truth.map[pixel_box(change, truth.map.shape)], target_size, geometry.fit)
    points, size = cropped_points(truth.fixations, truth.fixation_size, change)
    fixated = fit_fixations(points, size, target_size, geometry)
    if change.mirrored:
        pixels, density, fixated = pixels[:, ::-1], density[:, ::-1], fixated[:, ::-1]
    return pixels, density, np.packbits(fixated, axis=-1)
