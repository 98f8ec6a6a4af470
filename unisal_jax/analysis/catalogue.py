"""The analyses by name, in the order of the paper."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unisal_jax.analysis.context import Context
    from unisal_jax.analysis.results import Analysis

# Name -> (module in this package, description). A module is imported only if it is requested.
NAMES = {
    "domain-shift": ("domain_shift", "differences between the datasets (Figure 2)"),
    "priors": ("priors", "initial prior maps, and how training changed them (Figure 3c)"),
    "qualitative": ("qualitative", "input, truth and prediction (Figure 4)"),
    "compare": ("compare", "scores and the published ones (Tables 2 to 4)"),
    "settings": ("experiments", "the six training settings (Table 2)"),
    "ablation": ("experiments", "components of the network, added one by one (Table 5)"),
    "retrospective": ("retrospective", "parameters of each domain after training (Figure 5)"),
    "cost": ("cost", "size, operations and time (Table 6)"),
}
STUDIES = ("settings", "ablation")
NEED_DATA = ("domain-shift", "qualitative", "compare")


def analysis(name: str) -> "Callable[[Context], Analysis]":
    """The analysis of this name, in `NAMES` but not in `STUDIES`."""
    found: Callable[[Context], Analysis] = import_module(f"unisal_jax.analysis.{NAMES[name][0]}").analyse
    return found
