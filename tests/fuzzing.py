"""Damage to bytes, and the rules that a reader of files must keep under it: used by `test_fuzz_*.py`."""

import faulthandler
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from unisal_jax.errors import UnisalError

EACH = 1000  # inputs of a kind
COUNTED: dict[str, int] = {}
SECONDS = 20
# What a reader may take beyond what the process had: a picture of the largest size that is read, as it is
# decoded and as RGB, is 1 GB.
GROWTH = 2 << 30
_EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x00\x00\x00",
    b"\xff" * 8,
    b"\0" * 8,
)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four random damages: bits, edge values, cuts, repeats, swaps and noise."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at = int(rng.integers(len(data)))
        # Headers are where the sizes are.
        at = at if rng.random() < 0.5 else at % min(len(data), 200)
        length = int(rng.integers(1, 33))
        kind = rng.integers(8)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            edge = _EDGES[rng.integers(len(_EDGES))]
            data[at : at + len(edge)] = edge
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 4))
        elif kind == 5:
            other = int(rng.integers(len(data)))
            data[at : at + length] = data[other : other + length]
        elif kind == 6:
            data[at : at + length] = rng.bytes(length)
        else:
            data[at:at] = rng.bytes(length)
    return bytes(data)


class Guard:
    """Counts inputs; a reader may return, or raise UnisalError in one line that begins with the path.

    Raises:
      AssertionError: another error, another message, more than `GROWTH` memory, or more than `SECONDS`.
    """

    def __init__(self) -> None:
        self.inputs, self.refused = 0, 0
        self._before = _peak()

    def check(self, read: Callable[[Path], object], path: Path, shown: str, named: str = "") -> None:
        """Runs one reader on one file.

        Args:
          shown: says in a failure which input it was.
          named: by what an error may call the culprit where it is not by the path.
        """
        self.inputs += 1
        # The alarm stops what runs Python; a loop in C would ignore it, so the process is ended then.
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
        try:
            read(path)
        except UnisalError as error:
            self.refused += 1
            assert str(path) in str(error) or (named and named in str(error)), (
                f"{shown}: does not name the file: {error}"
            )
            assert "\n" not in str(error), f"{shown}: {str(error)!r} is not one line"
        except BaseException as error:
            raise AssertionError(f"{shown}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
        assert _peak() - self._before < GROWTH, f"{shown}: took {(_peak() - self._before) >> 20} MiB"


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took more than {SECONDS} s")


def counted(kind: str, guard: Guard) -> None:
    """A reader that refuses nothing reads nothing."""
    assert 0 < guard.refused <= guard.inputs
    COUNTED[kind] = COUNTED.get(kind, 0) + guard.inputs
