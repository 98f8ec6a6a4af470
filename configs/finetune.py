"""Fine-tunes the released weights on own data, as a new domain named `own`.

  unisal prepare own --raw FOLDER --name mine --data-dir data
  unisal train --config configs/finetune.py:images --workdir runs/mine \\
    --config.domains.own.data=data/own/mine/1.0.0

`images` starts from a copy of SALICON's parameters, `video` from DHF1K's; those of the other domains do not
change. FOLDER contains `train/` and `validation/`; without the latter, hold out training data for validation
with --config.domains.own.hold_out=0.1. For videos, set --config.domains.own.stride to their frame rate
divided by 6.

This trains all weights. With

  --config.optimizer.domain_only=true --config.optimizer.lr=0.05

it trains only the domain's own parameters, about 15 thousand of 3.7 million, for little data or to keep the
other domains' predictions bit for bit. Use the result with `--domain own`:

  unisal predict photo.jpg --weights runs/mine/best --domain own --out maps

Hardware: any. `osie.py` and `billiard.py` are examples with training times and scores.
"""

from unisal_jax.train.config import DomainConfig, InitConfig, OptimizerConfig, TrainConfig

# Kind of data -> domain to start from, momentum of running statistics, batch size.
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
        # In a short training, the last batches affect the weights; the average smooths this.
        average_decay=0.97,
    )
