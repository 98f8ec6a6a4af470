"""Video files: several tracks, uneven times, animations, malicious files."""

import io
import itertools
import struct
import subprocess
import sys
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, features

from unisal_jax.errors import UnisalError
from unisal_jax.media import open_video
from unisal_jax.media.frame_times import steps_of
from unisal_jax.media.images import read_image
from unisal_jax.media.video_writer import VideoWriter

AVIF = pytest.param(
    "avif", marks=pytest.mark.skipif(not features.check("avif"), reason="a Pillow without AVIF")
)


def images(count, height=48, width=64):
    """Uniform frames of different greys."""
    return [np.full((height, width, 3), 20 + 30 * number, np.uint8) for number in range(count)]


def add_video(container, frames, times=None, codec="libx264", pix_fmt="yuv420p"):
    """Adds a track; `times` in milliseconds, 100 apart if None."""
    stream = container.add_stream(codec, rate=10)
    stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
    stream.codec_context.time_base = Fraction(1, 1000)

    def mux():
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (times or range(0, 100_000, 100))[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    return stream, mux


def add_sound(container, codec="aac", form="fltp"):
    stream = container.add_stream(codec, rate=8000)

    def mux():
        silence = np.zeros((1, 8000), np.float32 if form == "fltp" else np.int16)
        sound = av.AudioFrame.from_ndarray(silence, format=form, layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))

    return stream, mux


def write(path, *tracks, chapters=False):
    """Writes a file with tracks; each argument adds a track and returns a function that muxes it."""
    with av.open(str(path), "w") as container:
        if chapters:
            second = Fraction(1, 1000)
            container.set_chapters([{"id": 0, "start": 0, "end": 500, "time_base": second, "metadata": {}}])
        added = [track(container) for track in tracks]
        for _, mux in added:
            mux()


def video(*args, default=False, **options):
    def add(container):
        stream, mux = add_video(container, *args, **options)
        stream.disposition = av.stream.Disposition.default if default else 0
        return stream, mux

    return add


TIMES = [0, 100, 200, 500, 1000, 1500]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_times_of_frames(tmp_path, name):
    write(tmp_path / name, video(images(6), TIMES))
    with open_video(tmp_path / name) as reader:
        assert list(reader.times) == []
        frames = list(reader)
        np.testing.assert_allclose(reader.times, np.array(TIMES) / 1000, atol=1e-6)
        steps = reader.steps()
    assert [int(frame[0, 0, 0]) for frame in frames] == pytest.approx(range(20, 200, 30), abs=3)
    assert (steps.even, steps.shortest, steps.longest) == (False, pytest.approx(0.1), pytest.approx(0.5))
    assert steps.mean == pytest.approx(0.3)


