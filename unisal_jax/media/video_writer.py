"""Writes videos with FFmpeg: MP4, and Matroska for lossless grey."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import atomic_path
from unisal_jax.limits import MAX_FPS, MIN_FPS
from unisal_jax.media.arrays import ImageLike, as_image
from unisal_jax.media.companions import Companions
from unisal_jax.media.decoded import frame_of_planes, planes_of_rgb
from unisal_jax.media.film_options import DEFAULT_ENCODING, REAL_TIME, Encoding
from unisal_jax.media.frames import Planes
from unisal_jax.media.video_file import open_with_ffmpeg, reason_of
from unisal_jax.media.video_source import FilmInfo

_HALVED = "yuv420p"
_QUALITY_STEP = 118  # FFmpeg's FF_QP2LAMBDA, the unit of quantisers
# Maximum number of ticks per second. MP4 stores steps of up to 2^31 ticks; MPEG-4 part 2 has a lower limit.
_MAX_TICKS, _MAX_MPEG4_TICKS = 1_000_000, 65535


class VideoWriter:
    """Writes frames as an MP4 (H.264, or MPEG-4 part 2 where H.264 cannot be encoded).

    A context manager. The file appears when the block ends without an exception; otherwise nothing is left
    behind. An odd height or width grows by one row or column that repeats the last, because 4:2:0 video
    requires even sizes.

    Args:
      path: the file to write.
      size: (height, width) of the frames.
      fps: frames per second, 0.01 to 1000, rounded to a ratio with a denominator of at most 1001
        (29.97... is stored as 30000/1001).
      film: the video that the frames are made from. Its times, colour tags, pixel aspect, sound, subtitles,
        chapters and metadata are kept. None: frames at equal steps, in BT.709 and limited range.
      encoding: settings of H.264.
      coding: container and codec instead of MP4, for subclasses.

    Raises:
      UnisalError: `fps` is out of range; the file cannot be written; no frame was written; `write` got an
        array of another type or size.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: float | Fraction,
        film: FilmInfo | None = None,
        encoding: Encoding = DEFAULT_ENCODING,
        *,
        coding: "_Coding | None" = None,
    ):
        if not MIN_FPS <= fps <= MAX_FPS:
            raise UnisalError(f"fps: {fps} is not between {MIN_FPS:g} and {MAX_FPS:g}")
        self._path = Path(path)
        self._size = size
        rate = Fraction(fps).limit_denominator(1001)
        self._origin = film.origin if film is not None else None
        tick = self._origin.tick if self._origin is not None else None
        self._tick = tick or 1 / rate
        self._last = -1
        film, coding = film or FilmInfo(size), coding or _coding(encoding)
        most = _MAX_MPEG4_TICKS if coding.codec == "mpeg4" else _MAX_TICKS
        if self._tick.denominator > most:
            self._tick = Fraction(1, most)
        self._step = max(round(1 / (rate * self._tick)), 1)
        self._context = _encoding(self._path, size, rate, self._tick, film, coding)

    def __enter__(self) -> Self:
        self._container, self._stream, self._companions = self._context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None and self._last < 0:
            error = UnisalError(f"{self._path}: no frames to write")
            self._context.__exit__(UnisalError, error, None)
            raise error
        return self._context.__exit__(kind, error, trace)

    def write(self, frame: ImageLike) -> None:
        """Appends one frame of the writer's size: a path, a Pillow image or an array, see `as_image`."""
        height, width = self._size
        frame = as_image(frame, "frame")
        if frame.shape != (height, width, 3):
            raise UnisalError(f"frame of shape {frame.shape} for a video of {height}x{width}")
        self.write_planes(planes_of_rgb(frame))

    def write_planes(
        self, planes: Planes, seconds: float | None = None, duration: float | None = None
    ) -> None:
        """Appends one frame of the writer's size, in the colours of the writer's `film`.

        Args:
          planes: of the frame.
          seconds: display time by the clock of `film`; None for one step after the last frame.
          duration: how long it is displayed, in seconds; None for one step.
        """
        if planes.size != self._size:
            raise UnisalError(f"frame of size {planes.size} for a video of {self._size}")
        self._encode(frame_of_planes(planes), seconds, duration)

    def _encode(self, frame: av.VideoFrame, seconds: float | None, duration: float | None) -> None:
        zero = self._origin.zero if self._origin is not None else 0.0
        if seconds is not None:
            at = round((seconds - zero) / self._tick)
        else:
            at = self._last + self._step if self._last >= 0 else 0
        # Players require increasing times.
        self._last = frame.pts = max(at, self._last + 1)
        frame.time_base = self._tick
        if duration is not None and (ticks := round(duration / self._tick)) > 0:
            frame.duration = ticks
        with _write_errors(self._path):
            if self._companions is not None and seconds is not None:
                self._companions.upto(seconds)
            self._container.mux(self._stream.encode(frame))


