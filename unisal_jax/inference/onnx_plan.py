"""The inputs and outputs of an ONNX model of the network. Does not import onnx."""

import dataclasses

from unisal_jax.domains import Size

FRAMES, STATE, NEXT_STATE = "frames", "state", "next_state"
LOG_DENSITY, DENSITY = "log_density", "density"
BATCH_AXIS = "n"
"""Name of an axis that accepts any batch size."""
SIZE_AXES, STATE_SIZE_AXES = ("height", "width"), ("rows", "columns")
"""Names of axes that accept any size: of images and their maps, and of the state, at 1/32."""
HEIGHT_AXIS, WIDTH_AXIS = "height", "width"
ROWS_AXIS, COLUMNS_AXIS = "rows", "columns"
"""Names of the axes that accept any size: of images and their maps, and of the state, at 1/32."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The inputs and outputs of a model.

    Attributes:
      input_size: (height, width) of the images; None for any multiples of 32.
      batch: number of images, or sequences, per call; None for any number.
      streaming: True for a model from one frame of each sequence and the hidden state to the maps and the
        next state. False for images, which bypass the recurrence if the config has a bypass.
      uint8: True if images are uint8 RGB [batch, height, width, 3]; False if they are normalised float32
        [batch, 3, height, width].
      log: True for the output `log_density`, False for `density`; both are [batch, height, width].
      features: names of feature maps (`network.FEATURES`) to output too, [batch, channels, ...].
    """

    input_size: Size | None
    batch: int | None
    streaming: bool
    uint8: bool
    log: bool
    features: tuple[str, ...] = ()
