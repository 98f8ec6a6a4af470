"""A program for a test: compares prediction on four devices, which XLA_FLAGS must provide, with one."""

import sys
from pathlib import Path

import jax
import numpy as np

from unisal_jax.files import atomic_path
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.predict.batch import PredictOptions, predict_sources
from unisal_jax.predict.model import SaliencyModel
from unisal_jax.predict.outputs import PredictionFiles, make_folders
from unisal_jax.weights.store import load_weights

DEVICES, SIZE = 4, (64, 96)


def main(weights: str, folder: Path) -> None:
    """Raises AssertionError if they differ."""
    assert jax.device_count() == DEVICES
    four = SaliencyModel(load_weights(weights), engine="jax")
    one = four.on(jax.local_devices()[2])
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, *SIZE, 3), np.uint8)
    domain = four.domain(None, video=False)

    shared = four.engine.images(frames, domain)
    assert len(shared.sharding.device_set) == DEVICES
    alone = one.engine.images(frames, domain)
    assert alone.sharding.device_set == {jax.local_devices()[2]}
    np.testing.assert_allclose(shared, alone, atol=1e-4)
    # Three images are padded to a batch of four; a single one uses one device.
    for count in (1, 3):
        np.testing.assert_allclose(four.predict_resized(frames[:count], domain), alone[:count], atol=1e-4)

    sources = []
    for number in range(6):
        path = folder / f"clip{number}.mp4"
        with VideoWriter(path, SIZE, 10) as writer:
            for frame in rng.integers(0, 256, (7, *SIZE, 3), np.uint8):
                writer.write(frame)
        sources.append(MediaSource("video", path, path.stem))
    with atomic_path(folder / "torn.mp4") as temporary:
        temporary.write_bytes(b"no video")
    sources.insert(3, MediaSource("video", folder / "torn.mp4", "torn"))
    for name, model in (("four", four), ("one", one)):
        make_folders(folder / name, ("raw",))
        options = PredictOptions(input_size=SIZE, skip_errors=True)
        summary = predict_sources(model, sources, PredictionFiles(folder / name, ("raw",)), options)
        assert (summary.videos, summary.frames, len(summary.errors)) == (6, 42, 1), summary
    for number in range(6):
        got, want = (np.load(folder / name / "raw" / f"clip{number}.npy") for name in ("four", "one"))
        np.testing.assert_allclose(got, want, atol=1e-4)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
