"""The config of an experiment, which `get_config()` in `configs/*.py` returns. Does not import JAX.

The defaults are the paper's. `experiments.py` finds and runs config files and applies `--config.NAME=VALUE`.
`unisal train --config FILE --help` prints the fields with their descriptions from the docstrings here.
"""

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.data.plan import Order
from unisal_jax.data.prepared import Video
from unisal_jax.domains import RELEASED_DOMAINS, SIZE_UNIT, Domain, Size, size_by_aspect
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import experiments
from unisal_jax.train.fields import Field, describe, flat, typed

SYNTHETIC = "synthetic"

# Fields that may change when a run is resumed. A change of any other field makes it a different training.
_FREE = ("epochs", "checkpoints", "patience", "log_every", "skip_nonfinite", "workers", "threads")


@dataclasses.dataclass(frozen=True)
class DomainConfig:
    """One domain and its data.

    Attributes:
      data: Folder of a prepared dataset; or `synthetic` to generate data in the workdir, for released domains
        only.
      batch_size: Clips, or images, per batch, over all devices.
      train_split: Split to train on.
      validation_split: Split to validate on.
      cross_validation_fold: Fold, from 0, of a cross-validated dataset (MIT1003) to hold out of the training
        split for validation, instead of `validation_split`.
      hold_out: Fraction of the training videos, drawn with the seed, to hold out in the same way.
      clips_per_video: Clips drawn from each training video per epoch.
      validation_clips: Clips, at fixed positions, of each validation video; an image has one.
      flip: Mirror each training example with probability 0.5.
      crop: Crop each training example at random, to sides of at least this fraction of the frame's; 1
        disables cropping.
      jitter: Multiply brightness, contrast and saturation of each training example by random factors from
        1 - jitter to 1 + jitter.
      map_sigma: Standard deviation of the Gaussian that the maps were made with, as a fraction of the frame's
        height. It is used to recompute the maps of crops. None crops the frame's map, which enlarges the
        blur.
      input_size: (height, width) of the network's input, multiples of 32. None: the released domain's, or for
        a new domain by the aspect ratio of its images.
      target_size: (height, width) for loss and scores. None: the released domain's, or the input size.
      stride: Frame stride: the interval between frames of one recurrence. None: the released domain's, or 1.
      static: Images rather than videos. None: the released domain's, or for a new domain whether all its
        videos have one frame.
      bn_momentum: Momentum of the batch norms' running statistics. None: the released domain's, or 0.01.
      like: For a new domain, domain of the weights in `init` to copy; None initialises it at random.
    """

    data: str
    batch_size: int = 4
    train_split: str = "train"
    validation_split: str = "validation"
    cross_validation_fold: int | None = None
    hold_out: float | None = None
    clips_per_video: int = 1
    validation_clips: int = 1
    flip: bool = False
    crop: float = 1.0
    jitter: float = 0.0
    map_sigma: float | None = None
    input_size: Size | None = None
    target_size: Size | None = None
    stride: int | None = None
    static: bool | None = None
    bn_momentum: float | None = None
    like: str | None = None


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer. The defaults are the paper's (section 4.1), except `idle`.

    Attributes:
      name: `sgd`, as in the paper, or `adamw` (Loshchilov and Hutter 2019) with beta2 = 0.999.
      lr: Learning rate of the first epoch, before `batch_scale`.
      schedule: Decay of the learning rate: `epochs`, by `epoch_decay` after each epoch, or `cosine`, to zero
        at the last step.
      warmup_steps: Steps of linear learning rate warm-up. None: the first epoch if `batch_scale` is above 1,
        else 0.
      momentum: Momentum of SGD, which includes the weight decay; beta1 of AdamW.
      weight_decay: L2 penalty, added to the gradient; for AdamW, decoupled weight decay.
      encoder_weight_decay: Weight decay of the encoder's parameters.
      encoder_lr_scale: Factor on the learning rate of the encoder.
      epoch_decay: Factor on the learning rate after each epoch.
      clip_norm: Maximum norm of the gradient over all parameters; None disables clipping.
      frozen_encoder_epochs: Number of first epochs in which the encoder is frozen.
      domain_only: Train only each domain's own parameters; everything shared stays unchanged, including
        running statistics.
      domain_lr_scale: Domain name -> factor on the learning rate of its batches; default 1.
      idle: Treatment of parameters that a batch does not use (those of other domains, the bypassed RNN):
        `still` leaves them unchanged; `momentum` lets momentum and weight decay keep changing them in every
        step once they have been trained, as PyTorch 1.0 did in the authors' training.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.04
    schedule: Literal["epochs", "cosine"] = "epochs"
    warmup_steps: int | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    encoder_weight_decay: float = 1e-5
    encoder_lr_scale: float = 0.1
    epoch_decay: float = 0.8
    clip_norm: float | None = 2.0
    frozen_encoder_epochs: int = 2
    domain_only: bool = False
    domain_lr_scale: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"salicon": 0.5},
        hash=False,  # a dict is not hashable; equal configs still have equal hashes
    )
    idle: Literal["momentum", "still"] = "still"

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "encoder_weight_decay", "encoder_lr_scale", "epoch_decay"):
            if getattr(self, name) < 0:
                raise UnisalError(f"optimizer: {name} {getattr(self, name):g} is negative")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise UnisalError(f"optimizer: warmup_steps {self.warmup_steps} is negative")
        if not 0 <= self.momentum < 1:
            raise UnisalError(f"optimizer: momentum {self.momentum:g} is not from 0 to below 1")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UnisalError(
                f"optimizer: clip_norm {self.clip_norm:g} is not above 0; use None for no limit"
            )
        # Checked here too: without a config file, nothing checks the types of the values.
        if self.idle not in ("momentum", "still"):
            raise UnisalError(f"optimizer: idle {self.idle!r} is not one of momentum, still")
        if self.name == "adamw" and self.idle == "momentum":
            raise UnisalError("optimizer: idle=momentum requires sgd; use --config.optimizer.idle=still")


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms. The defaults are the paper's.

    Attributes:
      kld: Weight of the Kullback-Leibler divergence, in nats (lower is better).
      cc: Weight of Pearson's correlation, -1 to 1 (higher is better, hence the sign).
      nss: Weight of the normalised scanpath saliency, in standard deviations (higher is better).
    """

    kld: float = 1.0
    cc: float = -0.1
    nss: float = -0.1


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """The initial weights; random if neither is set.

    Attributes:
      weights: Name of a release or a path, as for `load_weights`.
      encoder: Weights of the encoder alone: `mobilenet_v2` or a .pth file.
    """

    weights: str | None = None
    encoder: str | None = None


@dataclasses.dataclass(frozen=True)
class BestConfig:
    """How to select the best epoch: by the lowest loss or kld, or the highest cc or nss.

    Attributes:
      domain: Domain to select by; None for the first by name.
      metric: Validation score to select by.
    """

    domain: str | None = None
    metric: Literal["loss", "kld", "cc", "nss"] = "loss"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When to write checkpoints, and which to keep.

    Attributes:
      keep: Recent checkpoints to keep, plus the best.
      every_steps: Also write a checkpoint every N steps, not only at the end of an epoch.
    """

    keep: int = 2
    every_steps: int | None = None


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """Amount of synthetic data for each domain that uses it: see `unisal_jax.data.synthetic`.

    Attributes:
      train: Number of training videos.
      validation: Number of validation videos.
      frames: Frames per video.
      size: (height, width) of the frames.
    """

    train: int = 4
    validation: int = 2
    frames: int = 24
    size: Size = (72, 96)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The config of a training.

    Attributes:
      domains: Domain name -> its config.
      seed: Seed of the weights, the order of the data and dropout.
      epochs: Number of epochs.
      order: Order of the domains' batches in an epoch: `random` or `alternating`.
      clip_frames: Frames per clip.
      batch_scale: Factor on the batch size of every domain, and on the learning rate (adamw: its square
        root).
      dtype: Dtype of the computation; parameters stay float32.
      sync_norm: Compute batch norm statistics over the batch of all devices, not of each device.
      average_decay: Decay per step of a moving average of the weights, which is validated and saved instead
        of them; None disables it.
      optimizer: The optimizer.
      loss: Weights of the loss terms.
      model: Overrides of fields of `UnisalConfig`: of its defaults, or of the config of the weights in
        `init`.
      init: The initial weights.
      best: How to select the best epoch.
      checkpoints: When to write checkpoints, and which to keep.
      synthetic: Amount of synthetic data.
      patience: Stop after N epochs without improvement; None disables early stopping.
      log_every: Log scalars every N steps.
      skip_nonfinite: Tolerate up to N steps with a non-finite loss or gradient; they change nothing.
      workers: Number of processes that read data; 0 reads in the main process.
      threads: Batches that each process reads at the same time.
    """

    domains: Mapping[str, DomainConfig]
    seed: int = 0
    epochs: int = 16
    order: Order = "random"
    clip_frames: int = CLIP_FRAMES
    batch_scale: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    sync_norm: bool = True
    average_decay: float | None = None
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    loss: LossWeights = dataclasses.field(default_factory=LossWeights)
    model: Mapping[str, bool | int | float | str] = dataclasses.field(default_factory=dict)
    init: InitConfig = dataclasses.field(default_factory=InitConfig)
    best: BestConfig = dataclasses.field(default_factory=BestConfig)
    checkpoints: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    synthetic: SyntheticConfig = dataclasses.field(default_factory=SyntheticConfig)
    patience: int | None = None
    log_every: int = 10
    skip_nonfinite: int = 0
    workers: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        if not self.domains:
            raise UnisalError("config: no domains")
        if self.best.domain is not None and self.best.domain not in self.domains:
            raise UnisalError(f"config.best.domain: {self.best.domain!r} is not one of config.domains")
        counts: dict[str, int | None] = {"epochs": self.epochs, "clip_frames": self.clip_frames}
        counts["batch_scale"] = self.batch_scale
        counts["log_every"] = self.log_every
        counts |= {"checkpoints.keep": self.checkpoints.keep, "patience": self.patience}
        counts |= {"checkpoints.every_steps": self.checkpoints.every_steps}
        for name, domain in self.domains.items():
            counts[f"domains.{name}.batch_size"] = domain.batch_size
            counts[f"domains.{name}.clips_per_video"] = domain.clips_per_video
            counts[f"domains.{name}.validation_clips"] = domain.validation_clips
            if domain.hold_out is not None and not (
                domain.cross_validation_fold is None and 0 < domain.hold_out < 1
            ):
                raise UnisalError(
                    f"config.domains.{name}.hold_out: must be between 0 and 1, without cross_validation_fold"
                )
            if not 0 < domain.crop <= 1:
                raise UnisalError(f"config.domains.{name}.crop: {domain.crop:g} is not above 0 and at most 1")
            if domain.map_sigma is not None and not 0 < domain.map_sigma < 1:
                raise UnisalError(
                    f"config.domains.{name}.map_sigma: {domain.map_sigma:g} is not between 0 and 1"
                )
            if not 0 <= domain.jitter < 1:
                raise UnisalError(f"config.domains.{name}.jitter: {domain.jitter:g} is not from 0 to below 1")
        for name, count in counts.items():
            if count is not None and count < 1:
                raise UnisalError(f"config.{name}: {count} is not above 0")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise UnisalError(f"config.average_decay: {self.average_decay:g} is not between 0 and 1")
        _check_model(self.model)
        if self.optimizer.domain_only and self.model.get("domain_norm") is False:
            raise UnisalError("config.optimizer.domain_only: the domains share their batch norms")
        for name, domain in self.domains.items():
            resolve_domain(name, domain, ())

    @property
    def best_domain(self) -> str:
        """The domain to select the best epoch by."""
        return self.best.domain or min(self.domains)

    def to_json(self) -> str:
        """All fields, defaults included, with sorted keys."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Runs a config file and applies overrides.

    Args:
      path: as for `experiments.find_config`.
      overrides: such as `optimizer.lr=0.01`; the name may start with `config.` or `--config.`.

    Raises:
      UnisalError: no such file, an unknown field or a value of the wrong type.
    """
    config: TrainConfig = typed(TrainConfig, experiments.read_config(path, overrides), "config")
    return config


def config_fields() -> list[Field]:
    """All fields that `--config.NAME=VALUE` can set, in the order of the classes here."""
    rows = []
    for row in describe(TrainConfig):
        if row.name == "model":
            switches = describe(UnisalConfig, "model.")
            rows += [each for each in switches if each.name != "model.domains"]
        else:
            rows.append(row)
    return rows


def resolve_domain(name: str, config: DomainConfig, videos: Sequence[Video]) -> Domain:
    """The model's domain: the released domain of this name with the config's changes, or a new one.

    Args:
      name: the domain's name.
      config: its config.
      videos: its training videos, from which a new domain's missing values are derived. Pass none to only
        check the config.

    Raises:
      UnisalError: a value is out of range, or a new domain's images differ in aspect ratio.
    """
    fields = ("input_size", "target_size", "stride", "static", "bn_momentum")
    given: dict[str, Any] = {f: getattr(config, f) for f in fields if getattr(config, f) is not None}
    released = {domain.name: domain for domain in RELEASED_DOMAINS}
    if name in released:
        return dataclasses.replace(released[name], **given)
    fitting = {size_by_aspect(video.size) for video in videos} or {(SIZE_UNIT, SIZE_UNIT)}
    if "input_size" not in given and len(fitting) > 1:
        raise UnisalError(
            f"config.domains.{name}.input_size: not set, and the images' aspect ratios fit "
            f"{len(fitting)} different sizes"
        )
    given.setdefault("input_size", fitting.pop())
    given.setdefault("static", all(video.frames == 1 for video in videos))
    return Domain(name, **given)


def check_same(config: TrainConfig, stored: str, path: Path) -> None:
    """Checks that a run resumes with the stored config (written by `to_json`).

    Raises:
      UnisalError: the configs differ; names the first field that does.
    """
    try:
        # `typed` fills in fields that are missing in older files; their defaults are the former behaviour.
        old = flat(json.loads(typed(TrainConfig, json.loads(stored), "config").to_json()))
    except (ValueError, UnisalError) as error:
        raise UnisalError(f"{path}: damaged ({error})") from error
    new = flat(json.loads(config.to_json()))
    # A cosine schedule depends on the number of epochs.
    free = set(_FREE) - ({"epochs"} if config.optimizer.schedule == "cosine" else set())
    for name in sorted(old.keys() | new.keys()):
        if name.split(".")[0] not in free and old.get(name) != new.get(name):
            raise UnisalError(
                f"{path}: the training in this folder has {name} {old.get(name)}, not {new.get(name)}; "
                "choose another --workdir"
            )


def _check_model(switches: Mapping[str, Any]) -> None:
    hints = typing.get_type_hints(UnisalConfig)
    for key, value in switches.items():
        if key == "domains" or key not in hints:
            known = ", ".join(name for name in hints if name != "domains")
            raise UnisalError(f"config.model.{key}: no such field; known: {known}")
        typed(hints[key], value, f"config.model.{key}")
