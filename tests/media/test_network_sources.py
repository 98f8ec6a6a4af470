"""Videos from the network: only with the flag, from servers on this machine."""

import contextlib
import http.server
import json
import pickle
import socket
import socketserver
import struct
import threading

import av
import numpy as np
import pytest

from tests.media.test_video_file import images, video, write
from unisal_jax.errors import UnisalError
from unisal_jax.media import network_sources, open_video
from unisal_jax.media.addresses import Address
from unisal_jax.media.sources import MediaSource, find_inputs
from unisal_jax.predict.video_outputs import VideoOutputs

FOLLOWS = av.library_versions["libavformat"] < network_sources._FOLLOWS_NO_REDIRECT
needs_new = pytest.mark.skipif(FOLLOWS, reason="an FFmpeg that cannot be kept from following redirects")


def served(server):
    """Runs a server in the background while a test runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.ts"
    write(path, video(images(6)))
    return path


class _Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.path.partition("?")[0]
        self.server.asked.append(asked)
        if asked == "/moved.ts":
            self.send_response(302)
            self.send_header("Location", "/clip.ts")
            self.end_headers()
            return
        body = {
            "/clip.ts": self.server.clip,
            "/half.ts": self.server.clip,
            "/list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/clip.ts\n#EXT-X-ENDLIST\n",
            "/list.ts": b"ffconcat version 1.0\nfile http://127.0.0.1/clip.ts\n",
        }.get(asked)
        if asked == "/locked/clip.ts":
            body = self.server.clip
            if "Authorization" not in self.headers:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.end_headers()
                return
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"") * (2 if asked == "/half.ts" else 1)))
        self.end_headers()
        self.wfile.write(body or b"")


@pytest.fixture(scope="module")
def web(clip):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    server.clip, server.asked = clip.read_bytes(), []
    yield from served(server)


@pytest.fixture
def site(web):
    web.asked.clear()
    return f"http://127.0.0.1:{web.server_port}"


class _Camera(socketserver.StreamRequestHandler):
    """An RTSP camera that sends MPEG-TS in the same connection."""

    def handle(self):
        while request := self.rfile.readline():
            method = request.split()[0].decode()
            fields = dict(line.decode().strip().split(": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
            extra, body = "", b""
            if method == "DESCRIBE":
                extra = "Content-Type: application/sdp\r\n"
                lines = (
                    "v=0",
                    "o=- 0 0 IN IP4 127.0.0.1",
                    "s=x",
                    "t=0 0",
                    "m=video 0 RTP/AVP 33",
                    "a=control:t",
                )
                body = "".join(f"{line}\r\n" for line in lines).encode()
            elif method == "SETUP":
                extra = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            answer = (
                f"RTSP/1.0 200 OK\r\nCSeq: {fields['CSeq']}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
            )
            self.wfile.write(answer.encode() + body)
            if method == "PLAY":
                break
        data = self.server.clip
        with contextlib.suppress(OSError):  # the reader may leave
            for number, at in enumerate(range(0, len(data), 1316)):
                packet = struct.pack(">BBHII", 0x80, 33, number, 9000 * number, 1) + data[at : at + 1316]
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)


@pytest.fixture
def camera(clip):
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Camera)
    server.clip = clip.read_bytes()
    yield from served(server)


def refusal(address):
    with pytest.raises(UnisalError) as caught, open_video(address) as reader:
        list(reader)
    message = str(caught.value)
    assert message.startswith(f"{address}: ") and "\n" not in message
    return message


@needs_new
def test_a_video_over_http(site):
    with open_video(Address(f"{site}/clip.ts")) as reader:
        assert reader.name == "clip" and reader.size == (48, 64)
        assert [int(frame[0, 0, 0]) for frame in reader] == pytest.approx(range(20, 200, 30), abs=3)
        np.testing.assert_allclose(reader.times, np.arange(6) / 10, atol=1e-3)


@needs_new
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/list.m3u8", "playlists cannot be read: name the video itself"),
        ("/list.ts", "playlists cannot be read: name the video itself"),
        ("/moved.ts", "redirects are not followed"),
        ("/none.ts", "404"),
    ],
)
def test_what_is_refused(site, web, path, message):
    assert message in refusal(Address(site + path))
    assert set(web.asked) == {path}


@needs_new
def test_a_connection_that_breaks(site):
    assert "video ends early at frame" in refusal(Address(f"{site}/half.ts"))


def test_a_video_over_rtsp(camera):
    with open_video(Address(f"rtsp://127.0.0.1:{camera.server_address[1]}/live/front")) as reader:
        assert reader.name == "front" and reader.size == (48, 64)
        grey = [int(frame[0, 0, 0]) for frame in reader]
    assert len(grey) >= 4 and grey == pytest.approx([20, 50, 80, 110, 140, 170][: len(grey)], abs=3)


def test_a_server_that_says_nothing(monkeypatch):
    monkeypatch.setattr(network_sources, "MAX_ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        port = silent.getsockname()[1]
        for scheme in ("rtsp", *(() if FOLLOWS else ("http",))):
            address = Address(f"{scheme}://user:secret@127.0.0.1:{port}/a.ts?key=secret")
            assert "cannot be opened (it does not answer in time)" in refusal(address)
    dead = Address(f"rtsp://127.0.0.1:{port}/a")
    assert "cannot be opened (Connection refused)" in refusal(dead)


def test_an_older_ffmpeg(monkeypatch):
    monkeypatch.setattr(network_sources, "_FOLLOWS_NO_REDIRECT", (999, 0, 0))
    assert refusal(Address("http://127.0.0.1:1/a.ts")).endswith("pip install -U av")


@pytest.mark.parametrize(
    ("url", "shown", "name"),
    [
        ("rtsp://me:pass@cam.local:554/live/front?x=1", "rtsp://cam.local:554/live/front", "front"),
        ("rtsp://me:p%40ss@192.168.0.7", "rtsp://192.168.0.7", "192.168.0.7"),
        ("HTTPS://Example.org/a/My%20clip.mp4?sig=abc#x", "https://example.org/a/My%20clip.mp4", "My_clip"),
        ("http://[::1]:80/..%2F..%2Fetc.mp4", "http://[::1]:80/..%2F..%2Fetc.mp4", "etc"),
    ],
)
def test_addresses_show_no_secrets(url, shown, name):
    address = Address(url)
    assert (str(address), address.name, address.url) == (shown, name, url)
    again = pickle.loads(pickle.dumps(MediaSource("video", address, name)))
    assert again.path == shown and again.path.url == url and again.is_live
    (found,) = find_inputs([url], allow_network=True).sources
    assert found.path == shown and found.name == name
    with pytest.raises(UnisalError) as caught:
        find_inputs([url])
    assert str(caught.value) == f"{shown}: is on the network; pass --allow-network to read it"


def test_addresses_that_are_none(tmp_path):
    for url in (
        "http://",
        "rtsp://:secret@",
        "http://a:b:secret/",
        "http://host:99999/secret",
        "http://h/\n",
    ):
        with pytest.raises(UnisalError, match=r"^an address must be") as caught:
            Address(url)
        assert "secret" not in str(caught.value)
    with pytest.raises(UnisalError, match="images cannot be read from the network"):
        Address("http://host/a.JPG")
    for other in ("ftp://host/a.mp4", "file:///etc/a.mp4"):
        with pytest.raises(UnisalError, match="no such file"):
            find_inputs([other], allow_network=True)
    # A text that looks like an address is a path, and a file holds none that is opened.
    with pytest.raises(UnisalError, match="no such file"):
        open_video("http://127.0.0.1:1/a.ts")


def test_addresses_that_differ_in_what_is_not_shown():
    found = find_inputs(["http://h/get?id=1", "http://h/get?id=2", "http://h/get?id=1"], allow_network=True)
    assert [source.name for source in found.sources] == ["get", "get_2"]


@needs_new
def test_the_commands(command, site, golden_file, tmp_path):
    address = f"{site.replace('//', '//me:secret@')}/locked/clip.ts?key=secret"
    shown = f"{site}/locked/clip.ts"
    network = ("--weights", golden_file, "--input-size", "96x128", "--stride", "3", "--out", tmp_path / "out")
    status, out, err = command("predict", address, *network)
    assert status == 1 and "--allow-network" in err and "secret" not in err and err.count("\n") == 1
    flags = (*network, "--allow-network")
    for _ in range(2):  # never taken for finished
        status, out, err = command("predict", address, *flags, "--save", "json,map", "--resume")
        assert status == 0 and "1 video (6 frames) predicted" in out, err
        assert "secret" not in out + err
    about = json.loads((tmp_path / "out/json/clip.json").read_text())["about"]
    assert about["input"] == "clip.ts"
    assert json.loads((tmp_path / "out/.inputs/clip.json").read_text())["path"] == shown
    for file in tmp_path.rglob("*.json"):
        assert "secret" not in file.read_text()
    status, _, err = command("crop", address, "--aspect", "1:1", *flags)
    assert status == 0 and (tmp_path / "out/json/clip.json").is_file(), err
    status, _, err = command("crop", address, "--aspect", "1:1", "--save", "crop", *flags)
    assert status == 1 and f"{shown}: cannot be read twice" in err


def test_ctrl_c_keeps_what_a_stream_gave(command, camera, golden_file, tmp_path, monkeypatch):
    def write(self, *args):
        whole(self, *args)
        if self.count == 3:
            raise KeyboardInterrupt  # as the signal comes, at any moment

    whole = VideoOutputs.write
    monkeypatch.setattr(VideoOutputs, "write", write)
    network = ("--weights", golden_file, "--input-size", "96x128", "--stride", "3", "--out", tmp_path / "out")
    address = f"rtsp://127.0.0.1:{camera.server_address[1]}/front"
    status, _, err = command("predict", address, "--allow-network", "--save", "map", *network)
    assert status == 0, err
    assert len(list((tmp_path / "out/map/front").iterdir())) == 3
