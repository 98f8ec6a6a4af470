"""What goes into an ONNX model of the network and what comes out of it. Needs no onnx."""

import dataclasses

from unisal_jax.domains import Size

FRAMES, STATE, NEXT_STATE = "frames", "state", "next_state"
LOG_DENSITY, DENSITY = "log_density", "density"
BATCH_AXIS = "n"
"""Name of an axis that takes any batch."""
SIZE_AXES, STATE_SIZE_AXES = ("height", "width"), ("rows", "columns")
"""Names of axes that take any size: of images and their maps, and of the state, at 1/32."""
HEIGHT_AXIS, WIDTH_AXIS = "height", "width"
ROWS_AXIS, COLUMNS_AXIS = "rows", "columns"
"""Names of the axes of any size: of images and their maps, and of the state, at 1/32."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What goes into a model and what comes out of it.

    Attributes:
      input_size: (height, width) of the images; None for any multiples of 32.
      batch: how many images, or sequences, a call takes; None for any number.
      streaming: one frame of each sequence and the hidden state in, map and next state out; else images,
        which bypass the recurrence where the config has a bypass.
      uint8: images are uint8 RGB [batch, height, width, 3]; else normalised float32 [batch, 3, height,
        width].
      log: maps are log-densities, `log_density`; else densities, `density`. [batch, height, width].
      features: names of inner maps (`network.FEATURES`) that come out too, [batch, channels, ...].
    """

    input_size: Size | None
    batch: int | None
    streaming: bool
    uint8: bool
    log: bool
    features: tuple[str, ...] = ()
