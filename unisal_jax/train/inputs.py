"""The inputs of a training: each domain's data, the model config and the initial weights."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from unisal_jax.data.augment import Augmentation
from unisal_jax.data.clips import clip_shape, permutation
from unisal_jax.data.examples import DomainSource, find_examples
from unisal_jax.data.prepared import Prepared, cross_validation, open_prepared
from unisal_jax.data.synthetic import Amount
from unisal_jax.domains import RELEASED_DOMAINS, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.files import check_on_disk
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.initialization import add_domain, init_variables
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.train import processes
from unisal_jax.train.config import SYNTHETIC, DomainConfig, TrainConfig, resolve_domain
from unisal_jax.weights.contents import check_shapes
from unisal_jax.weights.store import imagenet_encoder, load_weights

PrepareSynthetic = Callable[[str, Path, Amount, int], Path]
"""(name of a released dataset, folder, amount, seed) -> folder of the prepared dataset, which is made unless
it exists: `data_prep.prepare.prepare_synthetic`."""


def open_sources(
    config: TrainConfig, workdir: Path, prepare_synthetic: PrepareSynthetic | None = None
) -> tuple[list[DomainSource], list[DomainSource]]:
    """Opens the training data and the validation data of each domain.

    Args:
      config: the experiment's config.
      workdir: folder to make synthetic data in.
      prepare_synthetic: makes synthetic data.

    Raises:
      UnisalError: a dataset is missing, damaged or lacks a split or fold; or a batch cannot be divided among
        the devices.
    """
    training, validation = [], []
    devices = jax.device_count()
    check_batches(config, devices)
    for name in sorted(config.domains):
        domain = config.domains[name]
        batch_size = domain.batch_size * config.batch_scale
        seen, unseen = _splits(
            name, data_folder(name, config, workdir, prepare_synthetic), domain, config.seed
        )
        shared = DomainSource(
            resolve_domain(name, domain, seen.videos),
            seen,
            batch_size,
            config.clip_frames,
            drawn_clips=domain.clips_per_video,
            augmentation=Augmentation(domain.flip, domain.crop, domain.jitter, domain.map_sigma),
        )
        training.append(shared)
        # No position twice: an image, or a video as short as a clip, has only one.
        span = clip_shape(shared.domain, config.clip_frames).span
        places = max((video.frames - span + 1 for video in unseen.videos), default=1)
        clips = max(1, min(domain.validation_clips, places))
        fixed = dataclasses.replace(shared, prepared=unseen, batch_size=devices, fixed_clips=clips)
        validation.append(dataclasses.replace(fixed, batch_size=_validation_batch(fixed, batch_size)))
    return training, validation


def check_batches(config: TrainConfig, devices: int) -> None:
    """Checks that every domain's batch size is a multiple of the number of devices.

    Raises:
      UnisalError: it is not; the message gives the smallest `batch_scale` that makes it so for all domains.
    """
    sizes = {name: config.domains[name].batch_size for name in sorted(config.domains)}
    uneven = [name for name, size in sizes.items() if size * config.batch_scale % devices]
    if uneven:
        needed = math.lcm(*(devices // math.gcd(devices, size) for size in sizes.values()))
        would_do = ", ".join(f"{name} {size * needed}" for name, size in sizes.items())
        raise UnisalError(
            f"config.domains.{uneven[0]}.batch_size: a batch of {sizes[uneven[0]] * config.batch_scale} "
            f"cannot be divided among {devices} devices; use --config.batch_scale={needed}, or a multiple, "
            f"for batches of {would_do}"
        )


def data_folder(
    name: str, config: TrainConfig, workdir: Path, prepare_synthetic: PrepareSynthetic | None = None
) -> Path:
    """The folder of a domain's prepared dataset; makes synthetic data in the workdir unless they exist.

    Raises:
      UnisalError: synthetic data are requested for a new domain, or without `prepare_synthetic`.
    """
    if config.domains[name].data != SYNTHETIC:
        check_on_disk(config.domains[name].data)
        return Path(config.domains[name].data)
    if name not in {domain.name for domain in RELEASED_DOMAINS}:
        raise UnisalError(f"config.domains.{name}.data: only a released domain has synthetic data")
    if prepare_synthetic is None:
        raise UnisalError(
            f"config.domains.{name}.data: synthetic data require "
            "prepare_synthetic=data_prep.prepare.prepare_synthetic"
        )
    wanted = config.synthetic
    amount = Amount(wanted.train, wanted.validation, 1, wanted.frames, wanted.size)
    made: list[Path] = []
    # One process after the other, as they may share the disk.
    processes.in_turn(lambda: made.append(prepare_synthetic(name, workdir / SYNTHETIC, amount, config.seed)))
    return made[0]


def initial(config: TrainConfig, domains: Sequence[Domain]) -> tuple[UnisalConfig, dict[str, Any]]:
    """The model config, and the variables before the first step.

    Args:
      config: the experiment's config.
      domains: the domains to train.

    Raises:
      UnisalError: the weights in `config.init` are unavailable, or do not fit the model config.
    """
    key = jax.random.key(config.seed)
    switches: Mapping[str, Any] = config.model
    if config.init.weights is None:
        model_config = UnisalConfig(domains=tuple(domains), **switches)
        variables = init_variables(model_config, key)
    else:
        weights = load_weights(config.init.weights)
        variables, model_config = _with_domains(weights.variables, weights.config, domains, config, key)
        model_config = dataclasses.replace(model_config, **switches)
        variables = _without_unused(variables, model_config)
        check_shapes(variables, model_config, config.init.weights)
    if config.init.encoder is not None:
        variables = imagenet_encoder(variables, config.init.encoder)
    return model_config, variables


def _splits(name: str, path: Path, domain: DomainConfig, seed: int) -> tuple[Prepared, Prepared]:
    """The data to train on and the data to validate on."""
    train = open_prepared(path, domain.train_split)
    if domain.hold_out is not None:
        count = max(1, round(domain.hold_out * len(train.videos)))
        drawn = permutation(len(train.videos), seed, "hold_out")[:count]
        ids = tuple(train.videos[number].id for number in sorted(drawn))
        return cross_validation(dataclasses.replace(train, cross_validation_folds=(ids,)), 0)
    if domain.cross_validation_fold is not None:
        return cross_validation(train, domain.cross_validation_fold)
    try:
        return train, open_prepared(path, domain.validation_split)
    except UnisalError as error:
        raise UnisalError(
            f"{error}; config.domains.{name}.hold_out=0.1 validates on a tenth of the training split instead"
        ) from error


def _validation_batch(source: DomainSource, most: int) -> int:
    """The batch size for validation that leaves out the fewest examples.

    It is at most `most`, the batch size of training, and above half of that if there are enough examples.
    `source.batch_size` is the number of devices.
    """
    counts = [len(group) for group in find_examples(source).groups]
    devices = source.batch_size
    # A batch must not be larger than all groups; `find_examples` ensures one example for each device.
    most = min(most, max(counts) // devices * devices)
    sizes = range(most, most // 2, -devices)
    return min(sizes, key=lambda size: sum(count % size for count in counts))


def _without_unused(variables: dict[str, Any], model_config: UnisalConfig) -> dict[str, Any]:
    """The variables without those of modules that the config disables."""
    wanted = variable_shapes(model_config)
    return {
        collection: {name: leaves for name, leaves in modules.items() if name in wanted[collection]}
        for collection, modules in variables.items()
        if collection in wanted
    }


def _with_domains(
    variables: dict[str, Any],
    model_config: UnisalConfig,
    domains: Sequence[Domain],
    config: TrainConfig,
    key: jax.Array,
) -> tuple[dict[str, Any], UnisalConfig]:
    """The weights with the training's domains: existing ones take its sizes, missing ones are added."""
    # Variables do not depend on the sizes, so a domain may be trained at others.
    trained = {domain.name: domain for domain in domains}
    known = tuple(trained.get(domain.name, domain) for domain in model_config.domains)
    model_config = dataclasses.replace(model_config, domains=known)
    for domain in domains:
        have = {each.name: each for each in model_config.domains}
        if domain.name in have:
            continue
        like = config.domains[domain.name].like
        if like is not None and like not in have:
            raise UnisalError(
                f"config.domains.{domain.name}.like: the weights have no {like!r}, only {', '.join(have)}"
            )
        variables, model_config = add_domain(
            variables, model_config, domain, like=None if like is None else have[like], key=key
        )
    return variables, model_config
