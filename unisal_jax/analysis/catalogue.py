"""The analyses by name, in the order of the paper."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unisal_jax.analysis.context import Context
    from unisal_jax.analysis.results import Analysis

# Name -> (module below, what it makes). A module is imported only when it is wanted.
NAMES = {
    "domain-shift": ("domain_shift", "how the datasets differ (Figure 2)"),
    "priors": ("priors", "prior maps at the start, and how far training moved them (Figure 3c)"),
    "qualitative": ("qualitative", "input, truth and prediction (Figure 4)"),
    "compare": ("compare", "scores beside the published ones (Tables 2 to 4)"),
    "settings": ("experiments", "the six training settings (Table 2)"),
    "ablation": ("experiments", "the network's parts, added one by one (Table 5)"),
    "retrospective": ("retrospective", "what the domains' own parameters became (Figure 5)"),
    "cost": ("cost", "size, operations and time (Table 6)"),
}
STUDIES = ("settings", "ablation")
NEED_DATA = ("domain-shift", "qualitative", "compare")


def analysis(name: str) -> "Callable[[Context], Analysis]":
    """The analysis of this name, one of `NAMES` but not of `STUDIES`."""
    found: Callable[[Context], Analysis] = import_module(f"unisal_jax.analysis.{NAMES[name][0]}").analyse
    return found