def test_a_folder_knows_no_times(tmp_path):
    for number, image in enumerate(images(3)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    with open_video(tmp_path) as reader:
        list(reader)
        assert np.isnan(reader.times).all() and reader.steps() is None


@pytest.mark.parametrize("name", ["clip.avi", "clip.h264"])
def test_files_that_know_no_times(tmp_path, name):
    """AVI stores H.264 frames in decoding order, not in display order."""
    write(tmp_path / name, video([image for image in images(6) for _ in range(5)]))
    with open_video(tmp_path / name) as reader:
        assert len(list(reader)) == 30
        assert np.isnan(reader.times).all() and reader.steps() is None


@pytest.mark.parametrize(
    ("times", "tick", "even"),
    [
        ([round(n * 1001 / 30000, 3) for n in range(300)], 0.001, True),  # Matroska's milliseconds
        ([round(n / 240, 3) for n in range(300)], 0.001, True),
        ([n / 25 + 0.001 * (n % 3) for n in range(300)], 1 / 90000, True),
        ([0, 0.1, float("nan"), 0.3], 0, True),  # one time is not known
        ([n / 25 + (n > 150) / 25 for n in range(300)], 0, False),  # one frame is missing
        ([n // 2 / 12 + n % 2 / 30 for n in range(100)], 0, False),  # as films are shown on television
        (np.cumsum([1 / 30 + n * 1e-5 for n in range(300)]).tolist(), 0, False),  # slower and slower
        ([0, 0.1, 0.05, 0.2], 0, False),
    ],
)
def test_even_times(times, tick, even):
    assert steps_of(times, tick).even == even


def test_too_few_times():
    assert steps_of([], 0) is None and steps_of([0.0, float("nan")], 0) is None


def add_subtitles(container):
    text = av.open(io.BytesIO(b"1\n00:00:00,000 --> 00:00:00,200\nhello\n\n"), format="srt")
    stream = container.add_stream_from_template(text.streams.subtitles[0])

    def mux():
        for packet in text.demux():
            if packet.size:
                packet.stream = stream
                container.mux(packet)
        text.close()

    return stream, mux


def test_what_lies_beside_the_frames(tmp_path):
    write(tmp_path / "plain.mp4", video(images(3)))
    write(tmp_path / "rich.mkv", video(images(3)), add_sound, add_sound, add_subtitles, chapters=True)
    with open_video(tmp_path / "plain.mp4") as plain, open_video(tmp_path / "rich.mkv") as rich:
        assert plain.beside == () and rich.beside == ("chapters", "sound", "subtitles")


LARGE, SMALL = images(3, 96, 128), images(3)


@pytest.mark.parametrize(
    ("tracks", "size", "number"),
    [
        ([(SMALL, False), (LARGE, False)], (96, 128), 2),  # none is the default: the largest
        ([(LARGE, False), (SMALL, True)], (48, 64), 2),
        ([(SMALL, True), (LARGE, True)], (96, 128), 2),
        ([(SMALL, False), (SMALL, False)], (48, 64), 1),
    ],
)
def test_which_track_is_read(tmp_path, tracks, size, number):
    path = tmp_path / "clip.mkv"
    write(path, *(video(frames, default=default) for frames, default in tracks))
    with open_video(path) as reader:
        assert reader.size == size and len(list(reader)) == 3
        assert reader.notes == (f"has 2 video tracks; number {number} is read",)


def animation(path, durations):
    first, *rest = (Image.fromarray(each) for each in images(len(durations)))
    options = {"quality": 100} if path.suffix == ".avif" else {"lossless": True}
    first.save(path, save_all=True, append_images=rest, duration=durations, **options)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", AVIF])
def test_animations(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    animation(path, [100] * 4)
    with open_video(path) as reader:
        assert reader.fps == pytest.approx(10) and reader.frame_count in (4, None)
    animation(path, [100, 200, 50, 100])
    with open_video(path) as reader:
        assert [int(frame[0, 0, 0]) for frame in reader] == [20, 50, 80, 110]
        np.testing.assert_allclose(reader.times, [0, 0.1, 0.3, 0.35], atol=1e-6)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    read = []
    with pytest.raises(UnisalError, match=r"a\.\w+: .*cut off"):
        read.extend(open_video(path))
    assert all(frame.min() == frame.max() for frame in read)


def test_a_png_animation_of_16_bits(tmp_path):
    path = tmp_path / "a.png"
    ramps = [np.arange(n, n + 64, dtype=np.uint16).reshape(8, 8) * 300 for n in range(3)]
    number = itertools.count()

    def chunk(name, *parts):
        body = name + b"".join(parts)
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    # Pillow's writer compares frames of 16 bits by their upper bytes, and leaves some out.
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0)), chunk(b"acTL", b"\0\0\0\3" * 2)]
    for ramp in ramps:
        chunks.append(chunk(b"fcTL", struct.pack(">5IHHBB", next(number), 8, 8, 0, 0, 1, 10, 0, 0)))
        rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in ramp.astype(">u2")))
        first = len(chunks) == 3
        chunks.append(
            chunk(b"IDAT", rows) if first else chunk(b"fdAT", struct.pack(">I", next(number)), rows)
        )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND"))
    for frame, ramp in zip(open_video(path), ramps, strict=True):
        np.testing.assert_allclose(frame[:, :, 0], ramp / 257, atol=1)


