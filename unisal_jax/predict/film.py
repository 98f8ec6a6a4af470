"""Frames of a film through the network: in groups, in stages that work side by side, from shot to shot."""

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

# Frames of a static domain do not wait for each other.
_STATIC_VIDEO_BATCH = 4

# What the stages hold of a frame, a pixel: it is in four groups at once, of three bytes, and its density in
# two, of four.
_BYTES_A_PIXEL = 4 * 3 + 2 * 4

_Item = TypeVar("_Item")
_Finished = TypeVar("_Finished")


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A frame of a film and what was predicted of it.

    Attributes:
      frame: as it came.
      log_density: float32 [h, w] at the size that the network saw; see `resize_log_density`.
      begins_shot: the frame is the first one after a cut.
    """

    frame: Frame
    log_density: np.ndarray
    begins_shot: bool


@dataclasses.dataclass
class _Group:
    """Frames that go through the network together.

    Attributes:
      frames: as they came.
      small: resized, uint8 [count, height, width, 3].
      cuts: whether each begins a new shot.
      ages: how many frames came before each since its recurrence last started anew, int [count].
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
    """The frames of a film with their predictions, as `finish` makes of them, in order.

    Args:
      engine: the network.
      frames: in order.
      domain: whose parameters.
      input_size: (height, width) that the network sees; None for the domain's rule.
      stride: frames from one to the next of a recurrence, which all run side by side.
      finish: runs in a thread of its own.
      detector: finds cuts; None: there are none.
      across_cuts: the recurrences go on from shot to shot; else they start anew at each cut.
    """
    first = next(frames, None)
    if first is None:
        return
    size = first.size
    input_size = input_size or domain.video_input_size(first.look.shown(size))
    together = stride if engine.config.has_recurrence(domain.static) else _STATIC_VIDEO_BATCH
    count, side_by_side = _plan(size, together)
    # Each stage has a thread of its own, and the caller's is the last one: while it writes a group of
    # frames the next one's maps are brought to full size, the device works on the one after that,
    # and a fourth is read. So the slowest stage alone sets the pace.
    stage = ahead if side_by_side else _in_turn
    with_first = _with_first([first], frames)
    groups = stage(_resized_groups(with_first, input_size, count, detector, across_cuts))
    del first
    running = stage(_dispatch(engine, groups, domain, count, together // count))
    finished = stage(_finished_groups(running, finish))
    with contextlib.closing(groups), contextlib.closing(running), contextlib.closing(finished):
        for group in finished:
            # Popped, so that no frame lives on in a list while the caller works on it.
            group.reverse()
            while group:
                yield group.pop()


def _dispatch(
    engine: Engine, groups: Iterable[_Group], domain: Domain, count: int, parts: int
) -> Generator[tuple[_Group, Any], None, None]:
    """Groups of frames with their log-densities at the input size, which are still being computed.

    `parts` groups of `count` frames in turn belong to all the recurrences, each with a state of its own.
    """
    states: list[Any | None] = []
    for number, group in enumerate(groups):
        if number < parts:
            states.append(engine.zero_state(domain, count, group.small.shape[1:3]))
        state = states[number % parts]
        goes_on = group.ages >= count * parts
        if state is not None and number >= parts and not goes_on.all():
            # The first frame of its recurrence after a cut.
            state = state * goes_on.astype(state.dtype)[:, None, None, None]
        maps, states[number % parts] = engine.frames(group.small, domain, state)
        yield group, maps


def _groups(frames: Iterable[Frame], count: int) -> Iterator[list[Frame]]:
    """Lists of `count` frames, the last one shorter; an error comes after the frames before it."""
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
    """How many frames of (height, width) go through the stages at once, and whether these run side by side.

    As many as can be of the `together` that make one batch, a part that divides it, within MAX_FILM_BYTES.
    """
    most = MAX_FILM_BYTES // (_BYTES_A_PIXEL * size[0] * size[1])
    count = max(part for part in range(1, together + 1) if together % part == 0 and part <= max(most, 1))
    return count, most >= 1


def _in_turn(items: Generator[_Item, None, None]) -> Generator[_Item, None, None]:
    """The same items: the stage without a thread, and so without anything made ahead."""
    return items


def _with_first(first: list[Frame], rest: Iterator[Frame]) -> Iterator[Frame]:
    # Popped, so that it does not live on while the rest goes by.
    yield first.pop()
    yield from rest


def _resized_groups(
    frames: Iterable[Frame], input_size: Size, count: int, detector: CutDetector | None, across_cuts: bool
) -> Generator[_Group, None, None]:
    age = -1
    for group in _groups(frames, count):
        # The last group is filled up, so that one program does; what that adds is dropped.
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
