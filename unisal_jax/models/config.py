"""What a network is made of: the parts that can be left out, shared or exchanged. Needs no JAX."""

import dataclasses
import json
import typing
from collections.abc import Callable
from typing import Any, Literal

from unisal_jax.domains import RELEASED_DOMAINS, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_CONFIG_BYTES, MAX_DOMAINS

DepthwiseForm = Literal["auto", "shifted", "grouped"]
"""Of a 3x3 depthwise convolution: nine shifted multiply-adds ("shifted"), XLA's grouped convolution
("grouped"), or the faster of the two on JAX's backend ("auto"). Both give the same sums."""


@dataclasses.dataclass(frozen=True)
class UnisalConfig:
    """What the network is made of. The defaults are the released network.

    Attributes:
      domains: Those that the network has parameters for.
      prior_maps: Add Gaussian prior maps to the encoder's output (paper, Table 5, as the next four).
      rnn: False leaves the recurrence out: every input takes the bypass.
      rnn_residual: Add the RNN's output to its input; False replaces the input.
      rnn_bypass: Static inputs bypass the RNN; needs the residual.
      skips: Skip-2x and Skip-4x from the encoder to the decoder.
      smoothing: Smooth the map by a learned kernel.
      domain_norm: Batch norms of each domain's own; False: one set for all.
      domain_priors: Prior maps of each domain's own; False: one set for all.
      domain_fusion: Fusion of each domain's own; False: one for all.
      domain_smoothing: Smoothing kernel of each domain's own; False: one for all.
      separable: False puts dense 3x3 convolutions in the place of depthwise ones in cGRU and decoder
        (paper, section 4.6).
      bilinear: False upsamples the decoder's features by learned 4x4 transposed convolutions (section 4.6).
      skip_dropout: Probability of dropout in the skips, in training.
      rnn_dropout: Probability of dropout around the RNN, in training.
      depthwise: Form of the depthwise convolutions: shifted, grouped, or auto: the faster one here.
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
                raise UnisalError(f"{field.name} of a network cannot be {str(value)[:40]!r}")
        if not self.domains:
            raise UnisalError("a network needs at least one domain")
        if len(self.domains) > MAX_DOMAINS:
            raise UnisalError(f"a network of {len(self.domains)} domains; at most {MAX_DOMAINS} are possible")
        names = [domain.name for domain in self.domains]
        if len(set(names)) != len(names):
            raise UnisalError(f"domains with the same name: {', '.join(names)}")
        if self.rnn_bypass and not self.rnn_residual:
            raise UnisalError(
                "rnn_bypass needs rnn_residual: without the residual nothing is left when it is bypassed"
            )

    @property
    def has_rnn(self) -> bool:
        """False where every input bypasses the RNN, so that it has no weights."""
        return self.rnn and not (self.rnn_bypass and all(domain.static for domain in self.domains))

    def has_recurrence(self, static: bool) -> bool:
        """False where input of that kind, images or video, bypasses the RNN."""
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
            raise UnisalError(f"not a network config: longer than {MAX_CONFIG_BYTES} bytes")
        try:
            fields = json.loads(text)
            domains = tuple(_domain_from_json(each) for each in fields.pop("domains"))
            return cls(domains=domains, **fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UnisalError(f"not a network config: {str(error)[:200]}") from error


# A file's config may hold anything. By the type of a field's default: what its value must be.
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
