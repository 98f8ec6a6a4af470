"""Folds the network's weights for prediction in one domain: the same maps from fewer operations.

- The scale of each batch norm is multiplied into the convolution before it; only a bias remains.
- The prior maps are constant for an input size. Their contribution to Post-CNN's output is added to its last
  bias, which becomes [height, width, channels].
- The cGRU's scales and biases are folded into its convolutions.
- The smoothing kernel becomes a 7x7 kernel with 64 outputs (`maps.cell_kernel`).
- A 1x1 convolution of several maps is split into one matrix per map.

Folding is exact up to rounding, and requires only NumPy.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from unisal_jax.domains import SIZE_UNIT, Domain, Size
from unisal_jax.models.architecture import (
    EPSILON,
    GATES,
    PRIORS,
    RNN_MODULES,
    SKIP_8_FEATURES,
    SKIP_16_FEATURES,
)
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.maps import cell_kernel, gaussian_maps
from unisal_jax.trees import flatten, unflatten

Params = dict[str, Any]
"""Folded parameters: nested dicts of arrays. Kernels are [in, out] for 1x1, else [row, column, in, out]."""
_Path = tuple[str, ...]
_Flat = dict[_Path, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Folded:
    """The folded weights of one domain.

    Attributes:
      config: the config of the original model.
      params: float64; engines cast them. Post-CNN's last bias, [256], does not include the prior maps.
      priors: the parameters that compute the prior maps' contribution, float64, by name; empty without
        prior maps.
    """

    config: UnisalConfig
    params: Params
    priors: dict[str, np.ndarray]

    def sized(self, input_size: Size, params: Params | None = None) -> Params:
        """The parameters for images of one size.

        Args:
          input_size: (height, width) in pixels.
          params: a copy of `self.params` on a device, which several sizes share; None for `self.params`.
        """
        params = self.params if params is None else params
        if not self.priors:
            return params
        bias = self.params["post_cnn"]["project_norm"]["bias"]
        share = prior_share(self.priors, (input_size[0] // SIZE_UNIT, input_size[1] // SIZE_UNIT))
        return with_prior_share(params, bias + share)


def with_prior_share(params: Params, bias: Any) -> Params:
    """The parameters with Post-CNN's last bias replaced by `bias`, [height, width, 256]."""
    return {**params, "post_cnn": {**params["post_cnn"], "project_norm": {"bias": bias}}}


def prior_share(priors: Mapping[str, Any], size: Size) -> Any:
    """The prior maps' contribution to Post-CNN's output.

    Args:
      priors: `Folded.priors`, as NumPy or JAX arrays.
      size: (height, width) of the maps, 1/32 of the image's; may be symbolic.

    Returns:
      [height, width, 256], of the same kind and dtype.
    """
    xp = priors["gaussians"].__array_namespace__()
    height, width = size
    padded = xp.pad(gaussian_maps(priors["gaussians"], size), ((1, 1), (1, 1), (0, 0)))
    kernel = priors["spatial"]
    spatial = sum(kernel[i, j, 0] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return xp.clip(spatial + priors["bias"], 0, 6) @ priors["project"]


def fold(variables: Mapping[str, Any], config: UnisalConfig, domain: Domain) -> Folded:
    """Folds the weights for one domain.

    Args:
      variables: all collections of a model with `config`.
      config: the model's config.
      domain: one of its domains.
    """
    own: _Flat = {}
    for collection in ("params", "batch_stats", domain.name, domain.stats):
        for path, leaf in flatten(variables.get(collection, {})).items():
            # A float64 copy, so that folding adds no rounding error of its own.
            own[tuple(path.split("/"))] = np.array(leaf, np.float64)
    if not config.has_rnn:
        own = {path: leaf for path, leaf in own.items() if path[0] not in RNN_MODULES}
    _fold_norms(own)
    _fold_gates(own)
    if config.smoothing:
        own["smoothing", "kernel"] = cell_kernel(own["smoothing", "kernel"])
    _split_maps(own, config.skips)
    priors = _take_priors(own) if config.prior_maps else {}
    return Folded(config, unflatten({"/".join(path): leaf for path, leaf in own.items()}), priors)


def _fold_norms(own: _Flat) -> None:
    for *parent, norm in [path[:-1] for path in own if path[-1] == "mean"]:
        scale, bias, mean, var = (own.pop((*parent, norm, name)) for name in ("scale", "bias", "mean", "var"))
        factor = scale * (var + EPSILON) ** -0.5
        conv = _convolution_before(own, tuple(parent), norm)
        own[*conv, "kernel"] *= factor
        own[*parent, norm, "bias"] = bias + (own.pop((*conv, "bias"), 0) - mean) * factor


def _convolution_before(own: _Flat, parent: _Path, norm: str) -> _Path:
    """The convolution before a norm: `X_norm` follows `X`; a gate's `norm` follows its last convolution."""
    names = [norm.removesuffix("_norm")] if norm != "norm" else ["project", "spatial"]
    return next((*parent, name) for name in names if (*parent, name, "kernel") in own)


def _fold_gates(own: _Flat) -> None:
    for path in [path for path in own if path[0] == "rnn" and path[-1] == "scale"]:
        gate, scale = path[:-1], own.pop(path)
        own[*_convolution_before(own, gate, "norm"), "kernel"] *= scale
        own[*gate, "norm", "bias"] *= scale
    for name in GATES:
        if ("rnn", f"{name}_bias") in own:
            own["rnn", f"{name}_input", "norm", "bias"] += own.pop(("rnn", f"{name}_bias"))


def _split_maps(own: _Flat, skips: bool) -> None:
    """Splits the decoder's first 1x1 kernels: channels of the lower level first, then of the skip, if any."""
    for level, beside in (("16", SKIP_16_FEATURES), ("8", SKIP_8_FEATURES)):
        kernel = own.pop((f"upsampling_{level}", "expand", "kernel"))
        ends = [len(kernel) - beside] if skips else []
        for number, piece in enumerate(np.split(kernel, ends)):
            own[f"upsampling_{level}", "expand", f"kernel_{number}"] = piece


def _take_priors(own: _Flat) -> dict[str, np.ndarray]:
    """Removes the prior maps' channels, the last ones, from Post-CNN and returns their parameters."""
    taken = {"gaussians": own.pop(("prior_maps", "gaussians"))}
    spatial, bias, project = (
        ("post_cnn", "spatial", "kernel"),
        ("post_cnn", "spatial_norm", "bias"),
        ("post_cnn", "project", "kernel"),
    )
    taken["spatial"], own[spatial] = own[spatial][..., -PRIORS:], own[spatial][..., :-PRIORS]
    taken["bias"], own[bias] = own[bias][-PRIORS:], own[bias][:-PRIORS]
    taken["project"], own[project] = own[project][-PRIORS:], own[project][:-PRIORS]
    return taken
