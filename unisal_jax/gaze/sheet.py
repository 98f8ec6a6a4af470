"""Draws a contact sheet of an import: fixations over their stimuli."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from unisal_jax.gaze.imports import Import
from unisal_jax.gaze.stimuli import Stimulus
from unisal_jax.media.images import read_image, write_png
from unisal_jax.media.video import open_video

# Sizes in pixels.
_CELL, _MARGIN, _CAPTION, _RADIUS = 400, 8, 18, 4
_COLUMNS, _SAMPLES = 3, 12
# Distinguishable with normal vision and most kinds of colour blindness (Okabe and Ito 2008).
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


def write_sheet(path: Path, found: Import) -> None:
    """Writes a PNG of up to twelve stimuli with their fixations, coloured by observer (seven colours).

    For a video, shows the frame with the most fixations.

    Raises:
      UnisalError: a stimulus is damaged, or the file cannot be written.
    """
    seen = np.flatnonzero(np.bincount(found.fixations.stimulus, minlength=len(found.stimuli)))
    chosen = seen if len(seen) <= _SAMPLES else seen[np.arange(_SAMPLES) * len(seen) // _SAMPLES]
    cells = [_cell(found, int(number)) for number in chosen]
    columns = min(_COLUMNS, len(cells))
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) + _MARGIN for row in rows]
    sheet = Image.new("RGB", (columns * (_CELL + _MARGIN) + _MARGIN, sum(heights) + _MARGIN), "white")
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (_MARGIN + column * (_CELL + _MARGIN), top))
        top += height
    write_png(path, np.asarray(sheet))


def _cell(found: Import, number: int) -> Image.Image:
    stimulus, rows = found.stimuli[number], found.fixations
    mine = rows.take(rows.stimulus == number)
    caption = stimulus.name
    frame = 0
    if stimulus.film:
        frame = int(np.bincount(mine.frame).argmax())
        mine = mine.take(mine.frame == frame)
        caption += f" frame {frame}"
    caption += f"  {len(mine)} fixations, {len(np.unique(mine.observer))} people"
    height = max(1, round(_CELL * stimulus.size[0] / stimulus.size[1]))
    still = Image.fromarray(_pixels(stimulus, frame)).resize((_CELL, height))
    pen = ImageDraw.Draw(still)
    scale = _CELL / stimulus.size[1]
    for x, y, observer in zip(mine.x * scale, mine.y * scale, mine.observer, strict=True):
        box = (x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS)
        pen.ellipse(box, fill=_COLOURS[observer % len(_COLOURS)], outline="black")
    cell = Image.new("RGB", (_CELL, height + _CAPTION), "white")
    ImageDraw.Draw(cell).text((0, 2), caption.encode("ascii", "replace").decode(), fill="black")
    cell.paste(still, (0, _CAPTION))
    return cell


def _pixels(stimulus: Stimulus, frame: int) -> np.ndarray:
    if not stimulus.film:
        return read_image(stimulus.path)
    with open_video(stimulus.path) as video:
        for _ in range(frame):
            video.next_frame()
        return video.next_frame().rgb()
