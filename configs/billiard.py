"""Billiard (10 clips, 40 people): the released weights fine-tuned as a new dynamic domain.

  python -m data_prep.examples.billiard BILLIARD --data-dir data
  unisal train --config configs/billiard.py:rnn --workdir runs/billiard
  unisal evaluate --data data --split test --weights runs/billiard/best --domain billiard

Clips 1 to 7 are for training, 8 for validation, 9 and 10 for test. `bypass` is the same training without the
recurrence.

Hardware: two CPU cores and 8 to 15 GB, 8 to 14 minutes. NSS on the test clips: 2.04 with the recurrence, 1.72
without; 1.06 for the authors' weights in the DHF1K domain.
"""

from unisal_jax.train.config import DomainConfig, InitConfig, OptimizerConfig, TrainConfig

NAMES = ("rnn", "bypass")


def get_config(recurrence: str) -> TrainConfig:
    """The experiment with the recurrence (`rnn`), or without it (`bypass`)."""
    billiard = DomainConfig(
        "data/own/billiard/1.0.0",
        batch_size=4,
        clips_per_video=4,
        validation_clips=4,
        flip=True,
        stride=5,
        like="dhf1k",
    )
    return TrainConfig(
        domains={"billiard": billiard},
        init=InitConfig(weights="unisal"),
        model={"rnn": {"rnn": True, "bypass": False}[recurrence]},
        epochs=16,
        optimizer=OptimizerConfig(lr=0.04, epoch_decay=0.9, frozen_encoder_epochs=16),
        # Low, as an epoch has only seven steps.
        average_decay=0.9,
        log_every=1,
    )
