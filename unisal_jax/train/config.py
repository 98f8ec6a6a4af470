"""An experiment: what `get_config()` of a `configs/*.py` file returns, and the checks of it. Needs no JAX.

A config names only what differs from the defaults, which are the paper's. How files are found and run,
and how `--config.NAME=VALUE` changes what they return, is in `experiments.py`; `unisal train --config FILE
--help` prints the fields with what the docstrings here say of them.
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

# A resumed training may have other values of these; any other change would make it another training.
_FREE = ("epochs", "checkpoints", "patience", "log_every", "skip_nonfinite", "workers", "threads")


@dataclasses.dataclass(frozen=True)
class DomainConfig:
    """One domain and its data.

    Attributes:
      data: Folder of a prepared dataset, or `synthetic`: made in the workdir, released domains only.
      batch_size: Clips, or images, in a batch of all devices together.
      train_split: Name of the dataset's split to train on.
      validation_split: Name of the split to validate on.
      cross_validation_fold: Number, from 0, of the fold of a cross-validated dataset (MIT1003) to hold out of
        the training split for validation; `validation_split` is not used then.
      hold_out: Fraction of the training videos, drawn with the seed, to hold out in the same way.
      clips_per_video: Clips drawn of each training video in an epoch.
      validation_clips: Clips, at fixed places, of each validation video; one of an image.
      flip: Mirror each training example with probability one half.
      crop: Cut a random part out of each training example, whose sides are at least this fraction of the
        frame's; 1 cuts nothing.
      jitter: Multiply brightness, contrast and saturation of each training example by random factors from
        1 - jitter to 1 + jitter.
      map_sigma: Standard deviation of the Gaussian that the maps were made with, over the frame's height: the
        maps of crops are drawn anew with it. None cuts them out of the frame's map, which enlarges the blur.
      input_size: (height, width) of the network's input, multiples of 32. None: a released domain's own,
        or by the aspect ratio of a new one's images.
      target_size: (height, width) of loss and scores. None: a released domain's own, or the input size.
      stride: Frame stride: the interval between frames of one recurrence. None: a released domain's own,
        or 1.
      static: Images rather than videos. None: a released domain's own, or whether all videos of a new one
        have one frame.
      bn_momentum: Momentum of the batch norms' running statistics. None: a released domain's own, or 0.01.
      like: Domain of the weights in `init` that a new one starts as a copy of; None starts it fresh.
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
    """How the weights are moved. The defaults are the paper's (section 4.1), but for `idle`.

    Attributes:
      name: `sgd`, the paper's, or `adamw` (Loshchilov and Hutter 2019), whose mean squares decay by 0.999.
      lr: Learning rate of the first epoch, before `batch_scale`.
      schedule: How the learning rate falls: `epochs`, by `epoch_decay` after each epoch, or `cosine`, to zero
        at the last step.
      warmup_steps: Steps in which the learning rate first rises linearly. None: 0, or those of the first
        epoch with a `batch_scale` above 1.
      momentum: Momentum of the gradient, decay included; adamw's decay of the mean gradient.
      weight_decay: Factor of the parameter that is added to its gradient; adamw adds it to the direction.
      encoder_weight_decay: The same of the encoder's parameters.
      encoder_lr_scale: The encoder's learning rate over the others'.
      epoch_decay: Factor on the learning rate after each epoch.
      clip_norm: Limit of the joint gradient's norm; None clips nothing.
      frozen_encoder_epochs: Epochs in which the encoder stays as it is.
      domain_only: Move each domain's own parameters alone; what domains share stays bit for bit, running
        statistics included.
      domain_lr_scale: Domain name -> factor on the learning rate of its batches; 1 if not named.
      idle: What parameters do that a batch does not use (other domains' own, the bypassed RNN): `still`, they
        stay bit for bit; `momentum`, once trained, momentum and weight decay keep moving them in every step,
        as PyTorch 1.0 did in the authors' training.
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
        hash=False,  # a dict has no hash; equal configs still have equal hashes
    )
    idle: Literal["momentum", "still"] = "still"

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "encoder_weight_decay", "encoder_lr_scale", "epoch_decay"):
            if getattr(self, name) < 0:
                raise UnisalError(f"optimizer: {name} {getattr(self, name):g} is negative")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise UnisalError(f"optimizer: warmup_steps {self.warmup_steps} is negative")
        if not 0 <= self.momentum < 1:
            raise UnisalError(f"optimizer: momentum {self.momentum:g} is not in 0 to 1")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UnisalError(f"optimizer: clip_norm {self.clip_norm:g} is not positive; None clips nothing")
        # Asked here too: a step can be made without a config file, whose values are checked by type.
        if self.idle not in ("momentum", "still"):
            raise UnisalError(f"optimizer: idle {self.idle!r} is not one of momentum, still")
        if self.name == "adamw" and self.idle == "momentum":
            raise UnisalError("optimizer: idle momentum is of sgd; with adamw --config.optimizer.idle=still")


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """What each term counts in the loss. The defaults are the paper's.

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
    """What the training starts from; with neither, from random weights.

    Attributes:
      weights: A release's name or a path, as `load_weights` takes it.
      encoder: `mobilenet_v2` or a .pth file: the encoder alone.
    """

    weights: str | None = None
    encoder: str | None = None


