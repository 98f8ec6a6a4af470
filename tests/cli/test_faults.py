"""Commands that are killed, run out of space or lack permission: files stay complete, and a rerun finishes.

Other faults are tested with the code that they affect: `data_prep/test_prepare.py`, `train/test_loop.py`,
`train/test_processes.py`, `weights/test_fetch.py`, `media/test_video.py`, `media/test_images.py`.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from unisal_jax.media.images import read_image, write_png
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.weights.store import load_weights

NOWHERE = Path("/proc/unisal")  # nobody may write there, not even root
FRAMES = 40


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Six images, a clip, and boxes."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    for name in "abcdef":
        write_png(folder / f"{name}.png", rng.integers(0, 256, (48, 64, 3), np.uint8))
    with VideoWriter(folder / "clip.mp4", (48, 64), 10) as writer:
        for _ in range(FRAMES):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    (folder / "boxes.json").write_text(json.dumps([{"left": 1, "top": 1, "width": 9, "height": 9}]))
    return folder


def unisal(*args: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "unisal_jax", *(str(arg) for arg in args)]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(Path(".cache/xla").absolute())}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def completes(*args: object) -> float:
    """Runs the command to success; returns its seconds."""
    start = time.monotonic()
    process = unisal(*args)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return time.monotonic() - start


def killed(seconds: float, *args: object) -> None:
    process = unisal(*args)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def visible(folder: Path) -> dict[str, Path]:
    """The visible files of a folder; those in a hidden folder, which a killed process leaves, are not."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path for name, path in files.items() if not any(p.startswith(".") for p in name.parts)}


def assert_whole(path: Path) -> None:
    if path.suffix == ".png":
        read_image(path)
    elif path.suffix == ".npy":
        assert len(np.load(path)) in (48, FRAMES)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    else:
        with open_video(path) as frames:
            assert sum(1 for _ in frames) == FRAMES


@pytest.mark.slow
def test_predict_killed_at_ten_moments(golden_file, inputs, tmp_path):
    def args(out: Path, *more: str) -> list[object]:
        kinds = ["--save", "map,overlay,raw,json", "--input-size", "32x64"]
        return ["predict", inputs, inputs / "clip.mp4", "--weights", golden_file, "--out", out, *kinds, *more]

    completes(*args(tmp_path / "whole"))
    seconds = completes(*args(tmp_path / "whole"))
    moments = random.Random(0)
    for number in range(10):
        out = tmp_path / str(number)
        killed(moments.uniform(0.3, 1) * seconds, *args(out))
        for path in visible(out).values():
            assert_whole(path)
        completes(*args(out, "--resume"))
        assert {n: p.read_bytes() for n, p in visible(out).items()} == {
            n: p.read_bytes() for n, p in visible(tmp_path / "whole").items()
        }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w"])
def test_convert_killed_at_ten_moments(golden_file, tmp_path, name):
    seconds = completes("convert", golden_file, tmp_path / "whole" / name)
    moments = random.Random(name)
    survived = 0
    for number in range(10):
        out = tmp_path / str(number) / name
        killed(moments.uniform(0.5, 1.05) * seconds, "convert", golden_file, out)
        if out.exists():
            survived += 1
            load_weights(out)
        else:
            completes("convert", golden_file, out)
            load_weights(out)
    assert survived < 10  # else the kills came too late


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "{inputs}/a.png", "--weights", "{weights}", "--input-size", "32x64", "--out", "{out}"),
        ("crop", "{inputs}/a.png", "--weights", "{weights}", "--aspect", "1:1", "--out", "{out}"),
        ("convert", "{weights}", "{out}/w.safetensors"),
        ("convert", "{weights}", "{out}/w.pth"),
        ("convert", "{weights}", "{out}/w"),
        ("weights", "unisal", "--fetch"),
        ("prepare", "own", "--raw", "{inputs}", "--name", "mine", "--data-dir", "{out}"),
        ("train", "--config", "configs/smoke.py", "--workdir", "{out}"),
        ("analyze", "priors", "--weights", "{weights}", "--out", "{out}"),
        (
            *("score-regions", "{inputs}/a.png", "--weights", "{weights}", "--boxes", "{inputs}/boxes.json"),
            *("--json", "{out}/scores.json"),
        ),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_where_nobody_may_write(command, golden_file, inputs, monkeypatch, words):
    monkeypatch.setenv("UNISAL_CACHE", str(NOWHERE))
    filled = [word.format(inputs=inputs, weights=golden_file, out=NOWHERE) for word in words]
    status, _, said = command(*filled)
    assert status == 1
    lines = [line for line in said.splitlines() if line.startswith(f"unisal {words[0]}:")]
    assert len(lines) == 1 and str(NOWHERE) in lines[0], said
