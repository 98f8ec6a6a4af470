"""Video files: which track is read, and its frames one at a time, by FFmpeg."""

import contextlib
import io
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.stream import VideoStream

from unisal_jax.errors import UnisalError
from unisal_jax.limits import (
    MAX_FPS,
    MAX_FRAME_PIXELS,
    MAX_INDEX_BYTES,
    MAX_OPEN_SECONDS,
    MAX_TRACKS,
    MIN_FPS,
)
from unisal_jax.media.addresses import Address
from unisal_jax.media.animated_frames import (
    animation_frames,
    by_ffmpeg,
    frame_durations,
    read_animation,
    without_png_metadata,
)
from unisal_jax.media.box_images import is_box_still
from unisal_jax.media.containers import is_cut_off, packed_index_size
from unisal_jax.media.images import open_image, read_image
from unisal_jax.media.video_source import TimedFrame, VideoFile

# PyAV before 19 raises on metadata that is not UTF-8 unless told not to; 19 has no such option.
METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

# FFmpeg's readers of files that hold all they play: those of VIDEO_SUFFIXES, bare streams, animations, and
# sound, to say that there is no picture. Others open the files that a text names (playlists, lists of parts)
# or take the names of other files for frames.
_BARE = ("h264", "hevc", "m4v", "mpegvideo", "mjpeg", "obu")
_FORMATS = (
    *("mov", "avi", "matroska", "mpeg", "mpegts", "asf", "flv", "ogg", "mxf", "nut", "dv", "ivf"),
    *("yuv4mpegpipe", "gif", "apng", "rm", "wtv", "gxf", "mp3", "flac", "wav", "aac"),
    *_BARE,
)
OPTIONS = {
    "format_whitelist": ",".join(_FORMATS),
    "protocol_whitelist": "file",
    "max_streams": str(MAX_TRACKS),
    # For the decoders that look for a stream's format while the file is opened.
    "max_pixels": str(MAX_FRAME_PIXELS),
}
SILENT = "it does not answer in time"
"""What is said of a source that keeps its reader waiting."""

# What may lie beside the frames, by FFmpeg's name and by ours.
_OTHER_TRACKS = {"audio": "sound", "subtitle": "subtitles"}


def open_video_file(path: Path) -> VideoFile:
    """Opens a video file. Errors as for `open_video`."""
    if not path.is_file():
        raise UnisalError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UnisalError(f"{path}: the file is empty")
    animation = read_animation(path)
    if animation is not None:
        return _open_animation(path, animation)
    if is_box_still(path):
        return _open_still(path)
    if packed_index_size(path) > MAX_INDEX_BYTES:
        raise UnisalError(f"{path}: its index unpacks to more than {MAX_INDEX_BYTES >> 20} MiB")
    try:
        # "file:" keeps a colon in a name from being read as a protocol.
        container = av.open(f"file:{path}", options=OPTIONS, timeout=(MAX_OPEN_SECONDS, None), **METADATA)
    except av.error.FFmpegError as error:
        if _is_image(path):
            return _open_still(path)
        raise UnisalError(f"{path}: not a video, or cut off ({reason_of(error)})") from error
    return open_container(path, container)


def open_container(path: Path | Address, container: InputContainer) -> VideoFile:
    """The video in an open container, which is closed with the frames. Errors as for `open_video`."""
    try:
        return _open_track(path, container)
    except BaseException:
        container.close()
        raise


def _open_animation(path: Path, data: bytes) -> VideoFile:
    """The frames of a PNG or WebP file; one of a still image."""
    durations = frame_durations(data)
    if not durations:
        return _open_still(path)
    rate = len(durations) / sum(durations)
    fps = rate if MIN_FPS <= rate <= MAX_FPS else None
    if not by_ffmpeg(data):
        return VideoFile(animation_frames(path, data, durations), fps, len(durations))
    try:
        container = av.open(io.BytesIO(data), format="apng", options=OPTIONS, **METADATA)
    except av.error.FFmpegError as error:
        raise UnisalError(f"{path}: not an animation, or cut off ({reason_of(error)})") from error
    found = open_container(path, container)
    return VideoFile(_retimed(found.frames, durations), fps, len(durations))


def _retimed(
    frames: Generator[TimedFrame, None, None], durations: Sequence[float]
) -> Generator[TimedFrame, None, None]:
    """The frames with times by how long each is shown."""
    with contextlib.closing(frames):
        for (frame, _), start in zip(frames, accumulate(durations, initial=0.0), strict=False):
            yield frame, start


def _is_image(path: Path) -> bool:
    try:
        with open_image(path):
            return True
    except UnisalError:
        return False


def _open_still(path: Path) -> VideoFile:
    """An image as a video of one frame."""

    def frames() -> Generator[TimedFrame, None, None]:
        yield read_image(path, MAX_FRAME_PIXELS), 0.0

    return VideoFile(frames(), None, 1)


