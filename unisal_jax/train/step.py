"""Train and evaluation steps of one domain: pure functions, for one device or, with `axis_name`, several."""

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
    """The type of the functions that `train_step` returns."""

    def __call__(
        self,
        state: TrainState,
        lr: jax.Array,
        batch: Arrays | DeviceBatch,
        dropout_key: jax.Array,
        *,
        for_tpu: bool = False,
    ) -> tuple[TrainState, Metrics]:
        """Returns the state after the step, and the metrics."""


# Warm up the moving average: cap its decay at (1 + t) / (10 + t), so that a short training forgets the start.
_AVERAGE_WARMUP = 10

_STATISTICS, _MOMENTUM = "statistics", "momentum"

# What a step changes: variables, momentum by kind, and averages if there are any.
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
    """Makes the train step for batches of one domain, to be compiled by `jax.jit` or `pmapped`.

    The step differentiates with respect to the variables that the batch uses (`state.moving`) and changes
    nothing else, unless `optimizer.idle` is "momentum": then it also changes what earlier steps trained
    (`state.idle`). If the loss or gradient is not finite, it changes only the step count.

    Args:
      config: the model's config.
      domain: the domain of the batches.
      optimizer: the optimizer's config; the learning rate is the step's argument `lr`.
      frozen: do not train the encoder. This is a separate program, which omits the backward pass through the
        encoder, half of the network's arithmetic.
      weights: weights of the loss terms.
      dtype: dtype of the computation, if the batch is uint8; parameters keep theirs.
      axis_name: mapped axis (devices) that the batch is divided over. Batch norm statistics, loss and
        gradients are then those of the whole batch; dropout is drawn on each device separately.
      sync_norm: False makes each device normalise by its own part of the batch; running statistics are then
        updated with the mean over devices.
      average_decay: decay of the state's moving average, if it has one: average += (1 - decay) * (variable -
        average), for what the step changes. At step t, it is at most (1 + t) / (10 + t).

    Returns:
      step(state, lr, batch, dropout_key, for_tpu=False) -> (state, metrics). lr is a scalar, the batch is
      [batch, time, ...] (uint8 `Arrays`, or floats), and dropout_key is the run's key, which is combined with
      the step count. The metrics are scalars: `loss`, `kld`, `cc`, `nss`, `gradient_norm` (before clipping,
      of what is trained), `gradient_norm_encoder`, `_shared` and `_domain` (0 for what is not trained),
      `parameter_norm_encoder`, `_shared` and `_domain` (before the step), and the bool `finite`. for_tpu,
      which `pmapped` sets, does not change results but moves fewer bytes on a TPU: the backward pass
      recomputes the encoder's blocks, and large arrays are updated one by one. On a CPU recomputation only
      adds arithmetic; on GPUs it has not been measured.
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
        # From here on each part of the state is one vector; for a TPU, large arrays are separate.
        differentiated = parts(gradients, domain)
        gradient = vectors(differentiated, for_tpu)
        measured = vectors({_STATISTICS: statistics})
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
            if not sync_norm:
                measured = jax.lax.pmean(measured, axis_name)
        mine = parts(state.variables, domain)
        # SGD has one tree with the parameters' structure, AdamW three.
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
                # Written as a step towards the variable, so that the average of a constant stays
                # bit-identical.
                averaged = {name: mean + (1 - decay) * (new[name] - mean) for name, mean in averaged.items()}
            # Keep the state's dtypes, whatever the learning rate's.
            result: _Changing = jax.tree.map(
                lambda new, old: new.astype(old.dtype), (new, moments, averaged), before
            )
            return result

        # Selects inside the step, because the old state is donated to it. Uses a branch, into which XLA
        # cannot fuse: with `where`, it would compile the whole update again for each array that is sliced
        # from it.
        after = jax.lax.cond(finite, update, lambda before: before, before)
        if for_tpu:
            # Prevents the TPU compiler from moving the slicing of the vectors into the branches.
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
      step(variables, batch) -> ({"loss", "kld", "cc", "nss"}, scalar means over the batch; log-density
      [batch, time, H, W] of each frame).
    """
    module = Unisal(config)

    def step(variables: Tree, batch: Arrays | DeviceBatch) -> tuple[Metrics, jax.Array]:
        examples = _floats(batch, dtype)
        log_density, _ = module.apply(variables, examples.frames, domain, target_size=_target_size(examples))
        loss, terms = saliency_loss(log_density, examples.maps, examples.fixations, weights, axis_name)
        return {"loss": loss, **terms}, log_density

    return step


def pmapped(step: TrainStep, devices: Sequence[jax.Device] | None = None) -> Any:
    """Maps a train step (made with `axis_name=state.AXIS`) over `devices`, by default those of all processes.

    It takes a state from `state.replicate`, which it donates, and a batch [local devices, batch / devices,
    time, ...], and returns state and metrics without a device axis. The platform of `devices`, which may be
    abstract, sets `for_tpu`.
    """
    platform = jax.default_backend() if devices is None else devices[0].platform
    step = functools.partial(step, for_tpu=platform == "tpu")
    return jax.pmap(
        step, AXIS, in_axes=(None, None, 0, None), out_axes=None, donate_argnums=0, devices=devices
    )


def pmapped_eval(step: EvalStep, devices: Sequence[jax.Device] | None = None) -> Any:
    """As `pmapped`, for an evaluation step. The variables must be replicated; they are not donated.

    The log-density keeps the device axis, [devices, batch / devices, time, H, W].
    """
    return jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, 0), devices=devices)


def _floats(batch: Arrays | DeviceBatch, dtype: Any) -> DeviceBatch:
    return batch if isinstance(batch, DeviceBatch) else on_device(batch, dtype)


def _target_size(examples: DeviceBatch) -> tuple[int, int]:
    height, width = examples.maps.shape[-2:]
    return height, width


def _moving_statistics(statistics: Mapping[str, Mapping[str, Any]]) -> Tree:
    """The mutable collections without the encoder's statistics, which never change."""
    return {
        collection: {module: leaves for module, leaves in modules.items() if module != "encoder"}
        for collection, modules in statistics.items()
    }


def _norms(name: str, values: Vectors) -> Metrics:
    """Norms of the encoder's, the other shared and the domain's vectors (`state.parts`); 0 if none."""
    squares = {"encoder": jnp.zeros(()), "shared": jnp.zeros(()), "domain": jnp.zeros(())}
    for part, vector in values.items():
        squares[part_of(part).removesuffix("_recurrence")] += square_sum(vector)
    return {f"{name}_{group}": jnp.sqrt(total) for group, total in squares.items()}
