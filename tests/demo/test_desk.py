"""The demo's desk, without Gradio or a browser."""

import base64
import itertools
import json
import os
import shutil
import sys
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import unisal_jax
from tests.helpers.demo_uploads import POSTSCRIPT, ROOM, SIZE, files_of, make_inputs
from unisal_jax.demo.desk import Desk, Live, Stopped
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video


@pytest.fixture(scope="module")
def model(golden_file):
    return unisal_jax.load(golden_file)


@pytest.fixture
def desk(model, tmp_path):
    (tmp_path / "desk").mkdir()
    return Desk(model, tmp_path / "desk", max_seconds=60, max_bytes=ROOM)


def uploaded(desk, path):
    """A copy of a file where uploads lie."""
    place = desk.place_for(path.name)
    place.parent.mkdir()
    return shutil.copyfile(path, place)


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A stand-in for `gs` on the PATH; the file that it would write."""
    program, ran = tmp_path / "bin" / "gs", tmp_path / "ran"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {ran}\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return ran


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def test_an_image(desk, inputs):
    upload = uploaded(desk, inputs / "image.png")
    result = desk.predict(upload, None, 0.7)
    assert read_image(result.overlay).shape == (*SIZE, 3) and np.load(result.raw).shape == SIZE
    assert json.loads(result.facts.read_text())["about"]["domain"] == "salicon"
    assert result.summary == "96x64 pixels, domain salicon"
    names = [path.name for path in (result.view, result.overlay, result.map, result.facts)]
    assert names == ["image.jpg", "image_overlay.png", "image_map.png", "image.json"]
    np.testing.assert_array_equal(read_image(desk.fade(result, 0.7)), read_image(result.overlay))
    np.testing.assert_array_equal(read_image(desk.fade(result, 0.0)), read_image(inputs / "image.png"))
    desk.forget(result, keep_upload=True)
    assert files_of(desk) == [upload]
    desk.forget(desk.predict(upload, "ucf_sports", 0.7))
    assert files_of(desk) == []


def test_only_what_was_written_here_is_shown(desk, inputs):
    """Of a result neither the upload nor the raw numbers, and what is seen of the input is new."""
    with Image.open(inputs / "image.png") as image:
        image.save(inputs / "told.png", pnginfo=told(b"where it was taken"))
    upload = uploaded(desk, inputs / "told.png")
    result = desk.predict(upload, None, 0.7)
    shown = [path for path in files_of(desk) if desk.shows(str(path))]
    assert {result.view, result.overlay, result.map, result.facts} == set(shown)
    assert not any(b"where it was taken" in path.read_bytes() for path in shown)
    assert not desk.shows(f"{result.folder}/shown/../raw/told.npy") and not desk.shows("/etc/passwd")
    assert desk.is_upload(str(upload)) and not desk.is_upload(f"{upload}/../{upload.name}")
    for name in ("..", ".", "*.png", "[a]", ".png", "a?b.png"):
        assert not desk.is_upload(str(upload.parent / "x")[:-1] + name)
    # Anything but an upload is left alone.
    desk.discard(inputs / "told.png")
    assert (inputs / "told.png").exists()


def told(text):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", text.decode())
    return info


def test_a_clip(desk, inputs):
    steps = []
    result = desk.predict(inputs / "clip.mp4", "ucf_sports", 0.7, lambda *step: steps.append(step))
    for path in (result.overlay, result.view):
        with open_video(path) as reader:
            assert len(list(reader)) == 8 and reader.size == SIZE
    assert steps == [(done, 8) for done in range(1, 9)]
    with zipfile.ZipFile(result.map) as archive:
        assert sorted(archive.namelist()) == [f"{number:04d}.png" for number in range(1, 9)]
    assert result.raw is None and "domain ucf_sports; 8 frames in " in result.summary
    assert (result.overlay.name, result.map.name) == ("clip_overlay.mp4", "clip_maps.zip")


def test_a_clip_that_takes_too_long(model, inputs, tmp_path, monkeypatch):
    """By a clock of which a second passes at each look."""
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("unisal_jax.demo.desk.time", clock)
    (tmp_path / "three").mkdir()
    result = Desk(model, tmp_path / "three", 3, ROOM).predict(inputs / "clip.mp4", None, 0.7)
    assert "3 frames in" in result.summary and "stopped after 3 seconds" in result.summary
    assert len(json.loads(result.facts.read_text())["frames"]) == 3
    with open_video(result.view) as reader:
        assert len(list(reader)) == 3
    (tmp_path / "none").mkdir()
    with pytest.raises(UnisalError, match="stopped after 0 seconds"):
        Desk(model, tmp_path / "none", 0, ROOM).predict(inputs / "clip.mp4", None, 0.7)


def test_a_clip_that_nobody_waits_for(desk, inputs):
    def stop(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        desk.predict(inputs / "clip.mp4", None, 0.7, stop)
    assert files_of(desk) == []
    desk.close()
    with pytest.raises(Stopped):
        desk.predict(inputs / "image.png", None, 0.7)


def test_what_cannot_be_used(desk, inputs, tmp_path, ghostscript):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "drawing.jpg").write_bytes(POSTSCRIPT)
    names = ("notes.txt", "text.mp4", "no.png", "drawing.jpg")
    for path in (inputs / "broken.png", *(tmp_path / name for name in names)):
        with pytest.raises(UnisalError) as error:
            desk.predict(path, None, 0.7)
        assert str(error.value).startswith(f"{path.name}: ") and str(tmp_path) not in str(error.value)
    assert files_of(desk) == [] and not ghostscript.exists()


def test_room_is_bounded(model, inputs, tmp_path):
    desk = Desk(model, tmp_path, 60, max_bytes=200_000)
    assert desk.has_room(100_000) and not desk.has_room(200_001)
    (tmp_path / "uploads" / "large").write_bytes(bytes(200_001))
    with pytest.raises(UnisalError, match=r"^image.png: this page holds too many files"):
        desk.predict(inputs / "image.png", None, 0.7)
    os.utime(tmp_path / "uploads" / "large", (1, 1))
    (tmp_path / "uploads" / "large").unlink()
    old, new = (uploaded(desk, inputs / "image.png") for _ in range(2))
    os.utime(old.parent, (1, 1))
    desk.sweep(60)
    assert files_of(desk) == [new]


@pytest.mark.parametrize(
    "name, kept",
    [
        ("a.png", "a.png"),
        ("../../b.JPG", "b.jpg"),
        ("c:\\d\\e f.mp4", "e f.mp4"),
        ("x<img>\n.png", "x_img__.png"),
        ("n" * 300 + ".png", "n" * 60 + ".png"),
        ("....png", "upload.png"),
        ("page.html", None),
        ("drawing.eps", None),
        ("image.svg", None),
        ("none", None),
    ],
)
def test_names_of_uploads(desk, name, kept):
    place = desk.place_for(name)
    assert (place and place.name) == kept
    assert place is None or desk.is_upload(str(place))


def test_a_frame_of_the_camera(desk, inputs, ghostscript):
    def url(data):
        return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"

    frame = desk.frame(url((inputs / "image.png").read_bytes()))
    np.testing.assert_array_equal(frame, read_image(inputs / "image.png"))
    for bad in (url(POSTSCRIPT), url(b""), "data:image/jpeg;base64,A", "data:image/jpeg;base64,\u00e9"):
        with pytest.raises(UnisalError, match=r"^the camera's frame") as error:
            desk.frame(bad)
        assert str(desk.folder) not in str(error.value)
    assert files_of(desk) == [] and not ghostscript.exists()


def test_a_camera(model, rng):
    live = Live(model)
    frames = rng.integers(0, 256, (3, *SIZE, 3), np.uint8)
    times = [time.monotonic()]
    assert live(frames[0], "ucf_sports", 0.7)[1] is None
    times.append(time.monotonic())
    time.sleep(0.1)
    times.append(time.monotonic())
    shown, rate = live(frames[1], "ucf_sports", 0.7)
    times.append(time.monotonic())
    assert shown.shape == (*SIZE, 3)
    assert times[2] - times[1] <= 1 / rate <= times[3] - times[0]
    # Another size is another camera.
    assert live(frames[2, :32], "ucf_sports", 0.7)[1] is None


def test_without_the_extra(command, golden_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    status, out, err = command("demo", "--weights", golden_file)
    assert (status, out, err.count("\n")) == (1, "", 1) and 'pip install "gradio>=' in err
