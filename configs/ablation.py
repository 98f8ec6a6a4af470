"""The paper's ablation (Table 5), which adds the parts of the network one after the other.

  unisal train --config configs/ablation.py:skips --workdir runs/ablation_skips

  name            adds                                       DHF1K NSS   SALICON NSS (the paper's)
  baseline        encoder, RNN without residual, decoder     2.057       1.415
  gaussian        Gaussian prior maps                        2.273       1.634
  rnn_residual    the RNN's residual connection              2.274       1.531
  skips           Skip-2x and Skip-4x                        2.301       1.600
  smoothing       the smoothing layer                        2.305       1.654
  domain_adaptive batch norm, priors, fusion and smoothing   2.731       1.925
                  for each domain, and the bypass
  final           domain-aware optimization: each domain's   2.755       1.923
                  own input size, and 6 frames per second

Scores are on the validation sets. The paper does not specify the setting without domain-aware optimization;
here every domain has DHF1K's input size 224x384, and every video the frame stride 5.

Hardware: as for `unisal.py`. They have not been run on the full datasets yet, so their training times are
unknown.
"""

import dataclasses
from pathlib import Path

from unisal_jax.train.config import TrainConfig, load_config

_DOMAIN_ADAPTIVE = ("domain_norm", "domain_priors", "domain_fusion", "domain_smoothing", "rnn_bypass")
# Name -> the fields of `UnisalConfig` that it turns on; none for the last one.
STEPS = {
    "baseline": (),
    "gaussian": ("prior_maps",),
    "rnn_residual": ("rnn_residual",),
    "skips": ("skips",),
    "smoothing": ("smoothing",),
    "domain_adaptive": _DOMAIN_ADAPTIVE,
    "final": (),
}
NAMES = tuple(STEPS)


def get_config(step: str) -> TrainConfig:
    """The experiment with all parts up to and including `step`."""
    paper = load_config(Path(__file__).with_name("unisal.py"))
    later = list(STEPS)[list(STEPS).index(step) + 1 :]
    model = {switch: False for name in later for switch in STEPS[name]}
    if step == "final":
        return dataclasses.replace(paper, model=model)
    domains = {
        name: dataclasses.replace(domain, input_size=(224, 384), stride=5)
        for name, domain in paper.domains.items()
    }
    return dataclasses.replace(paper, model=model, domains=domains)
