"""Copies what a video holds beside its frames into an MP4 file: sound, subtitles, chapters, metadata."""

import contextlib
import functools
import io
import math
from collections.abc import Iterator
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from unisal_jax.media.frame_times import SteadyClock
from unisal_jax.media.video_source import Origin

# Tracks other than the frames: FFmpeg's name and the name in messages.
NAMES = {"audio": "sound", "subtitle": "subtitles"}

# How far tracks of a file may be out of step when read, in seconds.
_OUT_OF_STEP = 1.0

# Metadata that FFmpeg writes itself, or that describes the coding of the source file.
_OWN_TEXTS = ("major_brand", "minor_version", "compatible_brands", "encoder", "handler_name", "vendor_id")
_OWN_STARTS = ("DURATION", "_STATISTICS", "NUMBER_OF", "BPS")


def left_out(container: InputContainer) -> set[str]:
    """Returns which of a video's "sound" and "subtitles" include a track that an MP4 file cannot hold."""
    return {NAMES[s.type] for s in container.streams if s.type in NAMES and not _held(s)}


def copy_texts(source: Any, target: Any) -> None:
    """Copies the metadata of a container or stream, such as title, language and creation time."""
    for key, value in source.metadata.items():
        if key.lower() not in _OWN_TEXTS and not key.startswith(_OWN_STARTS):
            target.metadata[key] = value


class Companions:
    """Copies the tracks beside a video's frames into another video.

    The source file is opened a second time, so that its packets can be read just ahead of the frames that are
    written. A video of any length takes the memory of a few packets.

    Args:
      origin: of the frames.
      container: the MP4 file, to which the tracks are added.
      source: the source video, opened only for this.
    """

    def __init__(self, origin: Origin, container: OutputContainer, source: InputContainer):
        self._origin, self._container, self._source = origin, container, source
        self._tracks: dict[int, Stream] = {}
        # By track: the earliest decoding time of the next packet, in ticks of the source.
        self._earliest: dict[int, int] = {}
        for stream in source.streams:
            if stream.type in NAMES and _held(stream):
                track = _track_like(stream, container)
                copy_texts(stream, track)
                track.disposition = stream.disposition
                self._tracks[stream.index] = track
        copy_texts(source, container)
        container.set_chapters(list(self._chapters()))
        self._packets = self._wanted()
        self._next = next(self._packets, None)

    def upto(self, seconds: float) -> None:
        """Writes all packets before a time, in seconds by the file's clock."""
        while self._next is not None and self._next[1] < seconds:
            self._write(self._next[0])
            self._next = next(self._packets, None)

    def finish(self) -> None:
        """Writes the remaining packets."""
        self.upto(math.inf)

    def _wanted(self) -> Iterator[tuple[av.Packet, float]]:
        """Yields the packets within the selected part of the video, each with the time it is read at."""
        streams = [self._source.streams[index] for index in self._tracks]
        if not streams:
            return
        zero, begins = self._origin.zero, self._origin.begins
        ends = math.inf if self._origin.ends is None else self._origin.ends
        if begins is not None and begins - _OUT_OF_STEP > (self._source.start_time or 0) / av.time_base:
            with contextlib.suppress(av.error.FFmpegError):
                self._source.seek(int((begins - _OUT_OF_STEP) * av.time_base))
        clocks = {index: SteadyClock() for index in self._tracks}
        # Damage ends the copy; the reader of the frames reports it.
        with contextlib.suppress(av.error.FFmpegError):
            for packet in self._source.demux(streams):
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                duration = float((packet.duration or 0) * packet.time_base)
                read = float(packet.dts * packet.time_base)
                seconds = clocks[packet.stream_index].at(read, duration) or 0.0
                if seconds >= ends + _OUT_OF_STEP:
                    return
                if seconds < ends and (begins is None or seconds >= begins):
                    shift = round((zero + read - seconds) / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    yield packet, seconds

    def _write(self, packet: av.Packet) -> None:
        index = packet.stream_index
        packet.stream = self._tracks[index]
        if packet.dts is not None and packet.pts is not None and packet.time_base is not None:
            # In damaged files two packets may have the same time. FFmpeg would reject the second.
            packet.dts = max(packet.dts, self._earliest.get(index, packet.dts))
            packet.pts = max(packet.pts, packet.dts)
            tick = packet.stream.time_base or packet.time_base
            self._earliest[index] = packet.dts + math.ceil(tick / packet.time_base)
        self._container.mux(packet)

    def _chapters(self) -> Iterator[Any]:
        zero, ends = self._origin.zero, self._origin.ends
        for chapter in self._source.chapters():
            unit = chapter["time_base"]
            if unit is None:
                continue
            start, end = chapter["start"] * unit - zero, chapter["end"] * unit - zero
            start, end = max(start, 0), end if ends is None else min(end, ends - zero)
            if start < end:
                yield {**chapter, "start": round(start / unit), "end": round(end / unit)}


def _held(stream: Stream) -> bool:
    """Whether an MP4 file can hold a track without re-encoding."""
    context = stream.codec_context
    if context is None or context.codec.canonical_name not in _mp4_codecs():
        return False
    # Some codecs are only refused with certain parameters, such as MP3 at 8 kHz.
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as container:
            _track_like(stream, container)
            container.start_encoding()
    except av.error.FFmpegError:
        return False
    return True


def _track_like(stream: Stream, container: OutputContainer) -> Stream:
    """Adds a track for the packets of another file's track."""
    track = container.add_stream_from_template(stream)
    if isinstance(track, AudioStream) and track.layout.name == f"{track.channels} channels":
        # PCM in AVI only gives the number of channels. MP4 needs a layout, so use the standard one.
        track.codec_context.layout = f"{track.channels}c"
    return track


@functools.cache
def _mp4_codecs() -> frozenset[str]:
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        return frozenset(container.supported_codecs)
