"""`unisal export --format web`: what it writes, what it refuses, and that it leaves nothing half-made."""

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.conftest import REPOSITORY
from tests.helpers.web_pages import made_up_tarball
from unisal_jax.demo.server import POLICY
from unisal_jax.domains import size_by_aspect
from unisal_jax.export import web_page, web_runtime
from unisal_jax.media.overlay import lay_heat


@pytest.fixture
def tarball(tmp_path, monkeypatch):
    return made_up_tarball(tmp_path / "runtime.tgz", monkeypatch)


@pytest.fixture
def exported(command, golden_file, tarball, tmp_path):
    """exported(*flags) -> (status, stdout, stderr, folder)."""

    def run(*flags, out="page", runtime=tarball):
        folder = tmp_path / out
        words = ("--format", "web", "--weights", golden_file, "--runtime", runtime, *flags)
        return *command("export", *words, folder), folder

    return run


class Page(HTMLParser):
    """The links of a page, its Content-Security-Policy, and what it has of inline scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.links, self.policy, self.inline, self.unlabelled = [], "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag == "style" or (tag == "script" and "src" not in attributes):
            self.inline.append(tag)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
        if tag == "html" and attributes.get("lang") != "en":
            self.unlabelled.append(tag)


def test_the_folder(exported, golden_file):
    status, out, err, folder = exported()
    assert (status, err) == (0, "") and out.count("\n") == 1
    assert "MB" in out and "salicon and dhf1k" in out and f"--directory {folder}" in out
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    runtime = {f"runtime/{name}" for name in (*web_runtime.WASM_FILES, *web_runtime.WEBGPU_FILES)}
    models = {"models/image.onnx", "models/image.onnx.json", "models/video.onnx", "models/video.onnx.json"}
    page = {path.name for path in Path(web_page.__file__).with_name("web").iterdir()}
    licences = {"LICENSE.txt", "runtime/LICENSE.txt"}
    assert names == runtime | models | licences | {"site.json", "sample.jpg"} | (
        page - {"LICENSE.onnxruntime-web.txt"}
    )
    assert (folder / "LICENSE.txt").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()
    assert "MIT License" in (folder / "runtime" / "LICENSE.txt").read_text()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["page", "runtime.tgz"]

    site = json.loads((folder / "site.json").read_text())
    assert site["models"]["image"]["domain"] == "salicon" and not site["models"]["image"]["recurrent"]
    assert site["models"]["video"] == {
        "domain": "dhf1k",
        "file": "models/video.onnx",
        "recurrent": True,
        "trained": {"frame": [360, 640], "input": [224, 384]},
    }
    assert list(size_by_aspect((300, 200))) in site["sizes"]
    assert site["weights"]["name"] == golden_file.name
    white = np.full((1, 256, 3), 255, np.uint8)
    levels = np.arange(256, dtype=np.uint8)[None]
    colours, opacities = (np.array(site["heat"][name]) for name in ("colours", "weights"))
    laid = white[0] * (1 - opacities[:, None]) + colours * opacities[:, None]
    assert np.abs(laid - lay_heat(white, levels, 1.0)[0]).max() <= 1.5

    check = site["check"]  # what worker.js compares, by another way to the same numbers
    session = onnxruntime.InferenceSession(folder / "models" / "image.onnx")
    image = np.fromfunction(
        lambda _, y, x, c: (3 * x + 5 * y + 85 * c) % 256, (1, check["height"], check["width"], 3)
    )
    (density,) = session.run(None, {"frames": image.astype(np.uint8)})
    found = np.log(density[0])[np.ix_(check["rows"], check["columns"])]
    np.testing.assert_allclose(found, check["log_density"], atol=1e-3)


def test_a_static_domain_has_one_model(exported):
    status, out, _, folder = exported("--domain", "salicon")
    assert status == 0 and "domains salicon," in out
    site = json.loads((folder / "site.json").read_text())
    assert site["models"]["video"] == site["models"]["image"]
    assert sorted(path.name for path in (folder / "models").glob("*.onnx")) == ["image.onnx"]


def test_unchecked_models_are_the_same_and_need_no_jax(exported, golden_file, tarball, tmp_path):
    """As `unisal demo` makes the page."""
    program = f"""
