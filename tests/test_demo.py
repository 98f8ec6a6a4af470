"""The demo: its desk without a browser, and its page in a real one."""

import base64
import io
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import unisal_jax
from tests.conftest import REPOSITORY
from unisal_jax.demo.desk import Desk, Live, Stopped
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image
from unisal_jax.media.video import VideoWriter, open_video

SIZE = (64, 96)
ROOM = 50_000_000
# Pillow hands this to the program `gs`, whatever the file is called.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture(scope="module")
def model(golden_file):
    return unisal_jax.load(golden_file)


@pytest.fixture
def desk(model, tmp_path):
    (tmp_path / "desk").mkdir()
    return Desk(model, tmp_path / "desk", max_seconds=60, max_bytes=ROOM)


def files_of(desk):
    return [path for path in desk.folder.rglob("*") if path.is_file()]


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


def test_an_image(desk, inputs):
    upload = uploaded(desk, inputs / "picture.png")
    result = desk.predict(upload, None, 0.7)
    assert read_image(result.overlay).shape == (*SIZE, 3) and np.load(result.raw).shape == SIZE
    assert json.loads(result.facts.read_text())["about"]["domain"] == "salicon"
    assert result.summary == "96x64 pixels, domain salicon"
    names = [path.name for path in (result.view, result.overlay, result.map, result.facts)]
    assert names == ["picture.jpg", "picture_overlay.png", "picture_map.png", "picture.json"]
    np.testing.assert_array_equal(read_image(desk.fade(result, 0.7)), read_image(result.overlay))
    np.testing.assert_array_equal(read_image(desk.fade(result, 0.0)), read_image(inputs / "picture.png"))
    desk.forget(result, keep_upload=True)
    assert files_of(desk) == [upload]
    desk.forget(desk.predict(upload, "ucf_sports", 0.7))
    assert files_of(desk) == []


def test_only_what_was_written_here_is_shown(desk, inputs):
    """Of a result neither the upload nor the raw numbers, and what is seen of the input is new."""
    with Image.open(inputs / "picture.png") as image:
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
        desk.predict(inputs / "picture.png", None, 0.7)


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
    with pytest.raises(UnisalError, match=r"^picture.png: this page holds too many files"):
        desk.predict(inputs / "picture.png", None, 0.7)
    os.utime(tmp_path / "uploads" / "large", (1, 1))
    (tmp_path / "uploads" / "large").unlink()
    old, new = (uploaded(desk, inputs / "picture.png") for _ in range(2))
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
        ("picture.svg", None),
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

    frame = desk.frame(url((inputs / "picture.png").read_bytes()))
    np.testing.assert_array_equal(frame, read_image(inputs / "picture.png"))
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
    assert (status, out, err.count("\n")) == (1, "", 1) and "pip install 'unisal-jax[demo]'" in err


