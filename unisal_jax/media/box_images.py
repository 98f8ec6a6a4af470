"""AVIF and HEIC images: the header is read here, and the pixels by `box_decoder` in a process of its own."""

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

# Beside the pixels: the interpreter, libraries, and threads' stacks.
_SLACK_BYTES = 1 << 30
_LINE_BYTES = 10_000
# SIGKILL and SIGXCPU, as Popen gives them.
_STOPPED = (-9, -24)
_PROGRAM = str(Path(__file__).with_name("box_decoder.py"))


class BoxImage(Image.Image):
    """An image that is decoded when it is loaded: RGB, upright.

    Args:
      file: the container; kept until the image is loaded.
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
        """Decodes the image, unless that was done.

        Raises:
          Excess: it takes too long, too much memory, or is larger than its header says.
          ValueError: it is damaged.
        """
        if self._im is None:
            self._file.seek(0)
            decoded = _decode(self._file.read(), str(self.format), self.coded_pixels)
            self.im, self._size = decoded.im, decoded.size
        return super().load()


def open_box_image(name: str | Path, file: BinaryIO, form: str) -> BoxImage:
    """The image of a container with its header read.

    Raises:
      UnisalError: there is none, or the file is too large to be held in memory.
    """
    try:
        image = BoxImage(file, form)
    except NoImage as error:
        raise UnisalError(f"{name}: {error}") from error
    if image.file_bytes > MAX_BOX_FILE_BYTES:
        raise UnisalError(f"{name}: an {form} file of more than {MAX_BOX_FILE_BYTES >> 20} MiB")
    return image


def is_box_still(path: Path) -> bool:
    """Whether a file is an AVIF or HEIC image and no animation, which is a video file as others are."""
    with path.open("rb") as file:
        return box_format(file.read(64)) is not None and count_frames(path) == 1


def _decode(data: bytes, form: str, most: int) -> Image.Image:
    """Runs the decoder on a file; `most` is how many pixels may come."""
    limits = (str(round(MAX_READ_SECONDS)), str(MAX_HELD_BYTES + _SLACK_BYTES))
    # -P: beside the program lie modules whose names others have too.
    command = [sys.executable, "-P", _PROGRAM, form, *limits]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        late = threading.Event()

        def stop() -> None:
            late.set()
            child.kill()

        # Where the system limits no processor time, or the decoder waits for itself.
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
        raise Excess(f"reading it takes more than {MAX_READ_SECONDS:g} seconds, or too much memory")
    raise ValueError("its decoder ended early")


def _received(child: subprocess.Popen[bytes], data: bytes, most: int) -> Image.Image | None:
    """What the decoder makes of a file; None where it ends before it is done."""
    assert child.stdin is not None and child.stdout is not None
    with contextlib.suppress(OSError):  # BrokenPipeError, and on Windows also EINVAL: its end says why
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
