"""Reads the frames of videos from files, folders and cameras, one at a time."""

import contextlib
import math
import os
from array import array
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_FPS, MIN_FPS
from unisal_jax.media.addresses import Address
from unisal_jax.media.film_options import WHOLE, Part
from unisal_jax.media.frame_times import Steps, steps_of
from unisal_jax.media.frames import Frame, RgbFrame
from unisal_jax.media.images import read_image
from unisal_jax.media.listing import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from unisal_jax.media.listing import camera_number, list_images
from unisal_jax.media.video_source import FilmInfo, Origin, VideoFile

# Times closer than this, in seconds, are equal: times are whole ticks, and users round what they type.
_SAME_TIME = 1e-6


class VideoReader:
    """An iterator over the frames of one video, each uint8 RGB [H, W, 3] in 0..255, read on demand.

    Supports one pass, and is a context manager that closes the source. A video of any length takes the memory
    of a few frames plus eight bytes per frame read. Each frame is a new array, which the caller may keep and
    change.

    Attributes:
      name: the file's stem, the folder's name, or "camera_N".
      size: (height, width) of every frame, upright.
      fps: frames per second of the frames that are read, the mean if steps are uneven; None for a folder,
        and if the source declares no value or one outside 0.01 to 1000.
      frame_count: number of frames that the source declares, for progress only: a file may have fewer
        (edit lists, dropped frames). None if unknown.
      times: display time of each frame read so far, in seconds from the video's first frame; NaN if
        unknown.
      beside: what the file holds beside its frames, of "chapters", "sound" and "subtitles".
      left_out: which of these are not copied into a video made from this one.
      notes: what the user should know about how the source is read, one line each.
      info: properties that a video made from this one takes over.

    Iterating raises UnisalError if the source is damaged, after yielding the frames before the damage.
    """

    def __init__(self, name: str, source: VideoFile, part: Part = WHOLE):
        self.name = name
        self.fps = None if source.fps is None else source.fps / part.every
        self.frame_count = None
        if source.frame_count is not None and part.end is None:
            self.frame_count = math.ceil(source.frame_count / part.every)
        self.beside = source.beside
        self.left_out = source.left_out
        self.notes = source.notes
        self.times: array[float] = array("d")
        self._place = source.path or name
        self._tick = float(source.tick or 0)
        self._source = source.frames
        # Headers may give wrong sizes and no rotation, so use the first frame.
        first = next(self._source)
        self._start = first.seconds if source.first is None else source.first
        self._frames = self._within(first, part)
        self._first: Frame | None = next(self._frames, None)
        if self._first is None:
            self._source.close()
            raise UnisalError(f"{self._place}: has no frames from {part.start:g} s on{_before(part)}")
        self.size = self._first.size
        origin = None
        if source.path is not None or source.tick is not None:
            start = self._start or 0.0
            begins = start + part.start if part.start > 0 else None
            # Keep sound before the first frame. A negative clock has wrapped around.
            zero = min(max(source.clock, 0.0), start) if begins is None else begins
            ends = None if part.end is None else start + part.end
            origin = Origin(source.path, zero, begins, ends, source.tick)
        self.info = FilmInfo(self.size, self.fps, first.look, origin)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return self.next_frame().rgb()

    def next_frame(self) -> Frame:
        """Returns the next frame unconverted. Raises StopIteration at the end; errors as for iterating."""
        if self._first is not None:
            frame, self._first = self._first, None
        else:
            frame = next(self._frames)
        if frame.seconds is None or self._start is None:
            self.times.append(math.nan)
        else:
            self.times.append(frame.seconds - self._start)
        return frame

    def frames(self) -> Iterator[Frame]:
        """Yields the remaining frames unconverted."""
        with contextlib.suppress(StopIteration):
            while True:
                yield self.next_frame()

    def _within(self, first: Frame, part: Part) -> Generator[Frame, None, None]:
        """Yields the frames of a part of the video."""
        taken = 0
        waiting: Frame | None = first
        del first
        with contextlib.closing(self._source):
            # Keep no reference to a frame while the caller processes it, so that its memory can be freed.
            while waiting is not None:
                frame, waiting = waiting, None
                seconds = self._seconds(frame, part)
                if part.end is not None and seconds >= part.end - _SAME_TIME:
                    return
                if seconds >= part.start - _SAME_TIME:
                    if taken % part.every == 0:
                        yield frame
                    taken += 1
                del frame
                waiting = next(self._source, None)

    def _seconds(self, frame: Frame, part: Part) -> float:
        """Returns the display time of a frame, from the first frame."""
        if frame.seconds is not None and self._start is not None:
            return frame.seconds - self._start
        if part.start > 0 or part.end is not None:
            raise UnisalError(f"{self._place}: has no frame times; omit --start and --end")
        return 0.0

    def steps(self) -> Steps | None:
        """Returns the steps between the frames read so far; None if the source has no times."""
        return steps_of(self.times, self._tick)

    def close(self) -> None:
        """Closes the source and ends the iteration."""
        self._first = None
        self._frames.close()
        self._source.close()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_video(source: str | Path, part: Part = WHOLE) -> VideoReader:
    """Opens a video file, an animation (GIF, WebP, PNG), a folder of frames (in natural order) or a camera.

    A file's rotation is applied. Pixels are not resampled, even if they are not square. Frames of another
    size than the first are scaled to it. If there are several video tracks, reads the default track, or else
    the largest. Playlists and other formats that refer to other files are rejected.

    Args:
      source: a path, "camera:N", or an `Address`.
      part: which frames to read; start and end require a source with frame times.

    Raises:
      UnisalError: missing or empty file, not a video, a file without a video track, no frames, frames
        of more than 67 megapixels, a folder without images, a camera that does not open. `VideoReader`
        reports damage found later.
    """
    number = camera_number(str(source))
    if number is not None:
        return VideoReader(f"camera_{number}", _open_camera(number), part)
    if isinstance(source, Address):
        from unisal_jax.media.network_sources import open_address  # imports FFmpeg

        return VideoReader(source.name, open_address(source), part)
    path = Path(source)
    if path.is_dir():
        return VideoReader(os.path.basename(os.path.abspath(path)), _open_folder(path), part)
    from unisal_jax.media.video_file import open_video_file  # imports FFmpeg, which folders do not need

    return VideoReader(path.stem, open_video_file(path, part.start), part)


