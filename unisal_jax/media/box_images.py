"""AVIF and HEIC images: reads the header here and decodes the pixels in a process of `box_decoder`."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_BOX_FILE_BYTES, MAX_BOX_SECONDS, MAX_HELD_BYTES, MAX_READ_SECONDS
from unisal_jax.media.boxes import NoImage, read_header
from unisal_jax.media.formats import box_format
from unisal_jax.media.frame_counts import count_frames
from unisal_jax.media.screening import Excess

# Memory for the interpreter, libraries and thread stacks, in addition to the pixels.
_SLACK_BYTES = 1 << 30
_LINE_BYTES = 10_000
# SIGKILL and SIGXCPU as return codes of Popen.
_STOPPED = (-9, -24)
_PROGRAM = str(Path(__file__).with_name("box_decoder.py"))


class BoxImage(Image.Image):
    """A lazily decoded image: RGB, upright.

    Args:
      file: the container; kept open until the image is loaded.
      form: "AVIF", "HEIC" or "HEIF".

    Raises:
      NoImage: the container holds no image, or its header is damaged.
    """

    def __init__(self, file: BinaryIO, form: str):
        super().__init__()
        header = read_header(file, crops=form != "AVIF")
        self.format = form
        self.coded_pixels = header.coded_pixels
        self._mode, self._size = "RGB", (header.width, header.height)
        self._file = file
        self.file_bytes = file.seek(0, 2)
        if header.icc_profile:
            self.info["icc_profile"] = header.icc_profile

    def load(self) -> Any:
        """Decodes the image once.

        Raises:
          Excess: decoding takes too much time or memory, or the image is larger than its header says.
          ValueError: the image is damaged.
        """
        if self._im is None:
            self._file.seek(0)
            decoded = _decode(self._file.read(), str(self.format), self.coded_pixels)
            self.im, self._size = decoded.im, decoded.size
        return super().load()


def open_box_image(name: str | Path, file: BinaryIO, form: str) -> BoxImage:
    """Opens an AVIF or HEIC image and reads its header.

    Raises:
      UnisalError: the container holds no image, or the file is too large to hold in memory.
    """
    try:
        image = BoxImage(file, form)
    except NoImage as error:
        raise UnisalError(f"{name}: {error}") from error
    if image.file_bytes > MAX_BOX_FILE_BYTES:
        raise UnisalError(f"{name}: the {form} file is larger than {MAX_BOX_FILE_BYTES >> 20} MiB")
    return image


def is_box_still(path: Path) -> bool:
    """Whether a file is a still AVIF or HEIC image. Animations are read as video."""
    with path.open("rb") as file:
        return box_format(file.read(64)) is not None and count_frames(path) == 1


def _decode(data: bytes, form: str, most: int) -> Image.Image:
    """Runs the decoder on a file; `most` is the maximum number of pixels."""
    limits = (str(round(MAX_READ_SECONDS)), str(MAX_HELD_BYTES + _SLACK_BYTES))
    # -P: keeps this folder's modules from shadowing others of the same name.
    command = [sys.executable, "-P", _PROGRAM, form, *limits]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        # For systems without a limit on processor time, and for a decoder that deadlocks.
        timer = threading.Timer(MAX_BOX_SECONDS, stop)
        timer.start()
        try:
            pixels = _received(child, data, most)
        except BaseException:
            child.kill()
            raise
        finally:
            timer.cancel()
    if pixels is not None:
        return pixels
    if late.is_set() or child.returncode in _STOPPED:
        raise Excess(f"decoding takes more than {MAX_READ_SECONDS:g} seconds, or too much memory")
    raise ValueError("the decoder ended early")


def _received(child: subprocess.Popen[bytes], data: bytes, most: int) -> Image.Image | None:
    """Returns the decoded image; None if the decoder ended early."""
    assert child.stdin is not None and child.stdout is not None
    # BrokenPipeError, and on Windows also EINVAL. The output or the exit status says why.
    with contextlib.suppress(OSError):
        child.stdin.write(data)
        child.stdin.close()
    line = child.stdout.readline(_LINE_BYTES)
    said = json.loads(line) if line else {}
    if "error" in said:
        raise ValueError(said["error"])
    if said:
        width, height = said["size"]
        if width * height > most:
            raise Excess("it is larger than its header says")
        pixels = child.stdout.read(3 * width * height)
        if len(pixels) == 3 * width * height:
            return Image.frombytes("RGB", (width, height), pixels)
    child.wait()
    return None
