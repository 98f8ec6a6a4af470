"""`unisal predict --show` on a real display (Xvfb), closed by its key and by the window manager."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from unisal_jax.media.video_writer import VideoWriter

TOOLS = ("Xvfb", "openbox", "xdotool", "wmctrl")
CLOSING = {"q": ("xdotool", "key", "q"), "window manager": ("wmctrl", "-c", "clip")}


@pytest.fixture(scope="module")
def screen():
    """The environment of programs on a separate display."""
    if lacking := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    if re.search(r"GUI: +NONE", cv2.getBuildInformation()):
        pytest.skip("the OpenCV that is installed has no windows")
    with contextlib.ExitStack() as stack:

        def start(*command, **options):
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL, **options))
            stack.callback(process.terminate)
            return process

        server = start("Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", stdout=subprocess.PIPE)
        environment = {**os.environ, "DISPLAY": f":{server.stdout.readline().decode().strip()}"}
        start("openbox", env=environment)
        yield environment


def windows(screen):
    """The windows listed by the window manager; empty until it has started."""
    return subprocess.run(["wmctrl", "-l"], env=screen, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("closing", CLOSING)
def test_window_is_shown_and_closed(screen, golden_file, rng, tmp_path, closing):
    with VideoWriter(tmp_path / "clip.mp4", (64, 96), 30) as writer:
        for _ in range(3000):  # for longer than it takes to close the window
            writer.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
    command = [sys.executable, "-m", "unisal_jax", "predict", str(tmp_path / "clip.mp4"), "--show"]
    command += ["--out", str(tmp_path / "out"), "--save", "json", "--weights", str(golden_file)]
    process = subprocess.Popen(command, env=screen, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while "clip" not in windows(screen):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.2)
    time.sleep(1)
    subprocess.run(CLOSING[closing], env=screen, check=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in err, err
    frames = json.loads((tmp_path / "out" / "json" / "clip.json").read_text())["frames"]
    assert 0 < len(frames) < 3000
    assert f"1 video ({len(frames)} frame" in out