@pytest.fixture
def door(desk):
    """door(method, path, ...): a request at the door, before an app that tells what reached it."""
    testclient = pytest.importorskip("starlette.testclient", reason="needs the extra demo")
    from unisal_jax.demo.door import Door

    async def app(scope, receive, send):
        message = await receive()
        answer = json.dumps({"path": scope["path"], "body": message.get("body", b"").decode()}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    client = testclient.TestClient(Door(app, desk, max_bytes=1_000_000))
    return client.request


@pytest.mark.parametrize(
    "method, path",
    [
        *(
            ("GET", path)
            for path in ("config", "docs", "monitoring", "robots.txt", "svelte/x", "assets/../x")
        ),
        *(("POST", path) for path in ("", "login", "gradio_api/process_recording", "gradio_api/vibe-edit")),
        *(("POST", f"gradio_api/{path}") for path in ("run/predict", "call/predict", "component_server")),
        *(("GET", f"gradio_api/{path}") for path in ("info", "openapi.json", "proxy=http://a.org/", "token")),
        *(("GET", f"gradio_api/file={path}") for path in ("/etc/passwd", "http://a.org/x", "")),
        *(("GET", f"gradio_api/{path}") for path in ("mcp/sse", "stream/a/1/2/playlist.m3u8", "queue/join")),
        *((method, "gradio_api/upload") for method in ("GET", "PUT", "DELETE", "OPTIONS")),
    ],
)
def test_what_the_page_does_not_use_is_closed(door, method, path):
    assert door(method, f"/{path}").status_code == 404


def test_what_the_page_uses_is_open(door, desk):
    shown = f"{desk.folder}/results/{'a' * 32}/shown/x.png"
    for path in (
        "/",
        "/assets/index-a_b.js",
        "/theme.css",
        "/gradio_api/queue/data",
        "/gradio_api/heartbeat/a1",
    ):
        assert door("GET", path).json()["path"] == path
    assert door("GET", f"/gradio_api/file={shown}").status_code == 200
    assert door("GET", f"/gradio_api/file={desk.folder}/results/{'a' * 32}/raw/x.npy").status_code == 404
    assert door("GET", f"/gradio_api/file={desk.place_for('x.png')}").status_code == 404


def test_messages_name_uploads_and_nothing_else(door, desk):
    upload, meta = str(desk.place_for("x.jpg")), {"_type": "gradio.FileData"}

    def status(file):
        return door("POST", "/gradio_api/queue/join", json={"data": [file, "usual", 0.7]}).status_code

    address = f"http://127.0.0.1:7860/gradio_api/file={upload}"
    for good in (
        None,
        {"path": upload, "url": address, "meta": meta},
        {"url": "data:image/jpeg;base64,AA=="},
    ):
        assert status(good) == 200
    for path in ("/etc/passwd", "http://169.254.169.254/x.jpg", f"{upload}/../../../x", 7, [upload]):
        assert status({"path": path, "meta": meta}) == status([{"a": {"path": path}}]) == 400
    for url in ("http://a.org/x.jpg", "file:///etc/passwd", "data:image/eps;base64,AA==", 7, f"{address}?x"):
        assert status({"url": url}) == status({"path": upload, "url": url, "meta": meta}) == 400
    for body in (b"", b"{", b"[]", b'{"data": NaN}', b'{"data":' + b"[" * 100_000):
        assert door("POST", "/gradio_api/queue/join", content=body).status_code == 400
    passed = door("POST", "/gradio_api/queue/join", json={"data": [], "oauth_token": "x", "fn_index": 1})
    assert json.loads(passed.json()["body"]) == {"data": [], "fn_index": 1}
    for odd in ({"fn_index": 10**30}, {"fn_index": "a"}, {"session_hash": ["a"]}, {"session_hash": "a" * 65}):
        assert door("POST", "/gradio_api/queue/join", json=odd).status_code == 400


def test_uploads_are_bounded(door, desk):
    def send(*files, headers=None):
        return door("POST", "/gradio_api/upload", files=[("files", file) for file in files], headers=headers)

    def parts():
        """A form without a declared length."""
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
        yield from itertools.repeat(bytes(100_000), 30)
        yield b"\r\n--b--\r\n"

    (path,) = send(("../x y.png", b"abc")).json()
    assert desk.is_upload(path) and Path(path).read_bytes() == b"abc"
    assert send(("x.png", bytes(1_000_001))).status_code == 413
    form = {"content-type": "multipart/form-data; boundary=b"}
    assert door("POST", "/gradio_api/upload", content=parts(), headers=form).status_code == 413
    assert door("POST", "/gradio_api/upload", content=b"--b\r\nx", headers=form).status_code == 400
    assert send(("x.eps", b"a")).status_code == 415
    assert send(("x.png", b"a"), ("y.png", b"a")).status_code == 400
    assert send(("x.png", b"a"), headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert [file.name for file in files_of(desk)] == ["x y.png"]
    with open(desk.folder / "full", "wb") as file:
        file.truncate(ROOM - 1_000_000)
    assert send(("x.png", b"a")).status_code == 507


@pytest.fixture(scope="module")
def server(golden_file, tmp_path_factory):
    """The page served as a user would: its address, and where programs and files would be seen."""
    pytest.importorskip("gradio", reason="needs the extra demo")
    folder = tmp_path_factory.mktemp("server")
    for name in ("gs", "ffmpeg", "ffprobe"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $@" >> {folder / "ran"}\nexit 1\n')
        program.chmod(0o755)
    (folder / "tmp").mkdir()
    command = [sys.executable, "-m", "unisal_jax", "demo", "--weights", str(golden_file)]
    surroundings = os.environ | {
        "NO_PROXY": "127.0.0.1,localhost",
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(folder / "tmp"),
    }
    with subprocess.Popen(
        [*command, "--max-megabytes", "1"], stdout=subprocess.PIPE, text=True, env=surroundings
    ) as server:
        address = server.stdout.readline().split(" ")[0]
        yield SimpleNamespace(address=address, ran=folder / "ran", folder=folder / "tmp")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert not list((folder / "tmp").glob("unisal-demo-*"))


@pytest.fixture(scope="module")
def address(server):
    """The page's address."""
    return server.address


class Visitor:
    """Speaks to the page's server as its scripts do, or as somebody who means harm."""

    def __init__(self, address):
        self.address = address
        page = re.search(rb"window.gradio_config = (\{.*?\});</script>", fetched(address)).group(1)
        self.events = {
            event: each["id"] for each in json.loads(page)["dependencies"] for _, event in each["targets"]
        }

    def post(self, path, body, kind):
        request = urllib.request.Request(f"{self.address}gradio_api/{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def upload(self, name, data):
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + b"\r\n--b--\r\n"
        return self.post("upload", body, "multipart/form-data; boundary=b")[0]

    def ask(self, event, *data):
        """The last words of an event's answer."""
        session = secrets.token_hex(5)
        body = {"data": data, "fn_index": self.events[event], "session_hash": session}
        joined = self.post("queue/join", json.dumps(body).encode(), "application/json")
        url = f"{self.address}gradio_api/queue/data?session_hash={session}"
        with urllib.request.urlopen(url, timeout=60) as answers:
            for line in answers:
                if b"process_completed" in line or (event == "stream" and b"process_generating" in line):
                    break
                if event == "stream" and b"process_streaming" in line:
                    break
        if event == "stream":
            self.post(f"stream/{joined['event_id']}/close", b"{}", "application/json")
        return json.loads(line.removeprefix(b"data:"))["output"]["data"]


@pytest.mark.slow
def test_no_program_sees_what_is_uploaded(server, inputs):
    """A PostScript file named as an image, to the page as an upload, a clip and a camera's frame."""
    visitor, meta = Visitor(server.address), {"_type": "gradio.FileData"}
    for name in ("x.jpg", "x.png", "x.gif", "x.mp4"):
        path = visitor.upload(name, POSTSCRIPT)
        answer = str(visitor.ask("upload", {"path": path, "meta": meta}, "usual", 0.7))
        assert f"Error: {name}: not a" in answer and str(server.folder) not in answer
    frame = {"url": f"data:image/jpeg;base64,{base64.b64encode(POSTSCRIPT).decode()}"}
    assert "frame is damaged" in visitor.ask("stream", frame, "usual", 0.7, None)[1]
    for name in ("picture.png", "clip.mp4"):
        path = visitor.upload(name, (inputs / name).read_bytes())
        assert "x64 pixels" in str(visitor.ask("upload", {"path": path, "meta": meta}, "usual", 0.7))
    ran = server.ran.read_text() if server.ran.exists() else ""
    assert "gs " not in ran and "/uploads/" not in ran


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
    wanted = {"overlay": "picture_overlay.png", "map": "picture_map.png", "facts": "picture.json"}
    for name, file in wanted.items():
        see(f"#{name}", lambda element: element.is_enabled()).click()
        see("body", lambda _, file=file: (downloads / file).is_file())
    maps, facts = ((downloads / file).read_bytes() for file in ("picture_map.png", "picture.json"))
    assert np.asarray(Image.open(io.BytesIO(maps))).max() == 255
    assert json.loads(facts)["about"]["size"] == list(SIZE)


@pytest.mark.slow
def test_page_with_the_sample_clip(see):
    see("#sample_clip").click()
    see("#summary", lambda element: re.search(r"frame \d+ of 60", element.text))
    see("#summary", lambda element: "60 frames in" in element.text)
    assert fetched(see("#heat_clip video").get_attribute("src"))[4:8] == b"ftyp"


@pytest.mark.slow
def test_page_predicts_once_and_again(inputs, upload, see, server):
    """An upload predicts by itself, the button again; what was before is removed, and all of it by Clear."""
    (folder,) = server.folder.glob("unisal-demo-*")

    def kept(of):
        return set((folder / of).iterdir())

    uploads, others = kept("uploads"), kept("results")
    upload(inputs / "picture.png")
    see("#summary", lambda element: "domain salicon" in element.text)
    (first,) = kept("results") - others
    see("#predict", lambda element: element.is_enabled()).click()
    see("body", lambda _: not first.exists() and list(kept("results") - others))
    see("#summary", lambda element: "domain salicon" in element.text)
    assert len(kept("results") - others) == len(kept("uploads") - uploads) == 1
    see("#upload button[aria-label='Clear']").click()
    see("#summary", lambda element: "Removed" in element.text)
    assert kept("results") <= others and kept("uploads") == uploads


@pytest.mark.slow
def test_page_with_a_broken_file(inputs, upload, see):
    upload(inputs / "broken.png")
    text = see("#summary .error", lambda element: "broken.png" in element.text).text
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
    see("#camera button", lambda element: "Start" in element.text).click()
    see("#rate", lambda element: "frames a second" in element.text)
    see("#camera_heat img")


@pytest.mark.slow
def test_page_serves_nothing_else(address):
    for path in ("/etc/passwd", REPOSITORY / "setup.cfg"):
        with pytest.raises(urllib.error.HTTPError) as error:
            fetched(f"{address}gradio_api/file={path}")
        assert error.value.code in (403, 404)
        error.value.close()
