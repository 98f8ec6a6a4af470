"""What a training starts from: each domain's data, the network and its first weights."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from unisal_jax.data.examples import Source
from unisal_jax.data.prepared import open_prepared
from unisal_jax.domains import RELEASED_DOMAINS, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.unisal import UnisalConfig, add_domain, init_variables
from unisal_jax.train.config import SYNTHETIC, TrainConfig, network_domain
from unisal_jax.weights.store import check_shapes, imagenet_encoder, load_weights


def open_sources(config: TrainConfig, workdir: Path) -> tuple[list[Source], list[Source]]:
    """Each domain's training data, and its validation data; makes the synthetic ones in the workdir.

    Raises:
      UnisalError: a dataset is missing, damaged or lacks a split; or a batch cannot be shared by the
        devices.
    """
    training, validation = [], []
    devices = jax.local_device_count()
    for name in sorted(config.domains):
        domain = config.domains[name]
        if domain.batch_size % devices:
            raise UnisalError(
                f"config.domains.{name}.batch_size: {domain.batch_size} cannot be shared by {devices} devices"
            )
        path = _synthetic(name, config, workdir) if domain.data == SYNTHETIC else Path(domain.data)
        shared = Source(
            network_domain(name, domain),
            open_prepared(path, domain.train_split),
            domain.batch_size,
            config.clip_frames,
            flip=domain.flip,
        )
        training.append(shared)
        prepared = open_prepared(path, domain.validation_split)
        validation.append(
            dataclasses.replace(shared, prepared=prepared, fixed_clips=domain.validation_clips, flip=False)
        )
    return training, validation


def initial(config: TrainConfig) -> tuple[UnisalConfig, dict[str, Any]]:
    """The network, and its variables before the first step.

    Raises:
      UnisalError: the weights named in `config.init` are not to be had, or do not fit the network.
    """
    key = jax.random.key(config.seed)
    domains = {name: network_domain(name, config.domains[name]) for name in sorted(config.domains)}
    switches: Mapping[str, Any] = config.network
    if config.init.weights is None:
        network = UnisalConfig(domains=tuple(domains.values()), **switches)
        variables = init_variables(network, key)
    else:
        weights = load_weights(config.init.weights)
        variables, network = _with_domains(weights.variables, weights.config, domains, config, key)
        network = dataclasses.replace(network, **switches)
        check_shapes(variables, network, config.init.weights)
    if config.init.encoder is not None:
        variables = imagenet_encoder(variables, config.init.encoder)
    return network, variables


def _with_domains(
    variables: dict[str, Any],
    network: UnisalConfig,
    domains: Mapping[str, Domain],
    config: TrainConfig,
    key: jax.Array,
) -> tuple[dict[str, Any], UnisalConfig]:
    """The weights with the training's domains: theirs at its sizes, and those that they lack."""
    # Sizes are no part of the variables, so a domain may be trained at others.
    known = tuple(domains.get(domain.name, domain) for domain in network.domains)
    network = dataclasses.replace(network, domains=known)
    for name, domain in domains.items():
        have = {each.name: each for each in network.domains}
        if name in have:
            continue
        like = config.domains[name].like
        if like is not None and like not in have:
            raise UnisalError(f"config.domains.{name}.like: the weights have no {like!r}, only {list(have)}")
        variables, network = add_domain(
            variables, network, domain, like=None if like is None else have[like], key=key
        )
    return variables, network


def _synthetic(name: str, config: TrainConfig, workdir: Path) -> Path:
    """Makes a domain's synthetic dataset, unless it is there; returns its folder."""
    if name not in {domain.name for domain in RELEASED_DOMAINS}:
        raise UnisalError(f"config.domains.{name}.data: only a released domain has synthetic data")
    # Late: not needed for real data, and the import takes a second.
    from data_prep.builders import BUILDERS
    from data_prep.prepare import prepare
    from data_prep.synthetic import Amount, make

    amount = config.synthetic
    folder = workdir / SYNTHETIC
    raw = folder / "raw" / name
    builder = BUILDERS[name](data_dir=folder, partial=True)
    if not Path(builder.data_path).is_dir():
        asked = Amount(amount.train, amount.validation, 1, amount.frames, amount.size)
        make(name, raw, config.seed, asked)
        return prepare(builder, raw).path
    return Path(builder.data_path)
