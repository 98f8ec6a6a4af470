"""The encoder: MobileNetV2 (width 1) with additional outputs at 1/8 and 1/16 of the input size.

Its batch norms always use the running statistics, also in training (paper, section 4.1). The two blocks
with an additional output run at stride 1 and are subsampled afterwards, so that this output has the larger
size (reference.md, "Network"). The other blocks use their stride, which gives exactly the same result.
"""

from typing import NamedTuple

import flax.linen as nn
import jax

from unisal_jax.domains import Domain
from unisal_jax.models import layers
from unisal_jax.models.architecture import BLOCKS, ENCODER_FEATURES, STEM_FEATURES, TAP_8, TAP_16
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.config import DepthwiseForm
from unisal_jax.models.gradients import relu6


class Features(NamedTuple):
    """Feature maps [..., height, width, channels] at 1/8 (64 channels), 1/16 (160) and 1/32 (1280)."""

    at_8: jax.Array
    at_16: jax.Array
    at_32: jax.Array


class MobileNetV2(nn.Module):
    """Encoder of [..., height, width, 3] normalised RGB, height and width multiples of 32.

    Attributes:
      form: how to compute the depthwise convolutions.
      recompute: see `layers.InvertedResidual`.
    """

    form: DepthwiseForm = "auto"
    recompute: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, domain: Domain) -> Features:
        """The three feature maps. All domains share these weights; `domain` has no effect."""
        taps = {}
        stem = layers.Stem(STEM_FEATURES, name="stem")
        x = relu6(BatchNorm(stem, name="stem_norm")(x, domain=domain, train=False))
        for number, block in enumerate(BLOCKS, 1):
            tapped = number in (TAP_8, TAP_16)
            x = layers.InvertedResidual(
                block.features,
                block.expansion,
                BatchNorm,
                stride=1 if tapped else block.stride,
                residual=block.residual,
                form=self.form,
                recompute=self.recompute,
                name=f"block_{number}",
            )(x, domain=domain, train=False)
            if tapped:
                taps[number] = x
                x = x[..., :: block.stride, :: block.stride, :]
        head = layers.Pointwise(ENCODER_FEATURES, kernel_init=layers.fan_out_init, name="head")
        x = relu6(BatchNorm(head, name="head_norm")(x, domain=domain, train=False))
        return Features(taps[TAP_8], taps[TAP_16], x)
