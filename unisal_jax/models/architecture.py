"""The network's constants (paper, Table 1; reference.md, "Network"). Does not import JAX."""

import itertools
from typing import NamedTuple

import numpy as np

EPSILON = 1e-5
"""Epsilon of every batch norm."""


class Block(NamedTuple):
    """One inverted residual block of the encoder, MobileNetV2."""

    features: int
    expansion: int
    stride: int
    residual: bool


def _blocks() -> tuple[Block, ...]:
    stages = (  # expansion, channels, blocks, stride of the first
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    return tuple(
        Block(features, expansion, stride if first else 1, not first)
        for expansion, features, count, stride in stages
        for first in [True, *[False] * (count - 1)]
    )


BLOCKS = _blocks()
STEM_FEATURES, ENCODER_FEATURES = 32, 1280
# Blocks are numbered from 1 as in the released files, where number 0 is the stem.
TAP_8, TAP_16 = 7, 14

HIDDEN_FEATURES = 256
"""Channels of Post-CNN, the hidden state and Post-RNN."""
GATES = ("reset", "update", "candidate")
SKIP_16_FEATURES, SKIP_8_FEATURES = 128, 64
RNN_MODULES = frozenset({"rnn", "post_rnn", "post_rnn_norm"})
"""Modules that are unused when the recurrence is bypassed."""

PRIORS = 16
"""Prior maps per domain."""
PRIOR_SCALE = 6.0
"""Maximum of a prior map, the same as that of the ReLU6 activations it is concatenated with."""

SMOOTHING_SIZE = 41
SMOOTHING_FACTOR = 8
"""Upsampling factor of the smoothing layer."""


def initial_gaussians() -> np.ndarray:
    """Initial Gaussians [map, (y, x), (mean, log std)] of the prior maps (reference.md, "Gaussian maps")."""
    grid = (0.25, 0.5, 0.75)
    round_ones = [((y, -1.5), (x, -1.5)) for y, x in itertools.product(grid, grid)]
    wide_in_y = [((0.5, 0.0), (x, -1.5)) for x in grid]
    wide_in_x = [((y, -1.5), (0.5, 0.0)) for y in grid]
    central = [((0.5, 0.0), (0.5, 0.0))]
    return np.asarray(round_ones + wide_in_y + wide_in_x + central, np.float32)
