"""The window's path in a video: standing still, panning or following, shot by shot."""

import itertools

import numpy as np
import pytest

from unisal_jax.apps import shots
from unisal_jax.apps.boxes import Box, integral, share
from unisal_jax.apps.camera import MAX_ACCELERATION
from unisal_jax.apps.crop import crop_size
from unisal_jax.apps.crop_film import cropped
from unisal_jax.apps.shots import VideoCrops, crop_video
from unisal_jax.apps.track import best_path
from unisal_jax.errors import UnisalError
from unisal_jax.media.frames import Planes

SIZE = (90, 160)


def blob(row, column, spread=8.0, size=SIZE):
    """A Gaussian density, float32 [height, width], that sums to 1."""
    rows, columns = np.indices(size)
    density = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))
    return (density / density.sum()).astype(np.float32)


def run(densities, aspect=(9, 16), cuts=(), boxes=None, fps=25.0, **kwargs):
    """(the crops, the shots) of densities with cuts at these frames."""
    video = VideoCrops(SIZE, aspect, fps=fps, **kwargs)
    crops = []
    for number, density in enumerate(densities):
        crops += video.add(density, number in cuts, boxes[number] if boxes else ())
    crops += video.finish()
    for shot in video.shots:
        kept = np.mean([crop.attention for crop in crops[shot.first : shot.last + 1]])
        assert shot.attention == pytest.approx(kept)
    return crops, video.shots


def lefts(crops):
    return np.array([crop.box.left for crop in crops])


def inside(crops, columns):
    """The share of frames with the subject in the window."""
    return np.mean(
        [
            crop.box.left <= at < crop.box.left + crop.box.width
            for crop, at in zip(crops, columns, strict=True)
        ]
    )


def brute_force_path(scores, row_prices, column_prices, start=None):
    """The largest sum of scores minus costs over all paths."""
    shape = scores[0].shape
    best = {} if start is None else {start: 0.0}
    for frame in scores:
        new = {}
        for place in itertools.product(*map(range, shape)):
            into = [0.0] if not best else []
            for came, total in best.items():
                moves = abs(place[0] - came[0]), abs(place[1] - came[1])
                if moves[0] < len(row_prices) and moves[1] < len(column_prices):
                    into.append(total - row_prices[moves[0]] - column_prices[moves[1]])
            new[place] = max(into, default=-np.inf) + frame[place]
        best = new
    return max(best.values())


@pytest.mark.parametrize("start", [None, (3, 4)])
def test_the_best_of_all_paths(rng, start):
    prices = 0.1 * np.arange(3) ** 2, 0.2 * np.arange(4) ** 2
    scores = list(rng.random((30, 4, 5)))
    path = best_path(scores, *prices, start=start)
    total = sum(frame[place] for place, frame in zip(path, scores, strict=True))
    for place, after in itertools.pairwise(path if start is None else [start, *path]):
        total -= prices[0][abs(after[0] - place[0])] + prices[1][abs(after[1] - place[1])]
    assert total == pytest.approx(brute_force_path(scores, *prices, start), abs=1e-6)


def test_a_subject_that_hardly_moves_is_shown_by_a_still_window(rng):
    crops, shots = run(blob(45, 80 + shake) for shake in rng.normal(0, 4, 60))
    assert [shot.path for shot in shots] == ["still"] and set(lefts(crops)) == {lefts(crops)[0]}
    assert shots[0].attention > 0.97


def test_a_subject_that_crosses_evenly_is_panned_with(rng):
    columns = np.linspace(20, 140, 80)
    crops, shots = run(blob(45, at) for at in columns + rng.normal(0, 2, 80))
    assert [shot.path for shot in shots] == ["pan"]
    assert inside(crops, columns) == 1 and shots[0].attention > 0.97
    # An even line, rounded to pixels.
    line = np.linspace(lefts(crops)[0], lefts(crops)[-1], 80)
    assert np.abs(lefts(crops) - line).max() <= 1


@pytest.mark.parametrize("fps", [25.0, 50.0])
@pytest.mark.parametrize(
    "columns",
    [
        80 + 60 * np.sin(np.arange(0, 9, 0.04)),
        np.concatenate([np.full(50, 30), np.linspace(30, 130, 50), np.full(50, 130)]),
    ],
)
def test_following_keeps_the_subject_with_bounded_acceleration(rng, columns, fps):
    crops, shots = run([blob(45, at) for at in columns + rng.normal(0, 2, len(columns))], fps=fps)
    assert [shot.path for shot in shots] == ["follow"]
    assert inside(crops, columns) >= 0.98 and shots[0].attention > 0.95
    # Whole pixels add less than 2 to a second difference.
    assert np.abs(np.diff(lefts(crops), 2)).max() < MAX_ACCELERATION * 160 / fps**2 + 2


