"""Reading video from files, folders and cameras, and writing it."""

import gc
import os
import resource
import struct
import tracemalloc
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.media import VideoWriter, open_video, write_png
from unisal_jax.media.containers import is_cut_off


def moving_image(height, width, count):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC)
    return [np.roll(image, number, axis=1) for number in range(count)]


def encode(path, frames, codec="libx264", container_options=None, rotation=0, **options):
    height, width, _ = frames[0].shape
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(30000, 1001), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            )
        container.mux(stream.encode(None))


def noise(count, height=48, width=66):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def refusal(path):
    """Returns the error message when opening `path`, one line that begins with it."""
    with pytest.raises(UnisalError) as caught:
        open_video(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def read_until_error(path):
    """Returns the number of frames before the error, and its message."""
    frames = []
    with pytest.raises(UnisalError) as caught, open_video(path) as reader:
        frames.extend(frame.copy() for frame in reader)
    return len(frames), str(caught.value)


@pytest.mark.parametrize("size", [(90, 120), (91, 121), (1, 1)])
def test_round_trip(tmp_path, size):
    frames = moving_image(*size, 20)
    with VideoWriter(tmp_path / "clip.mp4", size, 30000 / 1001) as writer:
        for frame in frames:
            writer.write(frame)
    assert os.listdir(tmp_path) == ["clip.mp4"]
    with open_video(tmp_path / "clip.mp4") as reader:
        assert reader.name == "clip"
        # Odd sizes grow to even ones.
        assert reader.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert reader.fps == 30000 / 1001
        assert reader.frame_count == 20
        read = list(reader)
    assert len(read) == 20
    for frame, written in zip(read, frames, strict=True):
        assert frame.dtype == np.uint8 and frame.shape == (*reader.size, 3)
        assert psnr(frame[: size[0], : size[1]], written) > 28


def test_colours_survive_and_are_tagged(tmp_path):
    colour = np.full((48, 66, 3), (200, 60, 30), np.uint8)
    with VideoWriter(tmp_path / "clip.mp4", (48, 66), 5) as writer:
        writer.write(colour)
    assert np.abs(next(open_video(tmp_path / "clip.mp4")).astype(int) - colour).max() <= 3
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)


def test_without_x264(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    frames = moving_image(90, 120, 5)
    with VideoWriter(tmp_path / "clip.mp4", (90, 120), 25) as writer:
        for frame in frames:
            writer.write(frame)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert psnr(list(open_video(tmp_path / "clip.mp4"))[3], frames[3]) > 28


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "clip.mp4", (8, 8), 5) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
        _ = 1 / 0
    with (
        pytest.raises(UnisalError, match=r"clip\.mp4: no frames"),
        VideoWriter(tmp_path / "clip.mp4", (8, 8), 5),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"\(8, 9, 3\)"),
        VideoWriter(tmp_path / "clip.mp4", (8, 8), 5) as writer,
    ):
        writer.write(np.zeros((8, 9, 3), np.uint8))
    assert os.listdir(tmp_path) == []


