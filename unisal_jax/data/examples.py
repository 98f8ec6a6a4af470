"""Training examples of one domain, and their batches as NumPy arrays."""

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
    """The arrays of a batch for the device; `device.on_device` converts them to inputs of the loss.

    Attributes:
      frames: uint8 RGB [B, T, h, w, 3] in 0 to 255.
      maps: uint8 [B, T, H, W], saliency maps in 0 to 255.
      fixations: uint8 [B, T, H, ceil(W / 8)], one bit per pixel, the leftmost pixel in the highest bit. The
        shape does not depend on the number of fixations.
    """

    frames: np.ndarray
    maps: np.ndarray
    fixations: np.ndarray


@dataclasses.dataclass(frozen=True)
class DomainSource:
    """A domain and its data for training or validation.

    Attributes:
      domain: the domain, with its sizes and stride.
      prepared: the data.
      batch_size: clips, or images, per batch, over all processes.
      clip_frames: frames per clip; a static domain's examples always have one.
      fixed_clips: for validation, the number of clips at fixed positions of each video, in order. None draws
        clips with random starts, in random order.
      drawn_clips: number of clips to draw from each video per epoch.
      augmentation: the augmentation of drawn examples.
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
    """The examples of a source in an epoch.

    Attributes:
      source: the source.
      shape: the shape of the clips.
      geometry: how frames and targets get their sizes.
      groups: for each group of examples with the same sizes, which can share a batch, the index in
        `source.prepared.videos` of each example. Of the released datasets, only MIT1003 has several groups.
      dropped: ids of the videos that are shorter than a clip.
    """

    source: DomainSource
    shape: clips.ClipShape
    geometry: Geometry
    groups: tuple[tuple[int, ...], ...]
    dropped: tuple[str, ...]

    @property
    def batches(self) -> int:
        """Number of batches per epoch. Examples that do not fill another batch are left out."""
        return sum(len(group) // self.source.batch_size for group in self.groups)

    @property
    def left_out(self) -> int:
        """Number of examples left out in an epoch; in random order, other ones in each epoch."""
        return sum(len(group) % self.source.batch_size for group in self.groups)

    @property
    def summary(self) -> str:
        """One line for a log: the numbers of batches, examples and dropped videos."""
        count = sum(len(group) for group in self.groups)
        text = (
            f"{self.source.domain.name}: {self.batches} batches of {self.source.batch_size} from {count} "
            f"examples, {self.left_out} left out"
        )
        if self.shape.span == 1:  # no video is too short
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
    """The examples in batch number `batch` of an epoch, as (group, index in the group)."""
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
      (arrays, id of the first frame of each example).

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
    """(pixels, map, packed fixations) of a frame, at the sizes for training."""
    (input_size, target_size), truth = sizes, frame.truth
    if truth is None:
        raise UnisalError(f"{frame.id}: has no ground truth, which training requires")
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