def test_each_shot_has_a_path_of_its_own():
    columns = np.concatenate([np.full(30, 30), np.full(20, 130), np.linspace(20, 140, 40), [60, 61]])
    crops, found = run([blob(45, at) for at in columns], cuts=(30, 50, 90))
    assert [(shot.first, shot.last, shot.path) for shot in found] == [
        (0, 29, "still"),
        (30, 49, "still"),
        (50, 89, "pan"),
        (90, 91, "still"),
    ]
    assert inside(crops, columns) == 1
    flags = [number in (30, 50, 90) for number in range(len(columns))]
    same = list(crop_video([blob(45, at) for at in columns], (9, 16), cuts=flags))
    assert same == crops
    # Without cuts the window glides.
    gliding = list(crop_video([blob(45, at) for at in columns], (9, 16)))
    assert np.abs(np.diff(lefts(gliding))).max() < 15 < np.abs(np.diff(lefts(crops))).max()


def test_no_smoothness_takes_the_best_place_of_each_frame(rng):
    columns = rng.uniform(30, 130, 20)
    crops, found = run([blob(45, at) for at in columns], smoothness=0)
    assert found[0].path == "free"
    assert np.abs(lefts(crops) + 25 - columns).max() <= 2


def test_a_window_that_moves_both_ways(rng):
    rows, columns = np.linspace(20, 70, 60), np.linspace(130, 30, 60)
    crops, found = run([blob(*at) for at in zip(rows, columns, strict=True)], aspect=(1, 1), scale=0.5)
    assert found[0].path == "pan" and found[0].attention > 0.95
    tops = np.array([crop.box.top for crop in crops])
    assert abs(tops[0] - 0) <= 2 and abs(tops[-1] - 46) <= 4
    assert np.abs(np.diff(tops, 2)).max() <= 1 and np.abs(np.diff(lefts(crops), 2)).max() <= 1


@pytest.fixture
def short_foresight(monkeypatch):
    """Long shots begin at 80 frames, so that a test of one is quick."""
    monkeypatch.setattr(shots, "FORESIGHT", 40)


def test_a_long_shot_is_settled_piece_by_piece(short_foresight, rng):
    columns = 80 + 60 * np.sin(np.arange(400) / 30)
    video = VideoCrops(SIZE, (9, 16))
    crops = []
    for at in columns + rng.normal(0, 2, 400):
        crops += video.add(blob(45, at))
        assert len(video._frames) < 80
    assert len(crops) == 360
    crops += video.finish()
    assert [(shot.first, shot.last, shot.path) for shot in video.shots] == [(0, 399, "follow")]
    assert inside(crops, columns) >= 0.98
    assert np.abs(np.diff(lefts(crops), 2)).max() < MAX_ACCELERATION * 160 / 25**2 + 2


def test_a_long_still_shot_stays_still(short_foresight, rng):
    crops, found = run(blob(45, at) for at in 60 + rng.normal(0, 3, 300))
    assert [shot.path for shot in found] == ["still"] and len(set(lefts(crops))) == 1


def test_any_path_can_be_continued(short_foresight, rng):
    """With jumping positions, the linear programs have solutions and the window stays in the image."""
    for scale in (1.0, 0.3):
        columns, rows = rng.uniform(0, 160, 250), rng.uniform(0, 90, 250)
        columns[100:160] = np.repeat(rng.uniform(0, 160, 6), 10)
        crops, _ = run([blob(*at, 4.0) for at in zip(rows, columns, strict=True)], scale=scale, fps=10)
        assert len(crops) == 250 and all(crop.box.fits(SIZE) for crop in crops)
        bound = MAX_ACCELERATION * 160 / 10**2 + 2
        assert np.abs(np.diff(lefts(crops), 2)).max() < bound


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("size", [(90, 160), (270, 480)])
def test_shares_of_a_video_are_those_of_its_boxes(scale, size):
    rows, columns = 0.5 * size[0], np.linspace(0.2, 0.8, 40) * size[1]
    densities = [blob(rows, at, 0.08 * size[1], size) for at in columns]
    crops = list(crop_video(densities, (9, 16), scale, fps=20))
    assert {(crop.box.height, crop.box.width) for crop in crops} == {crop_size(size, (9, 16), scale, 2)}
    for crop, density in zip(crops, densities, strict=True):
        assert crop.box.fits(size)
        assert crop.attention == pytest.approx(share(integral(density), crop.box), abs=1e-4)


