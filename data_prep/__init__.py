"""Preparation of datasets: TFDS builders for the releases and own data.

Clips (`unisal_jax.data.layouts`) become records (`records`), and records become array_record files (`shards`)
in a tensorflow-datasets folder (`builders`). Preparation is verified and resumable (`prepare`), and does not
require TensorFlow. Importing this package registers the builders, so that `tfds.data_source("dhf1k",
data_dir=...)` finds them by name.
"""

from data_prep.builders import BUILDERS, Own

__all__ = ["BUILDERS", "Own"]
