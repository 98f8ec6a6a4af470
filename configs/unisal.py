"""The paper's joint training of all four domains, from the encoder's ImageNet weights (section 4.1).

  unisal train --config configs/unisal.py --workdir runs/unisal

It requires the four datasets, prepared under data/ with `unisal prepare NAME --raw DIR --data-dir data
--resolution input`. For other folders, use `--config.domains.NAME.data=FOLDER`.

Hardware: 1, 2 or 4 GPUs, as the batches (4 clips of 12 frames, 32 images) must be divisible by their number.
It has not been run on the full datasets yet, so its training time and scores are unknown. The authors' scores
for this training are those of the released weights.
"""

from unisal_jax.train.config import (
    BestConfig,
    CheckpointConfig,
    DomainConfig,
    InitConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> TrainConfig:
    """The experiment; the defaults of `unisal_jax.train.config` are the paper's."""
    return TrainConfig(
        domains={
            "dhf1k": DomainConfig("data/dhf1k/input/1.0.0", batch_size=4, validation_clips=2),
            "hollywood2": DomainConfig("data/hollywood2/input/1.0.0", batch_size=4),
            "ucf_sports": DomainConfig("data/ucf_sports/input/1.0.0", batch_size=4),
            "salicon": DomainConfig("data/salicon/input/1.0.0", batch_size=32),
        },
        init=InitConfig(encoder="mobilenet_v2"),
        epochs=16,
        # As in PyTorch 1.0, which the authors trained with (docs/reference.md).
        optimizer=OptimizerConfig(idle="momentum"),
        best=BestConfig(domain="dhf1k", metric="loss"),
        checkpoints=CheckpointConfig(keep=2, every_steps=500),
    )