@dataclasses.dataclass(frozen=True)
class BestConfig:
    """Which epoch is the best: the one with the lowest loss or kld, or the highest cc or nss.

    Attributes:
      domain: Domain whose validation clips decide; None takes the first by name.
      metric: Score that decides.
    """

    domain: str | None = None
    metric: Literal["loss", "kld", "cc", "nss"] = "loss"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written, and which stay.

    Attributes:
      keep: Recent checkpoints to keep, plus the best.
      every_steps: Write one every N steps too, not only at the end of an epoch.
    """

    keep: int = 2
    every_steps: int | None = None


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """How much synthetic data is made for each domain that asks for it: see `unisal_jax.data.synthetic`.

    Attributes:
      train: Training videos.
      validation: Validation videos.
      frames: Frames of a video.
      size: (height, width) of the frames.
    """

    train: int = 4
    validation: int = 2
    frames: int = 24
    size: Size = (72, 96)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole experiment.

    Attributes:
      domains: By name.
      seed: Seed of the weights, the data's order and dropout.
      epochs: Epochs to train.
      order: Order of the domains' batches in an epoch: `random`, or `alternating`, one of each in turn.
      clip_frames: Frames of a clip.
      batch_scale: Multiply every domain's batch by this; the learning rate too, or by its root for adamw.
      dtype: Precision of the computation; parameters stay float32.
      sync_norm: Take batch norm statistics over the batch of all devices, not each device's part.
      average_decay: Decay a step of a moving average of the weights, which is then validated and saved;
        None keeps none.
      optimizer: How the weights are moved.
      loss: What each term counts.
      model: Fields of `UnisalConfig` that differ from its defaults, or from those of the weights in `init`.
      init: What the training starts from.
      best: Which epoch is the best.
      checkpoints: When checkpoints are written.
      synthetic: How much synthetic data is made.
      patience: Stop after N epochs without a better one; None never does.
      log_every: Log scalars every N steps.
      skip_nonfinite: Steps that may have a loss or gradient that is not finite, and change nothing; one
        more stops the training.
      workers: Reading processes; 0 reads in this one.
      threads: Batches that each process reads at once.
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
                    f"config.domains.{name}.hold_out: wants a fraction between 0 and 1, and no fold"
                )
            if not 0 < domain.crop <= 1:
                raise UnisalError(f"config.domains.{name}.crop: {domain.crop:g} is not above 0 and at most 1")
            if domain.map_sigma is not None and not 0 < domain.map_sigma < 1:
                raise UnisalError(f"config.domains.{name}.map_sigma: {domain.map_sigma:g} is not in 0 to 1")
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
        """The domain by whose validation the best epoch is told."""
        return self.best.domain or min(self.domains)

    def to_json(self) -> str:
        """All fields, defaults included, with sorted keys."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Runs a config file and changes what the overrides name.

    Args:
      path: as `experiments.find_config` takes it.
      overrides: such as `optimizer.lr=0.01`; `config.` or `--config.` before the name is allowed.

    Raises:
      UnisalError: no such file, an unknown key or a value of another type; names it.
    """
    config: TrainConfig = typed(TrainConfig, experiments.read_config(path, overrides), "config")
    return config


def config_fields() -> list[Field]:
    """Every field that `--config.NAME=VALUE` can set, in the order of the classes here."""
    rows = []
    for row in describe(TrainConfig):
        if row.name == "model":
            switches = describe(UnisalConfig, "model.")
            rows += [each for each in switches if each.name != "model.domains"]
        else:
            rows.append(row)
    return rows


def resolve_domain(name: str, config: DomainConfig, videos: Sequence[Video]) -> Domain:
    """The network's domain: the released one of this name with what the config changes, or a new one.

    Args:
      videos: of its training data, for what a new domain leaves out; empty to check the rest.

    Raises:
      UnisalError: a value is out of range, or a new domain's images differ in shape.
    """
    fields = ("input_size", "target_size", "stride", "static", "bn_momentum")
    given: dict[str, Any] = {f: getattr(config, f) for f in fields if getattr(config, f) is not None}
    released = {domain.name: domain for domain in RELEASED_DOMAINS}
    if name in released:
        return dataclasses.replace(released[name], **given)
    fitting = {size_by_aspect(video.size) for video in videos} or {(SIZE_UNIT, SIZE_UNIT)}
    if "input_size" not in given and len(fitting) > 1:
        raise UnisalError(
            f"config.domains.{name}.input_size: not set, and the images' shapes want {len(fitting)} sizes"
        )
    given.setdefault("input_size", fitting.pop())
    given.setdefault("static", all(video.frames == 1 for video in videos))
    return Domain(name, **given)


def check_same(config: TrainConfig, stored: str, path: Path) -> None:
    """Refuses to go on with another experiment than the stored one (as `to_json` wrote it).

    Raises:
      UnisalError: names the first field that differs.
    """
    try:
        # Typed, so that a field that came later has its default, which is what was done before.
        old = flat(json.loads(typed(TrainConfig, json.loads(stored), "config").to_json()))
    except (ValueError, UnisalError) as error:
        raise UnisalError(f"{path}: damaged ({error})") from error
    new = flat(json.loads(config.to_json()))
    # A cosine ends with the last epoch: with more of them every step's learning rate is another.
    free = set(_FREE) - ({"epochs"} if config.optimizer.schedule == "cosine" else set())
    for name in sorted(old.keys() | new.keys()):
        if name.split(".")[0] not in free and old.get(name) != new.get(name):
            raise UnisalError(
                f"{path}: holds a training with {name} {old.get(name)}, not {new.get(name)}; "
                "name another --workdir"
            )


def _check_model(switches: Mapping[str, Any]) -> None:
    hints = typing.get_type_hints(UnisalConfig)
    for key, value in switches.items():
        if key == "domains" or key not in hints:
            known = ", ".join(name for name in hints if name != "domains")
            raise UnisalError(f"config.model.{key}: no such field; known: {known}")
        typed(hints[key], value, f"config.model.{key}")
