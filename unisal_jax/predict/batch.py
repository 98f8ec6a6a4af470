"""Predicts a list of images and videos, with progress and a policy for bad inputs."""

import contextlib
import dataclasses
import math
import queue
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from unisal_jax.documents import rounded
from unisal_jax.domains import Domain, Size, size_by_aspect
from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.limits import MAX_HELD_BYTES
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.film_options import WHOLE, Part
from unisal_jax.media.images import decoding_bytes, read_image, resize_frame
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video import open_video
from unisal_jax.predict.model import MAX_BATCH, SaliencyModel
from unisal_jax.predict.outputs import Enough, Results


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Settings of a prediction, and the policy for bad inputs; fields as the flags of `unisal predict`."""

    domain: str | Domain | None = None
    input_size: Size | None = None
    stride: int | None = None
    part: Part = WHOLE
    across_cuts: bool = False
    skip_errors: bool = False


@dataclasses.dataclass
class Summary:
    """The result of a run.

    Attributes:
      images, videos, frames: how many were predicted; frames are those of videos.
      kept: number of inputs whose outputs existed already.
      errors: one line for each input that was skipped.
      notes: one line for each choice made in reading a video and for each track missing from its outputs.
      domains: names of the domains that were used.
      seconds: duration of the run.
    """

    images: int = 0
    videos: int = 0
    frames: int = 0
    kept: int = 0
    errors: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    domains: set[str] = dataclasses.field(default_factory=set)
    seconds: float = 0.0

    def add(self, other: "Summary") -> None:
        """Adds the inputs of another run; `seconds` is unchanged."""
        self.images += other.images
        self.videos += other.videos
        self.frames += other.frames
        self.kept += other.kept
        self.errors += other.errors
        self.notes += other.notes
        self.domains |= other.domains

    @property
    def done(self) -> bool:
        """Whether anything was predicted or existed already."""
        return self.images + self.videos + self.kept > 0

    def lines(self) -> list[str]:
        """Returns a line for each input that was skipped, then each note."""
        return [*(f"skipped: {line}" for line in self.errors), *(f"note: {line}" for line in self.notes)]

    def text(self, out: Path | None, done: str = "predicted") -> str:
        """Returns a summary in one line.

        Args:
          out: the output folder; None if nothing was written.
          done: a verb saying what happened to the inputs.
        """
        parts = []
        if self.images or not self.videos:
            parts.append(_count(self.images, "image"))
        if self.videos:
            parts.append(f"{_count(self.videos, 'video')} ({_count(self.frames, 'frame')})")
        domain = f" (domain {', '.join(sorted(self.domains))})" if self.domains else ""
        more = f", {len(self.errors)} skipped" if self.errors else ""
        more += f", {self.kept} already done" if self.kept else ""
        more += f", {_count(len(self.notes), 'note')}" if self.notes else ""
        into = f" into {out}" if out else ""
        return f"{' and '.join(parts)} {done}{into} in {self.seconds:.1f} s{domain}{more}"


def predict_sources(
    model: SaliencyModel, sources: list[MediaSource], results: Results, options: PredictOptions
) -> Summary:
    """Predicts all sources and passes each prediction to `results`.

    Images with the same input size are predicted together, so that a folder of many sizes needs only a few
    compiled programs. With several devices, a batch of images is split across them, and each device processes
    a different video.

    Raises:
      UnisalError: at the first bad input, unless errors are skipped; always for a domain or an input size
        that the model does not support.
    """
    began = time.monotonic()
    summary = Summary()
    images = [source for source in sources if source.kind == "image"]
    videos = [source for source in sources if source.kind == "video"]
    # Look up the domains before the first input: skipping inputs must not hide a wrong domain.
    image_domain, _ = model.domain(options.domain, video=False), model.domain(options.domain, video=True)
    if images:
        summary.domains.add(image_domain.name)
        _predict_images(model, images, image_domain, results, options, summary)
    # Around all videos: several may run in parallel, and the setting applies to the whole process.
    with _one_opencv_thread():
        if len(videos) > 1 and len(model.engine.devices) > 1:
            _spread_videos(model, videos, results, options, summary)
        else:
            for source in videos:
                _try_video(model, source, results, options, summary)
    summary.seconds = time.monotonic() - began
    return summary


def _predict_images(
    model: SaliencyModel,
    sources: list[MediaSource],
    domain: Domain,
    results: Results,
    options: PredictOptions,
    summary: Summary,
) -> None:
    # By input size: each source with its resized image and, for the outputs, its full-size image.
    waiting: dict[Size, list[tuple[MediaSource, np.ndarray, np.ndarray]]] = defaultdict(list)

    def held(size: Size) -> int:
        return sum(image.nbytes for _, _, image in waiting[size])

    def flush(size: Size) -> None:
        group, small, images = (list(each) for each in zip(*waiting.pop(size), strict=True))
        maps = model.predict_resized(np.stack(small), domain)
        for source, log_density in zip(group, maps, strict=True):
            full = images[0].shape[:2]
            about = {
                "domain": domain.name,
                "input": Path(source.path).name,
                "input_size": list(size),
                "size": list(full),
            }
            try:
                # Pop the image, so that its memory is freed when its outputs are written.
                results.image(source, images.pop(0), resize_log_density(log_density, full), about)
                summary.images += 1
            except UnisalError as error:
                _skip(error, options, summary)
            progress.update()

    def bad(error: UnisalError) -> None:
        _skip(error, options, summary)
        progress.update()

    with tqdm(total=len(sources), unit="image", disable=None) as progress:
        for source in sources:
            try:
                needed = decoding_bytes(source.path)
            except UnisalError as error:
                bad(error)
                continue
            # Before decoding, make room by predicting the largest groups, even if they are not full.
            while waiting and sum(map(held, waiting)) + needed > MAX_HELD_BYTES:
                flush(max(waiting, key=held))
            try:
                image = read_image(source.path)
            except UnisalError as error:
                bad(error)
                continue
            size = options.input_size or size_by_aspect(image.shape[:2])
            waiting[size].append((source, resize_frame(image, size), image))
            del image
            if len(waiting[size]) == MAX_BATCH:
                flush(size)
        for size in list(waiting):
            flush(size)


def _spread_videos(
    model: SaliencyModel,
    sources: list[MediaSource],
    results: Results,
    options: PredictOptions,
    summary: Summary,
) -> None:
    """Predicts videos in parallel, one at a time per device."""
    idle: queue.SimpleQueue[SaliencyModel] = queue.SimpleQueue()
    for device in model.engine.devices:
        idle.put(model.on(device))

    def run(source: MediaSource) -> Summary:
        mine, own = idle.get(), Summary()
        try:
            _try_video(mine, source, results, options, own)
        finally:
            idle.put(mine)
        return own

    with ThreadPoolExecutor(len(model.engine.devices)) as pool:
        running = [pool.submit(run, source) for source in sources]
        try:
            for each in running:
                summary.add(each.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _try_video(
    model: SaliencyModel, source: MediaSource, results: Results, options: PredictOptions, summary: Summary
) -> None:
    try:
        _predict_video(model, source, results, options, summary)
        summary.videos += 1
    except UnisalError as error:
        _skip(error, options, summary)


def _predict_video(
    model: SaliencyModel, source: MediaSource, results: Results, options: PredictOptions, summary: Summary
) -> None:
    domain = model.domain(options.domain, video=True)
    summary.domains.add(domain.name)
    with open_video(source.path, options.part) as reader:
        shown = reader.info.look.shown(reader.size)
        input_size = options.input_size or domain.video_input_size(shown)
        stride = options.stride or domain.video_stride(reader.fps)
        about: dict[str, Any] = {
            "domain": domain.name,
            "fps": reader.fps,
            "input": Path(source.path).name,
            "input_size": list(input_size),
            "size": list(reader.size),
            "stride": stride,
            "stride_from": _stride_from(options, domain, reader.fps),
        }
        if options.part != WHOLE:
            about |= dataclasses.asdict(options.part)
        about["cuts"] = []
        predicted = model.predict_film(reader, domain, input_size, stride, options.across_cuts)
        # Close it explicitly: the garbage collector might close it in one of its own threads, which would
        # deadlock.
        with (
            contextlib.closing(predicted),
            results.video(source, reader.info, about) as outputs,
            tqdm(total=reader.frame_count, desc=source.name, unit="frame", disable=None) as progress,
        ):
            try:
                for number, each in enumerate(predicted):
                    seconds = reader.times[number]
                    outputs.write(each, None if math.isnan(seconds) else seconds)
                    if each.begins_shot:
                        about["cuts"].append(number + 1)
                    del each
                    summary.frames += 1
                    progress.update()
            except Enough:  # this frame is the last
                summary.frames += 1
            except KeyboardInterrupt:
                # Without a window, this is how a user ends a camera. Keep its frames so far.
                if not source.is_live:
                    raise
            except UnisalError as error:
                # The frames before the damage are intact: with skip_errors, keep them.
                _skip(error, options, summary)
            steps = reader.steps()
            if steps is not None:
                about["times"] = steps.to_json()
                if not steps.even and steps.mean > 0:
                    about["fps"] = rounded(1 / steps.mean)
        left_out = reader.left_out if results.film is not None else ()
        notes = [*reader.notes, *(_left_out(track, results.film) for track in left_out)]
        summary.notes += [f"{source.path}: {note}" for note in notes]


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Restricts OpenCV to the caller's thread.

    A frame's planes are so small that using more threads takes more than twice the processor time, which the
    network and the encoder need.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _stride_from(options: PredictOptions, domain: Domain, fps: float | None) -> str:
    """Returns what determined a video's frame stride: the "option", the video's "rate", or the "domain"."""
    if options.stride is not None:
        return "option"
    return "domain" if fps is None or not domain.follows_rate else "rate"


def _left_out(track: str, film: str | None) -> str:
    """Returns a note that an output video lacks a track of its source."""
    verb = "is" if track == "sound" else "are"
    return f"its {track} {verb} not in the {film}, since MP4 does not support the format"


def _skip(error: UnisalError, options: PredictOptions, summary: Summary) -> None:
    if not options.skip_errors or isinstance(error, OutputError):
        raise error
    summary.errors.append(str(error))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
