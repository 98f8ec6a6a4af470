"""The workdir of a training: its files, and how a run resumes from them.

`checkpoints/STEP` are folders of weights, and `best` is a link to one of them. Damaged checkpoints are moved
to `damaged/`. The other files are `config.json`, `surroundings.json` (one entry per start),
`validations.json`, `metrics.jsonl`, `tensorboard/` and `images/`. Of several processes, only the first
accesses the folder.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import flax.serialization
import numpy as np
from filelock import FileLock, Timeout

from unisal_jax.data.loader import State
from unisal_jax.documents import write_json
from unisal_jax.errors import UnisalError
from unisal_jax.files import cannot_write, write_errors, write_text
from unisal_jax.media.images import write_png
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import checkpoints, processes
from unisal_jax.train.cloud import BEST, CHECKPOINTS, LOCK
from unisal_jax.train.config import SYNTHETIC, TrainConfig, check_same
from unisal_jax.train.logs import Logs, read_list, surroundings
from unisal_jax.train.state import TrainState

CONFIG, VALIDATIONS, SURROUNDINGS = "config.json", "validations.json", "surroundings.json"
IMAGES = "images"

Validations = list[dict[str, Any]]

logger = logging.getLogger(__name__)

# Scores for which higher is better.
_RISING = ("cc", "nss")


class Workdir:
    """The workdir of a running training, a context manager."""

    def __init__(self, path: Path, config: TrainConfig, send: Callable[[], None] | None = None):
        """Creates the folder and writes the config, or checks the config of an existing folder.

        Args:
          path: the folder.
          config: the training's config.
          send: uploads the folder (`cloud.Place.send`) after each checkpoint and validation.

        Raises:
          UnisalError: the folder cannot be written, holds another training, or is in use.
        """
        self.path, self.config, self._send = path, config, send
        self._logs: Logs | None = None
        self._manager = None
        if not processes.is_first():
            return
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            # The system releases this lock when the process ends, even if it is killed.
            self._lock = FileLock(path / LOCK, timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise UnisalError(f"{path}: another process is training in it") from error
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            with write_errors(path):
                self._take_config()
        except UnisalError:
            self._lock.release()
            raise
        self._manager = checkpoints.open_checkpoints(path / CHECKPOINTS)

    def _take_config(self) -> None:
        """Checks the config against the stored one, unless there are no checkpoints yet, and stores it.

        Raises:
          UnisalError: the folder holds another training.
        """
        stored = self.path / CONFIG
        if stored.exists():
            try:
                check_same(self.config, stored.read_text(encoding="utf-8"), stored)
            except UnisalError:
                if self._has_begun():
                    raise
                logger.warning("%s: has no checkpoint yet; replacing its config", self.path)
                # The synthetic data follow the old config.
                shutil.rmtree(self.path / SYNTHETIC, ignore_errors=True)
        write_text(stored, self.config.to_json())

    def _has_begun(self) -> bool:
        """Whether there is a checkpoint, damaged or not."""
        folders = (self.path / CHECKPOINTS, self.path / checkpoints.DAMAGED)
        entries = [entry.name for folder in folders if folder.exists() for entry in folder.iterdir()]
        return any(name.partition("_")[0].isdigit() for name in entries)

    def __enter__(self) -> "Workdir":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self._logs is not None:
            self._logs.close()
        if self._manager is not None:
            self._manager.close()
            self._lock.release()
            if kind is not None and self._logs is None and not self._has_begun():
                self._clear()

    def _clear(self) -> None:
        """Removes the files of a training that failed before its first step."""
        for name in (CONFIG, LOCK):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.path / CHECKPOINTS, self.path):
            with suppress(OSError):
                folder.rmdir()  # fails if the folder is not empty

    def restore(
        self, start: TrainState, model_config: UnisalConfig
    ) -> tuple[TrainState, State | None, int, Validations]:
        """Restores the latest checkpoint, bit-identical in all processes; returns `start` if there is none.

        Args:
          start: the state before the first step.
          model_config: the config that the variables must fit.

        Returns:
          (state; position of the data loader, None at the start; number of skipped steps; validations so
          far).

        Raises:
          UnisalError: the checkpoint or the list of validations is damaged.
        """
        state = start
        rest: dict[str, Any] = {"position": None, "skipped": 0, "validations": []}
        if self._manager is not None:
            found = checkpoints.restore(self._manager, start, model_config)
            if found is not None:
                state, rest["position"], rest["skipped"] = found
            step = int(state.step)
            rest["validations"] = [
                entry for entry in read_list(self.path / VALIDATIONS) if entry.get("step", step + 1) <= step
            ]
            self._check_best(rest["validations"], start, model_config, step)
            starts = [*read_list(self.path / SURROUNDINGS), surroundings(self.config.seed, step)]
            write_json(self.path / SURROUNDINGS, starts)
            self._logs = Logs(self.path, step)
        rest = json.loads(processes.share(json.dumps(rest).encode()))
        state = flax.serialization.from_bytes(state, processes.share(flax.serialization.to_bytes(state)))
        if rest["validations"]:
            self._keep_best(rest["validations"])
        return state, rest["position"], rest["skipped"], rest["validations"]

    def save(
        self,
        state: TrainState,
        model_config: UnisalConfig,
        position: State,
        skipped: int,
        validations: Validations,
    ) -> None:
        """Writes a checkpoint in the background, see `checkpoints.save`."""
        if self._manager is not None:
            checkpoints.save(self._manager, state, model_config, self.config.domains, position, skipped)
            self._prune(validations)
            self._publish()

    def write(self, kind: str, step: int, scalars: Mapping[str, float], **about: Any) -> None:
        """Logs scalars, see `Logs.write`."""
        if self._logs is not None:
            self._logs.write(kind, step, scalars, **about)

    def show(self, domain: str, epoch: int, step: int, sheet: np.ndarray) -> None:
        """Writes an image of a domain's validation, uint8 RGB [H, W, 3], as a file and for TensorBoard."""
        if self._logs is not None:
            folder = self.path / IMAGES / domain
            with write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{epoch:03}.png", sheet)
            self._logs.show(f"validation/{domain}", step, sheet)

    def note(self, validations: Validations) -> None:
        """Writes the last validation, and updates `best`."""
        if self._logs is None:
            return
        last = validations[-1]
        write_json(self.path / VALIDATIONS, validations)
        for name, scores in last["scores"].items():
            self.write("validation", last["step"], scores, domain=name, epoch=last["epoch"] - 1)
        self._keep_best(validations)
        self._prune(validations)
        self._publish()

    def best(self, validations: Validations) -> int | None:
        """The step of the best validation whose checkpoint exists; only damaged checkpoints are missing."""
        if self._manager is None:
            return best_step(self.config, validations)
        there = set(self._manager.all_steps())
        return best_step(self.config, [entry for entry in validations if entry["step"] in there])

    def _check_best(
        self, validations: Validations, start: TrainState, model_config: UnisalConfig, latest: int
    ) -> None:
        """Moves damaged best checkpoints away, so that `best` never points to one."""
        while (best := self.best(validations)) not in (None, latest):
            error = checkpoints.failure(self._manager, best, start, model_config)
            if error is None:
                break
            line = checkpoints.set_aside(self._manager, best, error)
            logger.warning("%s; %s is now the next best checkpoint", line, BEST)
        link = self.path / BEST
        if link.is_file() or (link.is_symlink() and not link.exists()):
            link.unlink()

    def _keep_best(self, validations: Validations) -> None:
        best = self.best(validations)
        if self._manager is not None and best is not None:
            checkpoints.link_best(self._manager, best, self.path / BEST)

    def _publish(self) -> None:
        """Uploads the folder, after waiting until the last checkpoint is written."""
        if self._send is not None and self._manager is not None and self._logs is not None:
            self._manager.wait_until_finished()
            self._logs.flush()
            self._send()

    def _prune(self, validations: Validations) -> None:
        checkpoints.prune(self._manager, self.config.checkpoints.keep, self.best(validations))


def best_step(config: TrainConfig, validations: Validations) -> int | None:
    """The step with the best score (`config.best`); the first of equals."""
    scores = [entry["scores"][config.best_domain] for entry in validations]
    best = min(range(len(scores)), key=lambda place: cost(config, scores[place]), default=None)
    return None if best is None else int(validations[best]["step"])


def impatient(config: TrainConfig, validations: Validations) -> bool:
    """Whether the last `patience` validations brought no improvement."""
    steps = [entry["step"] for entry in validations]
    best = best_step(config, validations)
    return config.patience is not None and len(steps) - 1 - steps.index(best) >= config.patience


def cost(config: TrainConfig, scores: Mapping[str, float]) -> float:
    """The score to select by, negated if higher is better, so that lower is better."""
    score = scores[config.best.metric]
    return -score if config.best.metric in _RISING else score
