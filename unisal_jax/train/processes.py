"""Training with several processes: how they connect and synchronise.

Each process reads its part of the data and updates the same state. Only the first process accesses the
workdir and sends the others what it reads, so that they need not share a disk.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from unisal_jax.errors import UnisalError


def start(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> None:
    """Connects to the other processes. Call it before any other use of JAX.

    Without arguments, it connects to the processes of the cluster that JAX detects (Cloud TPU pods, Slurm,
    Open MPI, Kubernetes). It does nothing outside a cluster, or if the program has already used JAX.

    Args:
      coordinator: HOST:PORT of the first process.
      count: number of processes.
      index: number of this process, from 0.

    Raises:
      UnisalError: only some of the arguments are given, or the other processes cannot be reached.
    """
    given = (coordinator, count, index)
    alone = given == (None, None, None)
    if not alone and (coordinator is None or count is None or index is None):
        raise UnisalError("--coordinator, --processes and --process: pass all three, or none in a cluster")
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise UnisalError(f"--coordinator: {coordinator} is not HOST:PORT")
    if count is not None and index is not None and not 0 <= index < count:
        raise UnisalError(f"--process: {index} is not one of {count}, numbered from 0")
    try:
        jax.distributed.initialize(coordinator, count, index)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UnisalError(f"cannot connect to the other processes ({reason})") from error
    except (ValueError, RuntimeError) as error:
        # JAX's errors if it detects no cluster or has already been used.
        if not alone or "JAX_COORDINATOR_ADDRESS" in os.environ:
            raise UnisalError(f"cannot connect to the other processes ({error})") from error


def is_first() -> bool:
    """Whether this is the first process, which writes the workdir."""
    return jax.process_index() == 0


def share(content: bytes) -> bytes:
    """Broadcasts the first process's content to all. All processes must call it."""
    if jax.process_count() == 1:
        return content
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    # As bytes: JAX broadcasts by a sum, which loses the sign of a floating-point zero.
    buffer = np.zeros(length, np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(buffer)).tobytes()


def in_turn(action: Callable[[], None]) -> None:
    """Calls `action` in one process after the other."""
    for turn in range(jax.process_count()):
        if turn == jax.process_index():
            action()
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"turn {turn}")


class StopSignal:
    """Whether to save and stop, after SIGTERM or a pod's preemption notice.

    All processes must call it equally often, at the same places. They get the same answer.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._stopped = False
        self._event = threading.Event()

    def __call__(self) -> bool:
        """Whether to stop; once True, it stays True."""
        self._asked += 1
        if jax.process_count() == 1:
            return self._event.is_set()
        # JAX forwards the notice that one process gets to the others, and they agree on the step.
        self._stopped = self._stopped or multihost_utils.reached_preemption_sync_point(self._asked)
        return self._stopped

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles SIGTERM while the block runs."""
        mine = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        if not mine:  # with several processes JAX handles it; only the main thread may install handlers
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: self._event.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
