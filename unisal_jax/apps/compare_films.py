"""Compares two versions of a video in bounded memory: frame by frame, or by their means over time.

Each video is read twice. The first pass reads the frame times, which decide how the two are compared.
"""

import contextlib
import dataclasses
import math
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.apps.compare import (
    BoxChange,
    Similarity,
    compare_densities,
    matched,
    similarity,
)
from unisal_jax.apps.compare_files import Compared, Pair, about, add_boxes, shown_change, shown_share
from unisal_jax.apps.compare_images import Mark, difference, lay_out, side_by_side
from unisal_jax.apps.curves import FrameScore, RegionCurves, known_time
from unisal_jax.apps.moving import MovingRegion
from unisal_jax.apps.regions import MeanDensity, Region
from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import write_png
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video import camera_number, open_video
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.predict.model import SaliencyModel
from unisal_jax.predict.video_outputs import DEFAULT_FPS

# Frames have equal times if these differ by at most this share of a step.
_SAME_TIME = 0.5
# Tolerance for rounded times, in seconds.
_SLACK = 1e-6
_TITLE = "From A to B"


def film_paths(out: Path) -> list[Path]:
    """Returns the files that `compare_films` may write."""
    return [out / "side_by_side.mp4", out / "difference.mp4", out / "difference.png"]


def compare_films(
    model: SaliencyModel, domain: Domain, pair: Pair, input_size: Size | None, out: Path | None
) -> Compared:
    """Compares two versions of a video and, if `out` is given, writes a video of both.

    Versions with the same number of frames at the same times are compared frame by frame, and
    `difference.mp4` shows where attention moves. Otherwise their means over time are compared, and
    `difference.png` shows these.

    Args:
      model: predicts the densities.
      domain: the domain whose parameters are used.
      pair: the videos.
      input_size: the network's input (height, width); None for the domain's.
      out: an existing folder; None to write no files.

    Raises:
      UnisalError: a video cannot be read or is a camera, a box does not fit, or a file cannot be written.
    """
    clocks = _Clock.of(pair.a), _Clock.of(pair.b)
    size_a, size_b = clocks[0].size, clocks[1].size
    pair.check(size_a, size_b)
    matched(*pair.both)
    by_frame = clocks[0].equals(clocks[1])
    alike: list[Similarity] = []
    with contextlib.ExitStack() as stack:
        films = stack.enter_context(_Films(out, pair, clocks, by_frame)) if out else None
        cuts = [
            stack.enter_context(_predicted(model, domain, input_size, source, regions, clock))
            for source, regions, clock in zip((pair.a, pair.b), pair.both, clocks, strict=True)
        ]
        for seconds in clocks[0].shown if by_frame else _ticks(*clocks):
            for cut in cuts:
                if by_frame:
                    cut.step()  # by number, since times may differ slightly
                else:
                    cut.step_to(seconds)
            if by_frame:
                alike.append(similarity(cuts[0].density, cuts[1].density))
            if films:
                films.write(cuts)
        for cut in cuts:
            cut.step_to(math.inf)
        means = [cut.mean.density() for cut in cuts]
        curves = [cut.curves for cut in cuts]
        boxes = tuple(
            BoxChange(region.name, curves[0].mean(region.name), curves[1].mean(region.name))
            for region in pair.regions_a
        )
        found = compare_densities(means[0], means[1], boxes)
        if by_frame:
            columns = zip(*(dataclasses.astuple(each) for each in alike), strict=True)
            found = dataclasses.replace(found, similarity=Similarity(*(float(np.mean(c)) for c in columns)))
        elif films:
            films.write_means(means, boxes)
    facts = about(pair, "frames" if by_frame else "means", domain, size_a, size_b)
    facts["frames"] = {name: len(clock.times) for name, clock in zip("ab", clocks, strict=True)}
    content = {"about": facts, **found.to_json()}
    add_boxes(content, pair)
    if by_frame:
        content["frames"] = list(_frames_json(curves[0], curves[1], alike))
    return Compared(found, content, [*pair.notes(size_a, size_b), *_absent(boxes)])


@dataclasses.dataclass(frozen=True)
class _Clock:
    """The frame times of a video.

    Attributes:
      size: (height, width) of the frames.
      fps, times: see `VideoReader`.
    """

    size: Size
    fps: float | None
    times: Sequence[float]

    @classmethod
    def of(cls, source: MediaSource) -> "_Clock":
        """Reads a video to its end."""
        if camera_number(str(source.path)) is not None:
            raise UnisalError(
                f"{source.path}: a camera cannot be read twice, which comparing requires; record it first"
            )
        with open_video(source.path) as reader:
            for _ in reader:
                pass
            return cls(reader.size, reader.fps, reader.times)

    @property
    def timed(self) -> bool:
        """Whether every frame has a time."""
        return not any(map(math.isnan, self.times))

    @property
    def shown(self) -> Sequence[float]:
        """The times; evenly spaced if unknown."""
        return self.times if self.timed else [n / (self.fps or DEFAULT_FPS) for n in range(len(self.times))]

    def equals(self, other: "_Clock") -> bool:
        """Whether both have the same number of frames at the same times, as far as these are known."""
        if len(self.times) != len(other.times):
            return False
        if not (self.timed and other.timed) or len(self.times) == 1:
            return True
        step = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return float(np.abs(np.subtract(self.times, other.times)).max()) <= _SAME_TIME * step


