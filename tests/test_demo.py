"""The demo: its desk without a browser, and its page in a real one."""

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import unisal_jax
from tests.conftest import REPOSITORY
from unisal_jax.demo.desk import Desk, Live
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image
from unisal_jax.media.video import VideoWriter, open_video

SIZE = (64, 96)


@pytest.fixture(scope="module")
def model(golden_file):
    return unisal_jax.load(golden_file)


@pytest.fixture
def desk(model, tmp_path):
    (tmp_path / "desk").mkdir()
    return Desk(model, tmp_path / "desk", max_seconds=60)


def make_inputs(folder):
    """A picture, a clip, and the first half of the picture's file."""
    noise = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3), np.uint8)
    Image.fromarray(noise[0]).save(folder / "picture.png")
    with VideoWriter(folder / "clip.mp4", SIZE, 10) as writer:
        for frame in noise:
            writer.write(frame)
    whole = (folder / "picture.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def test_a_picture(desk, inputs):
    result = desk.predict(inputs / "picture.png", None, 0.7)
    assert read_image(result.overlay).shape == (*SIZE, 3) and np.load(result.raw).shape == SIZE
    assert json.loads(result.facts.read_text())["about"]["domain"] == "salicon"
    assert result.summary == "96x64 pixels, domain salicon"
    np.testing.assert_array_equal(desk.overlay(result, 0.7), read_image(result.overlay))
    np.testing.assert_array_equal(desk.overlay(result, 0.0), read_image(inputs / "picture.png"))
    desk.forget(result)
    assert list(desk.folder.iterdir()) == []


def test_a_clip(desk, inputs):
    result = desk.predict(inputs / "clip.mp4", "ucf_sports", 0.7)
    with open_video(result.overlay) as reader:
        assert len(list(reader)) == 8
    with zipfile.ZipFile(result.map) as archive:
        assert sorted(archive.namelist()) == [f"{number:04d}.png" for number in range(1, 9)]
    assert result.raw is None and "domain ucf_sports; 8 frames in " in result.summary


def test_a_clip_that_takes_too_long(model, inputs, tmp_path, monkeypatch):
    """By a clock of which a second passes at each look."""
    seconds = itertools.count()
    monkeypatch.setattr("unisal_jax.demo.desk.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    result = Desk(model, tmp_path, max_seconds=3).predict(inputs / "clip.mp4", None, 0.7)
    assert "3 frames in" in result.summary and "stopped after 3 seconds" in result.summary
    assert len(json.loads(result.facts.read_text())["frames"]) == 3
    with pytest.raises(UnisalError, match="stopped after 0 seconds"):
        Desk(model, tmp_path, max_seconds=0).predict(inputs / "clip.mp4", None, 0.7)


def test_what_cannot_be_used(desk, inputs, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "text.mp4").write_text("hello")
    for path in (inputs / "broken.png", tmp_path / "notes.txt", tmp_path / "text.mp4", tmp_path / "no.png"):
        with pytest.raises(UnisalError) as error:
            desk.predict(path, None, 0.7)
        assert str(error.value).startswith(f"{path.name}: ")
    assert list(desk.folder.iterdir()) == []


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
    assert (status, out, err.count("\n")) == (1, "", 1) and "pip install 'unisal-jax[demo]'" in err


@pytest.fixture(scope="module")
def address(golden_file):
    """The page's address, served as a user would."""
    pytest.importorskip("gradio", reason="needs the extra demo")
    command = [sys.executable, "-m", "unisal_jax", "demo", "--weights", str(golden_file)]
    surroundings = os.environ | {"NO_PROXY": "127.0.0.1,localhost"}
    with subprocess.Popen(
        [*command, "--max-megabytes", "1"], stdout=subprocess.PIPE, text=True, env=surroundings
    ) as server:
        address = server.stdout.readline().split(" ")[0]
        yield address
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """The folder that the browser puts downloads into."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(address, downloads, tmp_path_factory):
    """Chromium without a window, with a camera of its own making, on the page."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the page is tested with selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("the page is tested with chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("use-fake-ui-for-media-stream", "use-fake-device-for-media-stream"),
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        "window-size=1400,1100",
    ):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.get(address)
    yield browser
    browser.quit()


@pytest.fixture
def see(browser):
    """see(what): the first of a selector's elements for which `what` holds, waited for."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def see(selector, what=lambda element: element.is_displayed()):
        def found(browser):
            return next((e for e in browser.find_elements(By.CSS_SELECTOR, selector) if what(e)), None)

        return WebDriverWait(browser, 120).until(found, f"{selector} was not seen")

    return see


@pytest.fixture
def upload(browser, see):
    """upload(path): hands the page a file, in the place of the one before."""
    from selenium.webdriver.common.by import By

    def upload(path):
        for clear in browser.find_elements(By.CSS_SELECTOR, "#upload button[aria-label='Clear']"):
            clear.click()
        see("#upload input[type=file]", lambda element: True).send_keys(str(path))

    return upload


def fetched(url):
    with urllib.request.urlopen(url) as response:
        return response.read()


@pytest.mark.slow
def test_page_with_a_picture(inputs, upload, see, downloads):
    upload(inputs / "picture.png")
    see("#summary", lambda element: "96x64 pixels, domain salicon" in element.text)
    heat = see("#heat img").get_attribute("src")
    assert np.asarray(Image.open(io.BytesIO(fetched(heat)))).shape == (*SIZE, 3)
    for name, file in (("map", "picture.png"), ("facts", "picture.json")):
        see(f"#{name}", lambda element: element.is_enabled()).click()
        see("body", lambda _, file=file: (downloads / file).is_file())
    maps, facts = ((downloads / file).read_bytes() for file in ("picture.png", "picture.json"))
    assert np.asarray(Image.open(io.BytesIO(maps))).max() == 255
    assert json.loads(facts)["about"]["size"] == list(SIZE)


@pytest.mark.slow
def test_page_with_the_sample_clip(see):
    see("#samples button", lambda element: "clip.mp4" in element.text).click()
    see("#summary", lambda element: "60 frames in" in element.text)
    assert fetched(see("#heat_clip video").get_attribute("src"))[4:8] == b"ftyp"


@pytest.mark.slow
def test_page_with_a_broken_file(inputs, upload, see):
    upload(inputs / "broken.png")
    text = see(".toast-body", lambda element: "broken.png" in element.text).text
    assert "damaged or cut off" in text and "/" not in text.split("broken.png")[0]


@pytest.mark.slow
def test_page_with_a_file_that_is_too_large(tmp_path, upload, see):
    (tmp_path / "large.png").write_bytes(bytes(1_100_000))
    upload(tmp_path / "large.png")
    see(".toast-body", lambda element: "maximum allowed size" in element.text)


@pytest.mark.slow
def test_page_with_a_camera(see):
    see("button[role=tab]", lambda element: element.text == "Camera").click()
    see("#camera button", lambda element: "Webcam" in element.text).click()
    see("#camera button", lambda element: "Record" in element.text).click()
    see("#rate", lambda element: "frames a second" in element.text)
    see("#camera_heat img")


@pytest.mark.slow
def test_page_serves_nothing_else(address):
    for path in ("/etc/passwd", REPOSITORY / "setup.cfg"):
        with pytest.raises(urllib.error.HTTPError) as error:
            fetched(f"{address}gradio_api/file={path}")
        assert error.value.code in (403, 404)
        error.value.close()
