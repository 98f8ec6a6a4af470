"""UNISAL: encoder, Bypass-RNN, decoder and the domain-adaptive parts (paper, section 3.2, Figure 3)."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models import layers, variables
from unisal_jax.models.architecture import (
    HIDDEN_FEATURES,
    SKIP_8_FEATURES,
    SKIP_16_FEATURES,
    SMOOTHING_FACTOR,
)
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.conv_gru import ConvGRU
from unisal_jax.models.gradients import relu6, upsample2x
from unisal_jax.models.mobilenet_v2 import MobileNetV2
from unisal_jax.models.priors import PriorMaps
from unisal_jax.models.smoothing import Smoothing

_Method = TypeVar("_Method", bound=Callable[..., Any])

# Full float32 precision: by default GPUs and TPUs round the inputs of products and convolutions.
# JAX gives the decorator no type.
_in_full_precision: Callable[[_Method], _Method] = jax.default_matmul_precision("highest")


class Unisal(nn.Module):
    """The network.

    Attributes:
      config: its config.
      axis_name: mapped axis (devices) over which batch norms compute their statistics in training.
      recompute: recompute the values inside the encoder's blocks in the backward pass; variables and results
        do not change. The decoder's blocks keep theirs: by the TPU compiler's estimate, recomputing them
        takes longer.
    """

    config: UnisalConfig = UnisalConfig()
    axis_name: str | None = None
    recompute: bool = False

    @_in_full_precision
    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        domain: Domain,
        *,
        static: bool | None = None,
        hidden: jax.Array | None = None,
        target_size: tuple[int, int] | None = None,
        train: bool = False,
        train_shared_norm: bool = True,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Predicts the log-density of fixations of each frame.

        Args:
          x: [batch, time, height, width, 3], normalised RGB; height and width are multiples of 32. Its dtype
            is that of the computation.
          domain: one of the config's domains.
          static: True bypasses the RNN; None uses `domain.static`.
          hidden: [batch, height / 32, width / 32, 256], the state before the first frame; None for zeros.
          target_size: (height, width) of the output; None for the input's.
          train: use batch statistics and dropout (RNG "dropout"). The collections `<domain>_stats` and
            `batch_stats` should then be mutable.
          train_shared_norm: False makes the batch norm that all domains share use its running statistics, as
            required to train one domain's own parameters alone.

        Returns:
          (log-density [batch, time, *target_size] in at least float32, whose exponential sums to one over
          each frame; the state after the last frame, or None if the RNN was bypassed).
        """
        config = self.config
        if domain not in config.domains:
            raise UnisalError(
                f"the model has no domain {domain.name!r}, only {', '.join(d.name for d in config.domains)}"
            )
        static = domain.static if static is None else static

        at_8, at_16, at_32 = MobileNetV2(config.depthwise, self.recompute, name="encoder")(x, domain)
        self.sow("intermediates", "encoder_8", at_8)
        self.sow("intermediates", "encoder_16", at_16)
        self.sow("intermediates", "encoder_32", at_32)

        if config.prior_maps:
            at_32 = PriorMaps(self._owners(config.domain_priors), name="prior_maps")(at_32, domain)
        features = layers.InvertedResidual(
            HIDDEN_FEATURES,
            1,
            # Shared by all domains (reference.md, "Post-CNN").
            functools.partial(BatchNorm, momentum=0.01, axis_name=self.axis_name),
            form=config.depthwise,
            kernel_init=layers.default_init,
            name="post_cnn",
        )(at_32, domain=domain, train=train and train_shared_norm)
        self.sow("intermediates", "bottleneck", features)

        if config.has_rnn and (self.is_initializing() or not (static and config.rnn_bypass)):
            features, hidden = self._recurrence(features, domain, hidden, train)
            self.sow("intermediates", "recurrent", features)
        else:
            hidden = None

        logits = self._decode(features, at_16, at_8, domain, train)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        logits = layers.resize_bilinear(logits, target_size or (x.shape[2], x.shape[3]))
        return logits - jax.nn.logsumexp(logits, (-2, -1), keepdims=True), hidden

    def _owners(self, adaptive: bool) -> tuple[Domain, ...]:
        """The domains that have parameters of their own; empty if all share them."""
        return self.config.domains if adaptive else ()

    @property
    def _norm(self) -> Callable[..., BatchNorm]:
        # A partial, not a method: the norm must become a submodule of the block that calls it.
        owners = self._owners(self.config.domain_norm)
        return functools.partial(BatchNorm, domains=owners, axis_name=self.axis_name)

    def _normed(self, conv: nn.Module, x: jax.Array, domain: Domain, train: bool) -> jax.Array:
        return self._norm(conv, name=f"{conv.name}_norm")(x, domain=domain, train=train)

    def _recurrence(
        self, features: jax.Array, domain: Domain, hidden: jax.Array | None, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """cGRU and Post-RNN with the residual: (features, the last hidden state)."""
        config = self.config
        states, hidden = ConvGRU(
            HIDDEN_FEATURES,
            self._owners(config.domain_norm),
            dense=not config.separable,
            form=config.depthwise,
            dropout=config.rnn_dropout,
            axis_name=self.axis_name,
            name="rnn",
        )(features, domain, hidden, train)
        post_rnn = layers.Pointwise(HIDDEN_FEATURES, name="post_rnn")
        out = relu6(self._normed(post_rnn, states, domain, train))
        return features + out if config.rnn_residual else out, hidden

    def _decode(
        self, features: jax.Array, at_16: jax.Array, at_8: jax.Array, domain: Domain, train: bool
    ) -> jax.Array:
        """Features at 1/32, 1/16 and 1/8 -> logits [batch, time, height, width] at the input size."""
        config = self.config
        block = functools.partial(
            layers.InvertedResidual,
            expansion=2,
            norm=self._norm,
            dense=not config.separable,
            form=config.depthwise,
        )
        skips_16, skips_8 = [], []
        if config.skips:
            skips_16 = [self._skip(at_16, SKIP_16_FEATURES, "skip_16", domain, train)]
            skips_8 = [self._skip(at_8, SKIP_8_FEATURES, "skip_8", domain, train)]
        x = self._upsampled(features, skips_16, "learned_upsampling_16")
        x = block(SKIP_16_FEATURES, name="upsampling_16")(x, *skips_16, domain=domain, train=train)
        self.sow("intermediates", "decoder_16", x)
        x = self._upsampled(x, skips_8, "learned_upsampling_8")
        x = block(SKIP_8_FEATURES, name="upsampling_8")(x, *skips_8, domain=domain, train=train)
        self.sow("intermediates", "decoder_8", x)

        x = Fusion(self._owners(config.domain_fusion), name="fusion")(x, domain)
        self.sow("intermediates", "fused", x)
        if config.smoothing:
            return Smoothing(self._owners(config.domain_smoothing), name="smoothing")(x, domain)
        return jnp.repeat(jnp.repeat(x, SMOOTHING_FACTOR, -2), SMOOTHING_FACTOR, -1)

    def _upsampled(self, x: jax.Array, beside: list[jax.Array], name: str) -> jax.Array:
        """Features at twice the size; unchanged if the 1x1 that also reads `beside` upsamples them."""
        if self.config.bilinear:
            return x if beside else upsample2x(x)
        return nn.ConvTranspose(
            x.shape[-1],
            (4, 4),
            (2, 2),
            use_bias=False,
            kernel_init=layers.default_init,
            dtype=x.dtype,
            name=name,
        )(x)

    def _skip(self, x: jax.Array, features: int, name: str, domain: Domain, train: bool) -> jax.Array:
        """Skip-2x and Skip-4x: 1x1 to twice the channels, channel dropout, 1x1 with bias (paper, Table 1)."""
        dropout = nn.Dropout(self.config.skip_dropout, broadcast_dims=(2, 3), name=f"{name}_dropout")
        x = self._normed(layers.Pointwise(2 * x.shape[-1], name=f"{name}_expand"), x, domain, train)
        x = dropout(relu6(x), deterministic=not train)
        return self._normed(layers.Pointwise(features, bias=True, name=f"{name}_reduce"), x, domain, train)


class Fusion(nn.Module):
    """1x1 convolution to one channel with a domain's weights (paper, section 3.1)."""

    domains: tuple[Domain, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, domain: Domain) -> jax.Array:
        """[..., channels] -> [...]."""
        channels = x.shape[-1]
        kernel = variables.param(self, self.domains, domain, "kernel", layers.default_init, (channels, 1))
        bias = variables.param(self, self.domains, domain, "bias", layers.bias_init(channels), (1,))
        return (jnp.matmul(x, kernel.astype(x.dtype)) + bias.astype(x.dtype))[..., 0]
