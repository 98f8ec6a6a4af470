"""Predicts the frames of a video in groups, with the stages of the pipeline in parallel."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.inference.engines import Engine
from unisal_jax.limits import MAX_FILM_BYTES
from unisal_jax.media.cuts import CutDetector
from unisal_jax.media.frames import Frame
from unisal_jax.predict.ahead import ahead

# Frames of a static domain do not depend on each other.
_STATIC_VIDEO_BATCH = 4

# Memory that the stages hold per pixel of a frame: four groups of frames with three bytes, and two groups of
# densities with four.
_BYTES_A_PIXEL = 4 * 3 + 2 * 4

_Item = TypeVar("_Item")
_Finished = TypeVar("_Finished")


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A frame of a video and its prediction.

    Attributes:
      frame: the frame, unconverted.
      log_density: float32 [h, w] at the network's input size; see `resize_log_density`.
      begins_shot: whether the frame is the first one after a cut.
    """

    frame: Frame
    log_density: np.ndarray
    begins_shot: bool


@dataclasses.dataclass
class _Group:
    """Frames that the network processes together.

    Attributes:
      frames: the frames, unconverted.
      small: the resized frames, uint8 [count, height, width, 3].
      cuts: whether each begins a new shot.
      ages: number of frames before each since the recurrences were last reset, int [count].
    """

    frames: list[Frame]
    small: np.ndarray
    cuts: list[bool]
    ages: np.ndarray


def predicted(
    engine: Engine,
    frames: Iterator[Frame],
    domain: Domain,
    input_size: Size | None,
    stride: int,
    finish: Callable[[Predicted], _Finished],
    detector: CutDetector | None,
    across_cuts: bool,
) -> Iterator[_Finished]:
    """Predicts the frames of a video and yields `finish` of each prediction, in order.

    Args:
      engine: the network.
      frames: the frames in order.
      domain: the domain whose parameters are used.
      input_size: the network's input (height, width); None for the domain's rule.
      stride: frame stride: the interval between frames of one recurrence. All recurrences run as one batch.
      finish: converts each prediction; runs in its own thread.
      detector: finds cuts; None to find none.
      across_cuts: whether the recurrences continue across cuts instead of being reset at each.
    """
    first = next(frames, None)
    if first is None:
        return
    size = first.size
    input_size = input_size or domain.video_input_size(first.look.shown(size))
    together = stride if engine.config.has_recurrence(domain.static) else _STATIC_VIDEO_BATCH
    count, side_by_side = _plan(size, together)
    # Each stage has its own thread; the last stage is the caller's. While the caller writes a group of
    # frames, the maps of the next group are finished, the device computes the one after that, and a fourth
    # is read. The slowest stage alone determines the speed.
    stage = ahead if side_by_side else _in_turn
    with_first = _with_first([first], frames)
    groups = stage(_resized_groups(with_first, input_size, count, detector, across_cuts))
    del first
    running = stage(_dispatch(engine, groups, domain, count, together // count))
    finished = stage(_finished_groups(running, finish))
    with contextlib.closing(groups), contextlib.closing(running), contextlib.closing(finished):
        for group in finished:
            # Pop the frames, so that the list keeps no frame alive while the caller processes it.
            group.reverse()
            while group:
                yield group.pop()


def _dispatch(
    engine: Engine, groups: Iterable[_Group], domain: Domain, count: int, parts: int
) -> Generator[tuple[_Group, Any], None, None]:
    """Yields groups of frames with their log-densities at the input size, which are still being computed.

    `parts` consecutive groups of `count` frames cover all recurrences. Each of the `parts` has its own state.
    """
    states: list[Any | None] = []
    for number, group in enumerate(groups):
        if number < parts:
            states.append(engine.zero_state(domain, count, group.small.shape[1:3]))
        state = states[number % parts]
        continues = group.ages >= count * parts
        if state is not None and number >= parts and not continues.all():
            # Reset the recurrences of which this is the first frame after a cut.
            state = state * continues.astype(state.dtype)[:, None, None, None]
        maps, states[number % parts] = engine.frames(group.small, domain, state)
        yield group, maps


def _groups(frames: Iterable[Frame], count: int) -> Iterator[list[Frame]]:
    """Yields lists of `count` frames; the last may be shorter. Raises errors after the frames before them."""
    group: list[Frame] = []
    try:
        for frame in frames:
            group.append(frame)
            if len(group) == count:
                yield group
                group = []
    except UnisalError as error:
        if group:
            yield group
        raise error
    if group:
        yield group


def _plan(size: Size, together: int) -> tuple[int, bool]:
    """Returns the number of frames per group, and whether the stages run in parallel.

    The number is the largest divisor of `together`, the frames of one batch, within MAX_FILM_BYTES.
    """
    most = MAX_FILM_BYTES // (_BYTES_A_PIXEL * size[0] * size[1])
    count = max(part for part in range(1, together + 1) if together % part == 0 and part <= max(most, 1))
    return count, most >= 1


def _in_turn(items: Generator[_Item, None, None]) -> Generator[_Item, None, None]:
    """Returns the items unchanged: a stage without a thread and without prefetching."""
    return items


def _with_first(first: list[Frame], rest: Iterator[Frame]) -> Iterator[Frame]:
    # Pop the frame, so that it is freed while the rest is processed.
    yield first.pop()
    yield from rest


def _resized_groups(
    frames: Iterable[Frame], input_size: Size, count: int, detector: CutDetector | None, across_cuts: bool
) -> Generator[_Group, None, None]:
    age = -1
    for group in _groups(frames, count):
        # Pad the last group, so that one compiled program is enough; the padding's results are dropped.
        small, ages = np.zeros((count, *input_size, 3), np.uint8), np.zeros(count, int)
        cuts = []
        for number, frame in enumerate(group):
            small[number] = frame.resized(input_size)
            cuts.append(detector is not None and detector.add(small[number]))
            age = 0 if cuts[-1] and not across_cuts else age + 1
            ages[number] = age
        ages[len(group) :] = age
        yield _Group(group, small, cuts, ages)


def _finished_groups(
    running: Iterable[tuple[_Group, Any]], finish: Callable[[Predicted], _Finished]
) -> Generator[list[_Finished], None, None]:
    for group, maps in running:
        each = zip(group.frames, np.asarray(maps), group.cuts, strict=False)
        yield [finish(Predicted(*parts)) for parts in each]
