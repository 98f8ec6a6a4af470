"""`unisal evaluate` on varied files: suffixes, bit depths, sizes, unusual fixations, stray files."""

import re

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tests.evaluate.test_run import SIZE, gaussian, good_maps, make_set, scores_of, write
from unisal_jax.data import synthetic
from unisal_jax.data.synthetic import Amount
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.predictions import read_map
from unisal_jax.evaluate.sources import open_data

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def images(tmp_path, rng):
    make_set(tmp_path / "data", NAMES, rng)
    good_maps(tmp_path / "data", tmp_path / "maps")
    return tmp_path / "data"


@pytest.fixture
def scored(command, tmp_path):
    """scored(data, maps, *flags) -> (JSON, stdout); the command must succeed without warnings."""

    def run(data, maps, *flags):
        status, out, err = command(
            "evaluate", "--data", data, "--predictions", maps, "--json", tmp_path / "s.json", *flags
        )
        assert status == 0, err
        assert "Warning" not in err
        return scores_of(tmp_path / "s.json"), out

    return run


def fixations(data):
    return {name: np.asarray(Image.open(data / "fixations" / f"{name}.png")) for name in NAMES}


@pytest.mark.parametrize(
    "form",
    [
        lambda marks: (marks > 0).astype(np.uint8),
        lambda marks: (marks > 0).astype(np.uint16),
        lambda marks: marks > 0,
        lambda marks: np.where(np.arange(marks.shape[1]) % 2, marks, marks // 255),
        lambda marks: np.dstack([marks * 0, marks * 0, marks // 255]),
    ],
    ids=["0/1", "16 bits", "1 bit", "some of 1, some of 255", "colour"],
)
def test_any_pixel_above_zero_is_a_fixation(scored, images, tmp_path, form):
    expected = scored(images, tmp_path / "maps")[0]
    for name, marks in fixations(images).items():
        write(images / "fixations" / f"{name}.png", form(marks))
    assert scored(images, tmp_path / "maps")[0] == expected


def test_fixations_in_jpeg_files_are_counted_and_told(scored, images, tmp_path):
    expected = scored(images, tmp_path / "maps")[0]
    for name, marks in fixations(images).items():
        (images / "fixations" / f"{name}.png").unlink()
        Image.fromarray(marks).save(images / "fixations" / f"{name}.jpg", quality=95)
    found, out = scored(images, tmp_path / "maps")
    assert found["mean"] == pytest.approx(expected["mean"], abs=0.05)
    assert found["counts"]["left_out"] == {"lossy_fixations": 4}
    assert "4 frames with fixations in a JPEG or lossy WebP image" in out


def test_a_blurred_map_for_fixations_is_told(scored, images, tmp_path):
    for name in "ab":
        (images / "fixations" / f"{name}.png").write_bytes((images / "maps" / f"{name}.png").read_bytes())
    found, out = scored(images, tmp_path / "maps")
    assert found["counts"]["left_out"] == {"blurred_fixations": 2} and "look like a blurred map" in out


def test_fixations_in_mat_files(scored, images, tmp_path):
    expected = scored(images, tmp_path / "maps")[0]["per_image"]
    matrices = {
        "a": {"fixLocs": lambda marks: marks > 0},
        "b": {"anything": lambda marks: marks.astype(np.float64), "note": lambda marks: "of the day"},
        "c": {"fixations": lambda marks: marks, "map": lambda marks: marks * 0 + 1},
    }
    for name, marks in fixations(images).items():
        if name in matrices:
            (images / "fixations" / f"{name}.png").unlink()
            content = {variable: form(marks) for variable, form in matrices[name].items()}
            # SciPy appends no suffix to an upper-case one.
            with (images / "fixations" / f"{name}.MAT").open("wb") as file:
                scipy.io.savemat(file, content)
    assert scored(images, tmp_path / "maps")[0]["per_image"] == expected
    with (images / "fixations" / "a.MAT").open("wb") as file:
        scipy.io.savemat(file, {"fixLocs": np.ones((7, 9))})
    with pytest.raises(UnisalError, match=r"a\.MAT: no matrices of the image's size \(48 rows, 64 columns\)"):
        open_data(images).groups[0].truth(0)


def no_fixations(marks):
    return marks * 0


def one_row(marks):
    marks = marks * 0
    marks[10, 5:9] = 255
    return marks


def one_point(marks):
    marks = marks * 0
    marks[20, 30] = 1
    return marks


@pytest.mark.parametrize("protocol", ["unisal", "dhf1k", "pysaliency"])
@pytest.mark.parametrize("form", [no_fixations, one_row, one_point])
def test_degenerate_fixations_leave_out_what_needs_them(scored, images, tmp_path, protocol, form):
    for name, marks in fixations(images).items():
        write(images / "fixations" / f"{name}.png", form(marks))
    for flags in ([], ["--baselines", "none"], ["--baselines", "centre_prior"]):
        found, out = scored(images, tmp_path / "maps", "--protocol", protocol, *flags)
        assert {"kld", "cc", "sim"} <= set(found["mean"]) and "ig" not in found["mean"]
        assert ("nss" in found["mean"]) == (form is not no_fixations)
        assert found["counts"]["left_out"]["no_centre_prior"] == 4 and "no IG" in out
        assert "centre_prior" not in found["baselines"]
        assert ("cannot fit a centre prior" in out) == (flags != ["--baselines", "none"])
    # A given prior requires no fixations.
    found, _ = scored(images, tmp_path / "maps", "--prior", images / "maps" / "a.png")
    assert ("ig" in found["mean"]) == (form is not no_fixations)


def test_no_prior_is_fitted_for_nothing(scored, images, tmp_path):
    found, _ = scored(images, tmp_path / "maps", "--baselines", "none")
    assert "ig" not in found["mean"] and found["counts"]["left_out"] == {"no_centre_prior": 4}


@pytest.mark.parametrize("size", [(48, 64), (24, 32), (96, 128), (1, 1), (1, 500), (300, 3)])
def test_the_page_shows_maps_of_another_size(scored, images, tmp_path, rng, size):
    """Truth and predictions differ in size from the image and from each other."""
    for name in NAMES:
        write(images / "images" / f"{name}.png", rng.integers(0, 256, (96, 130, 3), np.uint8))
        write(tmp_path / "maps" / f"{name}.png", rng.integers(0, 256, size, np.uint8))
    found, _ = scored(images, tmp_path / "maps", "--html", tmp_path / "r.html")
    assert found["counts"]["left_out"].get("resized_prediction", 0) == (0 if size == SIZE else 4)
    page = (tmp_path / "r.html").read_text()
    assert page.count("data:image/jpeg") == 9
    assert "Chosen by the NSS of the prediction" in page and "unisal-jax 0." in page
    assert re.search(r"<td>\d{4}-\d\d-\d\d</td>", page)


def test_images_of_one_pixel(scored, tmp_path, rng):
    for name in "ab":
        for part, shape in (("images", (1, 1, 3)), ("maps", (1, 1)), ("fixations", (1, 1))):
            write(tmp_path / "data" / part / f"{name}.png", np.full(shape, 9, np.uint8))
    found, _ = scored(tmp_path / "data", tmp_path / "data" / "maps", "--html", tmp_path / "r.html")
    assert found["mean"]["nss"] == 0 and found["counts"]["left_out"]["every_pixel_fixated"] == 2
    assert (tmp_path / "r.html").read_text().count("data:image/jpeg") == 6  # no frame twice


def test_a_constant_map_is_at_chance_when_resized(scored, images, tmp_path):
    for name in NAMES:
        write(tmp_path / "maps" / f"{name}.png", np.full((10, 13), 77, np.uint8))
    found, _ = scored(images, tmp_path / "maps")
    assert found["mean"]["nss"] == 0 and found["mean"]["cc"] == 0 and found["mean"]["auc_judd"] == 0.5


def test_predictions_of_any_depth_score_as_the_floats(scored, images, tmp_path, rng):
    forms = {
        "float.npy": lambda m: m,
        "log.npy": lambda m: np.log(m, where=m > 0, out=np.full(m.shape, -np.inf)),
        "png16": lambda m: (m * 65535).astype(np.uint16),
        "float.tiff": lambda m: m.astype(np.float32),
        "scaled.TIFF": lambda m: (m * 1e-6).astype(np.float32),
        "mat": lambda m: m,
        "small16": lambda m: (m * 255).astype(np.uint16),
        "colour": lambda m: np.dstack([(m * 255).astype(np.uint8)] * 3),
        "colour16.png": lambda m: np.dstack([(m * 255).astype(np.uint16)] * 3),
    }
    import cv2

    densities = {name: gaussian(*rng.uniform(12, 36, 2)) for name in NAMES}
    densities["a"][:4] = 0
    means = {}
    for form, make in forms.items():
        folder = tmp_path / form
        folder.mkdir()
        for name, density in densities.items():
            pixels, suffix = make(density), form.partition(".")[2] or "png"
            if suffix == "npy":
                np.save(folder / f"{name}.npy", pixels)
            elif form == "mat":
                scipy.io.savemat(folder / f"{name}.mat", {"saliency": pixels})
            else:
                cv2.imwrite(str(folder / f"{name}.{suffix}"), pixels)
        means[form] = scored(images, folder)[0]["mean"]
    for form, mean in means.items():
        coarse = form in ("small16", "colour", "colour16.png")
        tolerance = {"abs": 0.1 if coarse else 2e-3, "rel": 0.03 if coarse else 2e-3}
        for score in ("nss", "cc", "sim", "auc_judd"):
            assert mean[score] == pytest.approx(means["float.npy"][score], **tolerance), (form, score)
    assert means["small16"] == means["colour16.png"] == means["colour"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full(SIZE, np.nan), "contains NaN"),
        (np.where(np.eye(*SIZE), np.inf, 1.0), "contains infinity"),
        (np.where(np.eye(*SIZE), -np.inf, 1.0), "contains infinity"),
        (np.ones((*SIZE, 3)), "not a map"),
        (np.ones(SIZE, complex), "not a map"),
        (np.zeros((0, 5)), "not a map of 1 to"),
    ],
)
def test_arrays_that_are_no_maps(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnisalError, match=rf"a\.npy: .*{message}"):
        read_map(tmp_path / "a.npy")


def test_minus_infinity_everywhere_is_a_constant(tmp_path):
    np.save(tmp_path / "a.npy", np.full(SIZE, -np.inf, np.float32))
    assert not read_map(tmp_path / "a.npy").any()


def test_sixteen_bits_of_truth_are_kept(scored, images, tmp_path):
    expected = scored(images, tmp_path / "maps")[0]["mean"]
    for name in NAMES:
        grey = np.asarray(Image.open(images / "maps" / f"{name}.png"))
        write(images / "maps" / f"{name}.png", grey.astype(np.uint16))
    assert scored(images, tmp_path / "maps")[0]["mean"] == expected


def test_endings_and_folders_in_any_case(scored, images, tmp_path):
    expected = scored(images, tmp_path / "maps")[0]["per_image"]
    for part, ending in (("images", "PNG"), ("maps", "Png"), ("fixations", "PNG")):
        for name in NAMES:
            path = images / part / f"{name}.png"
            path.rename(path.with_suffix(f".{ending}"))
    for old, new in {"images": "Images", "maps": "MAPS", "fixations": "Fixation"}.items():
        (images / old).rename(images / new)
    (tmp_path / "maps" / "a.png").rename(tmp_path / "maps" / "a.PNG")
    (tmp_path / "maps" / "b.png").rename(tmp_path / "maps" / "b.jpg.png")
    np.save(tmp_path / "maps" / "c.npy", np.asarray(Image.open(tmp_path / "maps" / "c.png")))
    (tmp_path / "maps" / "c.npy").rename(tmp_path / "maps" / "c.NPY")
    (tmp_path / "maps" / "c.png").unlink()
    assert scored(images, tmp_path / "maps")[0]["per_image"] == expected


def test_folders_that_differ_in_case_alone(images):
    (images / "Maps").mkdir()
    assert len(open_data(images).groups) == 4  # an exact name takes precedence
    (images / "maps").rename(images / "MAPS")
    with pytest.raises(UnisalError, match="keep one of them"):
        open_data(images)


def test_stems_with_dots_and_full_names(scored, tmp_path, rng):
    names = ["COCO_val2014_0001", "v1.2", "v1.3"]
    make_set(tmp_path / "data", names, rng)
    good_maps(tmp_path / "data", tmp_path / "maps", names)
    expected = scored(tmp_path / "data", tmp_path / "maps")[0]["per_image"]
    for folder in (tmp_path / "maps", tmp_path / "data" / "fixations"):
        for name in names:
            (folder / f"{name}.png").rename(folder / f"{name}.png.png")
    assert scored(tmp_path / "data", tmp_path / "maps")[0]["per_image"] == expected


def test_two_files_for_one_name_are_refused(command, images, tmp_path):
    for folder, name in (
        (images / "images", "a.jpg"),
        (images / "maps", "a.PNG"),
        (tmp_path / "maps", "a.bmp"),
    ):
        write(folder / name, np.zeros(SIZE, np.uint8))
        status, _, err = command("evaluate", "--data", images, "--predictions", tmp_path / "maps")
        assert status == 1 and err.count("\n") == 1 and "same stem" in err
        (folder / name).unlink()
    for name in ("b.png.png", "b.jpg.png"):
        (tmp_path / "maps" / "b.png").exists() and (tmp_path / "maps" / "b.png").unlink()
        write(tmp_path / "maps" / name, np.zeros(SIZE, np.uint8))
    status, _, err = command("evaluate", "--data", images, "--predictions", tmp_path / "maps")
    assert status == 1 and "keep one of them" in err


def test_one_name_in_two_splits(tmp_path, rng):
    for split in ("train", "test"):
        make_set(tmp_path / "data" / split, ["a"], rng)
    assert len(open_data(tmp_path / "data").groups) == 1
    with pytest.raises(UnisalError, match="1 names occur in several splits, such as a; choose a split"):
        open_data(tmp_path / "data", "all")


def test_what_matches_nothing_is_counted(scored, images, tmp_path):
    for path in ("maps/x.png", "fixations/x.mat", "fixations/y.png", "images/p.jxl", "images/notes.txt"):
        (images / path).write_bytes(b"?")
    for name in ("e.png", "readme.txt", "._a.png", "Thumbs.db"):
        (tmp_path / "maps" / name).write_bytes(b"?")
    for part in ("maps", "images", "fixations"):
        (images / part / "._a.png").write_bytes(b"?")
    found, out = scored(images, tmp_path / "maps", "--html", tmp_path / "r.html")
    lines = [
        "2 files next to the images, in an unsupported format (images/notes.txt, images/p.jxl)",
        "3 files of maps or fixations without an image (maps/x.png, fixations/x.mat, fixations/y.png)",
        "2 files of predictions that belong to no image (e.png, readme.txt)",
    ]
    assert found["notes"] == lines
    assert all(line in out and line in (tmp_path / "r.html").read_text() for line in lines)


def test_hidden_files_in_frames_of_predictions(scored, tmp_path, rng):
    for name in ("one", "two"):
        stems = [f"{i:02d}" for i in range(1, 4)]
        make_set(tmp_path / "clips" / name, stems, rng)
        good_maps(tmp_path / "clips" / name, tmp_path / "maps" / name, stems)
    expected = scored(tmp_path / "clips", tmp_path / "maps")[0]["per_video"]
    for name in ("one", "two"):
        for number in range(1, 4):
            # In natural order of unrelated names.
            (tmp_path / "maps" / name / f"{number:02d}.png").rename(
                tmp_path / "maps" / name / f"f{number + 8}.PNG"
            )
            (tmp_path / "maps" / name / f"._f{number + 8}.PNG").write_bytes(b"?")
    assert scored(tmp_path / "clips", tmp_path / "maps")[0]["per_video"] == expected


@pytest.mark.parametrize("below", ["map", "val"])
def test_maps_one_folder_too_high(command, images, tmp_path, below):
    (tmp_path / "out" / "json").mkdir(parents=True)
    (tmp_path / "maps").rename(tmp_path / "out" / below)
    status, _, err = command("evaluate", "--data", images, "--predictions", tmp_path / "out")
    assert status == 1 and f"did you mean {tmp_path / 'out' / below}?" in err


def test_maps_named_by_the_video_file(tmp_path, scored):
    """DHF1K's clip 0001 is in video/001.AVI, whose name `unisal predict` uses for its output."""
    synthetic.make(
        "dhf1k-videos", tmp_path / "raw", 0, Amount(train=1, validation=1, frames=3, size=(32, 48))
    )
    for number, clip in (("001", "0001"), ("601", "0601")):
        truth = tmp_path / "raw" / "annotation" / clip / "maps"
        (tmp_path / "maps" / number).mkdir(parents=True)
        for path in truth.iterdir():
            (tmp_path / "maps" / number / path.name).write_bytes(path.read_bytes())
    found, _ = scored(tmp_path / "raw", tmp_path / "maps", "--split", "all")
    assert set(found["per_video"]) == {"0001", "0601"} and found["mean"]["cc"] == pytest.approx(1)


def test_scores_against_all_others_do_not_depend_on_what_is_kept(scored, images, tmp_path, monkeypatch, rng):
    from unisal_jax.evaluate import run

    make_set(images, ["e"], rng)
    good_maps(images, tmp_path / "maps", ["e"])
    expected = scored(images, tmp_path / "maps", "--protocol", "pysaliency")[0]
    monkeypatch.setattr(run, "MAX_HELD_FIXATIONS", 40)
    monkeypatch.setattr(run, "_COUNTED_AT_ONCE", 15)
    monkeypatch.setattr(run, "_COUNTS_HELD", 10)
    assert scored(images, tmp_path / "maps", "--protocol", "pysaliency")[0] == expected
