"""Video: frames from files, folders and cameras one at a time."""

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
from unisal_jax.media.frame_times import Steps, steps_of
from unisal_jax.media.images import read_image
from unisal_jax.media.listing import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from unisal_jax.media.listing import camera_number, list_images
from unisal_jax.media.video_source import TimedFrame, VideoFile


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
        source: a path, "camera:N", or an `Address`.

    Raises:
        UnisalError: missing or empty file, not a video, a file without a picture track, no frames, frames
            of more than 67 megapixels, a folder without images, a camera that does not open. See
            `VideoReader` for damage that shows later.
    """
    number = camera_number(str(source))
    if number is not None:
        return VideoReader(f"camera_{number}", _open_camera(number))
    if isinstance(source, Address):
        from unisal_jax.media.network_sources import open_address  # late, as below

        return VideoReader(source.name, open_address(source))
    path = Path(source)
    if path.is_dir():
        return VideoReader(os.path.basename(os.path.abspath(path)), _open_folder(path))
    from unisal_jax.media.video_file import open_video_file  # late: images need no FFmpeg

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
