"""A smoke test: all four domains on synthetic data.

  unisal train --config configs/smoke.py --workdir /tmp/smoke

Hardware: any. With small images, short clips and few steps, it suits two CPU cores, where compiling twelve
programs takes nearly all of the time, some minutes. Expect a finite loss and a checkpoint that
`unisal predict --weights /tmp/smoke/best` loads; its maps are meaningless.
"""

import dataclasses

from unisal_jax.train.config import DomainConfig, OptimizerConfig, SyntheticConfig, TrainConfig


def get_config() -> TrainConfig:
    """The experiment; see `unisal_jax.train.config.TrainConfig` for every field."""
    small = DomainConfig(
        data="synthetic", batch_size=2, validation_clips=2, input_size=(64, 96), target_size=(72, 96)
    )
    # The targets of two domains have the input size (reference.md, "Input").
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
        # Trains the encoder from the second epoch, so that both kinds of steps run.
        optimizer=OptimizerConfig(lr=0.01, frozen_encoder_epochs=1),
        log_every=1,
    )