def test_a_png_animation_keeps_the_colour_below_alpha(tmp_path):
    path = tmp_path / "a.png"
    colours = [(200, 100, 50, 128), (90, 180, 30, 60), (10, 20, 250, 200)]
    first, *rest = (Image.new("RGBA", (8, 8), colour) for colour in colours)
    first.save(path, save_all=True, append_images=rest, duration=100, disposal=1, blend=1)
    assert [tuple(frame[4, 4].tolist()) for frame in open_video(path)] == [c[:3] for c in colours]


def test_a_png_animation_with_more_behind_its_end(tmp_path):
    path = tmp_path / "a.png"
    animation(path, [100] * 3)
    path.write_bytes(path.read_bytes() + b"more behind it")
    assert len(list(open_video(path))) == 3


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "ppm", "tiff", "webp", AVIF])
def test_still_ones(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3) // 100 * 100
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if suffix in ("bmp", "gif", "ppm") else {"exif": exif}
    Image.fromarray(image).save(path, **options)
    with open_video(path) as reader:
        (frame,) = reader
    np.testing.assert_array_equal(frame, read_image(path))


def test_real_media(tmp_path):
    path = tmp_path / "clip.rm"
    write(path, video(images(3), codec="rv20"))
    assert len(list(open_video(path))) == 3


def test_frames_are_the_callers_own(tmp_path):
    """The decoder of this codec updates each frame in place."""
    path = tmp_path / "clip.mov"
    frames = [image.copy() for image in images(1) * 5]
    for number, frame in enumerate(frames):
        frame[number, :8] = 255
    write(path, video(frames, codec="qtrle", pix_fmt="rgb24"))
    with open_video(path) as reader:
        for frame, written in zip(reader, frames, strict=True):
            np.testing.assert_array_equal(frame, written)
            frame[:] = 0


# --- made to do harm ---


def jpeg(width, height, claim=None):
    """A JPEG file; `claim` (width, height) replaces the size in its header."""
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    if claim:
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", claim[1], claim[0])
    return bytes(data)


def avi(path, parts):
    """A video with these JPEG files as frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, data in enumerate(parts):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 10), True
            packet.pts = packet.dts = number
            container.mux(packet)


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("claim", [(16000, 10000), (65000, 65000)])
def test_frames_that_claim_a_huge_size(tmp_path, number, claim):
    path = tmp_path / "clip.avi"
    parts = [jpeg(64, 48)] * 3
    parts[number] = jpeg(64, 48, claim)
    avi(path, parts if number else parts[:1])
    read = []
    with pytest.raises(UnisalError, match=r"clip\.avi: (video ends early at frame 2|has no frames)"):
        read.extend(open_video(path))
    assert len(read) == number


def test_a_header_that_claims_a_huge_size(tmp_path):
    path = tmp_path / "clip.gif"
    Image.fromarray(images(1)[0]).save(path)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 16000, 16000)
    path.write_bytes(data)
    with pytest.raises(UnisalError, match=r"clip\.gif: .* larger than 67 megapixels"):
        open_video(path)


@pytest.mark.parametrize("scale_and_rate", [(1, 0), (0, 1), (1, 10**9), (2**31 - 1, 1)])
def test_absurd_rates_and_counts(tmp_path, scale_and_rate):
    path = tmp_path / "clip.avi"
    avi(path, [jpeg(64, 48)] * 3)
    data = bytearray(path.read_bytes())
    at, main = data.index(b"strh") + 8, data.index(b"avih") + 8
    data[at + 20 : at + 36] = struct.pack("<IIII", *scale_and_rate, 0, 2**32 - 1)
    data[main : main + 4] = struct.pack("<I", 0)
    path.write_bytes(data)
    with open_video(path) as reader:
        assert reader.fps is None or 1 <= reader.fps <= 1000
        assert len(list(reader)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{folder}/other.ts\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period/></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.ffconcat", "clip.mpd"])
def test_no_file_plays_another(tmp_path, text, name):
    write(tmp_path / "other.ts", video(images(3)))
    (tmp_path / name).write_text(text.format(folder=tmp_path))
    with pytest.raises(UnisalError, match="not a video"):
        open_video(tmp_path / name)


def test_names_that_stand_for_other_files(tmp_path):
    for number in (1, 2):
        Image.fromarray(images(1)[0]).save(tmp_path / f"frame{number}.jpg")
    (tmp_path / "frame%d.jpg").write_bytes(b"nothing")
    with pytest.raises(UnisalError, match="not a video"):
        open_video(tmp_path / "frame%d.jpg")


def test_thousands_of_blocks(tmp_path):
    """The number of scanned blocks is bounded, and the file is still read."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (48, 64), 10) as writer:
        for image in images(3):
            writer.write(image)
    path.write_bytes(path.read_bytes() + (struct.pack(">I", 8) + b"free") * 50_000)
    assert len(list(open_video(path))) == 3


