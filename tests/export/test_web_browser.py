"""The exported page in a browser: the maps are Python's, for images, a film and the camera."""

import base64
import functools
import http.server
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image

import unisal_jax
from tests.helpers.web_pages import browser, real_tarball
from unisal_jax.apps.regions import read_regions
from unisal_jax.demo.server import serve
from unisal_jax.export.web_page import export_web
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.samples import moving_clip, photograph_path

PREDICT = """
const [name, pixels, width, height, more, done] = arguments;
const bytes = Uint8ClampedArray.from(atob(pixels), (letter) => letter.charCodeAt(0));
unisal[name](new ImageData(bytes, width, height), more).then(({density}) => {
  const letters = new Uint8Array(density.buffer);
  let text = "";
  for (const letter of letters) text += String.fromCharCode(letter);
  done(btoa(text));
}, (error) => done(`! ${error}`));
"""
READY = """
const done = arguments[0];
const fail = (error) => done(`! ${error}`);
const wait = () => (window.unisal ? unisal.ready.then(done, fail) : setTimeout(wait, 20));
wait();
"""
SIZE = (90, 120)


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def page(golden_file, tmp_path_factory):
    """The exported page's folder."""
    tarball = real_tarball()
    folder = tmp_path_factory.mktemp("web") / "page"
    export_web(str(golden_file), folder, runtime=tarball, checked=False)
    return folder


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(page, downloads):
    """A browser that has opened the page, isolated, so that there are threads."""
    with serve(page, "127.0.0.1", None) as address, browser() as driver:
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )
        driver.get(address)
        driver.backend = driver.execute_async_script(READY)
        yield driver


@pytest.fixture(scope="module")
def model(golden_file):
    return unisal_jax.load(golden_file, engine="onnxruntime")


@pytest.fixture(scope="module")
def image():
    return np.asarray(Image.open(photograph_path()).resize((SIZE[1], SIZE[0])))


def text(driver, name):
    return driver.find_element("id", name).text


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page does not get there"
        time.sleep(0.05)
    return found


def in_browser(driver, name, image, more=None):
    """The density of an image by `window.unisal`."""
    height, width = image.shape[:2]
    rgba = np.dstack([image, np.full((height, width), 255, np.uint8)])
    pixels = base64.b64encode(rgba.tobytes()).decode()
    found = driver.execute_async_script(PREDICT, name, pixels, width, height, more)
    assert not found.startswith("!"), found
    return np.frombuffer(base64.b64decode(found), np.float32).reshape(height, width)


def assert_same(found, wanted):
    """Within 1e-3 in log-density, so also of the peak."""
    np.testing.assert_allclose(np.log(found), np.log(wanted), rtol=0, atol=1e-3)


def test_it_runs_in_webassembly(driver):
    # A headless browser has no WebGPU: it falls back in silence, and says so in one place.
    assert driver.backend.startswith("WebAssembly, ") and driver.backend in text(driver, "pace")
    assert driver.execute_script("return crossOriginIsolated")
    assert not driver.find_element("id", "error").is_displayed()


def test_an_image(driver, model, image):
    assert_same(in_browser(driver, "predict", image), model.predict(image))


def test_a_film_carries_its_state(driver, model, image):
    frames = [np.roll(image, 8 * number, axis=1) for number in range(3)]
    stream = model.stream(SIZE, stride=1)
    wanted = [stream(frame) for frame in frames]
    for number, frame in enumerate(frames):
        assert_same(in_browser(driver, "frame", frame, number == 0), wanted[number])
    assert np.abs(np.log(wanted[2]) - np.log(model.stream(SIZE, stride=1)(frames[2]))).max() > 1e-2


def test_a_file_boxes_and_saving(driver, model, image, tmp_path, downloads):
    # On its side, as a phone stores it.
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(image).copy()).save(tmp_path / "photo.png", exif=exif)
    driver.find_element("id", "file").send_keys(str(tmp_path / "photo.png"))
    wait_for(lambda: text(driver, "status") == "Done.")
    assert f"{SIZE[1]} × {SIZE[0]} pixels" in text(driver, "about")
    driver.find_element("id", "add-box").click()
    driver.switch_to.active_element.send_keys("\ue012\ue015")  # left, down
    driver.find_element("id", "save-csv").click()
    saved = downloads / "photo_boxes.csv"
    wait_for(saved.exists)
    (region,) = read_regions(saved)
    share = region.box.of(model.predict(image)).sum()
    shown = driver.find_element("css selector", "#boxes td:nth-child(2)").text
    assert float(shown.removesuffix(" %")) == pytest.approx(100 * share, abs=0.06)
    driver.find_element("id", "save-map").click()
    wait_for((downloads / "photo_map.png").exists)
    grey = np.asarray(Image.open(downloads / "photo_map.png").convert("L"), np.int32)
    density = model.predict(image)
    assert np.abs(grey - density / density.max() * 255).max() < 2


