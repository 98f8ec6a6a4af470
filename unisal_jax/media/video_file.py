"""Video files: chooses a track and reads its frames one at a time with FFmpeg."""

import contextlib
import io
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
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
from unisal_jax.media.companions import NAMES, left_out
from unisal_jax.media.containers import is_cut_off, packed_index_size
from unisal_jax.media.decoded import DecodedFrame, Layout
from unisal_jax.media.frame_times import SteadyClock
from unisal_jax.media.frames import Frame, RgbFrame
from unisal_jax.media.images import open_image, read_image
from unisal_jax.media.video_source import VideoFile

# PyAV before 19 raises on metadata that is not UTF-8 unless given this option; 19 has no such option.
METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

# FFmpeg's demuxers of self-contained files: those of VIDEO_SUFFIXES, raw streams, animations, and audio,
# which is opened to report that it has no video track. Other demuxers open further files that the file names
# (playlists, concatenation lists).
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
    # Applies to decoders that probe a stream's format while the file is opened.
    "max_pixels": str(MAX_FRAME_PIXELS),
}
SILENT = "it does not answer in time"
"""Reason given for a source that timed out."""

# First step to seek back, in seconds, if decoding begins too late.
_BACK = 1.0
# PNG allows any fraction of a second, WebP milliseconds.
_ANIMATION_TICK = Fraction(1, 1000)
# FFmpeg's codes of the HDR transfer curves: SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG).
_HDR = {16: "PQ", 18: "HLG"}


def open_video_file(path: Path, start: float = 0.0) -> VideoFile:
    """Opens a video file, if possible at the key frame before `start` seconds. Raises as `open_video`."""
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
        container = open_with_ffmpeg(path)
    except av.error.FFmpegError as error:
        if _is_image(path):
            return _open_still(path)
        raise UnisalError(f"{path}: not a video, or cut off ({reason_of(error)})") from error
    return open_container(path, container, start)


def open_with_ffmpeg(path: Path) -> InputContainer:
    """Opens a video file with FFmpeg and raises FFmpeg's errors."""
    # "file:" keeps a colon in a name from being read as a protocol.
    return av.open(f"file:{path}", options=OPTIONS, timeout=(MAX_OPEN_SECONDS, None), **METADATA)


def open_container(path: Path | Address, container: InputContainer, start: float = 0.0) -> VideoFile:
    """Returns the video in an open container, which is closed with the frames. Raises as `open_video`."""
    try:
        return _open_track(path, container, start)
    except BaseException:
        container.close()
        raise


def _open_animation(path: Path, data: bytes) -> VideoFile:
    """Opens a PNG or WebP file; a still image has one frame."""
    durations = frame_durations(data)
    if not durations:
        return _open_still(path)
    rate = len(durations) / sum(durations)
    fps = rate if MIN_FPS <= rate <= MAX_FPS else None
    if not by_ffmpeg(data):
        return VideoFile(_drawn(path, data, durations), fps, len(durations), _ANIMATION_TICK)
    try:
        container = av.open(io.BytesIO(data), format="apng", options=OPTIONS, **METADATA)
    except av.error.FFmpegError as error:
        raise UnisalError(f"{path}: not an animation, or cut off ({reason_of(error)})") from error
    found = open_container(path, container)
    return VideoFile(_retimed(found.frames, durations), fps, len(durations), _ANIMATION_TICK)


def _retimed(
    frames: Generator[Frame, None, None], durations: Sequence[float]
) -> Generator[Frame, None, None]:
    """Yields the frames with times computed from their durations."""
    with contextlib.closing(frames):
        starts = accumulate(durations, initial=0.0)
        for frame, start, duration in zip(frames, starts, durations, strict=False):
            yield RgbFrame(frame.rgb(), start, duration)


def _drawn(path: Path, data: bytes, durations: Sequence[float]) -> Generator[Frame, None, None]:
    """Yields the frames of an animation that FFmpeg cannot read."""
    for (pixels, start), duration in zip(animation_frames(path, data, durations), durations, strict=True):
        yield RgbFrame(pixels, start, duration)


def _is_image(path: Path) -> bool:
    try:
        with open_image(path):
            return True
    except UnisalError:
        return False