def test_many_tracks(tmp_path):
    write(tmp_path / "clip.mkv", *[video(images(1), codec="mpeg4")] * 300)
    with open_video(tmp_path / "clip.mkv") as reader:
        assert len(list(reader)) == 1 and reader.notes == ("has 256 video tracks; number 1 is read",)


# What unpacks to a gigabyte from a megabyte would be this; tests need less to see whether it is unpacked.
PACKED = zlib.compress(bytes(100 << 20), 9)


def png(extra=b""):
    """A PNG file with these chunks after its header."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 0, 0)).save(file, "PNG")
    return file.getvalue()[:33] + extra + file.getvalue()[33:]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


BOMBS = [chunk(b"iCCP", b"icc\0\0" + PACKED), chunk(b"zTXt", b"Comment\0\0" + PACKED)]


def peak_of(path):
    """Returns the peak memory in MB of reading a file in a new process, and its output."""
    program = (
        "import resource, sys\n"
        "from unisal_jax.errors import UnisalError\n"
        "from unisal_jax.media.video import open_video\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    print(len(list(open_video(sys.argv[1]))), 'frames')\n"
        "except UnisalError as error:\n"
        "    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    said, megabytes = done.stdout.splitlines()
    return int(megabytes), said


def test_metadata_that_unpacks_without_end(tmp_path):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for number, bomb in enumerate([b"", *BOMBS]):
            packet = av.Packet(png(bomb))
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 10), True
            packet.pts = packet.dts = number
            container.mux(packet)
    megabytes, said = peak_of(path)
    assert said == "3 frames" and megabytes < 50
    assert all((frame == (90, 0, 0)).all() for frame in open_video(path))


def test_an_animation_whose_metadata_unpacks_without_end(tmp_path):
    path = tmp_path / "a.png"
    animation(path, [100] * 3)
    data = path.read_bytes()
    path.write_bytes(data[:33] + BOMBS[1] + data[33:])
    megabytes, said = peak_of(path)
    assert said == "3 frames" or said.startswith(f"{path}: ")
    assert megabytes < 50


@pytest.mark.parametrize("outer", [b"moov", b"trak"])
def test_an_index_that_unpacks_without_end(tmp_path, outer):
    def box(name, content):
        return struct.pack(">I", 8 + len(content)) + name + content

    packed = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", 100 << 20) + PACKED)
    path = tmp_path / "clip.mov"
    path.write_bytes(
        box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(outer, box(b"cmov", packed)) + box(b"mdat", bytes(99))
    )
    with pytest.raises(UnisalError, match="its index unpacks to more than 64 MiB"):
        open_video(path)
