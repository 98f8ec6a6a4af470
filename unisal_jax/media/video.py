"""Video: frames from files, folders and cameras one at a time, and MP4 writing."""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import cv2
import numpy as np
from av.container import InputContainer, OutputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.stream import VideoStream

from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import atomic_path
from unisal_jax.limits import MAX_PIXELS
from unisal_jax.media.containers import is_cut_off
from unisal_jax.media.images import list_images, read_image

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv"}
)
"""Suffixes of video files, in lower case."""

# PyAV before 19 raises on metadata that is not UTF-8 unless told not to; 19 has no such option.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_BT709 = 1  # the number of ITU-R BT.709 in FFmpeg's lists of matrices, primaries and curves
_LIMITED_RANGE = 1
_QUALITY_STEP = 118  # FFmpeg's FF_QP2LAMBDA: encoders take quantisers in these units


class VideoReader:
    """The frames of one video in order, each uint8 RGB [H, W, 3] in 0..255, read as they are asked for.

    An iterator, good for one pass, and a context manager that closes the source. A video of any
    length takes the memory of a few frames.

    Attributes:
        name: the file's stem, the folder's name, or "camera_N".
        size: (height, width) of every frame, upright.
        fps: frames a second; None for a folder, and where the source does not know.
        frame_count: the number of frames that the source declares, for progress only: a file may give
            fewer (edit lists, dropped frames). None where the source does not know.

    Iterating raises UnisalError when the source turns out damaged, after the frames before the damage.
    """

    def __init__(
        self, name: str, frames: Generator[np.ndarray, None, None], fps: float | None, frame_count: int | None
    ):
        self.name = name
        self.fps = fps
        self.frame_count = frame_count
        self._frames = frames
        # Headers lie about sizes and leave rotation out: the first frame decides.
        self._first: np.ndarray | None = next(frames)
        height, width, _ = self._first.shape
        self.size = (height, width)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return next(self._frames)

    def close(self) -> None:
        """Closes the source; no more frames come."""
        self._first = None
        self._frames.close()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_video(source: str | Path) -> VideoReader:
    """Opens a video file, a folder of frames (in natural order) or a camera ("camera:N").

    A file's rotation is applied. Pixels are taken as they are stored, square or not; a frame of
    another size than the first is scaled to it.

    Raises:
        UnisalError: missing or empty file, not a video, a file without a picture track, no frames, a
            folder without images, a camera that does not open. See `VideoReader` for damage that
            shows later.
    """
    number = camera_number(str(source))
    if number is not None:
        return _open_camera(number)
    path = Path(source)
    return _open_folder(path) if path.is_dir() else _open_file(path)


def camera_number(text: str) -> int | None:
    """N of "camera:N"; None when the text does not name a camera.

    Raises:
        UnisalError: "camera:" is followed by something else than a number.
    """
    if not text.startswith("camera:"):
        return None
    if not re.fullmatch(r"camera:[0-9]{1,4}", text):
        raise UnisalError(f"{text}: give a camera by its number, as camera:0")
    return int(text.removeprefix("camera:"))


def _open_camera(number: int) -> VideoReader:
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
    return VideoReader(f"camera_{number}", _camera_frames(number, capture), fps if fps > 0 else None, None)


def _camera_frames(number: int, capture: cv2.VideoCapture) -> Generator[np.ndarray, None, None]:
    count = 0
    try:
        while True:
            read, frame_bgr = capture.read()
            if not read:
                break
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
            count += 1
    finally:
        capture.release()
    # Later on this is how a camera ends: it is unplugged.
    if count == 0:
        raise UnisalError(f"camera:{number}: gives no frames")


def _open_folder(folder: Path) -> VideoReader:
    paths = list_images(folder)
    if not paths:
        raise UnisalError(f"{folder}: holds no images")
    return VideoReader(os.path.basename(os.path.abspath(folder)), _folder_frames(paths), None, len(paths))


def _folder_frames(paths: list[Path]) -> Generator[np.ndarray, None, None]:
    shape = None
    for path in paths:
        frame = read_image(path)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise UnisalError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} among frames of {shape[1]}x{shape[0]}; "
                "the frames of a video have one size"
            )
        yield frame


