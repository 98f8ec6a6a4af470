"""Crops of images, compared with loops over all positions, and the files of `unisal crop`."""

import itertools
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from unisal_jax.apps.boxes import Box, integral, share, window_shares
from unisal_jax.apps.crop import best_crop, crop_size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter


@pytest.mark.parametrize("size", [(23, 31), (31, 23), (1, 9), (12, 12)])
@pytest.mark.parametrize("aspect, scale", [((9, 16), 1), ((16, 9), 0.6), ((1, 1), 0.3), ((2.39, 1), 0.8)])
def test_the_best_of_all_places(rng, size, aspect, scale):
    density = rng.random(size, np.float32) ** 4
    crop = best_crop(density, aspect, scale)
    height, width = crop_size(size, aspect, scale)
    assert (crop.box.height, crop.box.width) == (height, width) and crop.box.fits(size)
    places = itertools.product(range(size[0] - height + 1), range(size[1] - width + 1))
    double = density.astype(np.float64)
    best = max(double[t : t + height, q : q + width].sum() for t, q in places) / double.sum()
    assert crop.attention == pytest.approx(best, abs=1e-12)
    assert crop.box.of(double).sum() / double.sum() == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    "size, aspect, scale, want",
    [
        ((360, 640), (16, 9), 1, (360, 640)),
        ((360, 640), (9, 16), 1, (360, 202)),
        ((640, 360), (16, 9), 1, (202, 360)),
        ((360, 640), (1, 1), 0.5, (180, 180)),
        ((360, 640), (2.39, 1), 1, (268, 640)),
        ((100, 100), (1, 1000), 1, (100, 1)),
        ((3, 3), (1, 1), 0.01, (1, 1)),
    ],
)
def test_sizes(size, aspect, scale, want):
    assert crop_size(size, aspect, scale) == want


@pytest.mark.parametrize("aspect", ["9:16", "16", 1.5, (9, 16, 1), ("9", "16")])
def test_what_is_no_aspect_is_named(aspect):
    with pytest.raises(UnisalError, match=r"^aspect: .* is not \(width, height\), such as \(9, 16\)$"):
        crop_size((40, 60), aspect)


def test_sides_of_a_video_are_even():
    assert crop_size((359, 641), (1, 1), multiple=2) == (358, 358)
    assert crop_size((3, 2), (1, 100), multiple=2) == (2, 2)
    assert crop_size((5, 1), (1, 1), multiple=2) == (2, 1)


def test_equal_places_go_to_the_middle():
    density = np.full((40, 60), 1 / 2400, np.float32)
    assert best_crop(density, (1, 1)).box == Box(10, 0, 40, 40)
    assert best_crop(density, (1, 1), 0.5).box == Box(20, 10, 20, 20)


def test_boxes_to_keep_come_before_attention(rng):
    density = rng.random((40, 80), np.float32)
    density[:, 60:] *= 20
    assert best_crop(density, (1, 1)).box.left == 40
    assert best_crop(density, (1, 1), boxes=[Box(35, 5, 10, 10)]).box.left == 35
    # If two do not fit together, the one with more attention is held and the other is not cut.
    left, right = Box(2, 5, 10, 10), Box(66, 5, 10, 10)
    assert best_crop(density, (1, 1), boxes=[left, right]).box.left == 40
    assert best_crop(density, (1, 1), boxes=[left, Box(38, 0, 5, 5), right]).box.left == 38
    # A box too large for the window is kept as far as possible.
    assert 10 <= best_crop(density, (1, 1), boxes=[Box(10, 0, 50, 40)]).box.left <= 20


def test_shares_of_a_density_of_another_size(rng):
    """Those of the density with each value repeated."""
    small = rng.random((6, 8))
    large = small.repeat(5, 0).repeat(5, 1)
    tops, lefts = np.arange(0, 20, 3), np.arange(0, 24, 2)
    got = window_shares(integral(small), (30, 40), (10, 16), tops, lefts)
    want = [[share(integral(large), Box(left, top, 16, 10)) for left in lefts] for top in tops]
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize(
    "density, says",
    [
        (np.zeros((4, 4), np.float32), "not zero everywhere"),
        (np.full((4, 4), np.nan, np.float32), "finite"),
        (np.array([[1.0, -1.0]]), "not negative"),
        (np.ones((4, 4), int), "int64 [4, 4]"),
        (np.ones((4, 4, 3)), "[4, 4, 3]"),
    ],
)
def test_what_is_no_density(density, says):
    with pytest.raises(UnisalError, match="density: ") as error:
        best_crop(density, (1, 1))
    assert says in str(error.value)


