"""The parent's side of the worker processes: starts them, and lets one work at a time."""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unisal_jax.errors import UnisalError

# Duration of a block of steps: short, so that other load on the machine affects neighbouring blocks alike.
_BLOCK_SECONDS = 0.1
_FEWEST_STEPS, _MOST_STEPS = 5, 50
_END_SECONDS = 2


class Process:
    """A worker process; see `worker.py`.

    Args:
      name: name of the program.
      job: name of its job in `jobs.JOBS`.
      arguments: arguments of the job.
      environment: additional environment variables.

    Raises:
      UnisalError: the job cannot be started; the message is the reason.
    """

    def __init__(
        self, name: str, job: str, arguments: dict[str, Any], environment: dict[str, str] | None = None
    ):
        self.name = name
        self.maps: dict[str, np.ndarray] = {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unisal_jax.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            # Several processes share the memory of an accelerator.
            env={"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, **(environment or {})},
        )
        try:
            with tempfile.TemporaryDirectory() as folder:
                opened = self._ask({"open": job, "arguments": arguments, "maps": folder})
                self.maps = {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}
        except BaseException:
            self.close()
            raise
        self.tasks: list[str] = opened["tasks"]
        self.facts: dict[str, Any] = opened["facts"]

    def run(self, task: str, steps: int) -> np.ndarray:
        """Runs steps of a task one after the other; returns the seconds of each, [steps]."""
        return np.asarray(self._ask({"task": task, "steps": steps})["seconds"])

    def usage(self) -> dict[str, Any]:
        """`peak_mb` of memory, and `idle_cpu_s` of CPU time during `idle_s` seconds without requests.

        `peak_mb` is None if the system does not provide it.
        """
        return self._ask({"usage": True})

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=_END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{json.dumps(request)}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:  # BrokenPipeError, and on Windows also EINVAL
            line = ""
        reply: dict[str, Any] = json.loads(line) if line else {"error": self._last_words()}
        if "error" in reply:
            raise UnisalError(reply["error"])
        return reply

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"the process of {self.name} ended with status {status}" + (f" ({said[-1]})" if said else "")


class Turn(NamedTuple):
    """A task of a process, which runs once per round."""

    process: Process
    task: str


def take_turns(turns: Sequence[Turn], rounds: int) -> tuple[dict[Turn, np.ndarray], dict[Turn, str]]:
    """Runs each task for a block of steps in each of `rounds` rounds.

    The first task changes from round to round, and every second round is reversed, so that no task always
    follows the same one.

    Returns:
      (seconds [rounds, steps] by task; reasons by task whose process failed).
    """
    lost: dict[Turn, str] = {}
    steps: dict[Turn, int] = {}
    found: dict[Turn, list[np.ndarray]] = {turn: [] for turn in turns}
    for number in range(-1, rounds):  # the first round determines the steps per block
        for turn in _rotated(turns, number):
            if turn in lost:
                continue
            try:
                seconds = turn.process.run(turn.task, steps.get(turn, _FEWEST_STEPS))
            except UnisalError as error:
                lost[turn] = str(error)
                continue
            if number < 0:
                needed = math.ceil(_BLOCK_SECONDS / float(np.median(seconds)))
                steps[turn] = min(max(needed, _FEWEST_STEPS), _MOST_STEPS)
            else:
                found[turn].append(seconds)
    return {turn: np.stack(blocks) for turn, blocks in found.items() if turn not in lost}, lost


def _rotated(turns: Sequence[Turn], number: int) -> Iterator[Turn]:
    first = number // 2 % len(turns) if turns else 0
    yield from (*turns[first:], *turns[:first])[:: -1 if number % 2 else 1]
