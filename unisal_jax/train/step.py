"""One step of one domain: pure, for one device or, with `axis_name`, for one of several."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from unisal_jax.data.device import DeviceBatch, on_device
from unisal_jax.data.examples import Arrays
from unisal_jax.domains import Domain
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.unisal import Unisal
from unisal_jax.train.config import LossWeights, OptimizerConfig
from unisal_jax.train.losses import PAPER_LOSS, saliency_loss
from unisal_jax.train.optimizer import clipping, square_sum, updated, updated_by_adamw
from unisal_jax.train.state import (
    AXIS,
    TrainState,
    Tree,
    Vectors,
    idle,
    merged,
    moving,
    part_of,
    parts,
    replaced,
    vectors,
)

Metrics = dict[str, jax.Array]
EvalStep = Callable[[Tree, Arrays | DeviceBatch], tuple[Metrics, jax.Array]]


class TrainStep(Protocol):
    """What `train_step` makes."""

    def __call__(
        self,
        state: TrainState,
        lr: jax.Array,
        batch: Arrays | DeviceBatch,
        dropout_key: jax.Array,
        *,
        for_tpu: bool = False,
    ) -> tuple[TrainState, Metrics]:
        """The state after the step, and its metrics."""


# The moving average follows at once at first: a long memory would keep the start in it for ever in a
# short training. After so many times ten steps the given decay alone decides.
_AVERAGE_WARMUP = 10

_STATISTICS, _MOMENTUM = "statistics", "momentum"

# Weights, momentum by kind, and averages if kept: before a step and after.
_Changing = tuple[Vectors, dict[str, Vectors], Vectors | None]


def train_step(
    config: UnisalConfig,
    domain: Domain,
    optimizer: OptimizerConfig,
    frozen: bool,
    *,
    weights: LossWeights = PAPER_LOSS,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    sync_norm: bool = True,
    average_decay: float = 0.0,
) -> TrainStep:
    """Makes the step of one domain's batches; to be compiled once by `jax.jit` or `pmapped`.

    The step differentiates with respect to what the batch uses (`state.moving`) and changes nothing else,
    unless `optimizer.idle` is "momentum": then it also moves what earlier steps trained (`state.idle`). If
    loss or gradient is not finite, it changes nothing but the step count.

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
      sync_norm: False lets each device normalise by its own part of the batch; running statistics
        then take up the mean over devices.
      average_decay: of the state's moving average, if it keeps one: average += (1 - decay) * (variable -
        average), of what the step changes; at step t at most (1 + t) / (10 + t).

    Returns:
      step(state, lr, batch, dropout_key, for_tpu=False) -> (state, metrics), where lr is a scalar, the
      batch is [batch, time, ...] (uint8 `Arrays`, or floats) and dropout_key is the run's: the step's own
      is made of it and the step count. The metrics are scalars: `loss`, `kld`, `cc`, `nss`,
      `gradient_norm` (before clipping, of what moves), `gradient_norm_encoder`, `_shared` and `_domain`
      (0 for what does not move), `parameter_norm_encoder`, `_shared` and `_domain` (before the step), and
      the bool `finite`. With for_tpu, which `pmapped` sets, results are the same and a TPU moves fewer bytes:
      the backward pass computes the encoder's blocks anew, and large arrays are updated one by one. On a CPU
      the former only adds arithmetic; on GPUs it has not been measured.
    """
    domain_only = optimizer.domain_only
    moves = (config, domain, frozen, domain_only)

    def step(
        state: TrainState,
        lr: jax.Array,
        batch: Arrays | DeviceBatch,
        dropout_key: jax.Array,
        *,
        for_tpu: bool = False,
    ) -> tuple[TrainState, Metrics]:
        module = Unisal(config, axis_name if sync_norm else None, recompute=for_tpu)
        examples = _floats(batch, dtype)
        key = jax.random.fold_in(dropout_key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        trained = moving(state.variables, *moves)

        def loss_of(trained: Tree) -> tuple[jax.Array, tuple[Metrics, Tree]]:
            (log_density, _), statistics = module.apply(
                merged(state.variables, trained),
                examples.frames,
                domain,
                target_size=_target_size(examples),
                train=True,
                train_shared_norm=not domain_only,
                mutable=[domain.stats] if domain_only else [domain.stats, "batch_stats"],
                rngs={"dropout": key},
            )
            loss, terms = saliency_loss(log_density, examples.maps, examples.fixations, weights, axis_name)
            return loss, (terms, _moving_statistics(statistics))

        (loss, (terms, statistics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        # From here on each part of the state is one long vector; for a TPU large arrays stand apart from it.
        differentiated = parts(gradients, domain)
        gradient = vectors(differentiated, for_tpu)
        measured = vectors({_STATISTICS: statistics})
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
            if not sync_norm:
                measured = jax.lax.pmean(measured, axis_name)
        mine = parts(state.variables, domain)
        # SGD holds one tree of the parameters' structure, AdamW three.
        held = state.momentum if optimizer.name == "adamw" else {_MOMENTUM: state.momentum}
        kinds = {kind: parts(moving(tree, *moves), domain) for kind, tree in held.items()}
        others: dict[str, Tree] = {}
        if optimizer.idle == "momentum":
            others = idle(state.variables, config, domain, domain_only)
            kinds[_MOMENTUM] |= idle(state.momentum, config, domain, domain_only)
        parameters = vectors(mine | others, for_tpu)
        moments = {kind: vectors(pieces, for_tpu) for kind, pieces in kinds.items()}
        norm, _ = clipping(optimizer, gradient)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)

        def changing(tree: Tree) -> dict[str, Tree]:
            everything = parts(tree, domain) | idle(tree, config, domain, domain_only)
            moving_too = {n: piece for n, piece in everything.items() if n in differentiated or n in others}
            return moving_too | {
                _STATISTICS: {c: {m: tree[c][m] for m in part} for c, part in statistics.items()}
            }

        pieces = changing(state.variables)
        changed = {name: vector for name, vector in parameters.items() if part_of(name) in pieces}
        changed |= vectors({_STATISTICS: pieces[_STATISTICS]})
        averages = None if state.average is None else vectors(changing(state.average), for_tpu)
        before = changed, moments, averages

        def update(before: _Changing) -> _Changing:
            old, moments, averaged = before
            if optimizer.name == "adamw":
                moved, moments, _ = updated_by_adamw(optimizer, lr, gradient, old, moments)
            else:
                moved, velocities, _ = updated(optimizer, lr, gradient, old, moments[_MOMENTUM])
                moments = {_MOMENTUM: velocities}
            new = moved | measured
            if averaged is not None:
                decay = jnp.minimum(average_decay, (1 + state.step) / (_AVERAGE_WARMUP + state.step))
                # As a step towards the variable, so that what did not change stays as it is to the bit.
                averaged = {name: mean + (1 - decay) * (new[name] - mean) for name, mean in averaged.items()}
            # Of the state's types, whatever the learning rate's.
            result: _Changing = jax.tree.map(
                lambda new, old: new.astype(old.dtype), (new, moments, averaged), before
            )
            return result

        # Chosen in the step: the old state is donated to it, so nobody could go back later. By a branch, into
        # which XLA cannot fuse: it would compile the whole update anew for each array that is cut out of it.
        after = jax.lax.cond(finite, update, lambda before: before, before)
        if for_tpu:
            # Its compiler would move what follows, the cutting of each vector, into the branches.
            after = jax.lax.optimization_barrier(after)
        changed, moments, averages = after
        variables = replaced(state.variables, pieces, changed)
        average = state.average
        if average is not None and averages is not None:
            average = replaced(average, pieces, averages)
        metrics = {
            "loss": loss,
            **terms,
            "gradient_norm": norm,
            **_norms("gradient_norm", gradient),
            **_norms("parameter_norm", {n: value for n, value in parameters.items() if part_of(n) in mine}),
            "finite": finite,
        }
        new_held = {kind: replaced(tree, kinds[kind], moments[kind]) for kind, tree in held.items()}
        momentum = new_held if optimizer.name == "adamw" else new_held[_MOMENTUM]
        return TrainState(variables, momentum, state.step + 1, average), metrics

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
      config: as for `train_step`.
      domain: as for `train_step`.
      weights: as for `train_step`.
      dtype: as for `train_step`.
      axis_name: as for `train_step`.

    Returns:
      step(variables, batch) -> ({"loss", "kld", "cc", "nss"}, scalars: means over the batch; the
      log-density [batch, time, H, W] of each frame).
    """
    module = Unisal(config)

    def step(variables: Tree, batch: Arrays | DeviceBatch) -> tuple[Metrics, jax.Array]:
        examples = _floats(batch, dtype)
        log_density, _ = module.apply(variables, examples.frames, domain, target_size=_target_size(examples))
        loss, terms = saliency_loss(log_density, examples.maps, examples.fixations, weights, axis_name)
        return {"loss": loss, **terms}, log_density

    return step


