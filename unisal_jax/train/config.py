"""An experiment: a `configs/*.py` file with overrides, checked and given types.

A file's `get_config()` returns an ml_collections ConfigDict. It names only what differs from the
defaults, which are the paper's; a key that no field has, or a value of another type, is refused. How
files are found and run is in `experiments.py`.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from flax.traverse_util import flatten_dict

from unisal_jax.data.clips import CLIP_FRAMES
from unisal_jax.data.plan import Order
from unisal_jax.data.prepared import Video
from unisal_jax.domains import RELEASED_DOMAINS, SIZE_UNIT, Domain, Size, size_by_aspect
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import experiments
from unisal_jax.train.losses import LossWeights
from unisal_jax.train.optimizer import OptimizerConfig

SYNTHETIC = "synthetic"

# A resumed training may go on with other values of these; any other change would make it another one.
_FREE = ("epochs", "checkpoints", "patience", "log_every", "skip_nonfinite", "workers", "threads")


@dataclasses.dataclass(frozen=True)
class DomainConfig:
    """One domain and its data.

    Attributes:
      data: folder of a prepared dataset, or `synthetic`: made in the workdir, released domains only.
      batch_size: clips, or images, in a batch of all devices together.
      train_split, validation_split: names of the dataset's splits.
      fold: of a cross-validated dataset (MIT1003), counted from 0: its videos are held out of the
        training split for validation, and `validation_split` is not used.
      hold_out: this fraction of the training videos, drawn with the seed, is held out in the same way.
      clips_per_video: so many are drawn of each training video in an epoch.
      validation_clips: so many at fixed places of each validation video; one of an image.
      flip: mirror each training example with probability one half.
      input_size, target_size, stride, static, bn_momentum: see `Domain`; None leaves a released
        domain's. A new domain gets its input size by the aspect ratio of its pictures, and is static
        if all of its videos have one frame.
      like: a domain of the weights in `init` that a new one starts as a copy of; None starts it fresh.
    """

    data: str
    batch_size: int = 4
    train_split: str = "train"
    validation_split: str = "validation"
    fold: int | None = None
    hold_out: float | None = None
    clips_per_video: int = 1
    validation_clips: int = 1
    flip: bool = False
    input_size: Size | None = None
    target_size: Size | None = None
    stride: int | None = None
    static: bool | None = None
    bn_momentum: float | None = None
    like: str | None = None


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """What the training starts from; with neither, from random weights.

    Attributes:
      weights: a release's name or a path, as `load_weights` takes it.
      encoder: `mobilenet_v2` or a .pth file: the encoder alone.
    """

    weights: str | None = None
    encoder: str | None = None


@dataclasses.dataclass(frozen=True)
class BestConfig:
    """Which epoch is the best: the one with the lowest loss or kld, or the highest cc or nss.

    Attributes:
      domain: on whose validation clips; None takes the first domain by name.
      metric: the score.
    """

    domain: str | None = None
    metric: Literal["loss", "kld", "cc", "nss"] = "loss"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written, and which stay.

    Attributes:
      keep: how many of the latest; the best epoch's stays besides.
      every_steps: write one after every so many steps too, not only at the end of an epoch.
    """

    keep: int = 2
    every_steps: int | None = None


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """How much synthetic data is made for each domain that asks for it: see `unisal_jax.data.synthetic`."""

    train: int = 4
    validation: int = 2
    frames: int = 24
    size: Size = (72, 96)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole experiment.

    Attributes:
      domains: by name.
      seed: of the weights, the data's order and dropout.
      epochs: how many.
      order: of the domains' batches in an epoch.
      clip_frames: frames of a clip.
      dtype: of the computation; parameters stay float32.
      sync_norm: take batch norm statistics over the batch of all devices, not each device's part.
      average_decay: keep a moving average of the weights with this decay a step, and validate and save
        that; None keeps none. See `step.train_step`.
      optimizer, loss, init, best, checkpoints, synthetic: see their classes.
      network: fields of `UnisalConfig` that differ from its defaults (or from those of the weights
        in `init`).
      patience: stop after so many epochs without a better one; None never does.
      log_every: write every so manieth step's scalars.
      skip_nonfinite: so many steps may have a loss or gradient that is not finite, and are left out;
        one more stops the training.
      workers, threads: reading processes (0: this one), and batches that each works on at once.
    """

    domains: Mapping[str, DomainConfig]
    seed: int = 0
    epochs: int = 16
    order: Order = "random"
    clip_frames: int = CLIP_FRAMES
    dtype: Literal["float32", "bfloat16"] = "float32"
    sync_norm: bool = True
    average_decay: float | None = None
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    loss: LossWeights = dataclasses.field(default_factory=LossWeights)
    network: Mapping[str, bool | int | float | str] = dataclasses.field(default_factory=dict)
    init: InitConfig = dataclasses.field(default_factory=InitConfig)
    best: BestConfig = dataclasses.field(default_factory=BestConfig)
    checkpoints: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    synthetic: SyntheticConfig = dataclasses.field(default_factory=SyntheticConfig)
    patience: int | None = None
    log_every: int = 10
    skip_nonfinite: int = 0
    workers: int = 0
    threads: int = 2

    def __post_init__(self):
        if not self.domains:
            raise UnisalError("config: no domains")
        if self.best.domain is not None and self.best.domain not in self.domains:
            raise UnisalError(f"config.best.domain: {self.best.domain!r} is not one of config.domains")
        counts: dict[str, int | None] = {"epochs": self.epochs, "clip_frames": self.clip_frames}
        counts["log_every"] = self.log_every
        counts |= {"checkpoints.keep": self.checkpoints.keep, "patience": self.patience}
        counts |= {"checkpoints.every_steps": self.checkpoints.every_steps}
        for name, domain in self.domains.items():
            counts[f"domains.{name}.batch_size"] = domain.batch_size
            counts[f"domains.{name}.clips_per_video"] = domain.clips_per_video
            counts[f"domains.{name}.validation_clips"] = domain.validation_clips
            if domain.hold_out is not None and not (domain.fold is None and 0 < domain.hold_out < 1):
                raise UnisalError(
                    f"config.domains.{name}.hold_out: wants a fraction between 0 and 1, and no fold"
                )
        for name, count in counts.items():
            if count is not None and count < 1:
                raise UnisalError(f"config.{name}: {count} is not above 0")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise UnisalError(f"config.average_decay: {self.average_decay:g} is not between 0 and 1")
        _check_network(self.network)
        if self.optimizer.domain_only and self.network.get("domain_norm") is False:
            raise UnisalError("config.optimizer.domain_only: the domains share their batch norms")
        for name, domain in self.domains.items():
            network_domain(name, domain, ())

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
    return checked_config(experiments.read_config(path, overrides))


def checked_config(values: Mapping[str, Any]) -> TrainConfig:
    """What `experiments.read_config` gives, checked and given types.

    Raises:
      UnisalError: an unknown key or a value of another type; names it.
    """
    return _typed(TrainConfig, dict(values), "config")


def network_domain(name: str, config: DomainConfig, videos: Sequence[Video]) -> Domain:
    """The network's domain: the released one of this name with what the config changes, or a new one.

    Args:
      videos: of its training data, for what a new domain leaves out; empty to check the rest.
    Raises:
      UnisalError: a value is out of range, or a new domain's pictures differ in shape.
    """
    fields = ("input_size", "target_size", "stride", "static", "bn_momentum")
    given: dict[str, Any] = {f: getattr(config, f) for f in fields if getattr(config, f) is not None}
    released = {domain.name: domain for domain in RELEASED_DOMAINS}
    if name in released:
        return dataclasses.replace(released[name], **given)
    fitting = {size_by_aspect(video.size) for video in videos} or {(SIZE_UNIT, SIZE_UNIT)}
    if "input_size" not in given and len(fitting) > 1:
        raise UnisalError(
            f"config.domains.{name}.input_size: not set, and the pictures' shapes want {len(fitting)} sizes"
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
        old = flatten_dict(dict(json.loads(stored)), sep=".")
    except (ValueError, TypeError) as error:
        raise UnisalError(f"{path}: damaged ({error})") from error
    new = flatten_dict(json.loads(config.to_json()), sep=".")
    # A field that came later had its default before.
    old = flatten_dict(json.loads(TrainConfig(config.domains).to_json()), sep=".") | old
    for name in sorted(old.keys() | new.keys()):
        if name.split(".")[0] not in _FREE and old.get(name) != new.get(name):
            raise UnisalError(
                f"{path}: holds a training with {name} {old.get(name)}, not {new.get(name)}; "
                "name another --workdir"
            )


def _typed(hint: Any, value: Any, name: str) -> Any:
    """The value as the type hint says, or UnisalError that names it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _record(typing.cast(type, hint), value, name)
    if origin in (types.UnionType, typing.Union):
        for argument in arguments:
            try:
                return _typed(argument, value, name)
            except UnisalError:
                continue
    elif origin is Mapping and isinstance(value, dict):
        return {key: _typed(arguments[1], each, f"{name}.{key}") for key, each in value.items()}
    elif origin is tuple and isinstance(value, tuple | list) and len(value) == len(arguments):
        return tuple(_typed(a, each, name) for a, each in zip(arguments, value, strict=True))
    elif origin is Literal and value in arguments:
        return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool) == isinstance(value, bool):
        return value
    raise UnisalError(f"{name}: {value!r} is not {_wanted(hint)}")


def _record(cls: type, values: dict[str, Any], name: str) -> Any:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UnisalError(f"{name}.{key}: no such field; known: {', '.join(fields)}")
    for key, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and key not in values:
            raise UnisalError(f"{name}.{key}: not set")
    return cls(**{key: _typed(hints[key], value, f"{name}.{key}") for key, value in values.items()})


def _check_network(switches: Mapping[str, Any]) -> None:
    hints = typing.get_type_hints(UnisalConfig)
    for key, value in switches.items():
        if key == "domains" or key not in hints:
            known = ", ".join(name for name in hints if name != "domains")
            raise UnisalError(f"config.network.{key}: no such field; known: {known}")
        _typed(hints[key], value, f"config.network.{key}")


def _wanted(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    return getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)
