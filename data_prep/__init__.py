"""Preparation of datasets: readers of the releases' own layouts, and their TFDS builders.

From a release's files to clips (`video_sets`, `image_sets`, `own`), from clips to records (`records`),
from records to array_record files (`shards`) inside a tensorflow-datasets folder (`builders`), verified
and resumable (`prepare`). Nothing here needs TensorFlow.
"""
