"""The convolutional GRU of the Bypass-RNN (paper, section 3.2; reference.md, "cGRU").

r, z = sigmoid(a_x * N(w x) + a_h * N(u h) + b); the candidate is tanh(a_x * N(w x) + r * a_h * N(u h) + b);
h = (1 - z) h + z candidate, with N a domain's batch norm and w, u depthwise-separable convolutions.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.models import layers, variables
from unisal_jax.models.architecture import GATES
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.config import DepthwiseForm
from unisal_jax.models.gradients import relu6


class GateConv(nn.Module):
    """The contribution of the input or the hidden state to a gate: convolution, batch norm, learned scale.

    The convolution is depthwise 3x3, batch norm, ReLU6 and 1x1, or one dense 3x3.
    """

    features: int
    domains: tuple[Domain, ...] = ()
    dense: bool = False
    form: DepthwiseForm = "auto"
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, domain: Domain, train: bool) -> jax.Array:
        """[batch, time, height, width, features] -> the same shape."""

        def normed(conv: nn.Module, x: jax.Array, name: str) -> jax.Array:
            norm = BatchNorm(conv, self.domains, axis_name=self.axis_name, name=name)
            return norm(x, domain=domain, train=train)

        conv: nn.Module = layers.Conv3x3(self.features, dense=self.dense, form=self.form, name="spatial")
        if not self.dense:
            x = relu6(normed(conv, x, "spatial_norm"))
            conv = layers.Pointwise(self.features, name="project")
        x = normed(conv, x, "norm")
        return x * self.param("scale", nn.initializers.ones, (self.features,)).astype(x.dtype)


class ConvGRU(nn.Module):
    """Runs the recurrence over time under `lax.scan`.

    The convolutions of the input do not depend on the hidden state: they run on all time steps at once.

    Attributes:
      features: channels of the hidden state, and of the input.
      dropout: probability of dropping a channel of the hidden state at the input of a gate. There is one mask
        per gate, drawn once per sequence and shared by the batch (paper: recurrent dropout, 0.2).
    """

    features: int
    domains: tuple[Domain, ...] = ()
    dense: bool = False
    form: DepthwiseForm = "auto"
    dropout: float = 0.2
    axis_name: str | None = None

    def setup(self) -> None:
        def convs(source: str) -> list[GateConv]:
            made = (self.features, self.domains, self.dense, self.form, self.axis_name)
            return [GateConv(*made, name=f"{gate}_{source}") for gate in GATES]

        self.input_convs = convs("input")
        self.hidden_convs = convs("hidden")
        zeros = nn.initializers.zeros
        self.biases = [self.param(f"{gate}_bias", zeros, (self.features,)) for gate in GATES]

    def __call__(
        self, x: jax.Array, domain: Domain, hidden: jax.Array | None, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Runs over time.

        Args:
          x: [batch, time, height, width, features].
          domain: the domain whose batch norms to use.
          hidden: [batch, height, width, features], state before the first step; None for zeros.
          train: normalise by each step's statistics and apply dropout; requires the RNG "dropout".

        Returns:
          (all hidden states [batch, time, height, width, features], the last one).
        """
        if hidden is None:
            hidden = jnp.zeros((x.shape[0], *x.shape[2:]), x.dtype)
        inputs = tuple(
            conv(x, domain, train) + bias.astype(x.dtype)
            for conv, bias in zip(self.input_convs, self.biases, strict=True)
        )
        masks = self._masks(x.dtype) if train and self.dropout else None

        def body(
            module: ConvGRU, state: jax.Array, step: tuple[jax.Array, ...]
        ) -> tuple[jax.Array, jax.Array]:
            state = module.step(state, step, masks, domain, train)
            return state, state

        if self.is_initializing():  # variables cannot be made inside the scan
            last = self.step(hidden, tuple(gate[:, 0] for gate in inputs), masks, domain, train)
            return jnp.broadcast_to(last[:, None], x.shape), last
        stats = variables.stats_collection(self.domains, domain)
        scan = nn.scan(
            body,
            variable_broadcast=nn.DenyList(stats) if train else True,
            variable_carry=stats if train else False,
            in_axes=1,
            out_axes=1,
        )
        last, states = scan(self, hidden, inputs)
        return states, last

    def step(
        self,
        hidden: jax.Array,
        inputs: tuple[jax.Array, ...],
        masks: jax.Array | None,
        domain: Domain,
        train: bool,
    ) -> jax.Array:
        """The next hidden state [batch, height, width, features], given the input's part of each gate."""
        recurrent = []
        for gate, conv in enumerate(self.hidden_convs):
            source = hidden if masks is None else hidden * masks[gate]
            recurrent.append(conv(source[:, None], domain, train)[:, 0])
        reset = jax.nn.sigmoid(inputs[0] + recurrent[0])
        update = jax.nn.sigmoid(inputs[1] + recurrent[1])
        candidate = jnp.tanh(inputs[2] + reset * recurrent[2])
        return (1 - update) * hidden + update * candidate

    def _masks(self, dtype: jnp.dtype) -> jax.Array:
        """Channel masks [gate, features], scaled to keep the expectation."""
        keep = 1 - self.dropout
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, (len(GATES), self.features))
        return kept.astype(dtype) / keep