def test_boxes_by_mouse_and_touch(driver):
    def shares():
        cells = driver.find_elements("css selector", "#boxes td:nth-child(2)")
        return [float(cell.text.removesuffix(" %")) for cell in cells]

    driver.find_element("id", "sample").click()
    wait_for(lambda: "512 × 600" in text(driver, "about"))
    layer = driver.find_element("css selector", "#over .layer")
    actions = pytest.importorskip("selenium.webdriver").ActionChains(driver)
    width, height = layer.size["width"], layer.size["height"]
    actions.move_to_element_with_offset(layer, 2 - width // 2, 2 - height // 2)
    actions.click_and_hold().move_by_offset(width, height).release().perform()
    (whole,) = shares()
    assert whole > 95
    driver.find_element("css selector", "#over .box").send_keys("\ue017")  # Delete
    assert not shares()
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    place = driver.execute_script(
        "arguments[0].scrollIntoView({block: 'center'}); const r = arguments[0].getBoundingClientRect();"
        "return {x: r.x + r.width / 2, y: r.y + r.height / 2}",
        layer,
    )
    for kind, points in (("touchStart", [place]), ("touchEnd", [])):
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    wait_for(shares)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert 0 < shares()[0] < whole


def test_a_film_file(driver, tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", (90, 160), 10) as writer:
        for frame in moving_clip(40):
            writer.write(np.asarray(Image.fromarray(frame).resize((160, 90))))
    driver.find_element("id", "file").send_keys(str(tmp_path / "clip.mp4"))
    wait_for(lambda: "160 × 90" in text(driver, "about"))
    assert text(driver, "play") == "Play" and text(driver, "time") == "0:00 / 0:04"
    assert "dhf1k" in text(driver, "about")
    driver.find_element("id", "play").click()
    seek = driver.find_element("id", "seek")
    wait_for(lambda: float(seek.get_property("value")) > 0.3)
    driver.find_element("id", "play").click()
    assert text(driver, "play") == "Play"
    driver.execute_script("arguments[0].value = 3.2; arguments[0].dispatchEvent(new Event('input'))", seek)
    wait_for(lambda: text(driver, "time").startswith("0:03"))
    assert not driver.find_element("id", "error").is_displayed()


def test_the_camera(driver):
    driver.find_element("id", "camera").click()
    wait_for(lambda: "ms a frame" in text(driver, "pace") and "dhf1k" in text(driver, "about"))
    wait_for(lambda: text(driver, "play") == "Pause")
    driver.find_element("id", "play").click()
    assert text(driver, "play") == "Play" and not driver.find_element("id", "seek").is_displayed()


@pytest.mark.parametrize(
    "name, says", [("a.png", "cannot read the image"), ("a.mp4", "cannot play the film")]
)
def test_a_broken_file(driver, tmp_path, name, says):
    (tmp_path / name).write_bytes(b"broken" * 100)
    driver.find_element("id", "file").send_keys(str(tmp_path / name))
    error = driver.find_element("id", "error")
    wait_for(error.is_displayed)
    assert says in error.text and name in error.text and "\n" not in error.text
    assert driver.find_element("id", "start").is_displayed()


def test_nothing_leaves(driver):
    """After all that the tests above did."""
    here = driver.current_url
    asked = driver.execute_script("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert asked and all(url.startswith((here, "blob:")) for url in asked)
    refused = "fetch('http://127.0.0.1:9/').then(() => arguments[0]('sent'), () => arguments[0]('refused'))"
    assert driver.execute_async_script(refused) == "refused"
    severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert all("Content Security Policy" in entry["message"] or ":9/" in entry["message"] for entry in severe)
    assert json.dumps(severe).count("Content Security Policy") >= 1


def test_without_isolation_there_is_one_thread(driver, page, image, model):
    """As on a host that sends no headers, such as `python -m http.server`."""
    handler = functools.partial(Silent, directory=str(page))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
        assert driver.execute_async_script(READY) == "WebAssembly, 1 thread"
        assert not driver.execute_script("return crossOriginIsolated")
        assert_same(in_browser(driver, "predict", image), model.predict(image))
        driver.get("about:blank")
        server.shutdown()
