"""UNISAL: encoder, Bypass-RNN, decoder and the domain-adaptive parts (paper, section 3.2, Figure 3)."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models import forms, layers, variables
from unisal_jax.models.architecture import (
    HIDDEN_FEATURES,
    SKIP_8_FEATURES,
    SKIP_16_FEATURES,
    SMOOTHING_FACTOR,
)
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.config import DepthwiseForm, UnisalConfig
from unisal_jax.models.conv_gru import ConvGRU
from unisal_jax.models.mobilenet_v2 import MobileNetV2
from unisal_jax.models.priors import PriorMaps
from unisal_jax.models.smoothing import Smoothing


def _exact(method: Callable[..., Any]) -> Callable[..., Any]:
    """Products and convolutions of float32 in float32: by default GPUs and TPUs round what goes in."""

    @functools.wraps(method)
    def exact(*args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return method(*args, **kwargs)

    return exact


class Unisal(nn.Module):
    """The network.

    Attributes:
      config: what it is made of.
      axis_name: mapped axis (devices) over which batch norms take their statistics in training.
      folded: the variables, and the config, are those of `models.inference.fold`; for prediction alone.
      folded_encoder: the variables are those of `models.inference.fold_encoder`.
      backend: whose forms of the layers to take (`models.forms`); None for the default one's.
    """

    config: UnisalConfig = UnisalConfig()
    axis_name: str | None = None
    folded: bool = False
    folded_encoder: bool = False
    backend: str | None = None

    @_exact
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
          x: [batch, time, height, width, 3] normalised RGB; height and width multiples of 32. Its
            dtype is that of the computation.
          domain: one of the config's.
          static: True bypasses the RNN; None does as the domain says.
          hidden: [batch, height / 32, width / 32, 256] state before the first frame; None for zeros.
          target_size: (height, width) out; None for the input's.
          train: batch statistics and dropout (keys "dropout"); the domain's `_stats` collection, and
            `batch_stats`, should then be mutable.
          train_shared_norm: False keeps the running statistics in use in the batch norm that all domains
            share, as training of one domain's own parameters alone must.
        Returns:
          (log-density [batch, time, *target_size] in at least float32, whose exponential sums to one
          over each frame; the state after the last frame, or None if the RNN was bypassed).
        """
        config = self.config
        if domain not in config.domains:
            raise UnisalError(
                f"the network has no domain {domain.name!r}, only {', '.join(d.name for d in config.domains)}"
            )
        static = domain.static if static is None else static
        form = self._depthwise

        stem, folded = forms.forms(self.folded, self.backend).stem, self.folded or self.folded_encoder
        at_8, at_16, at_32 = MobileNetV2(form, stem, folded, name="encoder")(x, domain)
        self.sow("intermediates", "encoder_8", at_8)
        self.sow("intermediates", "encoder_16", at_16)
        self.sow("intermediates", "encoder_32", at_32)

        if config.prior_maps:
            at_32 = PriorMaps(config.domains if config.domain_priors else (), name="prior_maps")(
                at_32, domain
            )
        # Its batch norm is shared by all domains (reference.md, "Post-CNN").
        shared_norm = functools.partial(
            BatchNorm, momentum=0.01, axis_name=self.axis_name, folded=self.folded
        )
        features = layers.InvertedResidual(
            HIDDEN_FEATURES,
            1,
            shared_norm,
            form=form,
            kernel_init=layers.default_init,
            name="post_cnn",
        )(at_32, domain=domain, train=train and train_shared_norm)
        self.sow("intermediates", "bottleneck", features)

        if config.has_rnn and (self.is_initializing() or not (static and config.rnn_bypass)):
            states, hidden = ConvGRU(
                HIDDEN_FEATURES,
                self._norm_domains,
                not config.separable,
                form,
                config.rnn_dropout,
                self.axis_name,
                self.folded,
                name="rnn",
            )(features, domain, hidden, train)
            out = layers.Pointwise(HIDDEN_FEATURES, name="post_rnn")(states)
            out = layers.relu6(self._norm(name="post_rnn_norm")(out, domain, train))
            features = features + out if config.rnn_residual else out
            self.sow("intermediates", "recurrent", features)
        else:
            hidden = None

        logits = self._decode(features, at_16, at_8, domain, train)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        logits = layers.resize_bilinear(logits, target_size or (x.shape[2], x.shape[3]))
        return logits - jax.nn.logsumexp(logits, (-2, -1), keepdims=True), hidden

    @property
    def _norm_domains(self) -> tuple[Domain, ...]:
        return self.config.domains if self.config.domain_norm else ()

    @property
    def _norm(self) -> Callable[..., BatchNorm]:
        # A partial, not a method: the norm must belong to the block that calls it.
        return functools.partial(BatchNorm, self._norm_domains, axis_name=self.axis_name, folded=self.folded)

    @property
    def _depthwise(self) -> DepthwiseForm:
        asked = self.config.depthwise
        return forms.forms(self.folded, self.backend).depthwise if asked == "auto" else asked

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
            form=self._depthwise,
            split=self.folded,
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

        # From here on x is a log-density but for a constant, of size 30 and more: half precision's three
        # digits would leave steps in it.
        if self.folded:
            x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        x = Fusion(config.domains if config.domain_fusion else (), name="fusion")(x, domain)
        self.sow("intermediates", "fused", x)
        if config.smoothing:
            owners = config.domains if config.domain_smoothing else ()
            return Smoothing(owners, self.folded, name="smoothing")(x, domain)
        return jnp.repeat(jnp.repeat(x, SMOOTHING_FACTOR, -2), SMOOTHING_FACTOR, -1)

    def _upsampled(self, x: jax.Array, beside: list[jax.Array], name: str) -> jax.Array:
        """Features at twice the size; as they are where the 1x1 that also reads `beside` upsamples them."""
        if not self.config.bilinear:
            return nn.ConvTranspose(
                x.shape[-1],
                (4, 4),
                (2, 2),
                use_bias=False,
                kernel_init=layers.default_init,
                dtype=x.dtype,
                name=name,
            )(x)
        return x if beside else layers.upsample2x(x)

    def _skip(self, x: jax.Array, features: int, name: str, domain: Domain, train: bool) -> jax.Array:
        """Skip-2x and Skip-4x: 1x1 to twice the channels, channel dropout, 1x1 with bias (paper, Table 1)."""
        x = layers.Pointwise(2 * x.shape[-1], name=f"{name}_expand")(x)
        x = layers.relu6(self._norm(name=f"{name}_expand_norm")(x, domain, train))
        x = nn.Dropout(self.config.skip_dropout, broadcast_dims=(2, 3), name=f"{name}_dropout")(
            x, deterministic=not train
        )
        x = layers.Pointwise(features, bias=not self.folded, name=f"{name}_reduce")(x)
        return self._norm(name=f"{name}_reduce_norm")(x, domain, train)


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
