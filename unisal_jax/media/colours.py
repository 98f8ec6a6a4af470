"""The meaning of a video's YUV values, and how its pixels are displayed."""

import dataclasses
from fractions import Fraction

import numpy as np

from unisal_jax.domains import Size

# FFmpeg's codes, which are those of ITU-T H.273.
_BT709, _BT601, _LIMITED = 1, 5, 1
FULL_RANGE = 2
"""FFmpeg's code for luma in the range 0 to 255."""
# Weights of red and blue in the luma, by matrix.
_LUMA = {
    _BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),  # FCC
    _BT601: (0.299, 0.114),
    6: (0.299, 0.114),  # SMPTE 170M
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
}
# Without a tag, players assume BT.709 from this number of rows, else BT.601.
_HD_ROWS = 720


@dataclasses.dataclass(frozen=True)
class Colours:
    """The meaning of YUV values: FFmpeg's codes of matrix, primaries, curve and range (1: 16 to 235)."""

    matrix: int = _BT709
    primaries: int = _BT709
    curve: int = _BT709
    range: int = _LIMITED


@dataclasses.dataclass(frozen=True)
class Look:
    """How a video's pixels are displayed.

    Attributes:
      colours: of its planes.
      pixel_aspect: width of a pixel divided by its height.
    """

    colours: Colours = Colours()
    pixel_aspect: Fraction = Fraction(1)

    def shown(self, size: Size) -> Size:
        """Returns the (height, width) in square pixels of frames stored with this (height, width)."""
        return size[0], max(round(size[1] * self.pixel_aspect), 1)


DEFAULT_LOOK = Look()


def yuv_of_rgb(rgb: np.ndarray, colours: Colours, height: int) -> np.ndarray:
    """Converts RGB colours to the values in a video's planes.

    Args:
      rgb: uint8 [N, 3].
      colours: of the video.
      height: of its frames, which decides the matrix if the video is untagged.

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
