"""Video: frames from files, folders and cameras one at a time, and MP4 writing."""

import math
import os
from array import array
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import atomic_path
from unisal_jax.limits import MAX_FPS, MIN_FPS
from unisal_jax.media.arrays import as_frames
from unisal_jax.media.frame_times import Steps, steps_of
from unisal_jax.media.images import read_image
from unisal_jax.media.listing import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from unisal_jax.media.listing import camera_number, list_images
from unisal_jax.media.video_file import TimedFrame, VideoFile, open_video_file, reason_of

_BT709 = 1  # the number of ITU-R BT.709 in FFmpeg's lists of matrices, primaries and curves
_LIMITED_RANGE = 1
_QUALITY_STEP = 118  # FFmpeg's FF_QP2LAMBDA: encoders take quantisers in these units


class VideoReader:
    """The frames of one video in order, each uint8 RGB [H, W, 3] in 0..255, read as they are asked for.

    An iterator, good for one pass, and a context manager that closes the source. A video of any
    length takes the memory of a few frames, and eight bytes for each frame that was read. Each frame is an
    array of its own, which the caller may keep and change.

    Attributes:
        name: the file's stem, the folder's name, or "camera_N".
        size: (height, width) of every frame, upright.
        fps: frames a second, of uneven ones the mean; None for a folder, and where the source does not
            know or declares less than 0.01 or more than 1000.
        frame_count: the number of frames that the source declares, for progress only: a file may give
            fewer (edit lists, dropped frames). None where the source does not know.
        times: when each frame read so far is shown, in seconds from the first one; NaN where the source
            does not say.
        beside: what a file holds beside its frames, of "chapters", "sound" and "subtitles".
        notes: what a user should know of how the source is read, a line each.

    Iterating raises UnisalError when the source turns out damaged, after the frames before the damage.
    """

    def __init__(self, name: str, source: VideoFile):
        self.name = name
        self.fps = source.fps
        self.frame_count = source.frame_count
        self.beside = source.beside
        self.notes = source.notes
        self.times: array[float] = array("d")
        self._tick = source.tick
        self._frames = source.frames
        # Headers lie about sizes and leave rotation out: the first frame decides.
        first, self._start = next(self._frames)
        self._first: np.ndarray | None = first
        height, width, _ = first.shape
        self.size = (height, width)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if self._first is not None:
            frame, self._first = self._first, None
            seconds = self._start
        else:
            frame, seconds = next(self._frames)
        if seconds is None or self._start is None:
            self.times.append(math.nan)
        else:
            self.times.append(seconds - self._start)
        return frame

    def steps(self) -> Steps | None:
        """The steps between the frames read so far; None where the source knows no times."""
        return steps_of(self.times, self._tick)

    def close(self) -> None:
        """Closes the source; no more frames come."""
        self._first = None
        self._frames.close()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_video(source: str | Path) -> VideoReader:
    """Opens a video file, an animation (GIF, WebP, PNG), a folder of frames (in natural order) or a camera.

    A file's rotation is applied. Pixels are taken as they are stored, square or not; a frame of
    another size than the first is scaled to it. Of several video tracks the default one is read, of
    several default ones or none the largest. Formats that play other files (playlists) are refused.

    Args:
        source: a path, or "camera:N".

    Raises:
        UnisalError: missing or empty file, not a video, a file without a picture track, no frames, frames
            of more than 67 megapixels, a folder without images, a camera that does not open. See
            `VideoReader` for damage that shows later.
    """
    number = camera_number(str(source))
    if number is not None:
        return VideoReader(f"camera_{number}", _open_camera(number))
    path = Path(source)
    if path.is_dir():
        return VideoReader(os.path.basename(os.path.abspath(path)), _open_folder(path))
    return VideoReader(path.stem, open_video_file(path))


def _open_camera(number: int) -> VideoFile:
    # OpenCV's warnings about each way it tried would bury the one line that says what is wrong.
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


