"""Downloading the released weights: real files, servers, processes and pip, on this machine only."""

import dataclasses
import hashlib
import http.server
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from unisal_jax.errors import UnisalError
from unisal_jax.weights import fetch

NAMES = ("unisal", "unisal-mit1003", "mobilenet_v2")
CONTENTS = {name: name.encode() * 5000 for name in NAMES}
WHEEL = "pyautoflip-0.2.1-py3-none-any.whl"
NOWHERE = "http://127.0.0.1:9"  # the discard port: connections are refused


@pytest.fixture(autouse=True)
def only_this_machine(tmp_path, monkeypatch):
    """A new cache, an offline pip, and small files instead of the released ones."""
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNISAL_OFFLINE", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    use_registry(monkeypatch, NOWHERE)


def registry(base_url: str) -> dict[str, fetch.Released]:
    return {
        name: dataclasses.replace(
            fetch.RELEASED[name],
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            url=f"{base_url}/{name}",
        )
        for name, content in CONTENTS.items()
    }


def use_registry(monkeypatch, base_url: str) -> None:
    monkeypatch.setattr(fetch, "RELEASED", registry(base_url))


@pytest.fixture
def folder_source(tmp_path, monkeypatch) -> Path:
    """A folder instead of the authors' repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    use_registry(monkeypatch, folder.as_uri())
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENTS; `server.promised` can make it end early, and `server.delay` slow it down."""

    def do_GET(self):
        self.server.requests.append(self.path)
        content = CONTENTS[self.path.removeprefix("/")]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        time.sleep(self.server.delay)
        self.wfile.write(content[: len(content) // 2 if self.server.breaks_off else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.delay, server.breaks_off = [], 0.0, False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        use_registry(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def build_wheel(folder: Path, contents: dict[str, bytes]) -> None:
    info = "pyautoflip-0.2.1.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in contents.items():
            wheel.writestr(fetch.RELEASED[name].wheel_member, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pyautoflip\nVersion: 0.2.1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def cached_names() -> set[str]:
    return {path.name for path in fetch.cache_dir().iterdir()} - {".lock"}


def refusal(name: str = "unisal", **options) -> str:
    with pytest.raises(UnisalError) as caught:
        fetch.fetch(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_tells_what_to_do(message: str, name: str = "unisal") -> None:
    released = fetch.RELEASED[name]
    path = fetch.cache_dir() / released.filename
    assert message.startswith(f"weights {name!r}: ")
    for part in (released.url, released.sha256, released.wheel_member, str(path)):
        assert part in message
    assert "pip download --no-deps pyautoflip==0.2.1" in message


def test_registry_is_complete(monkeypatch):
    monkeypatch.undo()
    assert tuple(fetch.RELEASED) == NAMES
    for released in fetch.RELEASED.values():
        assert len(released.sha256) == 64 and 14_000_000 < released.size < 16_000_000
        assert released.url.startswith("https://") and released.url.endswith(released.filename)
        assert released.wheel_member.endswith(released.filename)
    assert [released.is_model for released in fetch.RELEASED.values()] == [True, True, False]
    assert len({released.filename for released in fetch.RELEASED.values()}) == len(NAMES)


def test_cache_dir(monkeypatch, tmp_path):
    assert fetch.cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("UNISAL_CACHE", "~/weights")
    assert fetch.cache_dir() == Path.home() / "weights"
    monkeypatch.setenv("UNISAL_CACHE", "")
    assert "unisal-jax" in fetch.cache_dir().parts


def test_fetch_from_the_repository(folder_source):
    assert [fetch.verify(name) for name in NAMES] == ["missing"] * 3
    path = fetch.fetch("unisal")
    assert path == fetch.cache_dir() / "weights_best.pth"
    assert path.read_bytes() == CONTENTS["unisal"]
    assert cached_names() == {path.name}
    assert [fetch.verify(name) for name in NAMES] == ["ok", "missing", "missing"]


def test_a_valid_cache_needs_no_download(server):
    for _ in range(3):
        fetch.fetch("unisal")
    assert server.requests == ["/unisal"]
    assert fetch.fetch("unisal", offline=True).is_file()


@pytest.mark.parametrize("damage", [b"", CONTENTS["unisal"][:-1], b"X" + CONTENTS["unisal"][1:]])
def test_a_corrupt_file_is_downloaded_again(folder_source, damage):
    path = fetch.fetch("unisal")
    path.write_bytes(damage)
    assert fetch.verify("unisal") == "corrupt"
    assert fetch.fetch("unisal").read_bytes() == CONTENTS["unisal"]


@pytest.mark.parametrize(
    "content",
    [CONTENTS["unisal"] + b"!", b"X" + CONTENTS["unisal"][1:], b"<html>not found</html>", bytes(5_000_000)],
)
def test_another_file_at_the_url_is_not_kept(folder_source, content):
    (folder_source / "unisal").write_bytes(content)
    message = refusal()
    assert "pinned sha256" in message
    assert_tells_what_to_do(message)
    assert cached_names() == set()


def test_an_interrupted_download_leaves_nothing(server):
    server.breaks_off = True
    message = refusal()
    assert f"{len(CONTENTS['unisal']) // 2} bytes" in message
    assert cached_names() == set()


def test_a_killed_download_leaves_no_file_under_the_final_name(server):
    server.delay = 60
    process = fetching_process(fetch.RELEASED["unisal"].url.rsplit("/", 1)[0])
    wait_for(lambda: server.requests and (fetch.cache_dir() / "weights_best.pth.part").exists())
    process.kill()
    process.communicate()
    assert fetch.verify("unisal") == "missing"
    server.delay = 0  # the next process takes over the lock and the partial file
    fetch.fetch("unisal")
    assert cached_names() == {"weights_best.pth"}


def test_two_processes_download_once(server):
    server.delay = 2
    base_url = fetch.RELEASED["unisal"].url.rsplit("/", 1)[0]
    processes = [fetching_process(base_url) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    path = str(fetch.cache_dir() / "weights_best.pth")
    assert outputs == [(path, ""), (path, "")]
    assert server.requests == ["/unisal"]


def fetching_process(base_url: str) -> subprocess.Popen:
    program = (
        "from tests.weights import test_fetch\n"
        f"test_fetch.fetch.RELEASED = test_fetch.registry({base_url!r})\n"
        "print(test_fetch.fetch.fetch('unisal'), end='')\n"
    )
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=pipe, stderr=pipe, text=True)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pip_is_the_second_source_and_stores_all_files(tmp_path, capfd):
    build_wheel(tmp_path / "wheels", CONTENTS)
    path = fetch.fetch("unisal-mit1003")
    assert path.read_bytes() == CONTENTS["unisal-mit1003"]
    assert [fetch.verify(name) for name in NAMES] == ["ok"] * 3
    output = capfd.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1 and "pyautoflip==0.2.1" in output.err


def test_no_output_without_progress(tmp_path, capfd):
    build_wheel(tmp_path / "wheels", CONTENTS)
    fetch.fetch("unisal", progress=False)
    assert capfd.readouterr() == ("", "")


def test_no_source_has_the_file(capfd):
    message = refusal(progress=False)
    assert_tells_what_to_do(message)
    assert "refused" in message and "No matching distribution found" in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "contents",
    [{}, {"unisal": b"another"}, {"unisal": CONTENTS["unisal"] + bytes(10_000_000)}],
    ids=["lacks it", "another file", "inflates"],
)
def test_a_wheel_without_the_pinned_file(tmp_path, contents):
    build_wheel(tmp_path / "wheels", contents)
    assert_tells_what_to_do(refusal())
    assert cached_names() == set()


def test_a_folder_called_pip_is_not_run(tmp_path, monkeypatch):
    build_wheel(tmp_path / "wheels", CONTENTS)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    fetch.fetch("unisal")


def test_offline(folder_source, monkeypatch):
    message = refusal(offline=True)
    assert_tells_what_to_do(message)
    assert "missing in the cache, and offline" in message
    monkeypatch.setenv("UNISAL_OFFLINE", "1")
    assert_tells_what_to_do(refusal("mobilenet_v2"), "mobilenet_v2")
    assert not fetch.cache_dir().exists()
    monkeypatch.setenv("UNISAL_OFFLINE", "0")
    fetch.fetch("unisal").write_bytes(b"broken")
    monkeypatch.setenv("UNISAL_OFFLINE", "1")
    assert "corrupt in the cache" in refusal()


def test_a_file_put_there_by_hand(monkeypatch):
    fetch.cache_dir().mkdir()
    (fetch.cache_dir() / fetch.RELEASED["unisal"].filename).write_bytes(CONTENTS["unisal"])
    assert fetch.fetch("unisal", offline=True).is_file()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, folder_source):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "file" / "cache"))
    message = refusal()
    assert message.startswith(f"{tmp_path / 'file' / 'cache'}: the weights' cache cannot be written")


def test_unknown_name():
    assert "'salgan'" in refusal("salgan") and "unisal-mit1003" in refusal("salgan")
    with pytest.raises(UnisalError, match="salgan"):
        fetch.verify("salgan")
