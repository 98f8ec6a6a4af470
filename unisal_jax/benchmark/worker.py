"""A process that does one program's steps when it is told to: `python -m unisal_jax.benchmark.worker`.

So that programs with threads of their own, which spin for a while after their work, do not take the cores
from each other: each has a process, and the parent (`workers.py`) lets one work at a time. Requests come and
answers go as lines of JSON:

    {"open": JOB, "arguments": {...}, "maps": FOLDER}  ->  {"tasks": [...], "facts": {...}}
    {"task": TASK, "steps": N}                         ->  {"seconds": [...]}
    {"usage": true}                                    ->  {"idle_s", "idle_cpu_s", "peak_mb"}

or {"error": REASON}. The first result of each task is kept as FOLDER/TASK.npy.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.benchmark.jobs import JOBS, Job
from unisal_jax.benchmark.measure import peak_megabytes
from unisal_jax.errors import UnisalError

_SETTLED = 0.1  # of a core
_LOOK_SECONDS, _LOOKS = 0.01, 100


class Worker:
    """What a worker process knows: its job, and the CPU time that it used while it had nothing to do."""

    def __init__(self) -> None:
        self._job = Job({})
        self._idle_s = self._idle_cpu_s = 0.0
        self._waiting_since: tuple[float, float] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what a request asks."""
        if self._waiting_since is not None:
            wall, cpu = self._waiting_since
            self._idle_s += time.perf_counter() - wall
            self._idle_cpu_s += time.process_time() - cpu
        self._waiting_since = None
        if "open" in request:
            reply = self._open(request["open"], request["arguments"], Path(request["maps"]))
        elif "task" in request:
            reply = {"seconds": self._run(request["task"], request["steps"])}
        else:
            peak = self._job.peak_megabytes or peak_megabytes
            reply = {"idle_s": self._idle_s, "idle_cpu_s": self._idle_cpu_s, "peak_mb": peak()}
        _settle()
        self._waiting_since = time.perf_counter(), time.process_time()
        return reply

    def _open(self, job: str, arguments: dict[str, Any], maps: Path) -> dict[str, Any]:
        self._job = JOBS[job](**arguments)
        for task, step in self._job.steps.items():
            first = step()
            if isinstance(first, np.ndarray):
                np.save(maps / f"{task}.npy", first if self._job.logs else np.log(first))
            # Another program may come with the second, whose state is not zero.
            step()
        return {"tasks": list(self._job.steps), "facts": self._job.facts}

    def _run(self, task: str, steps: int) -> list[float]:
        step = self._job.steps[task]
        step()  # wakes the threads and fills the caches after the others' work; not counted
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        return seconds


def _settle() -> None:
    """Waits until the threads no longer spin, a second at most."""
    for _ in range(_LOOKS):
        before = time.process_time()
        time.sleep(_LOOK_SECONDS)
        if time.process_time() - before < _SETTLED * _LOOK_SECONDS:
            return


def main() -> None:
    """Answers requests until there are no more."""
    with contextlib.suppress(KeyboardInterrupt), os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)  # what others' software prints is no answer
        worker = Worker()
        for line in sys.stdin:
            try:
                reply = worker.answer(json.loads(line))
            except UnisalError as error:
                reply = {"error": str(error)}
            except Exception as error:  # whatever another's software does, the others are to be measured
                first = str(error).strip().partition("\n")[0]
                reply = {"error": f"{type(error).__name__}: {first}"}
            print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
