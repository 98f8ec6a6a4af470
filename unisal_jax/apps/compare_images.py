"""Draws comparisons: two images with their heat side by side, and where attention moved."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.compare import resize_density
from unisal_jax.apps.focal import FocalPoint
from unisal_jax.domains import Size
from unisal_jax.media.images import resize_frame
from unisal_jax.media.overlay import overlay

# Sides of a panel, in pixels: large enough for labels, small enough for a screen.
_LEAST, _MOST = 480, 1280
# Images wider than this (width over height) are shown one above the other.
_WIDE = 2.2

# Okabe and Ito's blue and vermilion, which are distinguishable with colour blindness.
_LESS, _MORE = (0, 114, 178), (213, 94, 0)
_OPACITY = 0.85
# As in `media.overlay`: small differences are visible, without hard edges.
_POWER, _FADE_BELOW = 0.6, 0.1
_PAPER, _INK, _CHIP = (255, 255, 255), (40, 40, 40), (20, 20, 20, 190)


@dataclasses.dataclass(frozen=True)
class Mark:
    """A box or focal point to be drawn, in pixels of the image, and its label."""

    place: Box | FocalPoint
    text: str


@dataclasses.dataclass(frozen=True)
class Layout:
    """Positions of the panels of A and B, the same for all frames of a video.

    Attributes:
      panels: (height, width) of A's panel and of B's.
      below: whether B is below A instead of beside it.
      text: font size in pixels.
    """

    panels: tuple[Size, Size]
    below: bool
    text: int

    @property
    def strip(self) -> int:
        """Height of the strip above a panel that holds its title."""
        return 2 * self.text


def lay_out(size_a: Size, size_b: Size) -> Layout:
    """Returns the layout for images of these (height, width): panels of equal height, or width if wide."""
    below = min(width / height for height, width in (size_a, size_b)) > _WIDE
    along, across = (1, 0) if below else (0, 1)
    longest = max(size[across] / size[along] for size in (size_a, size_b))
    # `along` is the side that both panels share.
    common = min(_MOST if below else max(size_a[along], _LEAST), _MOST, _MOST / longest)
    panels = []
    for size in (size_a, size_b):
        scale = common / size[along]
        height, width = (max(2, round(side * scale / 2) * 2) for side in size)
        panels.append((height, width))
    text = int(np.clip(math.sqrt(panels[0][0] * panels[0][1]) / 32, 15, 30))
    return Layout((panels[0], panels[1]), below, text)


def side_by_side(
    layout: Layout,
    images: Sequence[np.ndarray],
    densities: Sequence[np.ndarray],
    titles: Sequence[str],
    marks: Sequence[Sequence[Mark]] = ((), ()),
) -> np.ndarray:
    """Draws heat over A and B, with boxes and labels: uint8 RGB [height, width, 3], both sides even.

    Args:
      layout: from `lay_out`.
      images: uint8 RGB [H, W, 3], A and B.
      densities: float [H, W] of any scale, of A and B.
      titles: above each panel.
      marks: on each panel.
    """
    panels = []
    for image, density, title, each, size in zip(
        images, densities, titles, marks, layout.panels, strict=True
    ):
        heat = overlay(resize_frame(image, size), _shrunk(density, size))
        panels.append(_titled(heat, title, layout))
        _draw_marks(panels[-1], each, image.shape[:2], layout)
    return _joined(panels, layout)


def difference(
    layout: Layout,
    image: np.ndarray,
    densities: Sequence[np.ndarray],
    title: str,
    marks: Sequence[Mark] = (),
) -> np.ndarray:
    """Draws where attention moved, in colour over a grey B: uint8 RGB [height, width, 3], both sides even.

    Colours are fully saturated where the difference equals the higher peak of the two densities. Equal
    densities show no colour.

    Args:
      layout: from `lay_out`.
      image: B, uint8 RGB [H, W, 3].
      densities: of A and B, float [H, W], each with a sum of 1.
      title: above the panel, beside the legend.
      marks: boxes of B.
    """
    size = layout.panels[1]
    small_a, small_b = (_shrunk(density, size) for density in densities)
    scale = 127 / max(float(small_a.max()), float(small_b.max()))
    levels = cv2.merge([np.rint((small_b - small_a) * scale + 128).astype(np.uint8)] * 3)
    grey = cv2.cvtColor(resize_frame(image, size), cv2.COLOR_RGB2GRAY)
    # Lighten the image, so that the colours stand out.
    pale = cv2.merge([cv2.convertScaleAbs(grey, alpha=0.5, beta=127)] * 3)
    kept, colour = _change_tables()
    dimmed = cv2.multiply(pale, cv2.LUT(levels, kept), scale=1 / 255)
    laid = cv2.add(dimmed, cv2.LUT(levels, colour))
    canvas = _titled(laid, title, layout, (("less", _LESS), ("more", _MORE)))
    _draw_marks(canvas, marks, image.shape[:2], layout)
    return np.asarray(canvas)


def _shrunk(density: np.ndarray, size: Size) -> np.ndarray:
    return resize_density(density, size).astype(np.float32)


@cache
def _change_tables() -> tuple[np.ndarray, np.ndarray]:
    """Returns the weight of the image and the added colour for each level of change (128 means none).

    Both are tables for cv2.LUT, uint8 [1, 256, 3].
    """
    change = (np.arange(256) - 128)[:, None] / 127
    amount = np.minimum(np.abs(change), 1)
    fade = np.minimum(amount / _FADE_BELOW, 1)
    weight = _OPACITY * amount**_POWER * fade**2 * (3 - 2 * fade)
    kept = np.repeat(255 * (1 - weight), 3, axis=1)
    colour = weight * np.where(change > 0, _MORE, _LESS)
    return np.rint(kept)[None].astype(np.uint8), np.rint(colour)[None].astype(np.uint8)


def _joined(panels: Sequence[Image.Image], layout: Layout) -> np.ndarray:
    gap = 2 * (layout.text // 4)
    widths, heights = [each.width for each in panels], [each.height for each in panels]
    if layout.below:
        size, second = (max(widths), sum(heights) + gap), (0, heights[0] + gap)
    else:
        size, second = (sum(widths) + gap, max(heights)), (widths[0] + gap, 0)
    sheet = Image.new("RGB", size, _PAPER)
    sheet.paste(panels[0], (0, 0))
    sheet.paste(panels[1], second)
    return np.asarray(sheet)


def _titled(
    panel: np.ndarray, title: str, layout: Layout, key: Sequence[tuple[str, tuple[int, int, int]]] = ()
) -> Image.Image:
    """Adds a strip above a panel, with the title at the left and a legend at the right."""
    canvas = Image.new("RGB", (panel.shape[1], panel.shape[0] + layout.strip), _PAPER)
    canvas.paste(Image.fromarray(panel), (0, layout.strip))
    draw, font = ImageDraw.Draw(canvas), _font(layout.text)
    middle, pad, right = layout.strip // 2, layout.text // 2, canvas.width
    for word, colour in reversed(key):
        right -= int(font.getlength(word)) + pad
        draw.text((right, middle), word, fill=_INK, font=font, anchor="lm")
        right -= layout.text + pad // 2
        draw.rectangle((right, middle - pad, right + layout.text - 1, middle + pad), fill=colour)
        right -= pad
    draw.text((pad, middle), _fitting(title, font, right - 2 * pad), fill=_INK, font=font, anchor="lm")
    return canvas


def _draw_marks(canvas: Image.Image, marks: Sequence[Mark], size: Size, layout: Layout) -> None:
    """Draws marks, in pixels of an image of this (height, width), on its panel; labels do not overlap."""
    draw, font = ImageDraw.Draw(canvas, "RGBA"), _font(layout.text)
    down, across = (canvas.height - layout.strip) / size[0], canvas.width / size[1]
    line = max(2, layout.text // 8)
    frames = []
    for mark in marks:
        if isinstance(mark.place, Box):
            box = mark.place
            left, top = box.left * across, box.top * down + layout.strip
            right, bottom = left + box.width * across - 1, top + box.height * down - 1
        else:
            reach = 0.7 * layout.text
            column, row = (mark.place.column + 0.5) * across, (mark.place.row + 0.5) * down + layout.strip
            left, top, right, bottom = column - reach, row - reach, column + reach, row + reach
        shape = draw.rectangle if isinstance(mark.place, Box) else draw.ellipse
        # White with a dark outline is visible over any image.
        shape((left - 1, top - 1, right + 1, bottom + 1), outline=_CHIP, width=line + 2)
        shape((left, top, right, bottom), outline=(255, 255, 255, 255), width=line)
        frames.append((mark.text, (left, top, right, bottom)))
    taken: list[tuple[float, float, float, float]] = []
    for number, (text, frame) in enumerate(frames):
        others = [each for _, each in frames[:number] + frames[number + 1 :]]
        shown = _fitting(text, font, canvas.width - layout.text)
        width, height = font.getlength(shown) + 0.8 * layout.text, 1.5 * layout.text
        left, top = _free_place(frame, (width, height), canvas.size, layout.strip, (taken, others))
        taken.append((left, top, left + width, top + height))
        draw.rounded_rectangle(taken[-1], radius=layout.text // 4, fill=_CHIP)
        draw.text((left + 0.4 * layout.text, top + height / 2), shown, fill=_PAPER, font=font, anchor="lm")


def _free_place(
    frame: tuple[float, float, float, float],
    words: tuple[float, float],
    canvas: tuple[int, int],
    strip: int,
    kept_free: Sequence[Sequence[tuple[float, float, float, float]]],
) -> tuple[float, float]:
    """Returns (left, top) of a label next to a frame: outside if possible, else inside.

    `kept_free` are lists of rectangles that the label should not hide, most important first.
    """
    (left, top, right, bottom), (width, height) = frame, words
    places = [
        (left, top - height - 3),
        (left, bottom + 3),
        (right + 3, top),
        (left - width - 3, top),
        (left + 3, top + 3),
        (left + 3, bottom - height - 3),
    ]
    inside = [
        (float(np.clip(x, 0, canvas[0] - width)), float(np.clip(y, strip, canvas[1] - height)))
        for x, y in places
    ]

    def cost(number: int) -> tuple[float, ...]:
        """Returns the hidden areas and, last, whether the label was moved far to stay inside the image."""
        x, y = inside[number]
        hidden = (
            sum(
                max(0.0, min(x + width, other[2]) - max(x, other[0]))
                * max(0.0, min(y + height, other[3]) - max(y, other[1]))
                for other in rectangles
            )
            for rectangles in kept_free
        )
        moved = abs(places[number][0] - x) + abs(places[number][1] - y)
        return (*hidden, moved > height / 2)

    return inside[min(range(len(inside)), key=cost)]


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Returns the text in one line, truncated to a width in pixels."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    if font.getlength(shown) <= width:
        return shown
    while shown and font.getlength(f"{shown}…") > width:
        shown = shown[:-1]
    return f"{shown}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Returns Pillow's built-in font, which is available on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow without FreeType"
    return font
