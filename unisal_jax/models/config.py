"""The model's config: which parts it has and which of them the domains share. Does not import JAX."""

import dataclasses
import json
import typing
from collections.abc import Callable
from typing import Any, Literal

from unisal_jax.domains import RELEASED_DOMAINS, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_CONFIG_BYTES, MAX_DOMAINS

DepthwiseForm = Literal["auto", "shifted", "grouped"]
"""How to compute a 3x3 depthwise convolution: by nine shifted multiply-adds ("shifted"), by XLA's grouped
convolution ("grouped"), or by the faster of the two on JAX's backend ("auto"). Both compute the same sums."""


@dataclasses.dataclass(frozen=True)
class UnisalConfig:
    """The model's config. The defaults are those of the released weights.

    Attributes:
      domains: Domains that the model has parameters for.
      prior_maps: Concatenate Gaussian prior maps with the encoder's output (paper, Table 5, as for the next
        four).
      rnn: Use the recurrence; False makes every input bypass it.
      rnn_residual: Add the RNN's output to its input; False replaces the input.
      rnn_bypass: Static inputs bypass the RNN; requires `rnn_residual`.
      skips: Use Skip-2x and Skip-4x from the encoder to the decoder.
      smoothing: Smooth the map by a learned kernel.
      domain_norm: Each domain has its own batch norms; False shares them.
      domain_priors: Each domain has its own prior maps; False shares them.
      domain_fusion: Each domain has its own fusion layer; False shares it.
      domain_smoothing: Each domain has its own smoothing kernel; False shares it.
      separable: Use depthwise-separable convolutions in the cGRU and the decoder; False uses dense 3x3 ones
        (paper, section 4.6).
      bilinear: Upsample the decoder's features bilinearly; False uses learned 4x4 transposed convolutions
        (section 4.6).
      skip_dropout: Dropout probability in the skips, in training.
      rnn_dropout: Dropout probability around the RNN, in training.
      depthwise: How to compute depthwise convolutions: shifted, grouped, or auto, the faster one here.
    """

    domains: tuple[Domain, ...] = RELEASED_DOMAINS
    prior_maps: bool = True
    rnn: bool = True
    rnn_residual: bool = True
    rnn_bypass: bool = True
    skips: bool = True
    smoothing: bool = True
    domain_norm: bool = True
    domain_priors: bool = True
    domain_fusion: bool = True
    domain_smoothing: bool = True
    separable: bool = True
    bilinear: bool = True
    skip_dropout: float = 0.6
    rnn_dropout: float = 0.2
    depthwise: DepthwiseForm = "auto"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _KINDS[type(field.default)](value):
                raise UnisalError(f"model config: {field.name} cannot be {str(value)[:40]!r}")
        if not self.domains:
            raise UnisalError("model config: at least one domain is required")
        if len(self.domains) > MAX_DOMAINS:
            raise UnisalError(f"model config: {len(self.domains)} domains, more than {MAX_DOMAINS}")
        names = [domain.name for domain in self.domains]
        if len(set(names)) != len(names):
            raise UnisalError(f"model config: two domains have the same name: {', '.join(names)}")
        if self.rnn_bypass and not self.rnn_residual:
            raise UnisalError("model config: rnn_bypass requires rnn_residual")

    @property
    def has_rnn(self) -> bool:
        """Whether the model has an RNN; False if every input bypasses it."""
        return self.rnn and not (self.rnn_bypass and all(domain.static for domain in self.domains))

    def has_recurrence(self, static: bool) -> bool:
        """Whether the RNN runs on images (`static`) or on video."""
        return self.has_rnn and not (static and self.rnn_bypass)

    def to_json(self) -> str:
        """All fields, domains included, as one line with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "UnisalConfig":
        """The inverse of `to_json`.

        Raises:
          UnisalError: the text is not such a config.
        """
        if len(text) > MAX_CONFIG_BYTES:
            raise UnisalError(f"not a model config: longer than {MAX_CONFIG_BYTES} bytes")
        try:
            fields = json.loads(text)
            domains = tuple(_domain_from_json(each) for each in fields.pop("domains"))
            return cls(domains=domains, **fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UnisalError(f"not a model config: {str(error)[:200]}") from error


# A config read from a file may hold anything. Type of a field's default -> check of its value.
_KINDS: dict[type, Callable[[Any], bool]] = {
    tuple: lambda v: isinstance(v, tuple) and all(isinstance(each, Domain) for each in v),
    bool: lambda v: isinstance(v, bool),
    float: lambda v: isinstance(v, int | float) and 0 <= v < 1,
    str: lambda v: v in typing.get_args(DepthwiseForm),
}


def _domain_from_json(fields: dict[str, Any]) -> Domain:
    # JSON has no tuples, and a domain must be hashable.
    sizes = ("input_size", "target_size", "video_frame_size")
    fixed: dict[str, Any] = {k: tuple(v) if k in sizes and v else v for k, v in fields.items()}
    return Domain(**fixed)
