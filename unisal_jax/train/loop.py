"""The training loop: steps, validation and checkpoints. It can be interrupted at any time and resumed.

Everything that later steps depend on is in the checkpoint or determined by the config. So an interrupted and
resumed run gives the same bits as an uninterrupted one.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from unisal_jax.data.examples import Arrays, DomainSource
from unisal_jax.data.loader import Batch, Loader
from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.machine import peak_bytes
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import inputs, processes
from unisal_jax.train.cloud import working_folder
from unisal_jax.train.config import SYNTHETIC, TrainConfig
from unisal_jax.train.optimizer import encoder_frozen
from unisal_jax.train.schedule import learning_rates
from unisal_jax.train.state import AXIS, TrainState, create, moving, replicate
from unisal_jax.train.step import EvalStep, Metrics, TrainStep, eval_step, pmapped, pmapped_eval, train_step
from unisal_jax.train.validation_images import validation_sheet
from unisal_jax.train.workdir import Validations, Workdir, impatient

Scores = dict[str, dict[str, float]]


class Outcome(NamedTuple):
    """How a call of `train` ended.

    Attributes:
      step: total number of steps.
      finished: False if it was stopped (SIGTERM) and can be resumed.
      best_step: step of the checkpoint with the best validation; None before the first validation.
      validations: for each epoch, `epoch`, `step`, and `scores` by domain and name.
    """

    step: int
    finished: bool
    best_step: int | None
    validations: Validations


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled steps.

    Attributes:
      train: (domain, whether the encoder is frozen) -> train step.
      evaluate: domain -> evaluation step.
    """

    train: Callable[[Domain, bool], TrainStep]
    evaluate: Callable[[Domain], EvalStep]


class _Dispatched(NamedTuple):
    """A step whose metrics have not been fetched yet; `step` counts from 1."""

    step: int
    batch: Batch
    lr: float
    metrics: Metrics


