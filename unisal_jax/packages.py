"""The packages that this one requires, as in its installed metadata, and their installed versions."""

import importlib.metadata
import importlib.util
import sys
from typing import TYPE_CHECKING

from unisal_jax.errors import UnisalError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_NAME = "unisal-jax"

# Extra -> what it enables.
EXTRAS = {
    "analysis": "unisal analyze: the paper's figures; unisal score-regions --plot",
    "beam": "unisal prepare --beam-runner: prepare datasets on many machines",
    "docs": "make docs: the documentation as a site",
    "export": "unisal export --format stablehlo",
    "gcs": "unisal train --workdir gs://bucket/folder",
    "heif": "HEIC images, as from phones",
    "hub": "weights on the Hugging Face Hub: hf://owner/name, and uploads",
    "ray": "unisal predict --ray: distribute inputs over a cluster",
    "submit": "unisal submit mit300, cat2000 and coco-freeview: HDF5 submissions",
    "tpu": "training on TPUs, and compiling for TPUs on any machine: make tpu",
    "tflite": "unisal export --format tflite",
    "torch": "comparison with PyTorch in unisal benchmark and in the tests",
}


def version(package: str) -> str | None:
    """The installed version of a package, by its name on PyPI; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements(extra: str = "") -> "list[Requirement]":
    """The requirements of the package on this system, or those that one of its extras adds.

    Empty if the package is not installed, as when it runs from a source folder.
    """
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(_NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [each for each in map(Requirement, lines) if _adds(each, extra)]


def install_command(extra: str) -> str:
    """The command that installs the requirements of an extra, for a message: `pip install "h5py>=3.11"`.

    It names the packages themselves, as this one is not on PyPI. The Windows shell requires double quotes.
    """
    found = []
    for each in requirements(extra):
        each.marker = None
        found.append(each.name if str(each) == each.name else f'"{each}"')
    # Without metadata, the package runs from a source folder, whose extras pip can install.
    return f"pip install {' '.join(found)}" if found else f'pip install ".[{extra}]"'


def check_array_record(what: str) -> None:
    """Refuses `what` if array_record, which reads and writes prepared datasets, is missing.

    Raises:
      UnisalError: it is missing; the message says what to do.
    """
    if importlib.util.find_spec("array_record") is None:
        cure = "install it with: pip install array_record"
        if sys.platform == "win32":
            cure = "it has no release for Windows, use Linux, macOS or WSL"
        raise UnisalError(f"{what} requires array_record; {cure}")


def _adds(requirement: "Requirement", extra: str) -> bool:
    marker = requirement.marker
    if marker is None:
        return not extra
    of_all = marker.evaluate({"extra": ""})
    return not of_all and marker.evaluate({"extra": extra}) if extra else of_all