def test_a_target_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "clip.mp4", tmp_path / "none" / "clip.mp4"):
        with pytest.raises(UnisalError, match="cannot be written") as caught, VideoWriter(target, (8, 8), 5):
            pass
        assert str(caught.value).startswith(f"{target}: ")


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_metadata_is_applied(tmp_path, rotation):
    image = moving_image(48, 66, 1)[0]
    encode(tmp_path / "clip.mp4", [image] * 3, rotation=rotation)
    upright = np.rot90(image, rotation // 90)
    with open_video(tmp_path / "clip.mp4") as reader:
        assert reader.size == upright.shape[:2]
        for frame in reader:
            assert frame.flags.c_contiguous
            assert psnr(frame, upright) > 28


def test_mirrored_metadata_is_applied(tmp_path):
    image = moving_image(48, 66, 1)[0]
    encode(tmp_path / "clip.mp4", [image] * 3)
    data = bytearray((tmp_path / "clip.mp4").read_bytes())
    # The track header's matrix follows its type, version, times, number, length, layer and volume.
    matrix = data.index(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[matrix : matrix + 36])[:5] == (65536, 0, 0, 0, 65536)
    data[matrix : matrix + 4] = struct.pack(">i", -65536)
    (tmp_path / "clip.mp4").write_bytes(data)
    assert psnr(next(open_video(tmp_path / "clip.mp4")), image[:, ::-1]) > 28


def test_a_change_of_size_is_scaled_to_the_first(tmp_path):
    small, large = moving_image(48, 66, 5), moving_image(96, 132, 5)
    for name, frames in (("small.h264", small), ("large.h264", large)):
        encode(tmp_path / name, frames)
    joined = (tmp_path / "small.h264").read_bytes() + (tmp_path / "large.h264").read_bytes()
    (tmp_path / "both.h264").write_bytes(joined)
    read = list(open_video(tmp_path / "both.h264"))
    assert len(read) == 10
    assert {frame.shape for frame in read} == {(48, 66, 3)}
    assert psnr(read[9], cv2.resize(large[4], (66, 48), interpolation=cv2.INTER_AREA)) > 22


@pytest.mark.parametrize(
    "name", ["clip.mp4", "clip.MOV", "clip.avi", "clip.mkv", "clip.webm", "clip.ts", "a:b %d.mp4"]
)
def test_containers(tmp_path, name):
    codec = {"avi": "mpeg4", "webm": "libvpx"}.get(name.split(".")[1].lower(), "libx264")
    encode(tmp_path / name, moving_image(48, 66, 12), codec)
    assert not is_cut_off(tmp_path / name)
    with open_video(tmp_path / name) as reader:
        assert reader.fps == pytest.approx(29.97, abs=0.01)
        assert reader.frame_count in (12, None)
        assert len(list(reader)) == 12


CUTS = [
    ("clip.mp4", "libx264", {"movflags": "+faststart"}),
    ("clip.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ("clip.avi", "mpeg4", {}),
    ("clip.mkv", "libx264", {}),
    ("clip.webm", "libvpx", {}),
]


@pytest.mark.parametrize(("name", "codec", "container_options"), CUTS)
def test_a_cut_file_gives_its_good_frames_then_an_error(tmp_path, name, codec, container_options):
    path = tmp_path / name
    encode(path, noise(30), codec, container_options, g="30")
    data, whole = path.read_bytes(), list(open_video(path))
    assert len(whole) == 30
    path.write_bytes(data[: int(0.6 * len(data))])
    read = []
    with pytest.raises(UnisalError) as caught, open_video(path) as reader:
        for frame in reader:
            read.append(frame)
    assert 5 < len(read) < 30
    assert (
        str(caught.value) == f"{path}: video ends early at frame {len(read)} (the file is cut off or damaged)"
    )
    # Not one of them is half a frame.
    for frame, good in zip(read, whole, strict=False):
        np.testing.assert_array_equal(frame, good)


def test_a_cut_mp4_with_its_index_at_the_end(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(path, noise(30))
    data = path.read_bytes()
    for part in (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(part * len(data))])
        assert "cut off" in refusal(path)


def test_a_zeroed_tail_is_an_error(tmp_path):
    """An interrupted download that had allocated the whole file first."""
    path = tmp_path / "clip.mp4"
    encode(path, noise(30), container_options={"movflags": "+faststart"})
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(len(data) - half))
    count, message = read_until_error(path)
    assert 5 < count < 30
    assert message.startswith(f"{path}: video ends early at frame {count} (")


def test_whole_files_with_fewer_frames_than_declared_pass(tmp_path):
    """An edit list omits frames that the header counts."""
    path = tmp_path / "clip.mp4"
    encode(path, moving_image(48, 66, 30))
    data = bytearray(path.read_bytes())
    edit = data.index(b"elst") + 4
    duration = struct.unpack(">I", data[edit + 8 : edit + 12])[0]
    data[edit + 8 : edit + 12] = struct.pack(">I", duration // 2)
    path.write_bytes(data)
    with open_video(path) as reader:
        assert reader.frame_count == 30
        assert 10 <= len(list(reader)) <= 20


def test_live_recordings_without_sizes_pass(tmp_path):
    path = tmp_path / "clip.mkv"
    encode(path, noise(10), container_options={"live": "1"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert not is_cut_off(path)
    assert len(list(open_video(path))) > 2


def test_a_recording_that_starts_between_key_frames(tmp_path):
    encode(tmp_path / "whole.h264", noise(30), g="10")
    data = (tmp_path / "whole.h264").read_bytes()
    (tmp_path / "clip.h264").write_bytes(data[len(data) // 6 :])
    assert len(list(open_video(tmp_path / "clip.h264"))) >= 20


def test_missing_empty_text(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "empty" in refusal(tmp_path / "empty.mp4")
    for name in ("text.mp4", "text.txt", "text.avi"):
        (tmp_path / name).write_text("not a video\n" * 50)
        assert "not a video" in refusal(tmp_path / name)


def test_a_playlist_does_not_reach_the_network(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n")
    refusal(path)


def test_without_a_video_track(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert refusal(path).endswith("has no video track")


def test_a_cover_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    write_png(tmp_path / "cover.png", noise(1)[0])
    image = b"\0image/png\0\3\0" + (tmp_path / "cover.png").read_bytes()
    frame = b"APIC" + struct.pack(">IH", len(image), 0) + image
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    # A silent MPEG-1 layer III frame: 128 kbit/s, 44.1 kHz.
    sound = (b"\xff\xfb\x90\x64" + bytes(413)) * 20
    path.write_bytes(b"ID3\3\0\0" + size + frame + sound)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert refusal(path).endswith("has no video track")


def test_no_frames(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(path, noise(3))
    data = bytearray(path.read_bytes())
    # Every sample table with no entries.
    for name in (b"stts", b"stsz", b"stco", b"stsc", b"stss", b"ctts"):
        at = data.find(name)
        if at >= 0:
            at += 4 + (8 if name == b"stsz" else 4)
            data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    assert refusal(path).endswith("has no frames")


def test_folder_of_frames_in_natural_order(tmp_path):
    folder = tmp_path / "clip.v1"
    folder.mkdir()
    for number in (10, 9, 1):
        write_png(folder / f"f{number}.PNG", np.full((5, 7, 3), number, np.uint8))
    (folder / "notes.txt").touch()
    with open_video(folder) as reader:
        assert (reader.name, reader.size, reader.fps, reader.frame_count) == ("clip.v1", (5, 7), None, 3)
        assert [int(frame[0, 0, 0]) for frame in reader] == [1, 9, 10]


def test_folder_with_bad_frames(tmp_path):
    assert refusal(tmp_path).endswith("holds no images")
    write_png(tmp_path / "1.png", np.zeros((5, 7, 3), np.uint8))
    write_png(tmp_path / "2.png", np.zeros((5, 8, 3), np.uint8))
    count, message = read_until_error(tmp_path)
    assert count == 1
    assert message.startswith(f"{tmp_path / '2.png'}: is 8x5 but the first frame is 7x5")
    Image.new("RGB", (7, 5)).save(tmp_path / "2.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    count, message = read_until_error(tmp_path)
    assert count == 2
    assert message.startswith(f"{tmp_path / '3.png'}: ")


def test_memory_is_bounded(tmp_path):
    height, width, count = 96, 128, 600
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (height, width), 30) as writer:
        for frame in moving_image(height, width, count):
            writer.write(frame)
    gc.collect()
    gc.disable()  # frames that only the search for cycles would free count as held
    tracemalloc.start()
    try:
        before = sum(type(item) is av.VideoFrame for item in gc.get_objects())
        tracemalloc.reset_peak()  # the list of all objects does not count
        read, peak = 0, 0
        with open_video(path) as reader:
            for _ in reader:
                read += 1
                if read % 100 == 0:
                    peak = max(peak, tracemalloc.get_traced_memory()[1])
                    held = sum(type(item) is av.VideoFrame for item in gc.get_objects()) - before
                    assert held < 10
                    tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert read == count
    assert peak < 40 * height * width * 3


def open_files():
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return [os.readlink(link) for link in links if os.path.islink(link)]


def test_closing_early_closes_the_file(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(path, moving_image(48, 66, 30))
    with open_video(path) as reader:
        next(reader)
        assert str(path) in open_files()
    assert str(path) not in open_files()
    assert list(reader) == []


class FakeCamera:
    """A stub of cv2.VideoCapture: camera 0 gives three BGR frames; there is no other camera."""

    def __init__(self, number):
        self.left = 3 if number == 0 else 0
        self.number = number

    def isOpened(self):
        return self.number != 1

    def get(self, _property):
        return 15.0

    def read(self):
        if self.left == 0:
            return False, None
        self.left -= 1
        return True, np.full((4, 6, 3), (1, 2, 3), np.uint8)

    def release(self):
        self.left = 0


def test_camera(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with open_video("camera:0") as reader:
        assert (reader.name, reader.size, reader.fps, reader.frame_count) == ("camera_0", (4, 6), 15.0, None)
        frames = list(reader)
    assert len(frames) == 3
    assert (frames[0] == (3, 2, 1)).all()
    assert "cannot be opened" in refusal("camera:1")
    assert "no frames" in refusal("camera:2")
    assert "give its number" in refusal("camera:x")


def test_a_camera_that_is_not_there(capfd):
    assert "cannot be opened" in refusal("camera:999")
    assert capfd.readouterr().err == ""


def test_a_full_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with (
            pytest.raises(UnisalError, match=r"clip\.mp4: cannot be written"),
            VideoWriter(tmp_path / "clip.mp4", (96, 128), 5) as writer,
        ):
            for frame in noise(60, 96, 128):
                writer.write(frame)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []
