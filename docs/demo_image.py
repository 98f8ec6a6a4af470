"""Draws docs/demo.jpg, the README's figure, from the samples and the released weights.

python docs/demo_image.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

import unisal_jax
from unisal_jax.media.images import read_image, resize_frame
from unisal_jax.media.overlay import density_panel, overlay
from unisal_jax.samples import moving_clip, photograph_path

model = unisal_jax.load()
photograph = read_image(photograph_path())
panel = density_panel(photograph, model.predict(photograph))
predicted = list(model.predict_video(moving_clip()))
row = np.hstack([overlay(*predicted[number]) for number in (0, 24, 59)])
width = panel.shape[1]
row = resize_frame(row, (round(row.shape[0] * width / row.shape[1]), width))
image = np.vstack([panel, np.full((8, width, 3), 255, np.uint8), row])
small = resize_frame(image, (round(0.75 * image.shape[0]), round(0.75 * width)))
Image.fromarray(small).save(Path(__file__).with_name("demo.jpg"), quality=85)
