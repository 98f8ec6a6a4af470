"""Preparation of datasets: the TFDS builders of the releases and of own data.

From clips (`unisal_jax.data.layouts`) to records (`records`), from records to array_record files (`shards`)
inside a tensorflow-datasets folder (`builders`), verified and resumable (`prepare`). Nothing here needs
TensorFlow.
"""
