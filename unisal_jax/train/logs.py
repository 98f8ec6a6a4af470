"""Logs of a training: scalars, images, lists, and the environment that it ran in."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter

from unisal_jax.errors import UnisalError
from unisal_jax.files import write_text
from unisal_jax.packages import version

SCALARS = "metrics.jsonl"
_PACKAGES = ("unisal-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Logs:
    """Writes scalars to `metrics.jsonl` and for TensorBoard."""

    def __init__(self, workdir: Path, step: int):
        """Continues after `step`, and removes what an interrupted run logged of later steps."""
        path = workdir / SCALARS
        kept = [line for line in _lines(path) if _step_of(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        folder = workdir / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        # TensorBoard's file names contain the computer's name, which should stay private.
        number = len(list(folder.glob("events.*.run")))
        for path in folder.glob("*.tfevents.*"):
            if not path.name.endswith(".run"):
                start = path.name.split(".")[3]
                path.rename(folder / f"events.out.tfevents.{start}.{number}.run")

    def write(self, kind: str, step: int, scalars: Mapping[str, float], **about: Any) -> None:
        """Writes the scalars of one step as `kind/NAME`, or as `kind/DOMAIN/NAME` if `domain` is given."""
        entry = {"kind": kind, "step": step, **about, **scalars}
        self._file.write(json.dumps(entry, sort_keys=True) + "\n")
        self._file.flush()
        prefix = f"{kind}/{about['domain']}" if "domain" in about else kind
        for name, value in scalars.items():
            self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def show(self, name: str, step: int, image: np.ndarray) -> None:
        """Writes an image, uint8 RGB [H, W, 3], for TensorBoard."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Flushes the buffer of TensorBoard's file."""
        self._writer.flush()

    def close(self) -> None:
        """Closes both files."""
        self._file.close()
        self._writer.close()


def read_list(path: Path) -> list[dict[str, Any]]:
    """Reads a JSON list of objects; an empty list if there is no such file.

    Raises:
      UnisalError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("not a list of objects")
    except (OSError, ValueError) as error:
        raise UnisalError(f"{path}: damaged ({error})") from error
    return entries


def surroundings(seed: int, step: int) -> dict[str, Any]:
    """What affects a run's results and speed besides its config; contains no names of users or computers.

    Args:
      seed: the run's seed.
      step: number of steps before this start.
    """
    devices = jax.devices()
    return {
        "step": step,
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) or "not installed" for name in _PACKAGES},
        },
        "system": f"{sys.platform} {platform.machine()}",
        "cpus": os.cpu_count(),
        "devices": {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
        "seed": seed,
    }


def _commit() -> str | None:
    """The commit of the checkout that the package is imported from, with `+` for changes; None if unknown."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        run = ["git", "-C", str(checkout)]
        commit = subprocess.check_output([*run, "rev-parse", "HEAD"], stderr=subprocess.DEVNULL).decode()
        changed = subprocess.check_output([*run, "status", "--porcelain"], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+" if changed else "")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # an incomplete line of an interrupted run, to be dropped
