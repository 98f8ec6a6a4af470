"""Fine-tunes the released weights on MIT1003, as the authors did for MIT300; one of ten folds.

  unisal prepare mit1003 --raw DIR --data-dir data
  for fold in 0 1 2 3 4 5 6 7 8 9; do
    unisal train --config configs/finetune_mit1003.py:$fold --workdir runs/mit1003_$fold
  done

The settings are those of the authors' code: SALICON's domain, only KLD, learning rate 0.01 times 0.8 per
epoch, 8 epochs, no clipping, the encoder trained from the first epoch, batches of 32 images of the same size.
`workdir/best` has the weights of the epoch with the lowest loss on the held-out fold.

Hardware: any GPU, or a slow CPU: about 900 images per epoch, at 4 images per second on two cores. It has not
been run on the full dataset yet. The authors' fine-tuned weights are the release `unisal-mit1003`.
"""

from unisal_jax.train.config import (
    BestConfig,
    DomainConfig,
    InitConfig,
    LossWeights,
    OptimizerConfig,
    TrainConfig,
)

NAMES = tuple(str(fold) for fold in range(10))


def get_config(fold: str) -> TrainConfig:
    """The experiment that holds out cross-validation fold number `fold`, from 0."""
    return TrainConfig(
        domains={
            "salicon": DomainConfig("data/mit1003/full/1.0.0", cross_validation_fold=int(fold), batch_size=32)
        },
        init=InitConfig(weights="unisal"),
        epochs=8,
        loss=LossWeights(kld=1.0, cc=0.0, nss=0.0),
        optimizer=OptimizerConfig(
            lr=0.01, frozen_encoder_epochs=0, domain_lr_scale={}, clip_norm=None, idle="still"
        ),
        best=BestConfig(domain="salicon", metric="kld"),
    )
