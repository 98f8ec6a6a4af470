"""The paper's six training settings (Table 2): the training of `unisal.py` on some of its datasets.

  unisal train --config configs/settings.py:iv --workdir runs/setting_iv

i: DHF1K; ii: Hollywood-2; iii: UCF Sports; iv: SALICON; v: the three video datasets; vi: all four.

Hardware: as for `unisal.py`. They have not been run on the full datasets yet, so their training times are
unknown. Expect the paper's NSS on the test sets (for SALICON, see its Table 3):

  setting   DHF1K   Hollywood-2   UCF Sports
  i         2.707   3.279         2.689
  ii        2.352   3.803         2.768
  iii       2.056   2.350         3.076
  iv        2.259   2.897         2.740
  v         2.739   3.909         3.260
  vi        2.776   3.901         3.381
"""

import dataclasses
from pathlib import Path

from unisal_jax.train.config import BestConfig, TrainConfig, load_config

VIDEO = ("dhf1k", "hollywood2", "ucf_sports")
SETTINGS = {
    "i": ("dhf1k",),
    "ii": ("hollywood2",),
    "iii": ("ucf_sports",),
    "iv": ("salicon",),
    "v": VIDEO,
    "vi": (*VIDEO, "salicon"),
}
NAMES = tuple(SETTINGS)


def get_config(setting: str) -> TrainConfig:
    """The experiment of a setting, `i` to `vi`."""
    names = SETTINGS[setting]
    paper = load_config(Path(__file__).with_name("unisal.py"))
    return dataclasses.replace(
        paper,
        domains={name: paper.domains[name] for name in names},
        # Selects the best epoch by DHF1K if it is one of the datasets, else by the setting's dataset.
        best=BestConfig(domain=names[0], metric="loss"),
    )