class GreyWriter(VideoWriter):
    """Writes lossless 10-bit grey frames as Matroska (FFV1). Arguments as for `VideoWriter`."""

    def __init__(self, path: str | Path, size: tuple[int, int], fps: float | Fraction, film: FilmInfo):
        super().__init__(
            path, size, fps, film, coding=_Coding("matroska", "ffv1", {"level": "3"}, "gray10le")
        )

    def write_grey(self, levels: np.ndarray, seconds: float | None, duration: float | None) -> None:
        """Appends a frame, uint16 [H, W] in 0..1023; times as for `write_planes`."""
        height, width = self._size
        frame = av.VideoFrame(width, height, "gray10le")
        (plane,) = frame.planes
        target = np.frombuffer(memoryview(plane), "<u2").reshape(height, plane.line_size // 2)
        target[:, :width] = levels
        self._encode(frame, seconds, duration)


@dataclass(frozen=True)
class _Coding:
    """FFmpeg's names of a container, a codec with its options, and a pixel format."""

    container: str
    codec: str
    options: dict[str, str]
    pixels: str


@contextmanager
def _encoding(
    path: Path, size: tuple[int, int], fps: Fraction, tick: Fraction, film: FilmInfo, coding: _Coding
) -> Iterator[tuple[OutputContainer, VideoStream, Companions | None]]:
    height, width = size
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        stack.enter_context(_write_errors(path))
        # Write the index first, so that a browser can play the file while it loads.
        options = {"movflags": "+faststart"} if coding.container == "mp4" else {}
        container = stack.enter_context(
            av.open(f"file:{temporary}", "w", format=coding.container, options=options)
        )
        stream = cast(VideoStream, container.add_stream(coding.codec, rate=fps, options=coding.options))
        if coding.pixels == _HALVED:
            height, width = height + height % 2, width + width % 2
        stream.width, stream.height, stream.pix_fmt = width, height, coding.pixels
        context = stream.codec_context
        stream.time_base = context.time_base = tick
        # Without tags, players guess the matrix from the height and shift the colours.
        colours = film.look.colours
        context.colorspace, context.color_range = colours.matrix, colours.range
        context.color_primaries, context.color_trc = colours.primaries, colours.curve
        if film.look.pixel_aspect != 1:
            context.sample_aspect_ratio = film.look.pixel_aspect
        companions = None
        if film.origin is not None and film.origin.path is not None:
            source = stack.enter_context(open_with_ffmpeg(film.origin.path))
            companions = Companions(film.origin, container, source)
        # Open the file now, so that an unwritable folder is reported before any work is done.
        container.start_encoding()
        yield container, stream, companions
        container.mux(stream.encode(None))
        if companions is not None:
            companions.finish()


def _coding(encoding: Encoding) -> _Coding:
    """Returns the settings of H.264, or of MPEG-4 part 2 if this build of FFmpeg has no x264."""
    if "libx264" in av.codecs_available:
        options = {"crf": f"{encoding.quality:g}", "preset": encoding.preset}
        if encoding.preset == REAL_TIME:
            options |= {"preset": "veryfast", "motion-est": "dia", "subq": "1", "partitions": "none"}
            options |= {"bf": "0", "weightp": "none"}
        return _Coding("mp4", "libx264", options, _HALVED)
    # Builds of FFmpeg without GPL components have no x264.
    quality = {"flags": "+qscale", "global_quality": str(3 * _QUALITY_STEP)}
    return _Coding("mp4", "mpeg4", quality, _HALVED)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise OutputError(f"{path}: cannot be written ({reason_of(error)})") from error