def _camera_frames(number: int, capture: cv2.VideoCapture) -> Generator[TimedFrame, None, None]:
    count = 0
    try:
        while True:
            read, frame_bgr = capture.read()
            if not read:
                break
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB), None
            count += 1
    finally:
        capture.release()
    # Later on this is how a camera ends: it is unplugged.
    if count == 0:
        raise UnisalError(f"camera:{number}: gives no frames")


def _open_folder(folder: Path) -> VideoFile:
    paths = list_images(folder)
    if not paths:
        raise UnisalError(f"{folder}: holds no images")
    return VideoFile(_folder_frames(paths), None, len(paths))


def _folder_frames(paths: list[Path]) -> Generator[TimedFrame, None, None]:
    shape = None
    for path in paths:
        frame = read_image(path)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UnisalError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} among frames of {shape[1]}x{shape[0]}; "
                "the frames of a video have one size"
            )
        yield frame, None


class VideoWriter:
    """Writes uint8 RGB frames as an MP4 (H.264, or MPEG-4 part 2 where H.264 cannot be encoded).

    A context manager. The file appears when the block ends well; after an exception nothing is left
    behind. An odd height or width grows by one row or column that repeats the last, because 4:2:0
    video has even sizes.

    Args:
        path: the file to write.
        size: (height, width) of the frames.
        fps: frames a second, 0.01 to 1000, rounded to a ratio with a denominator of at most 1001
            (29.97... is stored as 30000/1001).

    Raises:
        UnisalError: `fps` is out of its range; the file cannot be written; no frame was written; from
            `write`, a frame is no such array or of another size.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float | Fraction):
        if not MIN_FPS <= fps <= MAX_FPS:
            raise UnisalError(f"fps: {fps} is not in {MIN_FPS:g} to {MAX_FPS:g}")
        self._path = Path(path)
        self._size = size
        self._context = _encoding(self._path, size, Fraction(fps).limit_denominator(1001))

    def __enter__(self) -> "VideoWriter":
        self._container, self._stream = self._context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._context.__exit__(kind, error, trace)

    def write(self, frame: np.ndarray) -> None:
        """Appends one frame, uint8 RGB [H, W, 3] of the writer's size."""
        height, width = self._size
        frame = as_frames(frame, 3, "frame")
        if frame.shape != (height, width, 3):
            raise UnisalError(f"frame of shape {frame.shape} for a video of {height}x{width}")
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        with _write_errors(self._path):
            packets = self._stream.encode(rgb.reformat(format="yuv420p", dst_colorspace="ITU709"))
            self._container.mux(packets)


@contextmanager
def _encoding(
    path: Path, size: tuple[int, int], fps: Fraction
) -> Iterator[tuple[OutputContainer, VideoStream]]:
    height, width = size
    with atomic_path(path) as temporary, _write_errors(path):
        # The index goes to the front, so that a browser can play the file while it loads.
        options = {"movflags": "+faststart"}
        with av.open(f"file:{temporary}", "w", format="mp4", options=options) as container:
            codec, codec_options = _codec()
            stream = cast(VideoStream, container.add_stream(codec, rate=fps, options=codec_options))
            stream.width, stream.height = width + width % 2, height + height % 2
            stream.pix_fmt = "yuv420p"
            # Untagged, players guess the matrix from the height and shift the colours.
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
            # Opens the file, so that a folder that cannot be written is known before any work is done.
            container.start_encoding()
            yield container, stream
            container.mux(stream.encode(None))
            if stream.frames == 0:
                raise UnisalError(f"{path}: no frames to write")


def _codec() -> tuple[str, dict[str, str]]:
    """The encoder's name and its options for a quality at which losses are hard to see."""
    if "libx264" in av.codecs_available:
        return "libx264", {"crf": "18", "preset": "veryfast"}
    # Builds of FFmpeg without GPL parts have no x264.
    return "mpeg4", {"flags": "+qscale", "global_quality": str(3 * _QUALITY_STEP)}


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise OutputError(f"{path}: cannot be written ({reason_of(error)})") from error
