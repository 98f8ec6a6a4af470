"""Billiard: ten clips of 1000x750 and the gaze of 40 people in every frame, as an example of own data.

    python -m data_prep.examples.billiard RAW --data-dir DIR

RAW contains `clips/clip_1.mov` ... and `gaze.csv.gz` (clip, frame from 1, observer, viewing, x, y,
is_fixation). Clips 1-7 are for training, 8 for validation, 9 and 10 for test. Only samples that are part of a
fixation count. Maps are Gaussians of 30 pixels.
"""

import dataclasses
from pathlib import Path

from data_prep.examples import run
from unisal_jax.data.layouts.fixation_tables import clips_with_points, read_table
from unisal_jax.data.layouts.releases import Release

SIGMA = 30.0
SPLITS = {"train": range(1, 8), "validation": range(8, 9), "test": range(9, 11)}


def scan(root: Path) -> Release:
    """The clips in order of their numbers, with the fixations of each person."""
    table = read_table(
        root / "gaze.csv.gz",
        first_frame=1,
        keep=lambda row: row["is_fixation"] == "1",
        stimulus="clip",
    )
    table = dataclasses.replace(table, gaze={f"clip_{clip}": some for clip, some in table.gaze.items()})
    clips = root / "clips"
    splits = {split: [clips / f"clip_{n}.mov" for n in numbers] for split, numbers in SPLITS.items()}
    return clips_with_points(root, splits, table, SIGMA)


if __name__ == "__main__":
    run("billiard", scan, "Prepares the billiard clips.")
