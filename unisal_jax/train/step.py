"""One step of one domain: pure, for one device or, with `axis_name`, for one of several."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from unisal_jax.data.device import DeviceBatch, on_device
from unisal_jax.data.examples import Arrays
from unisal_jax.domains import Domain
from unisal_jax.models.unisal import Unisal, UnisalConfig
from unisal_jax.train.losses import PAPER_LOSS, LossWeights, saliency_loss
from unisal_jax.train.optimizer import OptimizerConfig, updated
from unisal_jax.train.state import AXIS, TrainState, Tree, merged, moving

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, jax.Array, Arrays | DeviceBatch, jax.Array], tuple[TrainState, Metrics]]
EvalStep = Callable[[Tree, Arrays | DeviceBatch], Metrics]


def train_step(
    config: UnisalConfig,
    domain: Domain,
    optimizer: OptimizerConfig,
    frozen: bool,
    *,
    weights: LossWeights = PAPER_LOSS,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> TrainStep:
    """Makes the step of one domain's batches; to be compiled once by `jax.jit` or `pmapped`.

    The step differentiates with respect to what the batch uses and changes nothing else: see
    `state.moving`. If loss or gradient is not finite, it changes nothing but the step count.

    Args:
      config: of the network.
      domain: of the batches.
      optimizer: its config; its learning rates come in through the step's `lr`.
      frozen: leave the encoder as it is. A program of its own, because that one need not go back
        through the encoder, half of the network's arithmetic.
      weights: of the loss terms.
      dtype: of the computation, if the batch holds uint8; parameters keep theirs.
      axis_name: mapped axis (devices) that the batch is spread over. Batch norm statistics, loss and
        gradients are then those of the whole batch; dropout is drawn on each device apart.
    Returns:
      step(state, lr, batch, dropout_key) -> (state, metrics), where lr is a scalar, the batch is
      [batch, time, ...] (uint8 `Arrays`, or floats) and dropout_key is the run's: the step's own is
      made of it and the step count. The metrics are scalars: `loss`, `kld`, `cc`, `nss`,
      `gradient_norm` (before clipping, of what moves), `parameter_norm_encoder`, `_shared` and
      `_domain` (before the step), and the bool `finite`.
    """
    network = Unisal(config, axis_name)

    def step(
        state: TrainState, lr: jax.Array, batch: Arrays | DeviceBatch, dropout_key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        examples = _floats(batch, dtype)
        key = jax.random.fold_in(dropout_key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        parameters = moving(state.variables, config, domain, frozen)

        def loss_of(parameters: Tree) -> tuple[jax.Array, tuple[Metrics, Tree]]:
            (log_density, _), statistics = network.apply(
                merged(state.variables, parameters),
                examples.frames,
                domain,
                target_size=_target_size(examples),
                train=True,
                mutable=[domain.stats, "batch_stats"],
                rngs={"dropout": key},
            )
            loss, terms = saliency_loss(log_density, examples.maps, examples.fixations, weights, axis_name)
            return loss, (terms, dict(statistics))

        (loss, (terms, statistics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters)
        if axis_name is not None:
            gradients = jax.lax.pmean(gradients, axis_name)
        momentum = moving(state.momentum, config, domain, frozen)
        moved, traced, norm = updated(optimizer, lr, gradients, parameters, momentum)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)

        def kept(new: Tree, old: Tree) -> Tree:
            # Chosen in the step: the old state is donated to it, so nobody could go back later.
            return jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, old)

        before = {name: state.variables[name] for name in statistics}
        variables = merged(state.variables, kept(moved, parameters)) | kept(statistics, before)
        metrics = {
            "loss": loss,
            **terms,
            "gradient_norm": norm,
            **_parameter_norms(state.variables, domain),
            "finite": finite,
        }
        return TrainState(variables, merged(state.momentum, kept(traced, momentum)), state.step + 1), metrics

    return step


def eval_step(
    config: UnisalConfig,
    domain: Domain,
    *,
    weights: LossWeights = PAPER_LOSS,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> EvalStep:
    """Makes the function that scores one domain's batches with running statistics and no dropout.

    Args:
      config, domain, weights, dtype, axis_name: as in `train_step`.
    Returns:
      step(variables, batch) -> {"loss", "kld", "cc", "nss"}, scalars: means over the batch.
    """
    network = Unisal(config)

    def step(variables: Tree, batch: Arrays | DeviceBatch) -> Metrics:
        examples = _floats(batch, dtype)
        log_density, _ = network.apply(variables, examples.frames, domain, target_size=_target_size(examples))
        loss, terms = saliency_loss(log_density, examples.maps, examples.fixations, weights, axis_name)
        return {"loss": loss, **terms}

    return step


def pmapped(step: TrainStep) -> TrainStep:
    """A train step (made with `axis_name=state.AXIS`) over all devices of all processes.

    It takes a state placed by `state.replicate`, which it uses up, and a batch [local devices, batch
    / devices, time, ...]; state and metrics come back without a device axis.
    """
    return jax.pmap(step, AXIS, in_axes=(None, None, 0, None), out_axes=None, donate_argnums=0)


def pmapped_eval(step: EvalStep) -> EvalStep:
    """As `pmapped`, for an evaluation step; the variables, replicated, are not used up."""
    return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None)


def _floats(batch: Arrays | DeviceBatch, dtype: Any) -> DeviceBatch:
    return batch if isinstance(batch, DeviceBatch) else on_device(batch, dtype)


def _target_size(examples: DeviceBatch) -> tuple[int, int]:
    height, width = examples.maps.shape[-2:]
    return height, width


def _parameter_norms(variables: Tree, domain: Domain) -> Metrics:
    shared = {name: leaves for name, leaves in variables["params"].items() if name != "encoder"}
    groups = {
        "encoder": variables["params"]["encoder"],
        "shared": shared,
        "domain": variables.get(domain.name, {}),
    }
    return {f"parameter_norm_{name}": optax.tree.norm(leaves) for name, leaves in groups.items()}