@pytest.fixture
def inputs(tmp_path, rng):
    """An image and a clip."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / "image.png")
    with VideoWriter(folder / "clip.mp4", (64, 96), 10) as writer:
        for _ in range(7):
            writer.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
    return folder


@pytest.fixture
def crop(command, golden_file, tmp_path):
    def run(*args):
        flags = ("--out", tmp_path / "out", "--weights", golden_file, "--input-size", "96x128")
        return command("crop", *flags, *args)

    return run


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files(crop, inputs, tmp_path):
    args = (inputs / "image.png", inputs / "clip.mp4", "--aspect", "9:16")
    status, out, err = crop(*args, "--save", "json,crop")
    assert status == 0, err
    assert out.startswith("1 image and 1 video (7 frames) cropped into")
    names = ["crop/clip.mp4", "crop/image.png", "json/clip.json", "json/image.json"]
    assert written(tmp_path / "out") == names
    facts = json.loads((tmp_path / "out/json/image.json").read_text())
    box = Box(**facts["box"])
    assert (box.height, box.width) == (60, 34) and 0 < facts["attention"] <= 1
    assert facts["about"]["aspect"] == [9, 16] and facts["about"]["domain"] == "salicon"
    image = read_image(inputs / "image.png")
    np.testing.assert_array_equal(read_image(tmp_path / "out/crop/image.png"), box.of(image))
    clip = json.loads((tmp_path / "out/json/clip.json").read_text())
    assert [frame["frame"] for frame in clip["frames"]] == list(range(1, 8))
    mean = np.mean([frame["attention"] for frame in clip["frames"]])
    assert clip["mean_attention"] == pytest.approx(mean, abs=1e-5)
    with open_video(tmp_path / "out/crop/clip.mp4") as reader, open_video(inputs / "clip.mp4") as original:
        assert reader.size == (64, 36) and reader.fps == 10
        pairs = list(zip(reader, original, clip["frames"], strict=True))
    for cropped, frame, each in pairs:
        # Noise is the hardest for H.264; another box of it would be off by about 85.
        assert np.abs(cropped.astype(int) - Box(**each["box"]).of(frame)).mean() < 25
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names if name.endswith("json")}
    assert crop(*args)[0] == 0
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in before}


def test_bad_input_leaves_nothing(crop, inputs, tmp_path):
    whole = (inputs / "clip.mp4").read_bytes()
    (inputs / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    status, out, err = crop(inputs / "cut.mp4", "--aspect", "9:16", "--save", "json,crop")
    assert (status, out, err.count("\n")) == (1, "", 1) and "cut.mp4" in err
    assert written(tmp_path / "out") == []
    status, out, err = crop(*inputs.iterdir(), "--aspect", "1:1", "--on-error", "skip", "--save", "json,crop")
    assert status == 0 and "1 skipped" in out and "cut.mp4" in err
    assert "crop/clip.mp4" in written(tmp_path / "out")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three shots of 9, 6 and 8 frames at 10 fps, and the images they show."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    rng = np.random.default_rng(4)
    images = [cv2.resize(rng.integers(0, 256, (7, 12, 3), np.uint8), (144, 80)) for _ in range(3)]
    with VideoWriter(path, (80, 120), 10) as writer:
        for image, count in zip(images, (9, 6, 8), strict=True):
            for n in range(count):
                writer.write(image[:, n : n + 120])
    return path


def test_a_film_of_shots(crop, film, tmp_path):
    keep = tmp_path / "keep.csv"
    keep.write_text("frame,name,left,top,width,height\n1,a,4,10,12,12\n9,a,84,10,12,12\n12,b,60,0,20,20\n")
    args = (
        "--aspect",
        "9:16,1:1,2:1",
        "--save",
        "json,crop",
        "--poster",
        "--layout",
        "split",
        "--keep",
        keep,
    )
    status, _, err = crop(film, *args)
    assert status == 0, err
    names = [f"film_{aspect}" for aspect in ("1x1", "2x1", "9x16")]
    files = [f"crop/{name}.mp4" for name in names] + [f"json/{name}.json" for name in names]
    assert written(tmp_path / "out") == [*files, "poster/film.png"]
    for name, size in zip(names, ((80, 80), (60, 120), (80, 44)), strict=True):
        facts = json.loads((tmp_path / "out/json" / f"{name}.json").read_text())
        shots = facts["shots"]
        assert [(shot["first_frame"], shot["last_frame"]) for shot in shots] == [(1, 9), (10, 15), (16, 23)]
        assert [shot["first_seconds"] for shot in shots] == [0, 0.9, 1.5]
        assert {shot["path"] for shot in shots} <= {"still", "pan", "follow"}
        for shot in shots:
            within = facts["frames"][shot["first_frame"] - 1 : shot["last_frame"]]
            kept = np.mean([frame["attention"] for frame in within])
            assert shot["attention"] == pytest.approx(kept, abs=1e-5)
            assert all(("boxes" in frame) == (shot["layout"] == "split") for frame in within)
        with open_video(tmp_path / "out/crop" / f"{name}.mp4") as reader:
            assert reader.size == size and len(list(reader)) == 23
        poster = facts["poster"]
        if size[1] < 120:
            # The box that must be kept moves evenly from the first to the ninth frame; one frame has another.
            # It is in one of the windows, whether the shot has one or, with rounding alone, two.
            for number, (left, width) in {0: (4, 12), 4: (44, 12), 8: (84, 12), 11: (60, 20)}.items():
                frame = facts["frames"][number]
                windows = [Box(**window) for window in frame.get("boxes") or [frame["box"]]]
                assert any(w.left <= left and left + width <= w.left + w.width for w in windows)
    with open_video(film) as reader:
        frame = list(reader)[poster["frame"] - 1]
    np.testing.assert_array_equal(read_image(tmp_path / "out/poster/film.png"), frame)
    assert poster["seconds"] == pytest.approx((poster["frame"] - 1) / 10)


def test_an_image_in_several_aspects_with_a_box(crop, inputs, tmp_path):
    keep = tmp_path / "keep.csv"
    keep.write_text("left,top,width,height\n2,2,10,10\n")
    image = inputs / "image.png"
    assert crop(image, "--aspect", "9:16,1:1", "--save", "json,crop,poster", "--keep", keep)[0] == 0
    assert written(tmp_path / "out") == [
        "crop/image_1x1.png",
        "crop/image_9x16.png",
        "json/image_1x1.json",
        "json/image_9x16.json",
    ]
    box = json.loads((tmp_path / "out/json/image_9x16.json").read_text())["box"]
    assert box["left"] <= 2
    status, _, err = crop(*inputs.iterdir(), "--aspect", "1:1", "--keep", keep)
    assert status == 1 and "--keep" in err and "not 2" in err
    keep.write_text("left,top,width,height\n75,2,10,10\n")
    status, _, err = crop(image, "--aspect", "1:1", "--keep", keep)
    assert status == 1 and "keep.csv" in err and "leave the image" in err


@pytest.mark.parametrize(
    "args, parts",
    [
        ([], ["--aspect"]),
        (["--aspect", "16x9"], ["--aspect", "'16x9'"]),
        (["--aspect", "0:9"], ["--aspect", "'0:9'"]),
        (["--aspect", "1:1", "--scale", "0"], ["--scale", "'0'"]),
        (["--aspect", "1:1", "--smoothness", "inf"], ["--smoothness", "'inf'"]),
        (["--aspect", "1:1", "--save", "map"], ["--save", "json,crop,poster"]),
        (["--aspect", "1:1,2"], ["--aspect", "'2'"]),
        (["--aspect", "1:1", "--layout", "three"], ["--layout", "'three'"]),
        (["--aspect", "1:1", "--keep", "none.csv"], ["none.csv", "No such file"]),
        (["--aspect", "1:1", "--keep-faces", "no.onnx"], ["no.onnx", "github.com/opencv/opencv_zoo"]),
        (["--aspect", "1:1", "--save", "crop", "--", "camera:0"], ["camera:0", "twice"]),
        (["--aspect", "1:1", "--poster", "--", "camera:0"], ["camera:0", "twice"]),
    ],
)
def test_bad_flags(crop, inputs, tmp_path, args, parts):
    status, out, err = crop(*args, *([] if "--" in args else [inputs / "image.png"]))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert all(part in err for part in parts)
    assert not (tmp_path / "out").exists()
