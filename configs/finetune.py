"""Fine-tunes the released weights on own data, as a domain of its own called `own`.

  unisal prepare own --raw FOLDER --name mine --data-dir data
  unisal train --config configs/finetune.py:images --workdir runs/mine \\
    --config.domains.own.data=data/own/mine/1.0.0

`images` starts from SALICON's share of the network, `video` from DHF1K's; the other domains' shares stay
as they are. FOLDER holds `train/` and `validation/`; where it does not, keep some back for validation with
--config.domains.own.hold_out=0.1. Videos want --config.domains.own.stride, their frame rate over 6.

All weights move; with

  --config.optimizer.domain_only=true --config.optimizer.lr=0.05

only the domain's own do, about 15 thousand of 3.7 million: for little data, or to keep what the others
give bit for bit. The result is used with `--domain own`:

  unisal predict photo.jpg --weights runs/mine/best --domain own --out maps

Hardware: any. `osie.py` and `billiard.py` are two such trainings with their hours and scores.
"""

from unisal_jax.train.config import DomainConfig, InitConfig, OptimizerConfig, TrainConfig

# Kind -> the domain to start from, its running statistics' momentum, batch size.
KINDS = {"images": ("salicon", 0.1, 16), "video": ("dhf1k", 0.01, 4)}
NAMES = tuple(KINDS)


def get_config(kind: str) -> TrainConfig:
    """The experiment for `images` or `video`."""
    like, momentum, batch_size = KINDS[kind]
    own = DomainConfig(
        "data/own/mine/1.0.0",
        batch_size=batch_size,
        flip=True,
        like=like,
        bn_momentum=momentum,
        validation_clips=2,
    )
    return TrainConfig(
        domains={"own": own},
        init=InitConfig(weights="unisal"),
        epochs=8,
        optimizer=OptimizerConfig(lr=0.01, frozen_encoder_epochs=2, idle="still"),
        # A short training's last steps differ by their last batches; the average evens that out.
        average_decay=0.97,
    )
