"""Which form of a layer is the fastest on which backend: a table of measurements.

`python -m benchmarks.forms` measures every form side by side and prints the rows of this table. All
forms give the same sums, in another order. Training keeps its own row, so that what it computes does
not change when prediction finds a faster form.
"""

from typing import Literal, NamedTuple

import jax

from unisal_jax.models.config import DepthwiseForm

StemForm = Literal["convolution", "shifted"]
"""Of the encoder's first convolution, 3 to 32 channels: XLA's own, or 27 shifted multiply-adds."""


class Forms(NamedTuple):
    """The forms of one network's layers."""

    depthwise: DepthwiseForm
    stem: StemForm


# CPU: benchmarks/results/forms_cpu.json. GPU, on an H200 in bfloat16: in prediction all of them take about
# the same time, but XLA compiles the network with the shifted ones twice as fast;
# the written-out gradient of the shifted form is 14 to 54 times slower than the grouped one's
# (benchmarks/results/forms_h200.json). TPU: not measured yet; the native forms of XLA.
_NATIVE = Forms("grouped", "convolution")
TRAINING = {"cpu": Forms("shifted", "convolution")}
PREDICTION = {"cpu": Forms("rows", "shifted"), "gpu": Forms("shifted", "shifted")}


def forms(prediction: bool, backend: str | None = None) -> Forms:
    """The table's entry for a backend, "cpu", "gpu" or "tpu"; None for the default one."""
    table = PREDICTION if prediction else TRAINING
    return table.get(backend or jax.default_backend(), _NATIVE)
