"""OSIE (700 images, 15 people): the released weights fine-tuned as a new domain, or a start from ImageNet.

  python -m data_prep.examples.osie OSIE --data-dir data
  unisal train --config configs/osie.py:released --workdir runs/osie
  unisal evaluate --data data --split test --weights runs/osie/best --domain osie

560 images to train, 70 to validate, the last 70 by file name to test. `released` starts from the weights
`unisal-mit1003`, `imagenet` from the encoder's ImageNet weights alone.

Hardware: two CPU cores and 9 to 11 GB, 9 and 11 minutes. On the test images: NSS 3.26, CC 0.820 from the
released weights; 3.00, 0.792 from ImageNet's.
"""

from ml_collections import ConfigDict

NAMES = ("released", "imagenet")


def get_config(start: str) -> ConfigDict:
    """The experiment from the `released` weights, or from `imagenet`."""
    config = ConfigDict()
    config.domains = {
        "osie": {
            "data": "data/own/osie/1.0.0",
            "batch_size": 16,
            "flip": True,
            "target_size": (480, 640),
            "bn_momentum": 0.1,
        }
    }
    if start == "released":
        # The release that has seen eye tracking of scenes already, on MIT1003; SALICON's is mouse tracking.
        config.init = {"weights": "unisal-mit1003"}
        config.domains.osie.like = "salicon"
        config.epochs = 6
        config.optimizer = {"lr": 0.01, "frozen_encoder_epochs": 2}
    else:
        config.init = {"encoder": "mobilenet_v2"}
        config.epochs = 8
        config.optimizer = {"lr": 0.04, "frozen_encoder_epochs": 3}
    config.average_decay = 0.98
    config.log_every = 5
    return config