def train(
    config: TrainConfig,
    workdir: str | Path,
    prepare_synthetic: inputs.PrepareSynthetic | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Outcome:
    """Trains until the last epoch, resuming the training in the workdir if there is one.

    With several processes, each calls it with the same arguments, after `processes.start`. `workdir.py`
    describes the files in the workdir.

    Args:
      config: the experiment's config.
      workdir: a folder, or an address such as gs://bucket/folder (`cloud.working_folder`).
      prepare_synthetic: makes synthetic data, if the config uses them:
        `data_prep.prepare.prepare_synthetic`.
      on_step: called with the number of each finished step, from 1.

    Raises:
      UnisalError: data or weights cannot be used, the workdir holds another training, or too many steps had a
        non-finite loss or gradient; the message names step, domain and examples.
    """
    with (
        working_folder(workdir, processes.is_first(), [SYNTHETIC]) as place,
        Workdir(place.folder, config, place.send) as folder,
    ):
        sources, held_out = inputs.open_sources(config, folder.path, prepare_synthetic)
        loader = Loader(
            sources,
            seed=config.seed,
            epochs=config.epochs,
            order=config.order,
            workers=config.workers,
            threads=config.threads,
            shard_index=jax.process_index(),
            shard_count=jax.process_count(),
        )
        model_config, variables = inputs.initial(config, [source.domain for source in sources])
        start = create(
            model_config, variables, config.average_decay is not None, config.optimizer.name == "adamw"
        )
        with closing(loader):
            state, position, skipped, validations = folder.restore(start, model_config)
            if position is not None:
                loader.set_state(position)
            stop = processes.StopSignal()
            with stop.listening():
                run = _Run(config, folder, model_config, loader, held_out, stop, skipped, on_step)
                return run.until_done(replicate(state), validations)


class _Run:
    """The loop of one call of `train`. Besides the state, it holds only open files and counters."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Workdir,
        model_config: UnisalConfig,
        loader: Loader,
        held_out: list[DomainSource],
        stop: processes.StopSignal,
        skipped: int,
        on_step: Callable[[int], None] | None,
    ):
        self.config, self.folder, self.model_config = config, folder, model_config
        self.loader, self.held_out, self.stop = loader, held_out, stop
        self.skipped, self.on_step = skipped, on_step
        self.programs = make_programs(config, model_config)
        self.rates = {
            name: learning_rates(config, each.source.domain, loader.steps_per_epoch)
            for name, each in loader.examples.items()
        }
        self.pending: _Dispatched | None = None
        self.since, self.frames = time.perf_counter(), 0

    def until_done(self, state: TrainState, validations: Validations) -> Outcome:
        """Trains until the last epoch, until `patience` is exhausted, or until it is told to stop."""
        config, per_epoch = self.config, self.loader.steps_per_epoch
        every = config.checkpoints.every_steps
        step = int(state.step)
        dropout_key = jax.random.fold_in(jax.random.key(config.seed), 1)
        quiet = None if processes.is_first() else True
        with tqdm(
            total=config.epochs * per_epoch, initial=step, unit="step", disable=quiet, smoothing=0.05
        ) as bar:
            if step == 0:
                self.introduce(state, bar)
            else:
                say(bar, f"resumed from step {step} of {config.epochs * per_epoch}")
            while True:
                epoch_ended = step > 0 and step % per_epoch == 0
                stopping = self.stop()
                if epoch_ended or stopping or (every is not None and step and step % every == 0):
                    self.settle(bar)
                    self.save(state, validations)
                if stopping:
                    return Outcome(step, False, self.folder.best(validations), validations)
                if epoch_ended and (not validations or validations[-1]["step"] != step):
                    scores = self.validate(state, step, step // per_epoch)
                    if scores is None:
                        continue  # it was told to stop
                    validations.append({"epoch": step // per_epoch, "step": step, "scores": scores})
                    self.folder.note(validations)
                    shown = ", ".join(f"{name} {each['loss']:.4f}" for name, each in scores.items())
                    say(bar, f"epoch {step // per_epoch} of {config.epochs}: validation loss {shown}")
                    self.since, self.frames = time.perf_counter(), 0
                if step >= config.epochs * per_epoch or (epoch_ended and impatient(config, validations)):
                    return Outcome(step, True, self.folder.best(validations), validations)
                batch = next(self.loader)
                frozen = encoder_frozen(config.optimizer, batch.epoch)
                lr = float(self.rates[batch.domain.name][step])
                program = self.programs.train(batch.domain, frozen)
                state, metrics = program(state, jnp.float32(lr), place(batch.arrays), dropout_key)
                step += 1
                # The device runs this step while the previous one's metrics are fetched.
                self.settle(bar)
                self.pending = _Dispatched(step, batch, lr, metrics)

    def introduce(self, state: TrainState, bar: tqdm) -> None:
        """Prints each domain's data, and the number of parameters to train."""
        for examples in self.loader.examples.values():
            domain, domain_only = examples.source.domain, self.config.optimizer.domain_only
            moves = moving(state.variables, self.model_config, domain, False, domain_only)
            count = sum(leaf.size for leaf in jax.tree.leaves(moves))
            say(bar, f"{examples.summary}; {count:,} parameters to train")

    def settle(self, bar: tqdm) -> None:
        """Fetches, checks and logs the metrics of the last dispatched step."""
        if self.pending is None:
            return
        step, batch, lr, fetched = self.pending
        self.pending = None
        metrics = {name: float(value) for name, value in jax.device_get(fetched).items()}
        if not metrics.pop("finite"):
            self.skip(step, batch, metrics)
        self.frames += jax.process_count() * batch.arrays.frames.shape[0] * batch.arrays.frames.shape[1]
        if step % self.config.log_every == 0 and np.isfinite(list(metrics.values())).all():
            now = time.perf_counter()
            speed = {"frames_per_second": self.frames / (now - self.since)}
            self.since, self.frames = now, 0
            scalars = metrics | {"learning_rate": lr} | speed | _memory()
            self.folder.write("train", step, scalars, domain=batch.domain.name, epoch=batch.epoch)
        bar.update()
        bar.set_postfix_str(f"epoch {batch.epoch + 1} {batch.domain.name} loss {metrics['loss']:.3f}")
        if self.on_step is not None:
            self.on_step(step)

    def skip(self, step: int, batch: Batch, metrics: dict[str, float]) -> None:
        """Counts a step that was skipped because it was not finite; raises UnisalError after too many."""
        self.skipped += 1
        if self.skipped > self.config.skip_nonfinite:
            raise UnisalError(
                f"step {step}, domain {batch.domain.name}: loss {metrics['loss']:g}, gradient norm "
                f"{metrics['gradient_norm']:g}, not finite; batch: {', '.join(batch.ids)}"
            )
        self.folder.write("skipped", step, {}, domain=batch.domain.name, ids=list(batch.ids))

    def validation_loader(self, source: DomainSource) -> Loader:
        """A loader of a domain's validation clips."""
        return Loader(
            [source],
            seed=0,
            threads=self.config.threads,
            shard_index=jax.process_index(),
            shard_count=jax.process_count(),
        )

    def save(self, state: TrainState, validations: Validations) -> None:
        """Writes a checkpoint in the background."""
        self.folder.save(state, self.model_config, self.loader.get_state(), self.skipped, validations)

    def validate(self, state: TrainState, step: int, epoch: int) -> Scores | None:
        """The mean scores over each domain's validation clips; None if it was told to stop."""
        scores = {}
        for source in self.held_out:
            name = source.domain.name
            program = self.programs.evaluate(source.domain)
            rows: list[Metrics] = []
            with closing(self.validation_loader(source)) as batches:
                for batch in batches:
                    if self.stop():
                        return None
                    if rows:
                        # Without this, a long queue of steps would keep all their batches in memory.
                        jax.block_until_ready(rows[-1])
                    row, log_density = program(state.weights, place(batch.arrays))
                    if not rows and processes.is_first():
                        predicted = np.asarray(log_density.addressable_data(0))
                        predicted = predicted.reshape(-1, *log_density.shape[-3:])
                        self.folder.show(name, epoch, step, validation_sheet(batch.arrays, predicted))
                    rows.append(row)
            fetched = jax.device_get(rows)
            scores[name] = {key: float(np.mean([row[key] for row in fetched])) for key in fetched[0]}
        return scores


def say(bar: tqdm, line: str) -> None:
    """Prints a line above the progress bar, in the first process only."""
    if processes.is_first():
        bar.write(line)


def make_programs(config: TrainConfig, model_config: UnisalConfig) -> Programs:
    """The compiled steps for each domain and phase, each made on first use."""
    dtype = jnp.dtype(config.dtype)

    @functools.cache
    def train_program(domain: Domain, frozen: bool) -> TrainStep:
        step = train_step(
            model_config,
            domain,
            config.optimizer,
            frozen,
            weights=config.loss,
            dtype=dtype,
            axis_name=AXIS,
            sync_norm=config.sync_norm,
            average_decay=config.average_decay or 0.0,
        )
        program: TrainStep = pmapped(step)
        return program

    @functools.cache
    def evaluate_program(domain: Domain) -> EvalStep:
        step = eval_step(model_config, domain, weights=config.loss, dtype=dtype, axis_name=AXIS)
        program: EvalStep = pmapped_eval(step)
        return program

    return Programs(train_program, evaluate_program)


def place(arrays: Arrays) -> Arrays:
    """[batch, ...] -> [devices, batch / devices, ...], for the compiled steps."""
    devices = jax.local_device_count()
    return Arrays(*(array.reshape(devices, -1, *array.shape[1:]) for array in arrays))


def _memory() -> dict[str, float]:
    """Peak memory of the first device, or of the process if the device does not report it (a CPU).

    Empty on systems that report neither.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    if peak is not None:
        return {"peak_device_bytes": float(peak)}
    peak = peak_bytes()
    return {} if peak is None else {"peak_process_bytes": float(peak)}
