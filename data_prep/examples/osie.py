"""OSIE: 700 images of 800x600 and the fixations of 15 people, as an example of own data.

    python -m data_prep.examples.osie RAW --data-dir DIR

RAW holds `stimuli/*.jpg` and `fixations.mat`, as the authors publish them. 560 images are for training, 70
for validation and 70 for the test, by file name. Maps are Gaussians of 24 pixels, about one degree.
"""

import argparse
from pathlib import Path

import scipy.io

from data_prep.builders import Own
from data_prep.gaze import Gaze, Table, clips_with_points
from data_prep.prepare import prepare
from data_prep.preview import describe, write_contact_sheet
from data_prep.releases import Release
from unisal_jax.media.images import list_images

SIGMA = 24.0
SPLITS = {"train": slice(0, 560), "validation": slice(560, 630), "test": slice(630, None)}


def scan(root: Path) -> Release:
    """The images in order of their names, and the fixations of each person."""
    path = root / "fixations.mat"
    content = scipy.io.loadmat(path, simplify_cells=True)
    table = Table(path, {})
    for image in content["fixations"]:
        gaze = table.gaze[image["img"]] = Gaze()
        for number, person in enumerate(image["subjects"]):
            for x, y in zip(_list(person["fix_x"]), _list(person["fix_y"]), strict=True):
                gaze.add(0, str(number), float(x), float(y))
    paths = list_images(root / "stimuli")
    return clips_with_points(root, {split: paths[part] for split, part in SPLITS.items()}, table, SIGMA)


def _list(values) -> list[float]:
    """MATLAB saves a list of one number as the number."""
    return list(values) if getattr(values, "ndim", 0) else [values]


def main() -> None:
    """Prepares OSIE and writes a contact sheet beside it."""
    parser = argparse.ArgumentParser(description="Prepares OSIE.")
    parser.add_argument("raw", type=Path)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    builder = Own(name="osie", scan=scan, data_dir=args.data_dir, show_progress=True)
    prepared = prepare(builder, args.raw)
    print(f"{prepared.path}\n{describe(prepared.manifest)}")
    write_contact_sheet(args.data_dir / "osie.png", prepared.path, prepared.manifest)


if __name__ == "__main__":
    main()
