"""What a film's YUV values mean, and how its pixels are shown."""

import dataclasses
from fractions import Fraction

import numpy as np

from unisal_jax.domains import Size

# FFmpeg's numbers, which are those of ITU-T H.273.
_BT709, _BT601, _LIMITED = 1, 5, 1
FULL_RANGE = 2
"""FFmpeg's number of the range 0 to 255 of the luma."""
# What red and blue count for in the luma, by the matrix.
_LUMA = {
    _BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    _BT601: (0.299, 0.114),
    6: (0.299, 0.114),  # SMPTE 170M
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}
# Without a tag, players take BT.709 from so many rows on, else BT.601.
_HD_ROWS = 720


@dataclasses.dataclass(frozen=True)
class Colours:
    """What YUV values mean: FFmpeg's numbers of matrix, primaries, curve and range (1: 16 to 235)."""

    matrix: int = _BT709
    primaries: int = _BT709
    curve: int = _BT709
    range: int = _LIMITED


@dataclasses.dataclass(frozen=True)
class Look:
    """How a film's pixels are shown.

    Attributes:
        colours: of its planes.
        pixel_aspect: width of a pixel over its height.
    """

    colours: Colours = Colours()
    pixel_aspect: Fraction = Fraction(1)

    def shown(self, size: Size) -> Size:
        """The (height, width) in square pixels of frames that are stored in this one."""
        return size[0], max(round(size[1] * self.pixel_aspect), 1)


DEFAULT_LOOK = Look()


def yuv_of_rgb(rgb: np.ndarray, colours: Colours, height: int) -> np.ndarray:
    """Colours as they are in a film's planes.

    Args:
        rgb: uint8 [N, 3].
        colours: of the film.
        height: of its frames, which decides what untagged values mean.

    Returns:
        Y, U and V, float64 [N, 3] in 0..255.
    """
    guessed = _BT709 if height >= _HD_ROWS else _BT601
    red_share, blue_share = _LUMA.get(colours.matrix, _LUMA[guessed])
    red, green, blue = np.moveaxis(rgb / 255.0, -1, 0)
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    chroma = (blue - luma) / (2 - 2 * blue_share), (red - luma) / (2 - 2 * red_share)
    if colours.range == FULL_RANGE:
        return np.stack([255 * luma, *(128 + 255 * each for each in chroma)], -1).clip(0, 255)
    return np.stack([16 + 219 * luma, *(128 + 224 * each for each in chroma)], -1)
