"""Uploads for the tests of the demo's desk and of its page (`tests/demo`)."""

import numpy as np
from PIL import Image

from unisal_jax.media.video_writer import VideoWriter

SIZE = (64, 96)
ROOM = 50_000_000
# Pillow passes this to the program `gs`, whatever the file name.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def make_inputs(folder):
    """An image, a clip, and the first half of the image file."""
    noise = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3), np.uint8)
    Image.fromarray(noise[0]).save(folder / "image.png")
    with VideoWriter(folder / "clip.mp4", SIZE, 10) as writer:
        for frame in noise:
            writer.write(frame)
    whole = (folder / "image.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    return folder


def files_of(desk):
    """The files in the folder of a desk."""
    return [path for path in desk.folder.rglob("*") if path.is_file()]
