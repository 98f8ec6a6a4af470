"""The wheel with the public ONNX file and the original code (`weights.fetch.WHEEL_REQUIREMENT`)."""

import contextlib
import importlib.util
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.weights.fetch import WHEEL_REQUIREMENT

PUBLIC_FILE = "detection/unisal.onnx"
ORIGINAL_CODE = "3rd_party_libs/unisal/unisal"
ORIGINAL_WEIGHTS = "3rd_party_libs/unisal/training_runs/pretrained_unisal/weights_best.pth"
_PACKAGE = "pyautoflip"


@contextlib.contextmanager
def unpacked(wheel: Path | None) -> Iterator[Path | None]:
    """The folder of the package: from a wheel, from the folder it was unpacked to, or installed; else None.

    Raises:
      UnisalError: `wheel` is not this package.
    """
    if wheel is None:
        spec = importlib.util.find_spec(_PACKAGE)
        yield Path(spec.origin).parent if spec and spec.origin else None
        return
    with tempfile.TemporaryDirectory() as folder:
        if wheel.is_file():
            try:
                with zipfile.ZipFile(wheel) as archive:
                    wanted = (PUBLIC_FILE, ORIGINAL_CODE, ORIGINAL_WEIGHTS)
                    prefixes = tuple(f"{_PACKAGE}/{part}" for part in wanted)
                    archive.extractall(folder, [n for n in archive.namelist() if n.startswith(prefixes)])
            except zipfile.BadZipFile as error:
                raise UnisalError(f"{wheel}: not a wheel") from error
        root = (Path(folder) if wheel.is_file() else wheel) / _PACKAGE
        if not (root / PUBLIC_FILE).is_file():
            raise UnisalError(f"{wheel}: not the wheel {WHEEL_REQUIREMENT}, nor a folder it was unpacked to")
        yield root
