"""The bundled photograph and the clip made from it."""

import itertools
import subprocess
import sys

import numpy as np

from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video
from unisal_jax.samples import CLIP_SIZE, moving_clip, photograph_path


def test_the_photograph():
    assert read_image(photograph_path()).shape == (600, 512, 3)


def test_the_camera_moves():
    frames = list(moving_clip(5))
    assert {frame.shape for frame in frames} == {(*CLIP_SIZE, 3)}
    assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in itertools.pairwise(frames))


def test_as_files(tmp_path):
    subprocess.run([sys.executable, "-m", "unisal_jax.samples", tmp_path / "new"], check=True)
    assert (tmp_path / "new" / "photograph.jpg").read_bytes() == photograph_path().read_bytes()
    with open_video(tmp_path / "new" / "clip.mp4") as reader:
        assert reader.size == CLIP_SIZE and reader.fps == 30 and len(list(reader)) == 60
