"""Exported pages for tests: the export, the runtime's tarball, real or made up, and a browser."""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unisal_jax.errors import UnisalError
from unisal_jax.export import web_runtime

CHROMIUM, DRIVER = "chromium", "chromedriver"


def made_up_tarball(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tarball with the names of the runtime's files, which is the pinned one from now on."""
    with tarfile.open(path, "w:gz") as archive:
        for name in (*web_runtime.WASM_FILES, *web_runtime.WEBGPU_FILES, "more.mjs"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    monkeypatch.setattr(web_runtime, "SHA512", hashlib.sha512(path.read_bytes()).hexdigest())
    return path


def real_tarball() -> Path:
    """The runtime's tarball; skips where it is not cached and cannot be downloaded."""
    try:
        return web_runtime.get_tarball()
    except UnisalError as error:
        pytest.skip(str(error))


@contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """A headless Chromium with a camera that is made up; skips where there is none, or no selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = [shutil.which(name) for name in (CHROMIUM, DRIVER)]
    if None in programs:
        pytest.skip(f"{CHROMIUM} and {DRIVER} are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    fake_camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    window = "--window-size=1280,900"
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", window, *fake_camera, *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=programs[1])
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(120)
    try:
        yield driver
    finally:
        driver.quit()
