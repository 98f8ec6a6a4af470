"""`unisal demo`: the exported page, served with the headers that it needs, and nothing else."""

import http.client
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.helpers.web_pages import real_tarball
from unisal_jax.demo.server import serve
from unisal_jax.errors import UnisalError


@pytest.fixture
def folder(tmp_path):
    page = tmp_path / "page"
    (page / "models").mkdir(parents=True)
    (page / "index.html").write_text("<p>page")
    for name in ("app.js", "run.mjs", "run.wasm", "models/image.onnx"):
        (page / name).write_bytes(name.encode())
    (tmp_path / "secret.txt").write_text("secret")
    return page


def fetched(address, path, method="GET"):
    """(status, headers, body) of a request that no client has tidied up."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_files_and_headers(folder):
    with serve(folder, "127.0.0.1", None) as address:
        for path, kind in {
            "/": "text/html",
            "/app.js": "text/javascript",
            "/run.mjs": "text/javascript",
            "/run.wasm": "application/wasm",
            "/models/image.onnx": "application/octet-stream",
        }.items():
            status, headers, body = fetched(address, path)
            assert status == 200 and headers["Content-Type"].startswith(kind) and body
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        for path in ("/models/", "/../secret.txt", "/%2e%2e/secret.txt", "/none.js"):
            assert fetched(address, path)[0] == 404
        assert fetched(address, "/", "POST")[0] == 501
        with serve(folder, "127.0.0.1", None) as other:  # the next free port
            assert other != address and fetched(other, "/app.js")[0] == 200
        port = urlsplit(address).port
        with pytest.raises(UnisalError, match=f"port {port}"), serve(folder, "127.0.0.1", port):
            pass


# A parent in the background may ignore SIGINT, which its children inherit.
DEMO = """
import signal, sys
from unisal_jax.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def test_the_command(golden_file, tmp_path):
    tarball = real_tarball()
    command = [sys.executable, "-c", DEMO, "demo", "--weights", golden_file, "--runtime", tarball]
    surroundings = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings) as server:
        try:
            address = server.stdout.readline().split(" ")[0]
            assert b"<title>" in fetched(address, "/")[2]
            assert fetched(address, "/models/image.onnx")[0] == 200
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
        finally:
            server.kill()
    assert not list(tmp_path.glob("unisal-demo-*"))
