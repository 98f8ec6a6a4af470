"""Writes photograph.jpg and clip.mp4: `python -m unisal_jax.samples DIR`."""

import shutil
import sys
from pathlib import Path

from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.samples import CLIP_FPS, CLIP_SIZE, moving_clip, photograph_path

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
shutil.copyfile(photograph_path(), folder / "photograph.jpg")
with VideoWriter(folder / "clip.mp4", CLIP_SIZE, CLIP_FPS) as writer:
    for frame in moving_clip():
        writer.write(frame)
