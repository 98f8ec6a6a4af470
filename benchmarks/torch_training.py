"""The PyTorch side of `benchmarks.train_step`: the original network in a plain training loop.

The network is the authors' code, imported from the wheel with the released weights: it processes one frame
after the other in encoder and decoder, and applies the 41x41 kernel at the input size. The step follows
section 4.1 of the paper: loss, SGD with two parameter groups, clipping by the joint norm.
"""

import hashlib
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from unisal_jax.data.examples import Arrays
from unisal_jax.normalization import RGB_MEAN, RGB_STD
from unisal_jax.train.losses import PAPER_LOSS
from unisal_jax.train.optimizer import OptimizerConfig
from unisal_jax.weights.fetch import WHEEL_REQUIREMENT, fetch

# The checksum is required, since code from this file is executed.
WHEEL_SHA256 = "34dfcc6cfbf3c142c927345f18baf5f16219b017997c247ed69bb5205130b629"
_CODE = "pyautoflip/3rd_party_libs/unisal/"
# Without the package's __init__, which imports its datasets and trainer with their dependencies.
_MODULES = ("model", "utils", "models/MobileNetV2", "models/cgru")


def extract_original(folder: Path) -> None:
    """Downloads the wheel with pip and extracts the network's modules to `folder`, as a package `unisal`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), WHEEL_REQUIREMENT], check=True)
    (wheel,) = folder.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{WHEEL_REQUIREMENT}: not the expected file, sha256 {digest}")
    with zipfile.ZipFile(wheel) as archive:
        for module in _MODULES:
            target = folder / "unisal" / f"{module}.py"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(f"{_CODE}unisal/{module}.py"))


class TorchTraining:
    """Training of one domain on the CPU, from the released weights; runs in a separate process."""

    def __init__(self, code: str, source: str, optimizer: OptimizerConfig, lr: float, dtype: str):
        sys.path.insert(0, code)
        self.source, self.config, self.lr, self.dtype = source, optimizer, lr, dtype
        torch.set_default_dtype(getattr(torch, dtype))  # the network creates its states in the default dtype

    def check(self, arrays: Arrays, steps: int) -> list[tuple[float, float]]:
        """(loss, gradient norm before clipping) of the first steps without dropout."""
        self.start(arrays, dropout=False)
        return [self._step() for _ in range(steps)]

    def start(self, arrays: Arrays, dropout: bool = True) -> None:
        """Creates model, optimizer and batch."""
        self.model = self._build_model(dropout)
        config = self.config
        encoder = list(self.model.cnn.parameters())
        theirs = {id(parameter) for parameter in encoder}
        rest = [parameter for parameter in self.model.parameters() if id(parameter) not in theirs]
        self.sgd = torch.optim.SGD(
            [
                {"params": rest, "lr": self.lr, "weight_decay": config.weight_decay},
                {
                    "params": encoder,
                    "lr": self.lr * config.encoder_lr_scale,
                    "weight_decay": config.encoder_weight_decay,
                },
            ],
            momentum=config.momentum,
        )
        self.batch = as_tensors(arrays, self.dtype)

    def step(self) -> tuple[float, float]:
        """Takes a step; returns (wall seconds, CPU seconds of all cores)."""
        start, cpu = time.perf_counter(), time.process_time()
        loss, _ = self._step()
        seconds = time.perf_counter() - start, time.process_time() - cpu
        if not np.isfinite(loss):
            raise SystemExit(f"PyTorch: the loss is {loss}")
        return seconds

    def peak_bytes(self) -> int:
        """The process's largest resident size so far (on Linux)."""
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def _build_model(self, dropout: bool) -> nn.Module:
        model = import_module("unisal.model").UNISAL(cnn_cfg={"pretrained": False})
        model.load_state_dict(torch.load(fetch("unisal"), map_location="cpu", weights_only=True))
        model.to(getattr(torch, self.dtype)).train()
        model.cnn.eval()  # its batch norms use the running statistics
        if not dropout:
            for module in model.modules():
                if isinstance(module, nn.Dropout2d):
                    module.eval()
            for cell in model.rnn.cell_list:
                cell.drop_prob = (0.0, 0.0, 0.0)
        return model

    def _step(self) -> tuple[float, float]:
        # Sets gradients to None, so that SGD does not update parameters that this domain does not use.
        self.sgd.zero_grad()
        frames, maps, fixations = self.batch
        log_density = self.model(frames, target_size=maps.shape[-2:], source=self.source)
        loss = saliency_loss(log_density[:, :, 0], maps, fixations)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or float("inf"))
        self.sgd.step()
        return loss.item(), norm.item()


def as_tensors(arrays: Arrays, dtype: str) -> Sequence[torch.Tensor]:
    """(normalised frames [B, T, 3, h, w], maps that sum to 1 and fixations, both [B, T, H, W])."""
    pixels = arrays.frames.astype(dtype) / 255
    frames = (pixels - np.asarray(RGB_MEAN, dtype)) / np.asarray(RGB_STD, dtype)
    maps = arrays.maps / arrays.maps.sum((-2, -1), keepdims=True, dtype=dtype)
    fixations = np.unpackbits(arrays.fixations, axis=-1)[..., : maps.shape[-1]].astype(bool)
    channels_first = np.ascontiguousarray(np.moveaxis(frames, -1, 2))
    return torch.from_numpy(channels_first), torch.from_numpy(maps), torch.from_numpy(fixations)


def saliency_loss(log_density: torch.Tensor, maps: torch.Tensor, fixations: torch.Tensor) -> torch.Tensor:
    """KLD - 0.1 CC - 0.1 NSS of each frame, mean over batch and time (paper, section 3.4)."""
    pixels = (-2, -1)
    density = log_density.exp()
    kld = functional.kl_div(log_density, maps, reduction="none").sum(pixels)
    # Both standard deviations are unbiased; the factors cancel in the correlation.
    standard = (density - density.mean(pixels, keepdim=True)) / density.std(pixels, keepdim=True)
    truth = (maps - maps.mean(pixels, keepdim=True)) / maps.std(pixels, keepdim=True)
    cc = (standard * truth).sum(pixels) / (maps.shape[-2] * maps.shape[-1] - 1)
    nss = (standard * fixations).sum(pixels) / fixations.sum(pixels)
    return (PAPER_LOSS.kld * kld + PAPER_LOSS.cc * cc + PAPER_LOSS.nss * nss).mean()