def _open_still(path: Path) -> VideoFile:
    """Opens an image as a video of one frame."""

    def frames() -> Generator[Frame, None, None]:
        yield RgbFrame(read_image(path, MAX_FRAME_PIXELS), 0.0)

    return VideoFile(frames(), None, 1)


def _open_track(path: Path | Address, container: InputContainer, start: float) -> VideoFile:
    # Covers of music files and thumbnails are stored as video tracks too.
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    tracks = [s for s in container.streams.video if not s.disposition & covers]
    # An animated AVIF also stores its first frame as an image.
    tracks = [s for s in tracks if s.frames != 1] or tracks
    if not tracks:
        cut_off = "; the file is cut off" if _is_cut_off(path) else ""
        raise UnisalError(f"{path}: has no video track{cut_off}")
    stream = max(tracks, key=_rank)
    if stream.codec_context is None:
        raise UnisalError(f"{path}: FFmpeg does not know the codec of its video, or the file is damaged")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_FRAME_PIXELS:
        raise UnisalError(
            f"{path}: frames of {width}x{height} are larger than {MAX_FRAME_PIXELS / 1e6:.0f} megapixels"
        )
    notes = []
    if len(tracks) > 1:
        notes.append(f"has {len(tracks)} video tracks; number {tracks.index(stream) + 1} is read")
    if (curve := _HDR.get(stream.codec_context.color_trc)) is not None:
        notes.append(f"has HDR colours ({curve}), which are not tone-mapped")
    # Frames may be larger than the header says.
    stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    found = {NAMES[s.type] for s in container.streams if s.type in NAMES}
    if container.chapters():
        found.add("chapters")
    declared = stream.frames if stream.frames > 0 else None
    timed = _has_times(container, stream)
    first, place = None, None
    if start > 0 and timed and isinstance(path, Path):
        first, place = _place_before(path, stream.index, start)
    if place is not None:
        container.seek(place, stream=stream)
        declared = None
    return VideoFile(
        frames=_frames(path, container, stream, declared, sought=place is not None),
        fps=rate if MIN_FPS <= rate <= MAX_FPS else None,
        frame_count=declared,
        tick=stream.time_base if timed else None,
        beside=tuple(sorted(found)),
        # An address cannot be opened a second time to copy its other tracks.
        left_out=tuple(sorted(found if isinstance(path, Address) else left_out(container))),
        notes=tuple(notes),
        path=None if isinstance(path, Address) else path,
        clock=(container.start_time or 0) / av.time_base,
        first=first,
    )


def _place_before(path: Path, index: int, start: float) -> tuple[float | None, int | None]:
    """Finds where to seek so that the first decoded frame is displayed at `start` seconds or before.

    Some formats (MPEG-TS, MPEG-PS, FLV) do not say which frames are key frames or when they are displayed, so
    decoding after a seek may begin too late. This function tries seeking, further back each time.

    Args:
      path: the file, which is opened another time for this.
      index: of the stream.
      start: seconds from the first frame.

    Returns:
      The display time of the file's first frame by its clock, or None if unknown, and the position for
      `seek` in the stream's time base, or None to read from the beginning.
    """
    with contextlib.suppress(av.error.FFmpegError), open_with_ffmpeg(path) as container:
        stream = container.streams[index]
        if not isinstance(stream, VideoStream) or stream.time_base is None:
            return None, None
        stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        first = _next_time(container, stream)
        if first is None:
            return None, None
        wanted, back = first + start, 0.0
        if container.duration is not None:
            wanted = min(wanted, ((container.start_time or 0) + container.duration) / av.time_base)
        while wanted - back > first:
            place = int((wanted - back) / stream.time_base)
            try:
                container.seek(place, stream=stream)
                found = _next_time(container, stream)
            except av.error.FFmpegError:
                return first, None
            if found is not None and found <= wanted:
                return first, place
            back = max(2 * back, _BACK)
        return first, None
    return None, None


def _next_time(container: InputContainer, stream: VideoStream) -> float | None:
    """Returns the display time of the next frame that can be decoded and has one; None at the end."""
    times = (frame.time for frame in _decode(container, stream, cut_off=False))
    return next((time for time in times if time is not None), None)


def _is_cut_off(path: Path | Address) -> bool:
    return isinstance(path, Path) and is_cut_off(path)


