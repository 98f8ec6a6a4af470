"""The recipe: how a new domain is trained, by kind and amount of data. All of its numbers are here.

They were chosen on the validation stimuli of OSIE (images) and billiard (videos), and are carried over to
other amounts of data by the number of steps.
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
    """What a domain is trained with.

    Attributes:
      folder: of the prepared dataset, or of its division; it has the splits train, validation and test.
      domain: name of the new domain.
      kind: whether the stimuli are images or videos.
      stimuli: how many there are to train.
      frame_size: (height, width) of most frames.
      stride: frame stride of a video's recurrences; 1 of images.
      map_sigma: of the images' maps (`DomainConfig.map_sigma`), where it is known.
    """

    folder: Path
    domain: str
    kind: Literal["image", "video"]
    stimuli: int
    frame_size: Size
    stride: int
    map_sigma: float | None = None


def recipe(material: Material, moved: Moved, seed: int = 0) -> TrainConfig:
    """The training of a new domain.

    Args:
      material: what it is trained with.
      moved: what of the network is trained.
      seed: of the data's order and dropout.
    """
    if material.kind == "image":
        return _images(material, moved, seed)
    return _video(material, moved, seed)


def runs(material: Material, moved: Moved) -> int:
    """How many trainings are averaged (`blend.blend`), by `variant`."""
    return 2 if material.kind == "image" and moved == "all" else 1


def variant(config: TrainConfig, number: int) -> TrainConfig:
    """The config of a training, from 0. The second has another seed, and sees the images as they are.

    Trainings that differ in more than the seed, one that is too sure and one that is less so, have the better
    mean.
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
    # The ratio of SALICON's target to its input.
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
        # Real eye tracking has been seen by the release that is fine-tuned on MIT1003; SALICON's is mouse
        # tracking. The domain's own parameters alone must fit the weights that everyone has.
        init=InitConfig(weights="unisal-mit1003" if moved == "all" else "unisal"),
        # CC counts as much as KLD: it is what KLD alone learns worst of few images.
        loss=LossWeights(cc=-1.0, nss=-0.3),
        optimizer=OptimizerConfig(
            lr=0.02 if moved == "all" else 0.05,
            schedule="cosine",
            # At the full rate the encoder forgets what it knows.
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
    """Epochs that make about so many steps."""
    return min(max(round(steps / per_epoch), least), most)
