"""Training in separate processes: several devices, several processes, and kills at any time."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from unisal_jax.train import workdir as folders
from unisal_jax.weights.store import load_weights, tensors_of

pytestmark = pytest.mark.slow

CONFIG = """
from ml_collections import ConfigDict

def get_config():
    small = {"data": "synthetic", "batch_size": 2, "input_size": (64, 64), "target_size": (64, 64)}
    config = ConfigDict()
    config.domains = {"dhf1k": dict(small), "salicon": dict(small)}
    config.synthetic = {"train": 4, "validation": 2, "frames": 6, "size": (64, 64)}
    config.clip_frames = 2
    config.epochs = EPOCHS
    # Random weights would be ill-conditioned; grouped convolutions compile in half the time.
    config.init = {"weights": "WEIGHTS"}
    config.model = {"depthwise": "grouped", "skip_dropout": 0.0, "rnn_dropout": 0.0}
    config.optimizer = {"lr": 0.001, "frozen_encoder_epochs": EPOCHS}
    config.log_every = 1
    config.average_decay = 0.9
    config.checkpoints = {"every_steps": 3}
    return config
"""


@pytest.fixture
def config(tmp_path, golden_file):
    """config(epochs) -> the file of an experiment with 4 steps per epoch."""

    def make(epochs):
        path = tmp_path / f"config_{epochs}.py"
        path.write_text(CONFIG.replace("EPOCHS", str(epochs)).replace("WEIGHTS", str(golden_file)))
        return path

    return make


def start(*args, devices=1, **options):
    """Starts a Python program with this number of virtual devices, and a cache of compiled programs."""
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".cache" / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, args)],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(*started):
    """Waits for the programs, which must succeed, and returns their output."""
    printed = [program.communicate(timeout=900)[0] for program in started]
    assert [program.returncode for program in started] == [0] * len(started), "\n".join(printed)
    return printed


def cluster(index, count=2):
    """Flags to connect processes; process 0 chooses the port."""
    if index == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cluster.port = free.getsockname()[1]
    return f"127.0.0.1:{cluster.port}", count, index


def train_flags(index):
    address, count, number = cluster(index)
    return "--coordinator", address, "--processes", count, "--process", number


@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_devices_and_processes_are_equivalent(tmp_path, kind):
    """The same global batches on one device, on four, and on two in each of two processes."""
    files = [tmp_path / f"{name}.npz" for name in ("one", "four", "two_and_two")]
    program = "tests.helpers.train_devices"
    finish(start(program, files[0], kind, devices=1))
    finish(start(program, files[1], kind, devices=4))
    finish(*(start(program, files[2], kind, *cluster(i), devices=2) for i in range(2)))
    one, *others = (dict(np.load(file)) for file in files)
    assert len({name.split("/")[1] for name in one if name.startswith("metrics")}) == (
        12 if kind == "float64" else 2
    )
    for other in others:
        assert other.keys() == one.keys()
        if kind == "float64":
            for name, value in one.items():
                np.testing.assert_allclose(other[name], value, rtol=1e-6, atol=1e-6, err_msg=name)
            continue
        for step in range(2):
            gradient = [name for name in one if name.startswith(f"gradient/{step}/")]
            size = norm(one[name] for name in gradient)
            assert size > 0
            assert norm(other[name] - one[name] for name in gradient) < 1e-4 * size


def test_two_processes_train_as_one(config, tmp_path):
    """SIGTERM to one of two stops both. Resumed by two processes, then by one, they train as one would."""
    path = config(3)
    alone, together = tmp_path / "alone", tmp_path / "together"
    finish(start("unisal_jax", "train", "--config", path, "--workdir", alone))
    args = ("unisal_jax", "train", "--config", path, "--workdir", together)
    for killed, steps in ((1, 2), (0, 6)):
        pair = [start(*args, *train_flags(i)) for i in range(2)]
        wait_for(lambda steps=steps: steps_logged(together) >= steps, pair)
        pair[killed].send_signal(signal.SIGTERM)
        printed = finish(*pair)
        assert "stopped after step" in printed[0] and "step" not in printed[1]
        assert steps <= steps_logged(together) < 12
    (printed,) = finish(start(*args))
    assert "checkpoints/12: the last weights" in printed
    ours, theirs = ([json.loads(line) for line in metrics(folder)] for folder in (together, alone))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    losses = [[row["loss"] for row in rows if row["kind"] == "train"] for rows in (ours, theirs)]
    assert len(losses[0]) == 12
    # Float32 sums in another order; the steps amplify rounding.
    np.testing.assert_allclose(losses[0][:6], losses[1][:6], atol=1e-3)
    starts = json.loads((together / folders.SURROUNDINGS).read_text())
    assert [each["processes"] for each in starts] == [2, 2, 1]


def test_killed_at_ten_random_moments(config, tmp_path):
    """With SIGKILL each time. The final weights equal those of an uninterrupted run, bit for bit."""
    path = config(30)
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    finish(start("unisal_jax", "train", "--config", path, "--workdir", alone))
    draw = random.Random(7)
    moments = []
    while len(moments) < 10:
        before = steps_logged(killed)
        program = start("unisal_jax", "train", "--config", path, "--workdir", killed)
        # Before the first new step, in steps, while writing, or in validation.
        if draw.random() < 0.8:
            wait_for(lambda before=before: steps_logged(killed) > before, [program])
        time.sleep(draw.uniform(0, 2))
        assert program.poll() is None, "it finished before it was killed: train longer"
        program.kill()
        program.communicate()
        moments.append(steps_logged(killed))
    print("killed after steps", moments)
    assert moments[-1] > 12
    finish(start("unisal_jax", "train", "--config", path, "--workdir", killed))
    for name in (folders.BEST, f"{folders.CHECKPOINTS}/120"):
        ours, want = (tensors_of(load_weights(folder / name)) for folder in (killed, alone))
        assert ours.keys() == want.keys()
        assert all(np.array_equal(ours[key], want[key]) for key in want)
    assert (killed / folders.VALIDATIONS).read_bytes() == (alone / folders.VALIDATIONS).read_bytes()


def norm(arrays):
    return np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in arrays))


def metrics(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def steps_logged(folder):
    """The last step in the log; 0 before the first."""
    whole = [line for line in metrics(folder) if line.endswith("}")]
    return max((json.loads(line)["step"] for line in whole), default=0)


def wait_for(condition, programs):
    """Waits until the condition is true; fails if a program ends first."""
    while not condition():
        for program in programs:
            assert program.poll() is None, program.communicate()[0]
        time.sleep(0.05)