def _rank(stream: VideoStream) -> tuple[bool, bool, int]:
    """Returns the sort key for choosing a track: decodable, then default, then largest."""
    context = stream.codec_context
    pixels = 0 if context is None else context.width * context.height
    default = bool(stream.disposition & Disposition.default)
    return context is not None and pixels <= MAX_FRAME_PIXELS, default, pixels


def _frames(
    path: Path | Address, container: InputContainer, stream: VideoStream, declared: int | None, sought: bool
) -> Generator[Frame, None, None]:
    """Yields all intact frames, then raises UnisalError if frames are missing.

    After a seek (`sought`), begins with the first frame that has a time.
    """
    with container:
        cut_off = _is_cut_off(path)
        # For GIF and APNG, FFmpeg counts the frames present and decodes a truncated last frame.
        torn = cut_off and container.format.name in ("gif", "apng")
        if torn:
            declared = None
        stream.thread_type = "AUTO"
        count = 0
        layout = None
        clock = SteadyClock() if _has_times(container, stream) else None
        suspect = None
        reason = "the file is cut off or damaged"
        try:
            for frame in _decode(container, stream, cut_off):
                if sought and layout is None and frame.time is None:
                    continue
                layout = layout or Layout.of(frame, stream)
                # Accept a frame with concealed errors if others follow, as in a recorded broadcast. As the
                # last frame it is the truncated end of the file.
                if suspect is not None:
                    yield _framed(suspect, layout, clock)
                    count += 1
                suspect = frame if frame.is_corrupt or torn else None
                if suspect is None:
                    yield _framed(frame, layout, clock)
                    count += 1
            ends_early = suspect is not None or (cut_off and (declared is None or count < declared))
        except av.error.FFmpegError as error:
            ends_early, reason = True, reason_of(error)
            if isinstance(error, av.error.ArgumentError):
                # The decoder's error for a frame that exceeds max_pixels says nothing more specific.
                reason = f"damaged, or a frame is larger than {MAX_FRAME_PIXELS / 1e6:.0f} megapixels"
    if ends_early:
        raise UnisalError(f"{path}: video ends early at frame {count} ({reason})")
    if count == 0:
        raise UnisalError(f"{path}: has no frames")


def _framed(frame: av.VideoFrame, layout: Layout, clock: SteadyClock | None) -> DecodedFrame:
    if clock is None or frame.time_base is None:
        return DecodedFrame(frame, layout, None, None)
    duration = float(frame.duration * frame.time_base) if frame.duration else None
    return DecodedFrame(frame, layout, clock.at(frame.time, duration), duration)


def _has_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the file stores display times of its frames. FFmpeg invents times if it does not."""
    name = container.format.name
    # AVI numbers frames in storage order, which differs from display order if there are B-frames.
    return name not in _BARE and not (name == "avi" and stream.codec_context.has_b_frames)


def _decode(container: InputContainer, stream: VideoStream, cut_off: bool) -> Iterator[av.VideoFrame]:
    started = False
    for packet in container.demux(stream):
        if cut_off and packet.is_corrupt:
            # Do not decode the truncated packet: it gives a frame that is partly grey.
            yield from stream.decode(None)
            return
        if stream.codec_context.name == "png" and packet.size:
            packet = _without_metadata(packet)
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            # A recording may start between key frames; frames before the first key frame cannot be decoded.
            if started:
                raise
            continue
        started = started or bool(frames)
        # Pop the frames, so that the list keeps no frame alive while the caller processes it.
        frames.reverse()
        while frames:
            yield frames.pop()


def _without_metadata(packet: av.Packet) -> av.Packet:
    """Removes texts and profiles, which FFmpeg would unpack to any size, from a PNG frame."""
    plain = av.Packet(without_png_metadata(bytes(packet)))
    plain.stream, plain.time_base, plain.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    plain.pts, plain.dts, plain.duration = packet.pts, packet.dts, packet.duration
    return plain


def reason_of(error: av.error.FFmpegError) -> str:
    """Returns FFmpeg's description of an error in one line."""
    if isinstance(error, av.error.ExitError):
        return SILENT
    return " ".join(str(error.strerror or type(error).__name__).split())
