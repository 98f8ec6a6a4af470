"""Random damage to bytes, and the rules for readers of damaged files; used by `tests/fuzz`."""

import faulthandler
import os
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.media.video_writer import VideoWriter

EACH = 1000  # inputs per format
COUNTED: dict[str, int] = {}
SECONDS = 20
# Memory growth allowed to a reader: an image of the largest size, as decoded plus as RGB, takes 1 GB.
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
        # Headers contain the sizes.
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


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def made_up(count: int = EACH) -> settings:
    """Hypothesis settings for a number of reproducible examples."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def snapshot(folder: Path) -> dict[str, object]:
    """The content of a folder: bytes of files, targets of links."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            shown = os.path.relpath(path, folder)
            if path.is_symlink():
                found[shown] = os.readlink(path)
            else:
                found[shown] = path.read_bytes() if path.is_file() else path.is_dir()
    return found


def npy_header(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def whole_files(folder: Path) -> dict[str, bytes]:
    """The bytes of one small intact file of each format."""
    frames = [np.full((24, 32, 3), 80 * number, np.uint8) for number in range(3)]
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(folder / "a.png")
    images[1].save(folder / "a.jpg")
    images[0].save(folder / "a.gif", save_all=True, append_images=images[1:])
    with VideoWriter(folder / "a.mp4", (24, 32), 6) as writer:
        for frame in frames:
            writer.write(frame)
    found = {suffix: (folder / f"a.{suffix}").read_bytes() for suffix in ("png", "jpg", "gif", "mp4")}
    return {**found, "text": b"hello", "empty": b""}


class Guard:
    """Counts inputs. A reader may return, or raise a one-line UnisalError that begins with the path.

    Raises:
      AssertionError: another error or message, more than `GROWTH` memory, or more than `SECONDS`.
    """

    def __init__(self) -> None:
        self.inputs, self.refused = 0, 0
        self._before = _peak()

    def check(self, read: Callable[[Path], object], path: Path, shown: str, named: str = "") -> None:
        """Runs one reader on one file.

        Args:
          shown: identifies the input in a failure.
          named: how an error may name the file instead of by its path.
        """
        self.inputs += 1
        # The alarm interrupts Python code; a loop in C ignores it, so the process is then ended.
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
    """Checks that the reader refused some inputs; else it does not read them."""
    assert 0 < guard.refused <= guard.inputs
    COUNTED[kind] = COUNTED.get(kind, 0) + guard.inputs
