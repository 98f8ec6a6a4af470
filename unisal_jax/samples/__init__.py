"""A sample photograph, and a short clip made from it.

The photograph shows Rear Admiral Grace M. Hopper in 1984. It was taken for the United States Navy and is in
the public domain. The clip simulates a camera moving over the photograph.
"""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np

from unisal_jax.media.images import read_image, resize_frame

CLIP_SIZE = (360, 640)
CLIP_FPS = 30


def photograph_path() -> Path:
    """Returns the path of the photograph, a JPEG of 600x512 (height x width) pixels."""
    return Path(str(resources.files(__package__) / "grace_hopper.jpg"))


def moving_clip(frames: int = 60) -> Iterator[np.ndarray]:
    """Yields frames, uint8 RGB [360, 640, 3], of a camera that moves down the photograph and zooms in."""
    image = read_image(photograph_path())
    height, width = image.shape[:2]
    aspect = CLIP_SIZE[0] / CLIP_SIZE[1]
    for at in np.linspace(0, 1, frames):
        ease = at * at * (3 - 2 * at)  # starts and stops gently
        view_width = width * (1 - 0.25 * ease)
        view_height = view_width * aspect
        left = (width - view_width) / 2
        top = (height - view_height) * (0.05 + 0.25 * ease)
        rows = slice(round(top), round(top + view_height))
        columns = slice(round(left), round(left + view_width))
        yield resize_frame(image[rows, columns], CLIP_SIZE)
