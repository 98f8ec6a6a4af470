"""What a training writes down besides its checkpoints: scalars, images, lists, what it ran on."""

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
    """Scalars, to `metrics.jsonl` and for TensorBoard alike."""

    def __init__(self, workdir: Path, step: int):
        """Goes on after `step`: what a killed run wrote of later steps is removed, as they come again."""
        path = workdir / SCALARS
        kept = [line for line in _lines(path) if _step_of(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        folder = workdir / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        # Its files are named after the computer, which is nobody's business and no help.
        number = len(list(folder.glob("events.*.run")))
        for path in folder.glob("*.tfevents.*"):
            if not path.name.endswith(".run"):
                start = path.name.split(".")[3]
                path.rename(folder / f"events.out.tfevents.{start}.{number}.run")

    def write(self, kind: str, step: int, scalars: Mapping[str, float], **about: Any) -> None:
        """Writes the scalars of one step, under `kind/NAME`, or `kind/DOMAIN/NAME` if `domain` is given."""
        entry = {"kind": kind, "step": step, **about, **scalars}
        self._file.write(json.dumps(entry, sort_keys=True) + "\n")
        self._file.flush()
        prefix = f"{kind}/{about['domain']}" if "domain" in about else kind
        for name, value in scalars.items():
            self._writer.add_scalar(f"{prefix}/{name}", value, step)

    def show(self, name: str, step: int, image: np.ndarray) -> None:
        """Gives TensorBoard an image, uint8 RGB [H, W, 3]."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Writes what TensorBoard's file still waits for."""
        self._writer.flush()

    def close(self) -> None:
        """Ends both files."""
        self._file.close()
        self._writer.close()


def read_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects; an empty one if there is no such file.

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
    """What decides on a run's numbers and speed besides its config; no names of people or computers.

    Args:
      seed: of the run.
      step: how many steps were taken before this start.
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
    """The commit of the checkout that the package is imported from, `+` for changed files; None elsewhere."""
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
        return float("inf")  # cut off by a kill: drop it
