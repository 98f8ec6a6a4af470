"""All four domains on synthetic data that the training makes itself: does everything work?

  unisal train --config configs/smoke.py --workdir /tmp/smoke

Hardware: any; meant for two CPU cores and made of small images, short clips and few steps. Nearly
all of the time goes into compiling twelve programs, some minutes there. Expect a finite loss and a
checkpoint that `unisal predict --weights /tmp/smoke/best` takes; its maps mean nothing.
"""

import dataclasses

from unisal_jax.train.config import DomainConfig, OptimizerConfig, SyntheticConfig, TrainConfig


def get_config() -> TrainConfig:
    """The experiment; see `unisal_jax.train.config.TrainConfig` for every field."""
    small = DomainConfig(
        data="synthetic", batch_size=2, validation_clips=2, input_size=(64, 96), target_size=(72, 96)
    )
    # Two domains have their targets at the input size (reference.md, "Input").
    at_input_size = dataclasses.replace(small, target_size=None)
    return TrainConfig(
        domains={
            "dhf1k": small,
            "hollywood2": at_input_size,
            "ucf_sports": at_input_size,
            "salicon": small,
        },
        synthetic=SyntheticConfig(train=4, validation=2, frames=12, size=(72, 96)),
        clip_frames=3,
        epochs=2,
        # The encoder moves from the second epoch on, so that both forms of the steps run.
        optimizer=OptimizerConfig(lr=0.01, frozen_encoder_epochs=1),
        log_every=1,
    )
