"""Makes docs/crops.jpg, a contact sheet of a crop along a video, from the samples and the released weights.

python docs/crop_image.py
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import unisal_jax
from unisal_jax.media.cuts import CutDetector
from unisal_jax.media.images import read_image, resize_frame
from unisal_jax.samples import CLIP_FPS, CLIP_SIZE, moving_clip, photograph_path

GAP, RED = 6, (230, 30, 30)

photograph = read_image(photograph_path())
# A second shot: the camera moves to the right, where the wall goes on, and its subject to the left.
height, width, way = 270, 480, 110
first = photograph.shape[1]
wall = cv2.copyMakeBorder(photograph, 0, 0, 0, max(width + way - first, 0), cv2.BORDER_REPLICATE)
wall[:, first:] = cv2.blur(wall, (1, 61))[:, first:]
starts = np.linspace(0, way, 60).round().astype(int)
pan = [resize_frame(wall[20 : 20 + height, left : left + width], CLIP_SIZE) for left in starts]
model = unisal_jax.load()
detector = CutDetector()
cuts, frames, densities = [], [], []
for frame, density in model.predict_video([*moving_clip(), *pan], across_cuts=False):
    cuts.append(detector.add(frame))
    frames.append(frame)
    densities.append(density)
crops = list(unisal_jax.crop_video(densities, (4, 5), fps=CLIP_FPS, cuts=cuts))
cells = []
for number in (0, 20, 40, 59, 60, 80, 100, 119):
    box, marked = crops[number].box, frames[number].copy()
    corner = box.left + box.width - 1, box.top + box.height - 1
    cv2.rectangle(marked, (box.left, box.top), corner, RED, 5)
    gap = np.full((CLIP_SIZE[0], 2 * GAP, 3), 255, np.uint8)
    cell = np.hstack([marked, gap[:, :GAP], box.of(frames[number]), gap])
    cells.append(np.pad(cell, ((0, 2 * GAP), (0, 0), (0, 0)), constant_values=255))
sheet = np.vstack([np.hstack(cells[:4]), np.hstack(cells[4:])])
small = resize_frame(sheet, (round(0.33 * sheet.shape[0]), round(0.33 * sheet.shape[1])))
Image.fromarray(small).save(Path(__file__).with_name("crops.jpg"), quality=85)
print("cuts at", np.flatnonzero(cuts), "mean attention", np.mean([crop.attention for crop in crops]))
