"""The training loop: steps, validation, checkpoints; it can be stopped at any moment and goes on.

Everything that a later step depends on is in the checkpoint or follows from the config, so that a run
that was killed ends with the same bits as one that was not.
"""

import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from tqdm import tqdm

from unisal_jax.data.examples import Arrays, Source
from unisal_jax.data.loader import Batch, Loader
from unisal_jax.domains import find_domain
from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, cannot_write
from unisal_jax.models.unisal import UnisalConfig
from unisal_jax.train import checkpoints, inputs
from unisal_jax.train.config import TrainConfig, check_same
from unisal_jax.train.logs import Logs, read_validations, surroundings, write_json
from unisal_jax.train.optimizer import encoder_frozen, learning_rate
from unisal_jax.train.state import AXIS, TrainState, create, replicate
from unisal_jax.train.step import EvalStep, Metrics, TrainStep, eval_step, pmapped, pmapped_eval, train_step

CONFIG, VALIDATIONS, SURROUNDINGS = "config.json", "validations.json", "surroundings.json"
CHECKPOINTS, BEST = "checkpoints", "best"

# Scores of which more is better.
_RISING = ("cc", "nss")


class Outcome(NamedTuple):
    """How a call of `train` ended.

    Attributes:
      step: how many steps were taken in all.
      finished: False if it was told to stop (SIGTERM) and can go on.
      best_step: whose checkpoint had the best validation; None before the first.
      validations: of each epoch: `epoch`, `step`, and `scores` by domain and name.
    """

    step: int
    finished: bool
    best_step: int | None
    validations: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled steps.

    Attributes:
      train: (domain's name, whether the encoder is frozen) -> its step.
      evaluate: domain's name -> its evaluation step.
    """

    train: Callable[[str, bool], TrainStep]
    evaluate: Callable[[str], EvalStep]


class _Dispatched(NamedTuple):
    """A step whose metrics were not fetched yet; `step` counts from 1."""

    step: int
    batch: Batch
    lr: float
    metrics: Metrics


def train(config: TrainConfig, workdir: str | Path) -> Outcome:
    """Trains until the last epoch, or goes on where the workdir's training stopped.

    The workdir gets `checkpoints/STEP`, of which each is a folder of weights, `best`, a link to one of
    them, `metrics.jsonl`, `tensorboard/`, `validations.json`, `config.json` and `surroundings.json`.

    Raises:
      UnisalError: data or weights cannot be used, the workdir holds another training, or more steps
        than allowed had a loss or gradient that is not finite; names step, domain and examples.
    """
    workdir = Path(workdir)
    _claim(workdir, config)
    sources, held_out = inputs.open_sources(config, workdir)
    loader = Loader(
        sources,
        seed=config.seed,
        epochs=config.epochs,
        order=config.order,
        workers=config.workers,
        threads=config.threads,
    )
    network, variables = inputs.initial(config)
    state, skipped = create(network, variables), 0
    with closing(checkpoints.open_checkpoints(workdir / CHECKPOINTS)) as manager, closing(loader):
        restored = checkpoints.restore(manager, state, network)
        if restored is not None:
            state, position, skipped = restored
            loader.set_state(position)
        with closing(Logs(workdir, int(state.step))) as logs, _termination() as stop:
            run = _Run(config, workdir, network, loader, held_out, manager, logs, stop, skipped)
            return run.until_done(replicate(state))


class _Run:
    """One call's loop: what it holds besides the state is open files and counters."""

    def __init__(
        self,
        config: TrainConfig,
        workdir: Path,
        network: UnisalConfig,
        loader: Loader,
        held_out: list[Source],
        manager: ocp.CheckpointManager,
        logs: Logs,
        stop: threading.Event,
        skipped: int,
    ):
        self.config, self.workdir, self.network = config, workdir, network
        self.loader, self.held_out = loader, held_out
        self.manager, self.logs, self.stop = manager, logs, stop
        self.skipped = skipped
        self.programs = make_programs(config, network)
        self.pending: _Dispatched | None = None
        self.since, self.frames = time.perf_counter(), 0

    def until_done(self, state: TrainState) -> Outcome:
        """Takes steps until the epochs or the patience are over, or until it is told to stop."""
        config, per_epoch = self.config, self.loader.steps_per_epoch
        every = config.checkpoints.every_steps
        step = int(state.step)
        dropout_key = jax.random.fold_in(jax.random.key(config.seed), 1)
        validations = read_validations(self.workdir / VALIDATIONS, step)
        if validations:
            self.keep_best(validations)
        with tqdm(total=config.epochs * per_epoch, initial=step, unit="step", disable=None) as bar:
            while True:
                epoch_ended = step > 0 and step % per_epoch == 0
                if epoch_ended or self.stop.is_set() or (every is not None and step and step % every == 0):
                    self.settle(bar)
                    self.save(state, validations)
                if self.stop.is_set():
                    return Outcome(step, False, best_step(config, validations), validations)
                if epoch_ended and (not validations or validations[-1]["step"] != step):
                    scores = self.validate(state)
                    if scores is None:
                        continue  # told to stop
                    validations.append({"epoch": step // per_epoch, "step": step, "scores": scores})
                    self.note(validations, bar)
                if step >= config.epochs * per_epoch or (epoch_ended and _impatient(config, validations)):
                    return Outcome(step, True, best_step(config, validations), validations)
                batch = next(self.loader)
                frozen = encoder_frozen(config.optimizer, batch.epoch)
                domain = find_domain(batch.domain, self.network.domains)
                lr = learning_rate(config.optimizer, batch.epoch, domain)
                program = self.programs.train(batch.domain, frozen)
                state, metrics = program(state, jnp.float32(lr), place(batch.arrays), dropout_key)
                step += 1
                # The device has this step to work on while the last one's metrics are fetched.
                self.settle(bar)
                self.pending = _Dispatched(step, batch, lr, metrics)

    def settle(self, bar: tqdm) -> None:
        """Fetches the metrics of the step that was dispatched last, checks and logs them."""
        if self.pending is None:
            return
        step, batch, lr, fetched = self.pending
        self.pending = None
        metrics = {name: float(value) for name, value in jax.device_get(fetched).items()}
        if not metrics.pop("finite"):
            self.skip(step, batch, metrics)
        self.frames += batch.arrays.frames.shape[0] * batch.arrays.frames.shape[1]
        if step % self.config.log_every == 0 and np.isfinite(list(metrics.values())).all():
            now = time.perf_counter()
            speed = {"frames_per_second": self.frames / (now - self.since)}
            self.since, self.frames = now, 0
            scalars = metrics | {"learning_rate": lr} | speed | _memory()
            self.logs.write("train", step, scalars, domain=batch.domain, epoch=batch.epoch)
        bar.update()
        bar.set_postfix_str(f"epoch {batch.epoch + 1} {batch.domain} loss {metrics['loss']:.3f}")

    def skip(self, step: int, batch: Batch, metrics: dict[str, float]) -> None:
        """Counts a step that changed nothing because it was not finite; too many stop the training."""
        self.skipped += 1
        if self.skipped > self.config.skip_nonfinite:
            raise UnisalError(
                f"step {step}, domain {batch.domain}: loss {metrics['loss']:g}, gradient norm "
                f"{metrics['gradient_norm']:g}, not finite; batch: {', '.join(batch.ids)}"
            )
        self.logs.write("skipped", step, {}, domain=batch.domain, ids=list(batch.ids))

    def save(self, state: TrainState, validations: list[dict[str, Any]]) -> None:
        """Writes a checkpoint in the background."""
        checkpoints.save(self.manager, state, self.network, self.loader.get_state(), self.skipped)
        self.prune(validations)

    def prune(self, validations: list[dict[str, Any]]) -> None:
        """Removes the checkpoints that are not needed any more."""
        keep = self.config.checkpoints.keep
        checkpoints.prune(self.manager, keep, best_step(self.config, validations))

    def validate(self, state: TrainState) -> dict[str, dict[str, float]] | None:
        """Mean scores of each domain's validation clips; None if it was told to stop."""
        scores = {}
        for source in self.held_out:
            name = source.domain.name
            program = self.programs.evaluate(name)
            rows: list[dict[str, Any]] = []
            with closing(
                Loader([source], seed=0, order="alternating", threads=self.config.threads)
            ) as batches:
                for batch in batches:
                    if self.stop.is_set():
                        return None
                    if rows:
                        # Unfetched, a long queue of steps would hold all of their batches.
                        jax.block_until_ready(rows[-1])
                    rows.append(program(state.variables, place(batch.arrays)))
            fetched = jax.device_get(rows)
            scores[name] = {key: float(np.mean([row[key] for row in fetched])) for key in fetched[0]}
        return scores

    def note(self, validations: list[dict[str, Any]], bar: tqdm) -> None:
        """Writes down the last validation, and gives the best epoch's checkpoint its name."""
        last = validations[-1]
        write_json(self.workdir / VALIDATIONS, validations)
        for name, scores in last["scores"].items():
            self.logs.write("validation", last["step"], scores, domain=name, epoch=last["epoch"] - 1)
        self.keep_best(validations)
        self.prune(validations)
        shown = ", ".join(f"{name} {scores['loss']:.4f}" for name, scores in last["scores"].items())
        bar.write(f"epoch {last['epoch']} of {self.config.epochs}: validation loss {shown}")

    def keep_best(self, validations: list[dict[str, Any]]) -> None:
        best = best_step(self.config, validations)
        if best is not None and best in self.manager.all_steps():
            checkpoints.link_best(self.manager, best, self.workdir / BEST)


def make_programs(config: TrainConfig, network: UnisalConfig) -> Programs:
    """One compiled step for each domain and phase, made when it is first asked for."""
    dtype = jnp.dtype(config.dtype)

    @functools.cache
    def train_program(name: str, frozen: bool) -> TrainStep:
        domain = find_domain(name, network.domains)
        step = train_step(
            network, domain, config.optimizer, frozen, weights=config.loss, dtype=dtype, axis_name=AXIS
        )
        return pmapped(step)

    @functools.cache
    def evaluate_program(name: str) -> EvalStep:
        domain = find_domain(name, network.domains)
        return pmapped_eval(eval_step(network, domain, weights=config.loss, dtype=dtype, axis_name=AXIS))

    return Programs(train_program, evaluate_program)


def place(arrays: Arrays) -> Arrays:
    """[batch, ...] -> [devices, batch / devices, ...], as the compiled steps take it."""
    devices = jax.local_device_count()
    return Arrays(*(array.reshape(devices, -1, *array.shape[1:]) for array in arrays))


def best_step(config: TrainConfig, validations: list[dict[str, Any]]) -> int | None:
    """The step after which the score that decides was best; the first of equals."""
    best = min(validations, key=lambda entry: _cost(config, entry), default=None)
    return None if best is None else best["step"]


def _cost(config: TrainConfig, entry: dict[str, Any]) -> float:
    domain = config.best.domain or min(config.domains)
    score = entry["scores"][domain][config.best.metric]
    return -score if config.best.metric in _RISING else score


def _impatient(config: TrainConfig, validations: list[dict[str, Any]]) -> bool:
    steps = [entry["step"] for entry in validations]
    best = best_step(config, validations)
    return config.patience is not None and len(steps) - 1 - steps.index(best) >= config.patience


def _memory() -> dict[str, float]:
    """The first device's peak memory, where it says it (a CPU does not)."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return {} if peak is None else {"peak_device_bytes": float(peak)}


def _claim(workdir: Path, config: TrainConfig) -> None:
    """Makes the workdir and writes what is known before the first step, or checks what is there."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        stored = workdir / CONFIG
        if stored.exists():
            check_same(config, stored.read_text(encoding="utf-8"), stored)
        with atomic_path(stored) as temporary:
            temporary.write_text(config.to_json(), encoding="utf-8")
    except OSError as error:
        raise cannot_write(workdir, error) from error
    write_json(workdir / SURROUNDINGS, surroundings(config.seed))


@contextmanager
def _termination() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, so that the loop can save before it ends."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may have handlers
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
