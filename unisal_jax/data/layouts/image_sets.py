"""The layouts of SALICON, MIT1003 and MIT300."""

from pathlib import Path

from natsort import natsorted

from unisal_jax.data.layouts.releases import (
    Clip,
    Missing,
    Release,
    require_same,
    split_into_folds,
    whole_release,
)
from unisal_jax.data.layouts.truth import Files, TruthFiles
from unisal_jax.media.images import IMAGE_SUFFIXES
from unisal_jax.media.stems import by_stem, subfolder

# Official numbers of images; SALICON's by the splits' names in its files.
SALICON_IMAGES = {"train": 10_000, "val": 5_000, "test": 5_000}
MIT1003_IMAGES = 1003
MIT300_IMAGES = 300
MIT1003_FOLDS = 10

_JPEG = (".jpg", ".jpeg")


def scan_salicon(root: Path, partial: bool, seed: int) -> Release:
    """Reads SALICON: 10,000 images for training, 5,000 for validation and 5,000 for test.

    The test images have no ground truth. The files are `images/COCO_train2014_000000000009.jpg`,
    `maps/train/*.png`, and `fixations/train/*.mat` (with observers), or `*.png` for images without a `.mat`
    file.

    Args:
      root: the folder of the release.
      partial: accept a subset of the images.
      seed: not used, as the split is official.

    Raises:
      UnisalError: files are missing.
    """
    missing = Missing(root)
    images = by_stem(subfolder(root, "images"), _JPEG)
    splits: dict[str, list[Clip]] = {}
    for part, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        stems = [stem for stem in images if stem.startswith(f"COCO_{part}2014_")]
        if not partial:
            missing.add_count(f"{split} images", len(stems), SALICON_IMAGES[part])
        maps, fixations = subfolder(root, "maps", part), subfolder(root, "fixations", part)
        drawn: dict[str, str] = {}
        marks: dict[str, str] = {}
        if part != "test":
            drawn = by_stem(maps, IMAGE_SUFFIXES)
            require_same(stems, drawn, maps, "maps", missing, ".png")
            marks = by_stem(fixations, (".mat",), IMAGE_SUFFIXES)
            require_same(stems, marks, fixations, "files of fixations (.mat or .png)", missing)
        splits[split] = [
            Clip(
                stem,
                Files(subfolder(root, "images"), (images[stem],)),
                None
                if part == "test"
                # Missing files are reported after all clips are listed.
                else TruthFiles(
                    Files(maps, (drawn.get(stem, stem),)), Files(fixations, (marks.get(stem, stem),)), True
                ),
            )
            for stem in stems
        ]
    return whole_release("SALICON", missing, splits)


def scan_mit1003(root: Path, partial: bool, seed: int) -> Release:
    """Reads MIT1003: 1003 images in one split, and ten cross-validation folds determined by the seed.

    The files are `ALLSTIMULI/ALLSTIMULI/*.jpeg`, `ALLFIXATIONMAPS/ALLFIXATIONMAPS/*_fixMap.jpg` and
    `*_fixPts.jpg`.
    """
    missing = Missing(root)
    stimuli = subfolder(root, "ALLSTIMULI", "ALLSTIMULI")
    truth = subfolder(root, "ALLFIXATIONMAPS", "ALLFIXATIONMAPS")
    images = by_stem(stimuli, _JPEG)
    if not partial:
        missing.add_count("images", len(images), MIT1003_IMAGES)
    stems = list(images)
    maps, marks = (by_stem(truth, [f"{end}{suffix}" for suffix in _JPEG]) for end in ("_fixmap", "_fixpts"))
    require_same(stems, maps, truth, "maps", missing, "_fixMap.jpg")
    require_same(stems, marks, truth, "fixation maps", missing, "_fixPts.jpg")
    clips = [
        Clip(
            stem,
            Files(stimuli, (images[stem],)),
            TruthFiles(Files(truth, (maps.get(stem, stem),)), Files(truth, (marks.get(stem, stem),)), True),
        )
        for stem in stems
    ]
    return whole_release(
        "MIT1003",
        missing,
        {"train": clips},
        cross_validation_folds=split_into_folds(stems, MIT1003_FOLDS, seed),
    )


def scan_mit300(root: Path, partial: bool, seed: int) -> Release:
    """Reads MIT300: 300 images without ground truth, `BenchmarkIMAGES/*.jpg`."""
    missing = Missing(root)
    folder = subfolder(root, "BenchmarkIMAGES")
    images = by_stem(folder, _JPEG)
    if not partial:
        missing.add_count("images", len(images), MIT300_IMAGES)
    # Natural order: i2.jpg precedes i10.jpg.
    clips = [Clip(stem, Files(folder, (images[stem],)), None) for stem in natsorted(images)]
    return whole_release("MIT300", missing, {"test": clips})
