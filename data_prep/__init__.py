"""Preparation of datasets: the TFDS builders of the releases and of own data.

From clips (`unisal_jax.data.layouts`) to records (`records`), from records to array_record files (`shards`)
inside a tensorflow-datasets folder (`builders`), verified and resumable (`prepare`). Nothing here needs
TensorFlow. The import registers the builders, so that `tfds.data_source("dhf1k", data_dir=...)` and the
like find them by name.
"""

from data_prep.builders import BUILDERS, Own

__all__ = ["BUILDERS", "Own"]
