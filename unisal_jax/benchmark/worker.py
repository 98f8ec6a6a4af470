"""A process that runs the steps of one program on request: `python -m unisal_jax.benchmark.worker`.

Threads of a program busy-wait for a while after their work. To keep programs from taking cores from each
other, each has its own process, and the parent (`workers.py`) lets one work at a time. Requests and replies
are lines of JSON:

    {"open": JOB, "arguments": {...}, "maps": FOLDER}  ->  {"tasks": [...], "facts": {...}}
    {"task": TASK, "steps": N}                         ->  {"seconds": [...]}
    {"usage": true}                                    ->  {"idle_s", "idle_cpu_s", "peak_mb"}

or {"error": REASON}. The first result of each task is saved as FOLDER/TASK.npy.
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
    """The state of a worker process: its job, and the CPU time it used while idle."""

    def __init__(self) -> None:
        self._job = Job({})
        self._idle_s = self._idle_cpu_s = 0.0
        self._waiting_since: tuple[float, float] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Processes a request and returns the reply."""
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
            # The second step, with a non-zero state, may require another program.
            step()
        return {"tasks": list(self._job.steps), "facts": self._job.facts}

    def _run(self, task: str, steps: int) -> list[float]:
        step = self._job.steps[task]
        step()  # wakes threads and fills caches after other programs ran; not counted
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        return seconds


def _settle() -> None:
    """Waits until the threads stop busy-waiting, at most a second."""
    for _ in range(_LOOKS):
        before = time.process_time()
        time.sleep(_LOOK_SECONDS)
        if time.process_time() - before < _SETTLED * _LOOK_SECONDS:
            return


def main() -> None:
    """Processes requests until the input ends."""
    with contextlib.suppress(KeyboardInterrupt), os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)  # output of other software must not mix with the replies
        worker = Worker()
        for line in sys.stdin:
            try:
                reply = worker.answer(json.loads(line))
            except UnisalError as error:
                reply = {"error": str(error)}
            except Exception as error:  # a failure of one program must not stop the others
                first = str(error).strip().partition("\n")[0]
                reply = {"error": f"{type(error).__name__}: {first}"}
            print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