def _open_file(path: Path) -> VideoReader:
    if not path.is_file():
        raise UnisalError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UnisalError(f"{path}: the file is empty")
    try:
        # "file:" keeps a colon in a name from being read as a protocol; the whitelist keeps playlists
        # from reaching the network.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, **_METADATA)
    except av.error.FFmpegError as error:
        raise UnisalError(f"{path}: not a video, or cut off ({_reason(error)})") from error
    if container.format.name == "tty":
        # FFmpeg plays any text as the art of old terminals.
        container.close()
        raise UnisalError(f"{path}: is text, not a video")
    # A music file's cover is a picture track too.
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        container.close()
        cut_off = ", the file is cut off" if is_cut_off(path) else ""
        raise UnisalError(f"{path}: holds no video track{cut_off}")
    stream = streams[0]
    if stream.codec_context is None:
        container.close()
        raise UnisalError(f"{path}: its video is of a kind that FFmpeg does not know, or the file is damaged")
    # As for pictures: a header may claim any size.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    rate = stream.average_rate or stream.guessed_rate
    return VideoReader(
        path.stem, _file_frames(path, container, stream), float(rate) if rate else None, stream.frames or None
    )


def _file_frames(
    path: Path, container: InputContainer, stream: VideoStream
) -> Generator[np.ndarray, None, None]:
    """All good frames, then UnisalError if there should have been more."""
    with container:
        cut_off = is_cut_off(path)
        declared = stream.frames or None
        stream.thread_type = "AUTO"
        count = 0
        layout = None
        suspect = None
        reason = "the file is cut off or damaged"
        try:
            for frame in _decode(container, stream, cut_off):
                layout = layout or _Layout.of(frame)
                # A frame that the decoder had to mend passes when others follow it, as in a recording
                # of a broadcast. As the last frame it is the torn end of the file.
                if suspect is not None:
                    yield layout.to_rgb(suspect)
                    count += 1
                suspect = frame if frame.is_corrupt else None
                if suspect is None:
                    yield layout.to_rgb(frame)
                    count += 1
            ends_early = suspect is not None or (cut_off and (declared is None or count < declared))
        except av.error.FFmpegError as error:
            ends_early, reason = True, _reason(error)
    if ends_early:
        raise UnisalError(f"{path}: video ends early at frame {count} ({reason})")
    if count == 0:
        raise UnisalError(f"{path}: holds no frames")


def _decode(container: InputContainer, stream: VideoStream, cut_off: bool) -> Iterator[av.VideoFrame]:
    started = False
    for packet in container.demux(stream):
        if cut_off and packet.is_corrupt:
            # The torn packet: decoding it gives a frame that is partly grey.
            yield from stream.decode(None)
            return
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            # A recording may start between key frames; nothing decodes before the first of them.
            if started:
                raise
            continue
        started = started or bool(frames)
        # Popped, so that no frame lives on in a list while the caller works on it.
        frames.reverse()
        while frames:
            yield frames.pop()


@dataclass(frozen=True)
class _Layout:
    """How the pixels of a stream's frames become upright pictures of one size."""

    width: int
    height: int
    matrix: tuple[int, ...] | None

    @classmethod
    def of(cls, first: av.VideoFrame) -> "_Layout":
        # Asked of the first frame alone: side data and its frame refer to each other, which would keep
        # every frame alive until Python's next search for such cycles.
        data = first.side_data.get("DISPLAYMATRIX")
        matrix = tuple(np.frombuffer(bytes(data), np.int32).tolist()) if isinstance(data, SideData) else None
        return cls(first.width, first.height, matrix)

    def to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        image = frame.to_ndarray(format="rgb24", width=self.width, height=self.height)
        return image if self.matrix is None else _turn(image, self.matrix)


def _turn(image: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Applies a display matrix (a b u c d v x y w: x' = a x + c y, y' = b x + d y) in quarter turns."""
    a, b, _, c, d = matrix[:5]
    if abs(a) >= abs(b):
        x_sign, y_sign = a, d
    else:
        image = image.transpose(1, 0, 2)
        x_sign, y_sign = c, b
    image = image[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1]
    return np.ascontiguousarray(image)


class VideoWriter:
    """Writes uint8 RGB frames as an MP4 (H.264, or MPEG-4 part 2 where H.264 cannot be encoded).

    A context manager. The file appears when the block ends well; after an exception nothing is left
    behind. An odd height or width grows by one row or column that repeats the last, because 4:2:0
    video has even sizes.

    Args:
        path: the file to write.
        size: (height, width) of the frames.
        fps: frames a second, rounded to a ratio with a denominator of at most 1001 (29.97... is
            stored as 30000/1001).

    Raises:
        UnisalError: the file cannot be written; no frame was written.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float | Fraction):
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
        if frame.shape != (height, width, 3):
            raise ValueError(f"frame of shape {frame.shape} for a video of {height}x{width}")
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
        raise OutputError(f"{path}: cannot be written ({_reason(error)})") from error


def _reason(error: av.error.FFmpegError) -> str:
    return " ".join(str(error.strerror or type(error).__name__).split())