def _ticks(a: _Clock, b: _Clock) -> Iterator[float]:
    """Yields the times at which to compare videos of different rates: at the higher rate, until both end."""
    fps = _common_fps(a, b)
    for number in range(math.floor(max(a.shown[-1], b.shown[-1]) * fps + 0.5) + 1):
        yield number / fps


def _common_fps(a: _Clock, b: _Clock) -> float:
    return max(a.fps or DEFAULT_FPS, b.fps or DEFAULT_FPS)


class _Cut:
    """One version of the video, predicted step by step.

    Attributes:
      frame, density, scores: of the current frame; unset before the first step.
      mean, curves: of the frames so far.
    """

    frame: np.ndarray
    density: np.ndarray
    scores: list[FrameScore]

    def __init__(
        self,
        source: MediaSource,
        predicted: Iterator[tuple[np.ndarray, np.ndarray]],
        regions: Sequence[Region | MovingRegion],
        clock: _Clock,
    ):
        self._source, self._predicted, self._clock, self._shown = source, predicted, clock, clock.shown
        self.mean, self.curves = MeanDensity(), RegionCurves(regions)

    @property
    def count(self) -> int:
        """Number of frames so far."""
        return len(self.curves.times)

    def step(self) -> None:
        """Advances to the next frame."""
        found = next(self._predicted, None)
        if found is None:
            raise UnisalError(f"{self._source.path}: changed while it was read; run the command again")
        self.frame, self.density = found
        self.scores = self.curves.add(self.density, known_time(self._clock.times[self.count]))
        self.mean.add(self.density)

    def step_to(self, seconds: float) -> None:
        """Advances to the frame displayed at a time; stays at the last frame."""
        while self.count < len(self._shown) and self._shown[self.count] <= seconds + _SLACK:
            self.step()


@contextlib.contextmanager
def _predicted(
    model: SaliencyModel,
    domain: Domain,
    input_size: Size | None,
    source: MediaSource,
    regions: Sequence[Region | MovingRegion],
    clock: _Clock,
) -> Generator[_Cut, None, None]:
    with (
        open_video(source.path) as reader,
        contextlib.closing(model.predict_video(reader, domain, input_size)) as predicted,
    ):
        yield _Cut(source, predicted, regions, clock)


class _Films(contextlib.ExitStack):
    """The output videos of a comparison. They appear when the block ends without an exception."""

    def __init__(self, out: Path, pair: Pair, clocks: tuple[_Clock, _Clock], by_frame: bool):
        super().__init__()
        self._paths, self._titles, self._regions = film_paths(out), pair.titles, pair.both[1]
        self._layout = lay_out(clocks[0].size, clocks[1].size)
        self._fps, self._by_frame = _common_fps(*clocks), by_frame
        self._middle = len(clocks[1].times) // 2
        self._background: np.ndarray | None = None
        self._writers: list[VideoWriter] = []

    def write(self, cuts: Sequence[_Cut]) -> None:
        """Adds the current frames of both versions."""
        frames, densities = [cut.frame for cut in cuts], [cut.density for cut in cuts]
        marks = [
            [Mark(score.box, shown_share(score.name, score.attention)) for score in cut.scores]
            for cut in cuts
        ]
        sheets = [side_by_side(self._layout, frames, densities, self._titles, marks)]
        if self._by_frame:
            in_a = {score.name: score.attention for score in cuts[0].scores}
            changes = [
                Mark(score.box, shown_change(score.name, score.attention - in_a[score.name]))
                for score in cuts[1].scores
                if score.name in in_a
            ]
            sheets.append(difference(self._layout, frames[1], densities, _TITLE, changes))
        elif self._background is None or cuts[1].count <= self._middle:
            self._background = frames[1]
        if not self._writers:
            # The sizes are known only now.
            self._writers = [
                self.enter_context(VideoWriter(path, sheet.shape[:2], self._fps))
                for path, sheet in zip(self._paths, sheets, strict=False)
            ]
        for writer, sheet in zip(self._writers, sheets, strict=True):
            writer.write(sheet)

    def write_means(self, means: Sequence[np.ndarray], boxes: Sequence[BoxChange]) -> None:
        """Draws where attention moved over the whole videos on B's middle frame."""
        assert self._background is not None
        places = {region.name: region.box for region in self._regions if isinstance(region, Region)}
        changes = [
            Mark(places[box.name], shown_change(box.name, box.change)) for box in boxes if box.name in places
        ]
        title = f"{_TITLE}, means over time"
        write_png(self._paths[2], difference(self._layout, self._background, means, title, changes))


def _frames_json(a: RegionCurves, b: RegionCurves, alike: Sequence[Similarity]) -> Iterator[dict[str, Any]]:
    """Yields each frame's shares by box in A and B, and the similarity of the two frames."""
    for of_a, of_b, each in zip(a.frames_json(), b.frames_json(), alike, strict=True):
        yield {
            **of_a,
            "attention": {"a": of_a["attention"], "b": of_b["attention"]},
            "similarity": each.to_json(),
        }


def _absent(boxes: Sequence[BoxChange]) -> list[str]:
    return [
        f"box {box.name!r} is in no frame of {name}; its change is unknown"
        for box in boxes
        for name, share in (("A", box.a), ("B", box.b))
        if share is None
    ]
