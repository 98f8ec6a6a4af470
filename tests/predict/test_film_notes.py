"""Notes of `unisal predict` and `unisal crop` on the videos they read and write."""

import json

import numpy as np
import pytest
from PIL import Image, features

from tests.media.test_video_file import TIMES, add_sound, images, video, write
from unisal_jax.media.video import open_video


def add_phone_sound(container):
    return add_sound(container, "pcm_mulaw", "s16")


@pytest.fixture
def films(tmp_path):
    """Videos of six frames: silent, with sound, uneven, both, sound that MP4 does not support, a folder."""
    folder = tmp_path / "in"
    (folder / "folder").mkdir(parents=True)
    write(folder / "plain.mp4", video(images(6)))
    write(folder / "sound.mp4", video(images(6)), add_sound, add_sound)
    write(folder / "uneven.mkv", video(images(6), TIMES))
    write(folder / "both.mkv", video(images(6), TIMES), add_sound, chapters=True)
    write(folder / "phone.mov", video(images(6)), add_phone_sound)
    write(folder / "two.mkv", video(images(6)), video(images(6)))
    for number, image in enumerate(images(6)):
        Image.fromarray(image).save(folder / "folder" / f"{number}.png")
    return folder


@pytest.fixture
def run(command, golden_file, films, tmp_path):
    """run(command, flags) -> (stdout, notes) for all videos."""

    def run(name, *flags):
        inputs = [
            films / each
            for each in ("plain.mp4", "sound.mp4", "uneven.mkv", "both.mkv", "phone.mov", "two.mkv", "folder")
        ]
        network = ("--weights", golden_file, "--input-size", "96x128", "--stride", "3", "--video")
        status, out, err = command(name, *inputs, "--out", tmp_path / "out", *network, *flags)
        assert status == 0, err
        start = f"unisal {name}: note: {films}/"
        assert all(line.startswith(start) for line in err.splitlines())
        return out, [line.removeprefix(start) for line in err.splitlines()]

    return run


def lacking(film):
    return [
        f"phone.mov: its sound is not in the {film}, since MP4 does not support the format",
        "two.mkv: has 2 video tracks; number 1 is read",
    ]


def test_predict(run, tmp_path):
    out, notes = run("predict", "--save", "overlay,json")
    assert notes == lacking("overlay") and out.rstrip().endswith(", 2 notes")
    about = {}
    for name in ("plain", "uneven", "folder"):
        content = json.loads((tmp_path / "out/json" / f"{name}.json").read_text())
        about[name] = content["about"]
        times = [frame.get("seconds") for frame in content["frames"]]
        want = {"plain": np.arange(6) / 10, "uneven": np.array(TIMES) / 1000, "folder": [None] * 6}
        assert times == list(want[name])
    assert "times" not in about["folder"] and about["folder"]["fps"] is None
    assert about["plain"]["times"]["even"] and about["plain"]["fps"] == 10
    assert about["uneven"]["times"] == {
        "even": False,
        "longest_step": 0.5,
        "mean_step": 0.3,
        "shortest_step": 0.1,
    }
    assert about["uneven"]["fps"] == 3.33333
    # Without the film nothing is lost.
    assert run("predict", "--save", "json")[1] == ["two.mkv: has 2 video tracks; number 1 is read"]


def test_crop(run, tmp_path):
    out, notes = run("crop", "--aspect", "1:1", "--save", "crop,json")
    assert notes == lacking("crop") and out.rstrip().endswith(", 2 notes")
    content = json.loads((tmp_path / "out/json/uneven.json").read_text())
    assert [frame["seconds"] for frame in content["frames"]] == [each / 1000 for each in TIMES]
    assert content["about"]["times"]["even"] is False


def test_a_rate_that_is_none(command, golden_file, tmp_path):
    """One frame per 200 seconds: the overlay shows each at its time."""
    path = tmp_path / "slow.mp4"
    write(path, video(images(3), [0, 200_000, 400_000]))
    network = ("--weights", golden_file, "--input-size", "96x128", "--stride", "3")
    status, _, err = command("predict", path, "--save", "overlay", "--out", tmp_path / "out", *network)
    assert (status, err) == (0, "")
    with open_video(tmp_path / "out/overlay/slow.mp4") as film:
        assert len(list(film)) == 3 and list(film.times) == [0, 200, 400]


def test_animations_as_films(command, golden_file, tmp_path):
    """GIF, WebP, APNG and AVIF with uneven durations and alpha, through both commands."""
    durations, seconds = [100, 400, 30, 200], [0, 0.1, 0.5, 0.53]
    first, *rest = (Image.fromarray(image).convert("RGBA") for image in images(4))
    for each in (first, *rest):
        each.putalpha(Image.linear_gradient("L").resize(each.size))
    suffixes = ("gif", "png", "webp", *(["avif"] if features.check("avif") else []))
    for suffix in suffixes:
        first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=rest, duration=durations)
    inputs = [tmp_path / f"a.{suffix}" for suffix in suffixes]
    network = ("--weights", golden_file, "--input-size", "96x128", "--stride", "3", "--video")
    out = ("--out", tmp_path / "out")
    status, said, err = command("predict", *inputs, *network, *out, "--save", "json,overlay")
    assert status == 0 and f"{len(suffixes)} videos ({4 * len(suffixes)} frames) predicted" in said, err
    for suffix in suffixes:
        content = json.loads((tmp_path / f"out/json/a_{suffix}.json").read_text())
        assert [frame["seconds"] for frame in content["frames"]] == seconds
        assert content["about"]["fps"] == round(3 / 0.53, 5)
        with open_video(tmp_path / f"out/overlay/a_{suffix}.mp4") as film:
            assert len(list(film)) == 4 and film.size == (48, 64)
            assert list(film.times) == pytest.approx(seconds)
    crop = ("--out", tmp_path / "crops", "--aspect", "1:1", "--save", "json,crop")
    assert command("crop", *inputs, *network, *crop)[0] == 0
    for suffix in suffixes:
        content = json.loads((tmp_path / f"crops/json/a_{suffix}.json").read_text())
        assert [frame["seconds"] for frame in content["frames"]] == seconds
        with open_video(tmp_path / f"crops/crop/a_{suffix}.mp4") as film:
            assert len(list(film)) == 4 and film.size == (48, 48)
            assert list(film.times) == pytest.approx(seconds)
