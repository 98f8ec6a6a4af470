"""SALICON, MIT1003 and MIT300, as they were released."""

from pathlib import Path

from natsort import natsorted

from data_prep.releases import Clip, Missing, Release, folds, names_in, require_same, whole_release
from data_prep.truth import Files, TruthFiles

# Official numbers of images; SALICON's by the name of the split in its files.
SALICON_IMAGES = {"train": 10_000, "val": 5_000, "test": 5_000}
MIT1003_IMAGES = 1003
MIT300_IMAGES = 300
MIT1003_FOLDS = 10


def scan_salicon(root: Path, partial: bool, seed: int) -> Release:
    """10,000 images for training, 5,000 for validation, 5,000 for the test without ground truth.

    `images/COCO_train2014_000000000009.jpg`, `maps/train/*.png`, and `fixations/train/*.mat` (which
    tell the observers apart) or, where there is none, `*.png`.

    Args:
        partial: take the images that are there.
        seed: not used, the split is official.

    Raises:
        UnisalError: something is missing.
    """
    missing = Missing(root)
    images = names_in(root / "images", (".jpg",))
    splits: dict[str, list[Clip]] = {}
    for part, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        stems = [name.removesuffix(".jpg") for name in images if name.startswith(f"COCO_{part}2014_")]
        if not partial:
            missing.add_count(f"{split} images", len(stems), SALICON_IMAGES[part])
        maps, fixations = root / "maps" / part, root / "fixations" / part
        marks: dict[str, str] = {}
        if part != "test":
            require_same([f"{s}.png" for s in stems], names_in(maps, (".png",)), maps, "maps", missing)
            # The .mat files come last and win.
            for suffix in (".png", ".mat"):
                marks |= {name.removesuffix(suffix): name for name in names_in(fixations, (suffix,))}
            require_same(stems, marks, fixations, "files of fixations (.mat or .png)", missing)
        splits[split] = [
            Clip(
                stem,
                Files(root / "images", (f"{stem}.jpg",)),
                None
                if part == "test"
                else TruthFiles(Files(maps, (f"{stem}.png",)), Files(fixations, (marks.get(stem, stem),))),
            )
            for stem in stems
        ]
    return whole_release("SALICON", missing, splits)


def scan_mit1003(root: Path, partial: bool, seed: int) -> Release:
    """1003 images in one split, and ten folds of them that a seed decides.

    `ALLSTIMULI/ALLSTIMULI/*.jpeg`, `ALLFIXATIONMAPS/ALLFIXATIONMAPS/*_fixMap.jpg` and `*_fixPts.jpg`.
    """
    missing = Missing(root)
    stimuli = root / "ALLSTIMULI" / "ALLSTIMULI"
    truth = root / "ALLFIXATIONMAPS" / "ALLFIXATIONMAPS"
    names = names_in(stimuli, (".jpeg",))
    if not partial:
        missing.add_count("images", len(names), MIT1003_IMAGES)
    stems = [name.removesuffix(".jpeg") for name in names]
    present = names_in(truth, (".jpg",))
    require_same([f"{stem}_fixMap.jpg" for stem in stems], present, truth, "maps", missing)
    require_same([f"{stem}_fixPts.jpg" for stem in stems], present, truth, "fixation maps", missing)
    clips = [
        Clip(
            stem,
            Files(stimuli, (f"{stem}.jpeg",)),
            TruthFiles(Files(truth, (f"{stem}_fixMap.jpg",)), Files(truth, (f"{stem}_fixPts.jpg",))),
        )
        for stem in stems
    ]
    return whole_release("MIT1003", missing, {"train": clips}, folds=folds(stems, MIT1003_FOLDS, seed))


def scan_mit300(root: Path, partial: bool, seed: int) -> Release:
    """300 images without ground truth, `BenchmarkIMAGES/*.jpg`."""
    missing = Missing(root)
    folder = root / "BenchmarkIMAGES"
    # i2.jpg comes before i10.jpg.
    names = natsorted(names_in(folder, (".jpg",)))
    if not partial:
        missing.add_count("images", len(names), MIT300_IMAGES)
    clips = [Clip(name.removesuffix(".jpg"), Files(folder, (name,)), None) for name in names]
    return whole_release("MIT300", missing, {"test": clips})
