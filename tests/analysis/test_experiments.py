"""The paper's experiments from end to end on synthetic data."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY
from unisal_jax.analysis.catalogue import NAMES
from unisal_jax.analysis.experiments import SCORES, SETTINGS
from unisal_jax.errors import UnisalError
from unisal_jax.weights.fetch import fetch

pytestmark = pytest.mark.slow


def start(*arguments):
    """`unisal ARGUMENTS` as a process group, with the compiled programs of other tests."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".cache" / "xla")}
    return subprocess.Popen(
        [sys.executable, "-m", "unisal_jax", *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_all_on_drawn_data(golden_file, tmp_path):
    try:
        fetch("mobilenet_v2")
    except UnisalError as error:
        pytest.skip(f"ImageNet's weights are not to be had: {error}")
    flags = ("--data", "synthetic", "--samples", 12, "--weights", golden_file, "--runs", tmp_path / "runs")
    running = start("analyze", "all", "--out", tmp_path / "out", *flags)
    printed = running.communicate(timeout=1200)[0]
    assert running.returncode == 0, printed
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(f'<h2 id="{name}">' in page for name in NAMES)
    assert len(list((tmp_path / "out").rglob("*.svg"))) == page.count("<img") == 14
    sizes = json.loads((tmp_path / "out" / "cost" / "results.json").read_text())["numbers"]["variants"]
    assert sizes["both"]["megabytes"] == pytest.approx(59.4, rel=0.02)
    assert sizes["as released"]["gflop"] <= 1.75 < sizes["both"]["gflop"]


def test_settings_go_on_after_a_kill(tmp_path):
    flags = ("--data", "synthetic", "--train", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    first = tmp_path / "runs" / "settings" / "i_1" / SCORES
    killed = start("analyze", "settings", *flags)
    while not first.exists():
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.2)
    time.sleep(3)  # into the next training
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = first.stat().st_mtime_ns
    running = start("analyze", "settings", *flags)
    printed = running.communicate(timeout=1800)[0]
    assert running.returncode == 0, printed
    assert first.stat().st_mtime_ns == before
    for variant in SETTINGS.variants:
        found = json.loads((tmp_path / "runs" / "settings" / f"{variant}_1" / SCORES).read_text())
        assert set(found) == set(SETTINGS.datasets)
        assert all(0 <= row["auc_judd"] <= 1 and -1 <= row["cc"] <= 1 for row in found.values())
    assert "| vi (training setting (vi)) | 1 | 0.901 |" in printed
