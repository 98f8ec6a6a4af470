"""The recipe: how to train a new domain, by type and amount of data. It contains all numbers.

They were chosen on the validation stimuli of OSIE (images) and billiard (videos). For other amounts of data,
the number of steps stays about the same.
"""

import dataclasses
from pathlib import Path
from typing import Literal

from unisal_jax.domains import Size, size_by_aspect
from unisal_jax.finetune.plan import Moved
from unisal_jax.train.config import (
    BestConfig,
    CheckpointConfig,
    DomainConfig,
    InitConfig,
    LossWeights,
    OptimizerConfig,
    TrainConfig,
)


@dataclasses.dataclass(frozen=True)
class Material:
    """The data to train a domain with.

    Attributes:
      folder: folder of the prepared dataset or of its division, with splits train, validation and test.
      domain: name of the new domain.
      kind: whether the stimuli are images or videos.
      stimuli: number of training stimuli.
      frame_size: (height, width) of most frames.
      stride: frame stride; 1 for images.
      map_sigma: blur of the images' maps (`DomainConfig.map_sigma`), if known.
    """

    folder: Path
    domain: str
    kind: Literal["image", "video"]
    stimuli: int
    frame_size: Size
    stride: int
    map_sigma: float | None = None


def recipe(material: Material, moved: Moved, seed: int = 0) -> TrainConfig:
    """The config to train a new domain.

    Args:
      material: the data.
      moved: what to train.
      seed: random seed of data order and dropout.
    """
    if material.kind == "image":
        return _images(material, moved, seed)
    return _video(material, moved, seed)


def runs(material: Material, moved: Moved) -> int:
    """The number of trainings (`variant`) to average (`blend.blend`)."""
    return 2 if material.kind == "image" and moved == "all" else 1


def variant(config: TrainConfig, number: int) -> TrainConfig:
    """The config of training `number`, from 0. The second has another seed and no augmentation but flips.

    Averaging trainings that differ in more than the seed, one more confident than the other, scores better.
    """
    if number == 0:
        return config
    plain = {
        name: dataclasses.replace(domain, crop=1.0, jitter=0.0, map_sigma=None)
        for name, domain in config.domains.items()
    }
    return dataclasses.replace(config, domains=plain, seed=config.seed + number)


def _images(material: Material, moved: Moved, seed: int) -> TrainConfig:
    batch_size = 16 if material.stimuli >= 64 else 8 if material.stimuli >= 32 else min(4, material.stimuli)
    epochs = _epochs(350, max(1, material.stimuli // batch_size), 3, 40)
    height, width = size_by_aspect(material.frame_size)
    # The ratio of target to input size is that of SALICON.
    target = round(height * 5 / 3), round(width * 5 / 3)
    enlarges = target[0] > material.frame_size[0] or target[1] > material.frame_size[1]
    domain = DomainConfig(
        str(material.folder),
        batch_size=batch_size,
        flip=True,
        crop=0.9,
        map_sigma=material.map_sigma,
        jitter=0.3,
        input_size=(height, width),
        target_size=None if enlarges else target,
        static=True,
        bn_momentum=0.1,
        like="salicon",
    )
    return TrainConfig(
        domains={material.domain: domain},
        seed=seed,
        epochs=epochs,
        # The release fine-tuned on MIT1003 was trained on eye tracking, whereas SALICON contains mouse
        # tracking. Domain parameters trained alone must fit the default weights.
        init=InitConfig(weights="unisal-mit1003" if moved == "all" else "unisal"),
        # CC has the same weight as KLD: with few images, KLD alone improves CC least.
        loss=LossWeights(cc=-1.0, nss=-0.3),
        optimizer=OptimizerConfig(
            lr=0.02 if moved == "all" else 0.05,
            schedule="cosine",
            # At the full rate, the encoder forgets its pretraining.
            encoder_lr_scale=0.3,
            frozen_encoder_epochs=max(1, round(epochs / 10)),
            domain_only=moved == "domain",
        ),
        average_decay=0.985,
        patience=max(4, epochs // 2),
        checkpoints=CheckpointConfig(every_steps=25),
        log_every=5,
    )


def _video(material: Material, moved: Moved, seed: int) -> TrainConfig:
    batch_size = min(4, material.stimuli)
    clips = max(1, min(4, 56 // material.stimuli))
    epochs = _epochs(112, max(1, material.stimuli * clips // batch_size), 4, 16)
    domain = DomainConfig(
        str(material.folder),
        batch_size=batch_size,
        clips_per_video=clips,
        validation_clips=4,
        flip=True,
        input_size=size_by_aspect(material.frame_size),
        stride=material.stride,
        static=False,
        like="dhf1k",
    )
    return TrainConfig(
        domains={material.domain: domain},
        seed=seed,
        epochs=epochs,
        init=InitConfig(weights="unisal"),
        loss=LossWeights(nss=-0.3),
        optimizer=OptimizerConfig(
            lr=0.04 if moved == "all" else 0.05,
            epoch_decay=round(0.9 ** (16 / epochs), 4),
            frozen_encoder_epochs=epochs,
            domain_only=moved == "domain",
        ),
        average_decay=0.95,
        best=BestConfig(metric="nss"),
        patience=max(4, epochs // 2),
        checkpoints=CheckpointConfig(every_steps=10),
        log_every=1,
    )


def _epochs(steps: int, per_epoch: int, least: int, most: int) -> int:
    """Epochs that make about `steps` steps, between `least` and `most`."""
    return min(max(round(steps / per_epoch), least), most)