def pmapped(step: TrainStep, devices: Sequence[jax.Device] | None = None) -> Any:
    """A train step (made with `axis_name=state.AXIS`) over `devices`, by default all of all processes.

    It takes a state placed by `state.replicate`, which it uses up, and a batch [local devices, batch
    / devices, time, ...]; state and metrics come back without a device axis. The devices, which need not be
    there, decide whether the step is the one for TPUs.
    """
    platform = jax.default_backend() if devices is None else devices[0].platform
    step = functools.partial(step, for_tpu=platform == "tpu")
    return jax.pmap(
        step, AXIS, in_axes=(None, None, 0, None), out_axes=None, donate_argnums=0, devices=devices
    )


def pmapped_eval(step: EvalStep, devices: Sequence[jax.Device] | None = None) -> Any:
    """As `pmapped`, for an evaluation step; the variables, replicated, are not used up.

    The log-density keeps the device axis, [devices, batch / devices, time, H, W].
    """
    return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, 0), devices=devices)


def _floats(batch: Arrays | DeviceBatch, dtype: Any) -> DeviceBatch:
    return batch if isinstance(batch, DeviceBatch) else on_device(batch, dtype)


def _target_size(examples: DeviceBatch) -> tuple[int, int]:
    height, width = examples.maps.shape[-2:]
    return height, width


def _moving_statistics(statistics: Mapping[str, Mapping[str, Any]]) -> Tree:
    """The mutable collections without the encoder, whose statistics never change."""
    return {
        collection: {module: leaves for module, leaves in modules.items() if module != "encoder"}
        for collection, modules in statistics.items()
    }


def _norms(name: str, values: Vectors) -> Metrics:
    """Norms of the encoder's, the other shared and the domain's vectors (`state.parts`); 0 without one."""
    squares = {"encoder": jnp.zeros(()), "shared": jnp.zeros(()), "domain": jnp.zeros(())}
    for part, vector in values.items():
        squares[part_of(part).removesuffix("_recurrence")] += square_sum(vector)
    return {f"{name}_{group}": jnp.sqrt(total) for group, total in squares.items()}
