"""Makes docs/scanpaths.jpg, scanpaths over the sample photograph, from the released weights.

python docs/scanpath_image.py
"""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

import unisal_jax
from unisal_jax.apps.scanpath_files import draw
from unisal_jax.media.images import read_image
from unisal_jax.predict.scanpath import OSIE
from unisal_jax.samples import photograph_path

GAP = 12
ALONE = dataclasses.replace(OSIE, start=None, saccade=None, inhibition=None)

photograph = read_image(photograph_path())
density = unisal_jax.load().predict(photograph)
panels = [
    draw(photograph, unisal_jax.draw_scanpaths(density, 2, parameters=parameters).xy)
    for parameters in (OSIE, ALONE)
]
gap = np.full((photograph.shape[0], GAP, 3), 255, np.uint8)
Image.fromarray(np.hstack([panels[0], gap, panels[1]])).save(
    Path(__file__).with_name("scanpaths.jpg"), quality=85
)