import sys
from pathlib import Path
from unisal_jax.export import web_page, web_runtime
web_runtime.SHA512 = {web_runtime.SHA512!r}
web_page.export_web(*sys.argv[1:2], Path(sys.argv[2]), runtime=Path(sys.argv[3]), checked=False)
assert not {{"flax", "jax", "jaxlib"}} & set(sys.modules)
"""
    command = [sys.executable, "-c", program, str(golden_file), str(tmp_path / "demo"), str(tarball)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    *_, folder = exported()
    for name in ("models/image.onnx", "models/video.onnx", "site.json"):
        assert (folder / name).read_bytes() == (tmp_path / "demo" / name).read_bytes(), name
    assert len(list((tmp_path / "demo" / "models").iterdir())) == 2


def test_the_page_asks_for_nothing_outside():
    folder = Path(web_page.__file__).with_name("web")
    page = Page((folder / "index.html").read_text())
    written = {path.name for path in folder.iterdir()}
    assert page.links and set(page.links) <= written and not page.inline and not page.unlabelled
    assert page.policy.startswith("default-src 'none'") and "http" not in page.policy
    assert f"{page.policy}; frame-ancestors 'none'" == POLICY  # which a page can set as a header alone
    assert f"\nContent-Security-Policy: {POLICY}\n" in (REPOSITORY / "docs/howto/export.md").read_text()
    for path in folder.iterdir():
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text()
            assert "http:" not in text and "https:" not in text and "eval(" not in text, path.name
            assert len(text.splitlines()) <= 450, path.name


@pytest.mark.parametrize(
    "flags, says",
    [
        (("--input-size", "64x96"), "--input-size"),
        (("--batch", "2"), "--batch"),
        (("--streaming",), "--streaming"),
        (("--domain", "nowhere"), "nowhere"),
    ],
)
def test_bad_flags(exported, flags, says):
    status, out, err, folder = exported(*flags)
    assert (status, out) == (1, "") and err.count("\n") == 1 and says in err
    assert sorted(path.name for path in folder.parent.iterdir()) == ["runtime.tgz"]


def test_a_folder_is_not_replaced(exported, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine.txt").write_text("mine")
    status, _, err, folder = exported()
    assert status == 1 and err.count("\n") == 1 and "not replaced" in err
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_stops_half_way_leaves_nothing(golden_file, tarball, tmp_path, monkeypatch, error):
    def stop(*_):
        assert any(path.name.endswith(".tmp") for path in tmp_path.iterdir())  # the page is being written
        raise error

    monkeypatch.setattr(web_runtime, "extract", stop)
    (tmp_path / "page").mkdir()  # empty, so it may be used
    with pytest.raises(BaseException, match=r"No space|^$"):
        web_page.export_web(str(golden_file), tmp_path / "page", runtime=tarball)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "runtime.tgz"]
    assert not any((tmp_path / "page").iterdir())


def npm(folder, script):
    """A program `npm` that runs a shell script."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    return str(folder)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNISAL_OFFLINE", raising=False)
    return tmp_path / "cache"


def test_npm_is_asked_once(tarball, tmp_path, monkeypatch, empty_cache):
    log = tmp_path / "log"
    script = f'echo "$@" >> {log}; for folder; do :; done; cp {tarball} "$folder/onnxruntime-web.tgz"'
    monkeypatch.setenv("PATH", npm(tmp_path / "bin", script) + os.pathsep + os.environ["PATH"])
    for _ in range(2):
        found = web_runtime.get_tarball()
        assert found.parent == empty_cache and found.read_bytes() == tarball.read_bytes()
    (line,) = log.read_text().splitlines()
    assert line.startswith(f"pack onnxruntime-web@{web_runtime.VERSION} ")
    found.write_bytes(b"damaged")
    with pytest.raises(web_runtime.UnisalError, match="delete it"):
        web_runtime.get_tarball()


@pytest.mark.parametrize(
    "script, says",
    [
        ("exit 1", "npm failed"),
        ("printf 'no such\\npackage\\007' >&2; exit 1", "no such package"),
        ('for folder; do :; done; echo other > "$folder/a.tgz"', "another file"),
    ],
)
def test_npm_fails(tmp_path, monkeypatch, empty_cache, script, says):
    monkeypatch.setenv("PATH", npm(tmp_path / "bin", script) + os.pathsep + os.environ["PATH"])
    with pytest.raises(web_runtime.UnisalError, match=says) as error:
        web_runtime.get_tarball()
    assert "--runtime" in str(error.value) and str(error.value).isprintable()
    assert not empty_cache.exists() or not any(empty_cache.iterdir())


@pytest.mark.parametrize("command_name", ["export --format web page", "demo"])
def test_without_npm(command, tmp_path, monkeypatch, empty_cache, golden_file, command_name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    status, out, err = command(*command_name.split(), "--weights", golden_file)
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert f"npm pack onnxruntime-web@{web_runtime.VERSION}" in err and "--runtime" in err
    monkeypatch.setenv("UNISAL_OFFLINE", "1")
    assert "offline" in command(*command_name.split(), "--weights", golden_file)[2]
    assert not (tmp_path / "page").exists()


def test_another_runtime_is_refused(exported, tmp_path):
    (tmp_path / "other.tgz").write_bytes(b"other")
    status, _, err, folder = exported(runtime=tmp_path / "other.tgz")
    assert status == 1 and err.count("\n") == 1 and "other.tgz: its sha512" in err
    assert not folder.exists()