def test_densities_may_be_smaller_than_the_frames():
    columns = np.linspace(20, 140, 30)
    video = VideoCrops((360, 640), (9, 16))
    crops = [crop for at in columns for crop in video.add(blob(45, at))] + video.finish()
    assert {(crop.box.height, crop.box.width) for crop in crops} == {(360, 202)}
    assert inside(crops, 4 * columns) == 1 and video.shots[0].attention > 0.95


def test_boxes_are_never_cut_where_they_can_be_held(rng):
    """A face crosses the frame while attention stays elsewhere; then two faces too far apart for a window."""
    faces = np.linspace(5, 135, 60).round().astype(int)
    crops, _ = run([blob(45, 80)] * 60, boxes=[(Box(int(at), 20, 20, 24),) for at in faces])
    assert all(crop.box.holds(Box(int(at), 20, 20, 24)) for at, crop in zip(faces, crops, strict=True))
    assert np.abs(np.diff(lefts(crops), 2)).max() < MAX_ACCELERATION * 160 / 25**2 + 2
    left, right = Box(40, 20, 20, 24), Box(82, 20, 20, 24)
    crops, _ = run([blob(45, 72)] * 20, boxes=[(left, right)] * 20)
    for crop in crops:
        assert crop.box.holds(left) != crop.box.holds(right)
        other = right if crop.box.holds(left) else left
        assert crop.box.left >= other.left + other.width or crop.box.left + crop.box.width <= other.left
    # A window that is as wide as the face has one place, between those of the grid too.
    crops, _ = run([blob(45, 80, size=(360, 640))] * 3, boxes=[(Box(33, 20, 50, 24),)] * 3)
    assert set(lefts(crops)) == {33}


def two(first, second, weight=0.5):
    return weight * blob(45, first) + (1 - weight) * blob(45, second)


def test_two_far_apart_subjects_get_a_window_each():
    densities = [two(30 + 0.2 * n, 130) for n in range(40)] + [blob(45, 60)] * 20
    crops, found = run(densities, cuts=(40,), split=True)
    assert [shot.split for shot in found] == [True, False]
    assert found[0].attention > 0.97
    single, _ = run(densities, cuts=(40,))
    assert np.mean([crop.attention for crop in single[:40]]) < 0.55
    for n, crop in enumerate(crops[:40]):
        one, other = crop.box, crop.second
        assert one.fits(SIZE) and other.fits(SIZE) and one.width == other.width <= 80
        assert one.left <= 30 + 0.2 * n < one.left + one.width
        assert other.left <= 130 < other.left + other.width and one.left + one.width <= other.left
        assert one.width / one.height == pytest.approx(9 / 8, rel=0.05)
    assert all(crop.second is None for crop in crops[40:])


def test_one_subject_or_two_that_are_near_need_no_split():
    for densities in ([blob(45, 80, 25.0)] * 10, [two(60, 90)] * 10, [two(30, 130, 0.9)] * 10):
        assert [shot.split for shot in run(densities, split=True)[1]] == [False]
    # A wide window holds both.
    assert [shot.split for shot in run([two(30, 130)] * 10, aspect=(16, 9), split=True)[1]] == [False]


def test_a_split_frame_shows_both_windows():
    """Halves are even, as 4:2:0 requires: 44 and 46 of 90 rows."""
    luma, colour = (np.zeros(size, np.uint8) for size in (SIZE, (SIZE[0] // 2, SIZE[1] // 2)))
    luma[:, 80:], colour[:, 40:] = 200, 99
    frame = Planes(luma, colour, colour)
    crop = run([two(30, 130)] * 5, split=True)[0][0]
    tall = cropped(frame, crop, (90, 50))
    assert [plane.shape for plane in tall] == [(90, 50), (45, 25), (45, 25)]
    assert (tall.y[:44] == 0).all() and (tall.y[44:] == 200).all()
    assert (tall.v[:22] == 0).all() and (tall.v[22:] == 99).all()
    crop = run([two(30, 130)] * 5, aspect=(1, 1), split=True)[0][0]
    wide = cropped(frame, crop, (90, 90))
    assert [plane.shape for plane in wide] == [(90, 90), (45, 45), (45, 45)]
    assert (wide.y[:, :44] == 0).all() and (wide.y[:, 44:] == 200).all()


def test_bad_arguments():
    density = blob(10, 10, size=(20, 20))
    for call, says in (
        (lambda: list(crop_video([density], (1, 1), fps=0)), "fps"),
        (lambda: list(crop_video([density], (1, 1), smoothness=-1)), "smoothness"),
        (
            lambda: list(crop_video([density, density[1:]], (1, 1))),
            "has size [19, 20], but earlier ones [20, 20]",
        ),
    ):
        with pytest.raises(UnisalError) as error:
            call()
        assert says in str(error.value)
    assert list(crop_video([], (1, 1))) == []
