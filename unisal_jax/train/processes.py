"""Training by several processes: how they find each other, and what they agree on.

Each process reads its share of the data and steps the same state. The first one alone writes, and what
is read from the workdir comes from the first, so that the processes need not share a disk.
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
    """Joins the other processes; before anything else is asked of JAX.

    With no arguments it joins those of the cluster that the process was started in, as JAX finds them
    (Cloud TPU pods, Slurm, Open MPI, Kubernetes); there is nobody to join elsewhere, nor in a program
    that has used JAX already.

    Args:
      coordinator: HOST:PORT of the first process.
      count: how many processes there are.
      index: this one's number, from 0.

    Raises:
      UnisalError: some arguments are given and others are not, or the others cannot be reached.
    """
    given = (coordinator, count, index)
    alone = given == (None, None, None)
    if not alone and (coordinator is None or count is None or index is None):
        raise UnisalError("--coordinator, --processes and --process: give all three, or none in a cluster")
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise UnisalError(f"--coordinator: {coordinator} is not HOST:PORT")
    if count is not None and index is not None and not 0 <= index < count:
        raise UnisalError(f"--process: {index} is not one of {count}, numbered from 0")
    try:
        jax.distributed.initialize(coordinator, count, index)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UnisalError(f"cannot join the other processes ({reason})") from error
    except (ValueError, RuntimeError) as error:
        # JAX's ways to say that it found no cluster, or was used before.
        if not alone or "JAX_COORDINATOR_ADDRESS" in os.environ:
            raise UnisalError(f"cannot join the other processes ({error})") from error


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def share(content: bytes) -> bytes:
    """The first process's content, in every process. All of them must call it."""
    if jax.process_count() == 1:
        return content
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    # As bytes: a sum over processes, which this is, loses the sign of a floating-point zero.
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
    """Whether to save and end: SIGTERM, or a pod's preemption notice.

    All processes must ask equally often, at the same places; they get the same answer.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._stopped = False
        self._event = threading.Event()

    def __call__(self) -> bool:
        """Whether to stop; once true it stays so."""
        self._asked += 1
        if jax.process_count() == 1:
            return self._event.is_set()
        # JAX tells the notice that one process gets to the others, and they agree on when.
        self._stopped = self._stopped or multihost_utils.reached_preemption_sync_point(self._asked)
        return self._stopped

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGTERM for a notice while the block runs."""
        mine = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        if not mine:  # with several processes JAX listens itself; only the main thread may have handlers
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: self._event.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