def _before(part: Part) -> str:
    return "" if part.end is None else f" and before {part.end:g} s"


def _open_camera(number: int) -> VideoFile:
    # Silence OpenCV's warnings about each backend it tries; the error below says what is wrong.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        capture.release()
        raise UnisalError(f"camera:{number}: cannot be opened")
    fps = capture.get(cv2.CAP_PROP_FPS)
    return VideoFile(_camera_frames(number, capture), fps if MIN_FPS <= fps <= MAX_FPS else None, None)


def _camera_frames(number: int, capture: cv2.VideoCapture) -> Generator[Frame, None, None]:
    count = 0
    try:
        while True:
            read, frame_bgr = capture.read()
            if not read:
                break
            yield RgbFrame(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB))
            count += 1
    finally:
        capture.release()
    # A camera that stops later has been unplugged, which is a normal end.
    if count == 0:
        raise UnisalError(f"camera:{number}: gives no frames")


def _open_folder(folder: Path) -> VideoFile:
    paths = list_images(folder)
    if not paths:
        raise UnisalError(f"{folder}: holds no images")
    return VideoFile(_folder_frames(paths), None, len(paths))


def _folder_frames(paths: list[Path]) -> Generator[Frame, None, None]:
    shape = None
    for path in paths:
        frame = read_image(path)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UnisalError(
                f"{path}: is {frame.shape[1]}x{frame.shape[0]} but the first frame is {shape[1]}x{shape[0]}; "
                "all frames of a video must have the same size"
            )
        yield RgbFrame(frame)
