"""The demo's page: what its door lets through, and the page in a browser (extra `demo`)."""

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
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.helpers.demo_uploads import POSTSCRIPT, ROOM, SIZE, files_of, make_inputs
from unisal_jax.demo.desk import Desk


@pytest.fixture
def desk(tmp_path):
    """A place for uploads; nothing here predicts."""
    (tmp_path / "desk").mkdir()
    return Desk(None, tmp_path / "desk", max_seconds=60, max_bytes=ROOM)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"))


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
    for name in ("image.png", "clip.mp4"):
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
def test_page_with_an_image(inputs, upload, see, downloads):
    upload(inputs / "image.png")
    see("#summary", lambda element: "96x64 pixels, domain salicon" in element.text)
    heat = see("#heat img").get_attribute("src")
    assert np.asarray(Image.open(io.BytesIO(fetched(heat)))).shape == (*SIZE, 3)
    wanted = {"overlay": "image_overlay.png", "map": "image_map.png", "facts": "image.json"}
    for name, file in wanted.items():
        see(f"#{name}", lambda element: element.is_enabled()).click()
        see("body", lambda _, file=file: (downloads / file).is_file())
    maps, facts = ((downloads / file).read_bytes() for file in ("image_map.png", "image.json"))
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
    upload(inputs / "image.png")
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