def _open_track(path: Path | Address, container: InputContainer) -> VideoFile:
    # A music file's cover is a picture track too, and so are a film's thumbnails.
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    tracks = [s for s in container.streams.video if not s.disposition & pictures]
    # Of an animated AVIF the first frame is there as an image too.
    tracks = [s for s in tracks if s.frames != 1] or tracks
    if not tracks:
        cut_off = ", the file is cut off" if _is_cut_off(path) else ""
        raise UnisalError(f"{path}: holds no video track{cut_off}")
    stream = max(tracks, key=_rank)
    if stream.codec_context is None:
        raise UnisalError(f"{path}: its video is of a kind that FFmpeg does not know, or the file is damaged")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_FRAME_PIXELS:
        raise UnisalError(
            f"{path}: frames of {width}x{height} are larger than {MAX_FRAME_PIXELS / 1e6:.0f} megapixels"
        )
    notes = (f"holds {len(tracks)} video tracks; number {tracks.index(stream) + 1} is read",)
    # Headers lie about sizes as about everything else.
    stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    found = {_OTHER_TRACKS[s.type] for s in container.streams if s.type in _OTHER_TRACKS}
    if container.chapters():
        found.add("chapters")
    declared = stream.frames if stream.frames > 0 else None
    return VideoFile(
        frames=_frames(path, container, stream, declared),
        fps=rate if MIN_FPS <= rate <= MAX_FPS else None,
        frame_count=declared,
        tick=float(stream.time_base or 0),
        beside=tuple(sorted(found)),
        notes=notes if len(tracks) > 1 else (),
    )


def _is_cut_off(path: Path | Address) -> bool:
    return isinstance(path, Path) and is_cut_off(path)


def _rank(stream: VideoStream) -> tuple[bool, bool, int]:
    """The larger the sooner a track is read: decodable, default, largest. Of equals `max` takes the first."""
    context = stream.codec_context
    pixels = 0 if context is None else context.width * context.height
    default = bool(stream.disposition & Disposition.default)
    return context is not None and pixels <= MAX_FRAME_PIXELS, default, pixels


def _frames(
    path: Path | Address, container: InputContainer, stream: VideoStream, declared: int | None
) -> Generator[TimedFrame, None, None]:
    """All good frames, then UnisalError if there should have been more."""
    with container:
        cut_off = _is_cut_off(path)
        # FFmpeg counts the frames of a GIF that are there, and decodes half of one.
        torn = cut_off and container.format.name in ("gif", "apng")
        if torn:
            declared = None
        stream.thread_type = "AUTO"
        timed = _has_times(container, stream)
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
                    yield layout.to_rgb(suspect), suspect.time if timed else None
                    count += 1
                suspect = frame if frame.is_corrupt or torn else None
                if suspect is None:
                    yield layout.to_rgb(frame), frame.time if timed else None
                    count += 1
            ends_early = suspect is not None or (cut_off and (declared is None or count < declared))
        except av.error.FFmpegError as error:
            ends_early, reason = True, reason_of(error)
            if isinstance(error, av.error.ArgumentError):
                # All that a decoder says of a size that it may not have.
                reason = f"damaged, or a frame is larger than {MAX_FRAME_PIXELS / 1e6:.0f} megapixels"
    if ends_early:
        raise UnisalError(f"{path}: video ends early at frame {count} ({reason})")
    if count == 0:
        raise UnisalError(f"{path}: holds no frames")


def _has_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file says when its frames are shown; FFmpeg makes something up where it does not."""
    name = container.format.name
    # AVI counts frames in the order in which they are stored.
    return name not in _BARE and not (name == "avi" and stream.codec_context.has_b_frames)


def _decode(container: InputContainer, stream: VideoStream, cut_off: bool) -> Iterator[av.VideoFrame]:
    started = False
    for packet in container.demux(stream):
        if cut_off and packet.is_corrupt:
            # The torn packet: decoding it gives a frame that is partly grey.
            yield from stream.decode(None)
            return
        if stream.codec_context.name == "png" and packet.size:
            packet = _without_metadata(packet)
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


def _without_metadata(packet: av.Packet) -> av.Packet:
    """A frame that is a PNG file, without what FFmpeg would unpack to any size."""
    plain = av.Packet(without_png_metadata(bytes(packet)))
    plain.stream, plain.time_base, plain.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    plain.pts, plain.dts, plain.duration = packet.pts, packet.dts, packet.duration
    return plain


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
        if frame.format.name == "rgb24":
            # Nothing was converted: this may be the memory that the decoder makes the next frame from.
            image = image.copy()
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


def reason_of(error: av.error.FFmpegError) -> str:
    """What FFmpeg says of an error, in one line."""
    if isinstance(error, av.error.ExitError):
        return SILENT
    return " ".join(str(error.strerror or type(error).__name__).split())
