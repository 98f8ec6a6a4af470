"""All four domains on synthetic data that the training makes itself: does everything work?

  unisal train --config configs/smoke.py --workdir /tmp/smoke

Hardware: any; meant for two CPU cores and made of small pictures, short clips and few steps. Nearly
all of the time goes into compiling twelve programs, some minutes there. Expect a finite loss and a
checkpoint that `unisal predict --weights /tmp/smoke/best` takes; its maps mean nothing.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The experiment; see `unisal_jax.train.config.TrainConfig` for every field."""
    small = {"data": "synthetic", "batch_size": 2, "validation_clips": 2}
    small |= {"input_size": (64, 96), "target_size": (72, 96)}
    config = ConfigDict()
    config.domains = {name: dict(small) for name in ("dhf1k", "hollywood2", "ucf_sports", "salicon")}
    # These two take their targets at the input size (reference.md, "Input").
    for name in ("hollywood2", "ucf_sports"):
        config.domains[name].target_size = None
    config.synthetic = {"train": 4, "validation": 2, "frames": 12, "size": (72, 96)}
    config.clip_frames = 3
    config.epochs = 2
    # The encoder moves from the second epoch on, so that both forms of the steps run.
    config.optimizer = {"lr": 0.01, "frozen_encoder_epochs": 1}
    config.log_every = 1
    return config
