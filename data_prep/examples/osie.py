"""OSIE: 700 images of 800x600 and the fixations of 15 people, as an example of own data.

    python -m data_prep.examples.osie RAW --data-dir DIR

RAW contains `stimuli/*.jpg` and `fixations.mat`, as published by the authors. By file name, 560 images are
for training, 70 for validation and 70 for test. Maps are Gaussians of 24 pixels, about one degree.
"""

from pathlib import Path

import scipy.io

from data_prep.examples import run
from unisal_jax.data.layouts.fixation_tables import Gaze, Table, clips_with_points
from unisal_jax.data.layouts.releases import Release
from unisal_jax.media.images import list_images

SIGMA = 24.0
SPLITS = {"train": slice(0, 560), "validation": slice(560, 630), "test": slice(630, None)}


def scan(root: Path) -> Release:
    """The images in order of their names, and the fixations of each person."""
    path = root / "fixations.mat"
    content = scipy.io.loadmat(path, simplify_cells=True)
    table = Table(path, {})
    paths = list_images(root / "stimuli")
    names = {image.name for image in paths}
    present = [image for image in content["fixations"] if image["img"] in names]
    absent = len(content["fixations"]) - len(present)
    for image in present:
        gaze = table.gaze[image["img"]] = Gaze()
        for number, person in enumerate(image["subjects"]):
            for x, y in zip(_list(person["fix_x"]), _list(person["fix_y"]), strict=True):
                gaze.add(0, str(number), float(x), float(y))
    notes = (
        [f"{absent} of {len(content['fixations'])} images in {path.name}, not in stimuli/"] if absent else []
    )
    return clips_with_points(
        root, {split: paths[part] for split, part in SPLITS.items()}, table, SIGMA, notes
    )


def _list(values) -> list[float]:
    """Converts MATLAB's list of numbers, which is a plain number if it has only one, to a list."""
    return list(values) if getattr(values, "ndim", 0) else [values]


if __name__ == "__main__":
    run("osie", scan, "Prepares OSIE.")
