"""Videos made from videos keep times, sound, chapters, metadata and colours."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.media import open_video
from unisal_jax.media.colours import Colours, yuv_of_rgb
from unisal_jax.media.decoded import planes_of, planes_of_rgb
from unisal_jax.media.film_options import Drawing, Encoding, Part
from unisal_jax.media.frames import Planes
from unisal_jax.media.lanczos import resize_planes
from unisal_jax.media.overlay import PlanesHeat, density_levels, overlay
from unisal_jax.media.video_source import FilmInfo, Origin
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.video_outputs import VideoOutputs

SIZE = (48, 64)
# Milliseconds: uneven, with a gap.
TIMES = [0, 40, 80, 120, 160, 500, 540, 580, 620, 700, 740, 780]
SHOWN_AT = Fraction(1, 1000)


def made_film(path, times=TIMES, sound=("aac", "ac3"), rate=48000, rotation=0, **tags):
    """A video of drifting noise with two sound tracks, two chapters, a title and tags."""
    texture = np.random.default_rng(0).integers(40, 220, (*SIZE, 3), np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"g": "4"})
        video.height, video.width = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = SHOWN_AT
        if rotation:
            video.set_display_rotation(rotation)
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        tracks = []
        for number, codec in enumerate(sound):
            tracks.append(container.add_stream(codec, rate=rate))
            tracks[-1].metadata["language"] = ("deu", "fra")[number]
        container.metadata["title"] = "Two tracks"
        container.set_chapters(
            [
                {"id": 0, "start": 0, "end": 400, "time_base": SHOWN_AT, "metadata": {"title": "One"}},
                {"id": 1, "start": 400, "end": 780, "time_base": SHOWN_AT, "metadata": {"title": "Two"}},
            ]
        )
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.roll(texture, 2 * number, 1), format="rgb24")
            frame.pts, frame.time_base = time, SHOWN_AT
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for track in tracks:
            wave = np.sin(np.arange(rate * 4 // 5) / 9).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            samples.sample_rate = rate
            container.mux(track.encode(samples))
            container.mux(track.encode(None))
    return path


def facts(path):
    """Returns the packets of a video by track, and its metadata, as read by FFmpeg."""
    with av.open(str(path)) as container:
        packets = [[] for _ in container.streams]
        for packet in container.demux():
            if packet.size:
                seconds = float(packet.pts * packet.time_base)
                packets[packet.stream_index].append((round(seconds, 6), bytes(packet)))
        kinds = [stream.type for stream in container.streams]
        chapters = [
            (float(each["start"] * each["time_base"]), each["metadata"]) for each in container.chapters()
        ]
        context = container.streams.video[0].codec_context
        colours = context.colorspace, context.color_primaries, context.color_trc, context.color_range
        return {
            "chapters": chapters,
            "colours": colours,
            "duration": container.duration / av.time_base,
            "languages": [s.metadata.get("language") for s in container.streams if s.type == "audio"],
            "shape": container.streams.video[0].sample_aspect_ratio,
            "sound": [each for kind, each in zip(kinds, packets, strict=True) if kind == "audio"],
            "times": sorted(time for time, _ in packets[kinds.index("video")]),
            "title": container.metadata.get("title"),
        }


def copied(source, target, part=Part()):  # noqa: B008
    with open_video(source, part) as reader, VideoWriter(target, reader.size, 25, reader.info) as writer:
        for frame in reader.frames():
            writer.write_planes(planes_of(frame), frame.seconds, frame.duration)
        return list(reader.times)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_film_keeps_all_that_it_had(tmp_path, name):
    bt601_full = {"colorspace": 6, "color_primaries": 6, "color_trc": 6, "color_range": 2}
    film = made_film(tmp_path / name, **bt601_full, sample_aspect_ratio=Fraction(4, 3))
    assert copied(film, tmp_path / "copy.mp4") == pytest.approx([time / 1000 for time in TIMES])
    before, after = facts(film), facts(tmp_path / "copy.mp4")
    assert after["times"] == pytest.approx(before["times"], abs=1e-6)
    assert abs(after["duration"] - before["duration"]) < 0.05
    assert len(after["sound"]) == 2
    for old, new in zip(before["sound"], after["sound"], strict=True):
        assert [data for _, data in new] == [data for _, data in old]
        # Matroska rounds to milliseconds.
        assert [time for time, _ in new] == pytest.approx([time for time, _ in old], abs=1e-3)
    assert after["languages"] == ["deu", "fra"] and after["title"] == "Two tracks"
    assert after["chapters"] == [(0.0, {"title": "One"}), (0.4, {"title": "Two"})]
    assert after["colours"] == before["colours"] == (6, 6, 6, 2)
    assert after["shape"] == Fraction(4, 3)


def test_a_part_of_a_film(tmp_path):
    """Starts at a frame between key frames, with the sound and chapter from there on."""
    film = made_film(tmp_path / "film.mp4")
    times = copied(film, tmp_path / "copy.mp4", Part(0.08, 0.6, every=2))
    assert times == pytest.approx([0.08, 0.16, 0.54])
    got = facts(tmp_path / "copy.mp4")
    assert got["times"] == pytest.approx([0, 0.08, 0.46])
    sound = facts(film)["sound"]
    for old, new in zip(sound, got["sound"], strict=True):
        assert [data for _, data in new] == [data for time, data in old if 0.08 <= time < 0.6]
        assert new[0][0] < 0.03
    assert got["chapters"] == [(0.0, {"title": "One"}), (pytest.approx(0.32), {"title": "Two"})]


@pytest.mark.parametrize("name", ["film.ts", "film.mpg", "film.flv", "film.mkv"])
def test_a_part_begins_at_its_frame_in_any_format(tmp_path, name):
    """Some formats do not mark key frames, so decoding after a seek may begin too late.

    And H.264 in MPEG-PS has a time for some frames alone.
    """
    film = made_film(tmp_path / name, range(0, 2400, 40), sound=(), time_base=Fraction(1, 25))
    with open_video(film) as reader:
        frames = list(reader)
    assert len(frames) == 60
    for start in (0.1, 1.2, 2.3):
        with open_video(film, Part(start)) as reader:
            rest = list(reader)
            assert reader.times[0] == pytest.approx(-(-start // 0.04) * 0.04, abs=1e-6)
        assert len(rest) == 60 - round(reader.times[0] / 0.04)
        for one, other in zip(rest, frames[-len(rest) :], strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(UnisalError, match=r"has no frames from 2\.5 s on"):
        open_video(film, Part(2.5))


def test_a_recording_whose_clock_does_not_begin_at_0(tmp_path):
    """The output begins at once, also if the source's clock wraps around."""
    ticks_a_wrap = 2**33 / 90
    for start in (10_000, round(ticks_a_wrap) - 300):
        film = made_film(tmp_path / "film.ts", times=[start + time for time in TIMES], sound=())
        copied(film, tmp_path / "copy.mp4")
        assert facts(tmp_path / "copy.mp4")["times"] == pytest.approx(
            [time / 1000 for time in TIMES], abs=1e-4
        )


