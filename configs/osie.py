"""OSIE (700 images, 15 people): a new domain, from the released weights or from ImageNet's.

  python -m data_prep.examples.osie OSIE --data-dir data
  unisal train --config configs/osie.py:released --workdir runs/osie
  unisal evaluate --data data --split test --weights runs/osie/best --domain osie

560 images are for training, 70 for validation, and the last 70 by file name for test. `released` starts from
the weights `unisal-mit1003`, `imagenet` from only the encoder's ImageNet weights.

Hardware: two CPU cores and 9 to 11 GB, 9 and 11 minutes. On the test images: NSS 3.26, CC 0.820 from the
released weights; NSS 3.00, CC 0.792 from ImageNet's.
"""

from unisal_jax.train.config import DomainConfig, InitConfig, OptimizerConfig, TrainConfig

NAMES = ("released", "imagenet")


def get_config(start: str) -> TrainConfig:
    """The experiment from the `released` weights, or from `imagenet`."""
    released = start == "released"
    osie = DomainConfig(
        "data/own/osie/1.0.0",
        batch_size=16,
        flip=True,
        target_size=(480, 640),
        bn_momentum=0.1,
        like="salicon" if released else None,
    )
    # This release was trained on eye tracking of scenes (MIT1003); SALICON is mouse tracking.
    init = InitConfig(weights="unisal-mit1003") if released else InitConfig(encoder="mobilenet_v2")
    return TrainConfig(
        domains={"osie": osie},
        init=init,
        epochs=6 if released else 8,
        optimizer=OptimizerConfig(lr=0.01 if released else 0.04, frozen_encoder_epochs=2 if released else 3),
        average_decay=0.98,
        log_every=5,
    )
