"""Fixtures shared by many test files."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.helpers.fake_cloud import cloud  # noqa: F401
from tests.helpers.golden_weights import make_weights
from unisal_jax.domains import UCF_SPORTS
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import resize_frame
from unisal_jax.media.video import open_video
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.unisal import Unisal
from unisal_jax.normalization import RGB_MEAN, RGB_STD
from unisal_jax.weights import names
from unisal_jax.weights.store import Weights, load_weights, save_weights

REPOSITORY = Path(__file__).parents[1]
# Recorded gaze on real images, which may not be redistributed; beside the checkout, if available.
REAL_DATA = REPOSITORY.parent / "shared" / "data"

# Compilation takes most of the suite's time, so compiled programs are kept between runs and shared by the
# workers.
jax.config.update("jax_compilation_cache_dir", str(REPOSITORY / ".cache" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def pytest_collection_modifyitems(items):
    """Runs the tests of training first: they are the longest, and a last one would run alone."""
    items.sort(key=lambda item: item.path.parent.name not in ("train", "models"))


@pytest.fixture(scope="session")
def golden():
    """golden(seed): the random weights of the golden numbers."""

    def make(seed: int) -> Weights:
        variables, extras = names.from_state(make_weights(seed), UnisalConfig(), f"seed {seed}")
        return Weights(variables, UnisalConfig(), {}, extras)

    return make


@pytest.fixture(scope="session")
def golden_file(golden, tmp_path_factory) -> Path:
    """The golden weights of seed 11 as a .safetensors file."""
    path = tmp_path_factory.mktemp("weights") / "seed11.safetensors"
    save_weights(path, golden(11))
    return path


@pytest.fixture(scope="session")
def released() -> Weights:
    """The authors' weights; skips if they are neither cached nor downloadable."""
    try:
        return load_weights("unisal")
    except UnisalError as error:
        pytest.skip(f"the released weights are not to be had: {error}")


@pytest.fixture(scope="session")
def real_clip() -> Path:
    """A clip of UCF Sports in the release's layout; skips if unavailable."""
    folder = REAL_DATA / "ucf_sports" / "testing" / "Diving-Side-001"
    if not folder.is_dir():
        pytest.skip("the real clip (UCF Sports, Diving-Side-001) is not at hand")
    return folder


@pytest.fixture(scope="session")
def clip_as_stored(released, real_clip) -> list[np.ndarray]:
    """Log-densities [404, 720] of the real clip, from the same input as the stored ones.

    The stored ones come from pixels in 0 to 255, whereas the network (like the original code, and the stored
    folders of images and frames) uses 0 to 1.
    """
    run = jax.jit(
        lambda variables, x, hidden: Unisal(released.config).apply(
            variables, x, UCF_SPORTS, hidden=hidden, target_size=(404, 720)
        )
    )
    hidden, maps = [None] * UCF_SPORTS.stride, []
    with open_video(real_clip / "images") as frames:
        for number, frame in enumerate(frames):
            x = (resize_frame(frame, UCF_SPORTS.input_size) - np.array(RGB_MEAN)) / np.array(RGB_STD)
            slot = number % UCF_SPORTS.stride
            log_density, hidden[slot] = run(released.variables, np.float32(x)[None, None], hidden[slot])
            maps.append(np.asarray(log_density)[0, 0])
    return maps


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator for each test, with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def command(capfd):
    """command(*args) runs `unisal ARGS` in this process; returns (exit status, stdout, stderr)."""
    from unisal_jax.cli.main import main

    def run(*args: object) -> tuple[int, str, str]:
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as stop:
            status = stop.code
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> tuple[Path, Path]:
    """Prepared datasets of 48x64: 24 images; and videos of 3 frames, with an image in another split."""
    from tests.helpers.prepared_data import (  # slow import, which few test files require
        make_clip,
        write_prepared,
    )

    clips = [make_clip(f"image{n}", 1, (48, 64), seed=n) for n in range(24)]
    films = [make_clip(f"film{n}", 3, (48, 64), seed=n) for n in range(4)]
    base = tmp_path_factory.mktemp("prepared")
    images = write_prepared(base, "images", {"train": clips})
    return images, write_prepared(base, "films", {"train": films, "other": [clips[0]]})
