"""Crops: exact against loops over all places, gentle and near the best path in video, and as files."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from unisal_jax.apps import track
from unisal_jax.apps.boxes import Box, integral, share
from unisal_jax.apps.crop import VideoCrops, best_crop, crop_size, crop_video
from unisal_jax.apps.track import BestPath, Smoothed
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image
from unisal_jax.media.video import open_video
from unisal_jax.media.video_writer import VideoWriter


def blob(size, row, column, spread=8.0):
    """A Gaussian density, float32 [height, width], that sums to 1."""
    rows, columns = np.indices(size)
    density = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))
    return (density / density.sum()).astype(np.float32)


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


def test_sides_of_a_video_are_even():
    assert crop_size((359, 641), (1, 1), multiple=2) == (358, 358)
    assert crop_size((3, 2), (1, 100), multiple=2) == (2, 2)
    assert crop_size((5, 1), (1, 1), multiple=2) == (2, 1)


def test_equal_places_go_to_the_middle():
    density = np.full((40, 60), 1 / 2400, np.float32)
    assert best_crop(density, (1, 1)).box == Box(10, 0, 40, 40)
    assert best_crop(density, (1, 1), 0.5).box == Box(20, 10, 20, 20)


@pytest.mark.parametrize(
    "density, says",
    [
        (np.zeros((4, 4), np.float32), "not zero everywhere"),
        (np.full((4, 4), np.nan, np.float32), "finite"),
        (np.array([[1.0, -1.0]]), "nowhere negative"),
        (np.ones((4, 4), int), "int64 [4, 4]"),
        (np.ones((4, 4, 3)), "[4, 4, 3]"),
    ],
)
def test_what_is_no_density(density, says):
    with pytest.raises(UnisalError, match="density: ") as error:
        best_crop(density, (1, 1))
    assert says in str(error.value)


def brute_force_path(scores, row_prices, column_prices):
    """The largest sum of scores less prices over all paths."""
    shape = scores[0].shape
    best = {}
    for frame in scores:
        new = {}
        for place in itertools.product(*map(range, shape)):
            into = [0.0] if not best else []
            for came, total in best.items():
                moves = abs(place[0] - came[0]), abs(place[1] - came[1])
                if moves[0] < len(row_prices) and moves[1] < len(column_prices):
                    into.append(total - row_prices[moves[0]] - column_prices[moves[1]])
            new[place] = max(into) + frame[place]
        best = new
    return max(best.values())


def value(path, scores, row_prices, column_prices):
    """The sum of scores less prices along a path."""
    total = sum(frame[row, column] for (row, column, _), frame in zip(path, scores, strict=True))
    for (row, column, _), (next_row, next_column, _) in itertools.pairwise(path):
        total -= row_prices[abs(next_row - row)] + column_prices[abs(next_column - column)]
    return total


@pytest.mark.parametrize("foresight", [6, 256])
def test_the_best_of_all_paths(rng, monkeypatch, foresight):
    """In one piece, and settled block by block with enough foresight for these prices."""
    monkeypatch.setattr(track, "FORESIGHT", foresight)
    prices = 0.1 * np.arange(3) ** 2, 0.2 * np.arange(4) ** 2
    scores = list(rng.random((40, 4, 5)))
    finder = BestPath(*prices)
    settled = [place for frame in scores for place in finder.add(frame)]
    assert len(settled) == (0 if foresight == 256 else 30)
    path = settled + finder.finish()
    assert all(kept is frame for (_, _, kept), frame in zip(path, scores, strict=True))
    assert value(path, scores, *prices) == pytest.approx(brute_force_path(scores, *prices), abs=1e-6)


def test_blocks_join(rng, monkeypatch):
    """With hardly any foresight the path is not the best one, yet makes only moves that can be made."""
    monkeypatch.setattr(track, "FORESIGHT", 1)
    prices = np.array([0.0, 0.3]), np.array([0.0, 0.3])
    finder = BestPath(*prices)
    scores = list(rng.random((50, 6, 6)))
    path = [place for frame in scores for place in finder.add(frame)] + finder.finish()
    assert len(path) == 50
    value(path, scores, *prices)  # an IndexError for a longer move


def test_smoothing_keeps_lines_and_places(rng):
    line = [(2.0 * n, 7.0 - n, np.array(n)) for n in range(30)]
    smoother = Smoothed(4)
    got = [each for placed in line for each in smoother.add(placed)] + smoother.finish()
    assert [int(scores) for _, _, scores in got] == list(range(30))
    np.testing.assert_allclose(
        [each[:2] for each in got[4:-4]], [each[:2] for each in line[4:-4]], atol=1e-12
    )
    still = Smoothed(4)
    assert [each for n in range(3) for each in still.add((5.0, n % 1, np.array(n)))] == []
    np.testing.assert_allclose([each[:2] for each in still.finish()], [(5.0, 0.0)] * 3)


def moving(frames, size=(90, 160), jitter=None):
    """Densities of a blob that stays left, then moves to the right; with a jitter in pixels."""
    for n in range(frames):
        at = 30 + 100 * np.clip((n - frames / 3) / (frames / 3), 0, 1)
        shake = jitter.normal(0, 5) if jitter is not None else 0
        yield blob(size, 45, at + shake)


def lefts(crops):
    return np.array([crop.box.left for crop in crops])


def test_a_video_is_followed_without_shaking(rng):
    densities = list(moving(90, jitter=rng))
    crops = list(crop_video(densities, (9, 16), fps=30))
    shaken = list(crop_video(densities, (9, 16), fps=30, smoothness=0))
    assert len(crops) == len(shaken) == 90
    assert lefts(crops)[0] < 20 and lefts(crops)[-1] > 90
    # Smoothness is worth a little attention and takes nine tenths of the shaking.
    second = [np.abs(np.diff(lefts(each), 2)).mean() for each in (crops, shaken)]
    assert second[0] < second[1] / 10
    kept = [np.mean([crop.attention for crop in each]) for each in (crops, shaken)]
    assert 0.85 < kept[0] <= kept[1]


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("size", [(90, 160), (270, 480)])
def test_shares_of_a_video_are_those_of_its_boxes(rng, scale, size):
    densities = [blob(size, 0.5 * size[0], c * size[1], 0.08 * size[1]) for c in np.linspace(0.2, 0.8, 40)]
    crops = list(crop_video(densities, (9, 16), scale, fps=20))
    assert {(crop.box.height, crop.box.width) for crop in crops} == {crop_size(size, (9, 16), scale, 2)}
    for crop, density in zip(crops, densities, strict=True):
        assert crop.box.fits(size)
        assert crop.attention == pytest.approx(share(integral(density), crop.box), abs=1e-4)


def test_memory_of_a_long_video_is_bounded():
    crops = VideoCrops((90, 160), (9, 16))
    density = blob((90, 160), 45, 100)
    behind = []
    for n in range(4 * track.FORESIGHT):
        behind.append(n + 1 - len(crops.add(density)) - (n - behind[-1] if behind else 0))
        assert len(crops._path._held) < 2 * track.FORESIGHT and len(crops._smoothed._held) <= 26
    assert len(crops.finish()) < 2 * track.FORESIGHT + 26


def test_bad_arguments():
    density = blob((20, 20), 10, 10)
    for call, says in (
        (lambda: best_crop(density, (0, 1)), "aspect"),
        (lambda: best_crop(density, (1, 1), 1.5), "scale"),
        (lambda: list(crop_video([density], (1, 1), fps=0)), "fps"),
        (lambda: list(crop_video([density], (1, 1), smoothness=-1)), "smoothness"),
        (lambda: list(crop_video([density, density[1:]], (1, 1))), "[19, 20] among frames of [20, 20]"),
    ):
        with pytest.raises(UnisalError) as error:
            call()
        assert says in str(error.value)
    assert list(crop_video([], (1, 1))) == []


@pytest.fixture
def inputs(tmp_path, rng):
    """A picture and a clip."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / "picture.png")
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
    args = (inputs / "picture.png", inputs / "clip.mp4", "--aspect", "9:16")
    status, out, err = crop(*args, "--save", "json,crop")
    assert status == 0, err
    assert out.startswith("1 image and 1 video (7 frames) cropped into")
    names = ["crop/clip.mp4", "crop/picture.png", "json/clip.json", "json/picture.json"]
    assert written(tmp_path / "out") == names
    facts = json.loads((tmp_path / "out/json/picture.json").read_text())
    box = Box(**facts["box"])
    assert (box.height, box.width) == (60, 34) and 0 < facts["attention"] <= 1
    assert facts["about"]["aspect"] == [9, 16] and facts["about"]["domain"] == "salicon"
    picture = read_image(inputs / "picture.png")
    np.testing.assert_array_equal(read_image(tmp_path / "out/crop/picture.png"), box.of(picture))
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


@pytest.mark.parametrize(
    "args, parts",
    [
        ([], ["--aspect"]),
        (["--aspect", "16x9"], ["--aspect", "'16x9'"]),
        (["--aspect", "0:9"], ["--aspect", "'0:9'"]),
        (["--aspect", "1:1", "--scale", "0"], ["--scale", "'0'"]),
        (["--aspect", "1:1", "--smoothness", "inf"], ["--smoothness", "'inf'"]),
        (["--aspect", "1:1", "--save", "map"], ["--save", "json,crop"]),
        (["--aspect", "1:1", "--save", "crop", "--", "camera:0"], ["camera:0", "twice"]),
    ],
)
def test_bad_flags(crop, inputs, tmp_path, args, parts):
    status, out, err = crop(*args, *([] if "--" in args else [inputs / "picture.png"]))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert all(part in err for part in parts)
    assert not (tmp_path / "out").exists()
