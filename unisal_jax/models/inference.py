"""The network's weights folded for prediction in one domain: the same maps from fewer operations.

`fold` gives variables for the same modules, `Unisal(config, folded=True)`, in which

- every batch norm's scale is in the convolution before it, and its bias is all that is left of it;
- the prior maps, which are constants of the size, have gone through Post-CNN: what they add to its
  output is part of its last bias, [height, width, channels];
- the cGRU's scales and biases are in its convolutions and norms;
- the smoothing kernel is the 7x7 one with 64 outputs;
- a 1x1 convolution of several maps lies in one matrix a map.

The 1x1 ahead of the bilinear upsampling and the strides where nothing is tapped are in the layers
themselves, for training too. All is exact up to rounding.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unisal_jax.domains import Domain, Size
from unisal_jax.models.architecture import EPSILON, GATES, PRIORS, RNN_MODULES
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.layers import depthwise_conv
from unisal_jax.models.maps import cell_kernel, gaussian_maps

_Path = tuple[str, ...]
_Flat = dict[_Path, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Folded:
    """A network for one domain.

    Attributes:
      config: of the folded network: one domain, nothing of its own.
      params: its `params` collection; Post-CNN's last bias, [256], is without the prior maps.
      priors: what the prior maps go through, float64, by name; empty without prior maps.
    """

    config: UnisalConfig
    params: dict[str, Any]
    priors: dict[str, np.ndarray]

    def variables(self, input_size: Size, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Variables of `Unisal(config, folded=True)` for pictures of this size.

        Args:
          input_size: (height, width) in pixels.
          params: a copy of the attribute on a device, for sizes to share; None for the attribute.
        """
        params = self.params if params is None else params
        if not self.priors:
            return {"params": params}
        bias = self.params["post_cnn"]["project_norm"]["bias"]
        share = _priors_share(self.priors, (input_size[0] // 32, input_size[1] // 32))
        post_cnn = {**params["post_cnn"], "project_norm": {"bias": (bias + share).astype(bias.dtype)}}
        return {"params": {**params, "post_cnn": post_cnn}}


def fold(
    variables: Mapping[str, Any], config: UnisalConfig, domain: Domain, dtype: type[np.floating] = np.float32
) -> Folded:
    """Folds the weights for one domain.

    Args:
      variables: of a network with `config`, all collections.
      config: of that network.
      domain: one of its domains.
      dtype: of the folded weights.
    """
    own: _Flat = {}
    for collection in ("params", "batch_stats", domain.name, domain.stats):
        own.update(_flat(variables.get(collection, {})))
    _fold_norms(own)
    _fold_gates(own)
    if ("smoothing", "kernel") in own:
        kernel = own["smoothing", "kernel"]
        own["smoothing", "kernel"] = np.asarray(jax.jit(cell_kernel)(kernel))
    _split_maps(own, config.skips)
    priors = _take_priors(own) if config.prior_maps else {}
    single = dataclasses.replace(
        config,
        domains=(domain,),
        prior_maps=False,
        domain_norm=False,
        domain_priors=False,
        domain_fusion=False,
        domain_smoothing=False,
    )
    if not single.has_rnn:
        own = {path: leaf for path, leaf in own.items() if path[0] not in RNN_MODULES}
    return Folded(single, unflatten_dict({path: leaf.astype(dtype) for path, leaf in own.items()}), priors)


def fold_encoder(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Puts the encoder's norms, constant in training too, into its convolutions; differentiable.

    Args:
      variables: of a network, with `params` and `batch_stats`.
    Returns:
      The variables for `Unisal(config, folded_encoder=True)`, the others as they were.
    """
    own = {
        **flatten_dict(variables["params"]["encoder"]),
        **flatten_dict(variables["batch_stats"]["encoder"]),
    }
    _fold_norms(own)
    rest = {name: leaves for name, leaves in variables["batch_stats"].items() if name != "encoder"}
    params = {**variables["params"], "encoder": unflatten_dict(own)}
    return {**variables, "params": params, "batch_stats": rest}


def _flat(tree: Mapping[str, Any]) -> _Flat:
    """Copies of the leaves in float64, so that folding adds no rounding of its own."""
    return {path: np.array(leaf, np.float64) for path, leaf in flatten_dict(dict(tree)).items()}


def _fold_norms(own: _Flat) -> None:
    for *parent, norm in [path[:-1] for path in own if path[-1] == "mean"]:
        scale, bias, mean, var = (own.pop((*parent, norm, name)) for name in ("scale", "bias", "mean", "var"))
        factor = scale * (var + EPSILON) ** -0.5
        conv = _convolution_before(own, tuple(parent), norm)
        own[*conv, "kernel"] *= factor
        own[*parent, norm, "bias"] = bias + (own.pop((*conv, "bias"), 0) - mean) * factor


def _convolution_before(own: _Flat, parent: _Path, norm: str) -> _Path:
    """Norms are called after their convolution; a gate's last one, `norm`, comes after its last one."""
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
    """The decoder's blocks read the maps from below first, then those of the skip connection, if any."""
    for level in ("16", "8"):
        kernel = own.pop((f"upsampling_{level}", "expand", "kernel"))
        beside = [own[f"skip_{level}_reduce", "kernel"].shape[-1]] if skips else []
        for number, piece in enumerate(np.split(kernel, [len(kernel) - channels for channels in beside])):
            own[f"upsampling_{level}", "expand", f"kernel_{number}"] = piece


def _take_priors(own: _Flat) -> dict[str, np.ndarray]:
    """Cuts the prior maps' channels, the last ones, out of Post-CNN."""
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


def _priors_share(priors: dict[str, np.ndarray], size: Size) -> np.ndarray:
    """What the prior maps of this size add to Post-CNN's output, [height, width, 256]."""
    spatial = np.asarray(_filtered_maps(priors["gaussians"], priors["spatial"], size))
    return np.clip(spatial + priors["bias"], 0, 6) @ priors["project"]


# One program, where the operations one by one would be thirty: they cost a start-up a second to compile.
@functools.partial(jax.jit, static_argnums=2)
def _filtered_maps(gaussians: jax.Array, kernel: jax.Array, size: Size) -> jax.Array:
    return depthwise_conv(gaussian_maps(gaussians, size), kernel)