def test_recordings_that_were_joined(tmp_path):
    """The clock of the second part is reset; frames and sound continue."""
    shown = range(0, 800, 40)
    one = made_film(tmp_path / "one.ts", shown, sound=("ac3",))
    (tmp_path / "two.ts").write_bytes(2 * one.read_bytes())
    times = copied(tmp_path / "two.ts", tmp_path / "copy.mp4")
    assert times == pytest.approx([time / 1000 for time in range(0, 1600, 40)], abs=1e-4)
    got, sound = facts(tmp_path / "copy.mp4"), facts(one)["sound"][0]
    assert np.diff(got["times"]) == pytest.approx(np.diff(times), abs=1e-4)
    (both,) = got["sound"]
    assert [data for _, data in both] == 2 * [data for _, data in sound]
    assert np.diff([time for time, _ in both]) == pytest.approx(both[1][0] - both[0][0], abs=1e-4)


def test_sound_whose_times_stand_still(tmp_path):
    """FFmpeg rejects a packet whose decoding time does not increase."""
    film, broken = made_film(tmp_path / "film.mkv", sound=("aac",)), tmp_path / "broken.mkv"
    with av.open(str(film)) as source, av.open(str(broken), "w") as target:
        tracks = {each.index: target.add_stream_from_template(each) for each in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = tracks[packet.stream_index]
                if packet.stream.type == "audio" and packet.dts > 100:
                    packet.dts = packet.pts = packet.pts // 100 * 100 + packet.pts % 100 // 50
                target.mux(packet)
    copied(broken, tmp_path / "copy.mp4")
    (before,), (after,) = facts(broken)["sound"], facts(tmp_path / "copy.mp4")["sound"]
    assert len({time for time, _ in before}) < len(before)
    assert [data for _, data in after] == [data for _, data in before]


@pytest.mark.parametrize(("codec", "pixels"), [("png", "rgb24"), ("png", "gray"), ("libx264rgb", "rgb24")])
def test_rgb_and_grey_that_are_tagged_as_full_range(tmp_path, codec, pixels):
    rows, columns = np.indices(SIZE)
    image = np.stack([rows * 5, columns * 3, 200 - rows] if pixels != "gray" else [columns * 3] * 3, -1)
    with av.open(str(tmp_path / "film.mov"), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = SIZE
        stream.pix_fmt = pixels
        frame = av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24").reformat(format=pixels)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    copied(tmp_path / "film.mov", tmp_path / "copy.mp4")
    with open_video(tmp_path / "copy.mp4") as reader:
        colours = reader.info.look.colours
        assert np.abs(next(reader).astype(int) - image).mean() < 3
    assert (colours.matrix, colours.range) == ((2, 2) if pixels == "gray" else (1, 1))


def test_a_part_after_the_sound_has_ended(tmp_path):
    film = made_film(tmp_path / "film.mp4", range(0, 1200, 40), sound=("aac",))
    assert len(copied(film, tmp_path / "copy.mp4", Part(start=0.9))) == 7
    got = facts(tmp_path / "copy.mp4")
    assert len(got["times"]) == 7 and not any(got["sound"])


@pytest.mark.parametrize(("part", "says"), [(Part(9.0), "from 9 s on"), (Part(1.0, 2.0), "before 2 s")])
def test_a_part_that_is_not_there(tmp_path, part, says):
    film = made_film(tmp_path / "film.mp4", sound=())
    with pytest.raises(UnisalError, match=rf"film\.mp4: has no frames.*{says}"):
        open_video(film, part)


def test_no_part_of_what_has_no_times(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    with pytest.raises(UnisalError, match="has no frame times; omit --start"):
        open_video(tmp_path, Part(1.0))
    with open_video(tmp_path, Part(every=3)) as reader:
        assert len(list(reader)) == 1


def test_a_track_that_mp4_cannot_hold_is_told(tmp_path):
    film = made_film(tmp_path / "film.mov", sound=("pcm_mulaw",))
    with open_video(film) as reader:
        assert reader.left_out == ("sound",)
    copied(film, tmp_path / "copy.mp4")
    assert facts(tmp_path / "copy.mp4")["sound"] == []


def test_sound_of_old_files(tmp_path):
    """PCM in AVI, which has no channel layout, is kept; MP3 at 8 kHz is dropped with a note."""
    film = made_film(
        tmp_path / "film.avi", range(0, 800, 40), sound=("pcm_s16le",), time_base=Fraction(1, 25)
    )
    copied(film, tmp_path / "copy.mp4")
    (before,), (after,) = facts(film)["sound"], facts(tmp_path / "copy.mp4")["sound"]
    assert b"".join(data for _, data in after) == b"".join(data for _, data in before)
    film = made_film(tmp_path / "film.mkv", sound=("libmp3lame",), rate=8000)
    with open_video(film) as reader:
        assert reader.left_out == ("sound",)
    copied(film, tmp_path / "copy.mp4")


def test_a_turned_film_with_wide_pixels(tmp_path):
    film = made_film(tmp_path / "film.mp4", sound=(), rotation=90, sample_aspect_ratio=Fraction(4, 3))
    with open_video(film) as reader:
        assert reader.size == (64, 48) and reader.info.look.pixel_aspect == Fraction(3, 4)
        assert reader.info.look.shown(reader.size) == (64, 36)
        frame = next(reader.frames())
        small = frame.resized((32, 32))
        rgb = frame.rgb()
    np.testing.assert_array_equal(small, np.asarray(Image.fromarray(rgb).resize((32, 32), 1)))
    upright = planes_of(frame)
    assert upright.size == (64, 48) and upright.u.shape == (32, 24)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((108, 192), (32, 64)), ((37, 53), (64, 96)), ((90, 3000), (96, 96)), ((64, 7), (64, 5))],
)
def test_resizing_is_pillows(size, wanted):
    """Bit-identical for noise, and for black next to white, where sums lie on halves."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 2), np.uint8)
    stripes = ((np.indices(size) // 7).sum(0) % 2 * 255).astype(np.uint8)
    planes = [noise[..., 0], noise[..., 1].T.copy().T, stripes]
    got = resize_planes(planes, wanted)
    for number, plane in enumerate(planes):
        pillow = Image.fromarray(plane).resize(wanted[::-1], Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(got[..., number], np.asarray(pillow))


def test_yuv_of_colours():
    """White, black and red, by BT.709 and BT.601 (ITU-R BT.709-6, section 3), limited and full range."""
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]], np.uint8)
    limited = [[235, 128, 128], [16, 128, 128], [62.6, 102.3, 240]]
    np.testing.assert_allclose(yuv_of_rgb(colours, Colours(), 48), limited, atol=0.1)
    full = [[255, 128, 128], [0, 128, 128], [76.2, 85.0, 255]]
    np.testing.assert_allclose(yuv_of_rgb(colours, Colours(6, 6, 6, 2), 48), full, atol=0.6)
    # Untagged: as players guess, by the height.
    untagged = Colours(2, 2, 2, 0)
    np.testing.assert_array_equal(yuv_of_rgb(colours, untagged, 720), yuv_of_rgb(colours, Colours(), 1))
    assert yuv_of_rgb(colours, untagged, 576)[2, 0] == pytest.approx(81.5, abs=0.1)


def test_heat_in_planes_is_that_over_rgb():
    rows, columns = np.indices((90, 160))
    density = np.exp(-(((rows - 30) / 9.0) ** 2) - ((columns - 100) / 14.0) ** 2)
    smooth = np.stack([rows * 2, columns, 200 - rows], -1).astype(np.uint8)
    levels = density_levels(density)
    heat = PlanesHeat(Colours(), 90, 0.7)
    wanted = planes_of_rgb(overlay(smooth, density))
    laid = heat.lay(planes_of_rgb(smooth), levels)
    for one, other in zip(laid, wanted, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 4
    # On white, where a ring would be seen, each step is one level at most.
    shapes = (plane.shape for plane in laid)
    white = Planes(*(np.full(s, value, np.uint8) for s, value in zip(shapes, (235, 128, 128), strict=True)))
    halves = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 16] * 90, np.uint8)
    steps = heat.lay(white, np.sort(halves, 1))
    for plane in steps:
        assert np.abs(np.diff(plane.astype(int), axis=1)).max() <= 1
    untouched = heat.lay(white, np.zeros((9, 16), np.uint8))
    np.testing.assert_array_equal(untouched.y, white.y)


def test_a_window_at_odd_pixels():
    """Its chroma is interpolated from the neighbours."""
    u = np.tile(np.arange(0, 80, 10, dtype=np.uint8), (6, 1))
    planes = Planes(np.zeros((12, 16), np.uint8), u, u)
    even, odd = planes.part(2, 4, 4, 6), planes.part(3, 5, 4, 6)
    assert even.u.tolist() == [[20, 30, 40]] * 2 and odd.u.tolist() == [[25, 35, 45]] * 2
    assert planes.part(7, 9, 5 - 1, 6).u.shape == (2, 3)


@pytest.mark.parametrize(("maps", "name", "most"), [("video", "map.mp4", 4), ("video10", "map.mkv", 0)])
def test_maps_as_a_film(tmp_path, maps, name, most):
    """Grey, with the video's times, each frame scaled to its peak."""
    film = made_film(tmp_path / "film.mp4")
    density = np.full((24, 32), 0.1, np.float32)
    density[6:18, 8:24] = 1.0
    log_density = np.log(density / density.sum())
    with open_video(film) as reader:
        paths = {"map": tmp_path / name}
        with VideoOutputs(paths, reader.info, {}, Drawing(maps=maps)) as outputs:
            for frame in reader.frames():
                outputs.write(Predicted(frame, log_density, False))
    got = facts(tmp_path / name)
    assert got["times"] == pytest.approx([time / 1000 for time in TIMES]) and got["sound"] == []
    with av.open(str(tmp_path / name)) as container:
        frame = next(container.decode(video=0))
        ten_bits = maps == "video10"
        assert frame.format.name == ("gray10le" if ten_bits else "yuvj420p")
        (plane, *_) = frame.planes
        grey = np.frombuffer(memoryview(plane), "<u2" if ten_bits else "u1").reshape(48, -1)
    levels = 1023 if ten_bits else 255
    assert abs(int(grey[24, 32]) - levels) <= most and abs(int(grey[2, 2]) - levels // 10) <= most


def test_a_quicker_preset_makes_a_larger_file(tmp_path):
    texture = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
    sizes = []
    for preset, quality in (("realtime", 18), ("realtime", 40), ("ultrafast", 18)):
        path = tmp_path / f"{preset}{quality}.mp4"
        with VideoWriter(path, (96, 128), 25, encoding=Encoding(preset, quality)) as writer:
            for number in range(12):
                writer.write(np.roll(texture, number, 1))
        sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0] < sizes[2]


def test_times_that_stand_still(tmp_path):
    """A file with equal or decreasing times gives a playable video."""
    info = FilmInfo(SIZE)
    planes = planes_of_rgb(np.zeros((*SIZE, 3), np.uint8))
    with VideoWriter(tmp_path / "film.mp4", SIZE, 25, info) as writer:
        for seconds in (0.0, 0.04, 0.04, 0.0, 0.2):
            writer.write_planes(planes, seconds)
    assert facts(tmp_path / "film.mp4")["times"] == pytest.approx([0, 0.04, 0.08, 0.12, 0.2])


def test_the_finest_of_ticks(tmp_path):
    """Matroska may count in nanoseconds, in which MP4 cannot store a gap of 5 seconds."""
    info = FilmInfo(SIZE, origin=Origin(None, 0.0, None, None, Fraction(1, 10**9)))
    planes = planes_of_rgb(np.zeros((*SIZE, 3), np.uint8))
    with VideoWriter(tmp_path / "film.mp4", SIZE, 25, info) as writer:
        for seconds in (0.0, 0.04, 5.0):
            writer.write_planes(planes, seconds)
    assert facts(tmp_path / "film.mp4")["times"] == pytest.approx([0, 0.04, 5.0])


def test_maps_as_a_film_are_resumed(command, golden_file, tmp_path):
    film = made_film(tmp_path / "film.mp4", sound=())
    args = ("predict", film, "--out", tmp_path / "out", "--weights", golden_file, "--input-size", "96x128")
    for kept in ("", ", 1 already done"):
        status, out, err = command(*args, "--save", "map", "--map-format", "video10", "--resume")
        assert status == 0 and out.rstrip().endswith(kept), err


def test_the_command(command, golden_file, tmp_path):
    """`unisal predict` of a part: an overlay with sound, and JSON with times and the part."""
    film = made_film(tmp_path / "film.mp4", sound=("aac",))
    args = ("predict", film, "--out", tmp_path / "out", "--weights", golden_file, "--input-size", "96x128")
    status, _, err = command(
        *args, "--save", "overlay,json", "--start", "0.1", "--end", "0:00.6", "--every", 2
    )
    assert status == 0, err
    content = json.loads((tmp_path / "out" / "json" / "film.json").read_text())
    assert [each["seconds"] for each in content["frames"]] == pytest.approx([0.12, 0.5, 0.58])
    about = content["about"]
    assert (about["start"], about["end"], about["every"], about["cuts"]) == (0.1, 0.6, 2, [])
    got = facts(tmp_path / "out" / "overlay" / "film.mp4")
    assert got["times"] == pytest.approx([0.02, 0.4, 0.48]) and len(got["sound"]) == 1
    status, _, err = command(*args, "--start", "2", "--end", "1")
    assert status == 1 and "--end: 1 s is not after --start, 2 s" in err
    status, _, err = command(*args, "--start", "soon")
    assert status != 0 and "is not a time" in err
