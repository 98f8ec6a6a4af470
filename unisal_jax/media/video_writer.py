"""MP4 writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import atomic_path
from unisal_jax.limits import MAX_FPS, MIN_FPS
from unisal_jax.media.arrays import as_frames
from unisal_jax.media.video_file import reason_of

_BT709 = 1  # the number of ITU-R BT.709 in FFmpeg's lists of matrices, primaries and curves
_LIMITED_RANGE = 1
_QUALITY_STEP = 118  # FFmpeg's FF_QP2LAMBDA: encoders take quantisers in these units


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
