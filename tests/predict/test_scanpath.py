"""Scanpaths: sampling from a density, scores of sequences, and the commands."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image

import unisal_jax
from unisal_jax.apps.scanpath_files import KINDS, draw, to_csv
from unisal_jax.cli import evaluate
from unisal_jax.cli import scanpath as cli
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.scanpath_run import PROTOCOL, TablePaths, evaluate_scanpaths
from unisal_jax.evaluate.scanpaths import return_share, saccade_length, string_edit, time_delay_embedding
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData
from unisal_jax.media.images import read_image
from unisal_jax.predict import scanpath
from unisal_jax.predict.scanpath import OSIE, Inhibition, draw_scanpaths, log_likelihood

ALONE = dataclasses.replace(OSIE, start=None, saccade=None, inhibition=None)


def blob(size, row, column, spread):
    rows, columns = np.indices(size)
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2))


def test_the_same_seed_gives_the_same_paths():
    density = blob((90, 120), 40, 70, 20).astype(np.float32)
    first = draw_scanpaths(density, 4, 6, seed=7)
    again = draw_scanpaths(density, 4, 6, seed=7)
    assert first.xy.shape == (4, 6, 2) and first.durations.shape == (4, 6)
    np.testing.assert_array_equal(first.xy, again.xy)
    np.testing.assert_array_equal(first.durations, again.durations)
    np.testing.assert_array_equal(draw_scanpaths(density, 2, 6, seed=7).xy, first.xy[:2])
    # The result depends on the seed and not on the scale of the density.
    np.testing.assert_allclose(draw_scanpaths(density * 256, 4, 6, seed=7).xy, first.xy)
    assert (draw_scanpaths(density, 4, 6, seed=8).xy != first.xy).all()
    assert unisal_jax.draw_scanpaths is draw_scanpaths


def test_raw_numbers_are_those_of_pcg64():
    """PCG64's first output for seed 1: NumPy guarantees that the bit stream never changes."""
    assert scanpath._random(1, (1,))[0] == 0.5118216247002567


def test_many_paths_in_blocks_are_the_same(monkeypatch):
    density = blob((30, 40), 10, 20, 8)
    whole = draw_scanpaths(density, 7, 4).xy
    monkeypatch.setattr(scanpath, "_BLOCK", 2 * 30 * 40)
    np.testing.assert_array_equal(draw_scanpaths(density, 7, 4).xy, whole)


def test_without_its_parts_it_draws_from_the_density():
    density = np.zeros((40, 60))
    density[:20, :30], density[20:, 30:] = 3, 1
    xy = draw_scanpaths(density, 400, 10, parameters=ALONE).xy.reshape(-1, 2)
    left = xy[:, 0] < 30
    assert (left == (xy[:, 1] < 20)).all()
    assert left.mean() == pytest.approx(0.75, abs=3 * math.sqrt(0.75 * 0.25 / 4000))
    # Even inside of each part.
    assert xy[left].mean(0) == pytest.approx((15, 10), abs=0.6)


def test_two_equal_peaks_alternate_by_inhibition():
    density = blob((60, 120), 30, 20, 2) + blob((60, 120), 30, 100, 2)

    def switches(inhibition):
        parameters = dataclasses.replace(ALONE, inhibition=inhibition)
        right = draw_scanpaths(density, 100, 8, parameters=parameters).xy[..., 0] > 60
        return (right[:, 1:] != right[:, :-1]).mean()

    assert switches(None) == pytest.approx(0.5, abs=0.06)
    # The current cell is fully inhibited; of the previous one, the square root remains.
    assert switches(Inhibition(0.99, 4.0, 0.5)) > 0.85
    assert switches(Inhibition(0.99, 4.0, 0.0)) > 0.95
    # Without decay, a cell is revisited only after all others.
    assert switches(Inhibition(0.5, 4.0, 0.0)) == pytest.approx(2 / 3, abs=0.08)


def test_the_place_before_the_last_is_inhibited_beside_the_prior_on_saccades():
    """Three peaks in an equilateral triangle: returning is half as likely as moving on."""
    side = 20.0
    places = [(10.0, 10.0), (10.0, 10.0 + side), (10.0 + side * math.sqrt(3) / 2, 10.0 + side / 2)]
    density = sum(blob((40, 40), row, column, 1.0) for row, column in places)
    flat = dataclasses.replace(OSIE.saccade, near_weight=0.0, far=1e9, horizontal=0.0, cardinal=0.0)
    parameters = dataclasses.replace(ALONE, saccade=flat, inhibition=Inhibition(0.5, 5.0, 1.0))
    xy = draw_scanpaths(density, 3000, 3, parameters=parameters).xy
    peak = np.argmin([np.hypot(xy[..., 0] - c, xy[..., 1] - r) for r, c in places], axis=0)
    moved = peak[:, 1] != peak[:, 0]
    back, on = (
        (peak[:, 2] == peak[:, 0])[moved],
        ((peak[:, 2] != peak[:, 0]) & (peak[:, 2] != peak[:, 1]))[moved],
    )
    assert back.sum() / on.sum() == pytest.approx(0.5, abs=0.08)


def test_saccades_follow_the_prior_on_an_even_density():
    """On a uniform density, the share of each length is the factor times the number of cells."""
    degrees = 30.0
    # They begin in the middle: 9 degrees around them are inside.
    parameters = dataclasses.replace(ALONE, start=1.5, saccade=OSIE.saccade)
    xy = draw_scanpaths(np.ones((96, 96)), 1200, 2, parameters=parameters, degrees=degrees).xy
    dx, dy = ((xy[:, 1] - xy[:, 0]) * degrees / 96).T
    length = np.hypot(dx, dy)
    s = OSIE.saccade
    x, y = np.meshgrid(*2 * [np.arange(-160, 161) / 16])
    d, a = np.hypot(x, y), np.arctan2(y, x)
    factor = (s.near_weight * np.exp(-d / s.near) + np.exp(-d / s.far)) * np.exp(
        s.horizontal * np.cos(2 * a) + s.cardinal * np.cos(4 * a)
    )
    edges = [0, 1.5, 3, 5, 7, 9]
    expected = np.histogram(d, edges, weights=factor)[0]
    counts = np.histogram(length, edges)[0]
    assert counts.sum() > 400
    expected *= counts.sum() / expected.sum()
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected)).all()
    inside = length < 9
    across = (np.abs(dx) > np.abs(dy))[inside].mean()
    wanted = factor[(d < 9) & (np.abs(x) > np.abs(y))].sum() / factor[d < 9].sum()
    assert across == pytest.approx(wanted, abs=0.06) and wanted > 0.55


@pytest.mark.parametrize("size", [(7, 900), (900, 7), (1, 1), (1, 300), (300, 400)])
def test_paths_stay_inside(size):
    paths = draw_scanpaths(np.ones(size), 20, 12)
    assert (paths.xy >= 0).all() and (paths.xy < size[::-1]).all()
    assert np.isfinite(paths.durations).all() and (paths.durations > 0).all()
    rows = list(csv.DictReader(to_csv("a", paths).splitlines()))
    assert all(0 <= float(row["x"]) < size[1] and 0 <= float(row["y"]) < size[0] for row in rows)


def test_one_place_alone_is_looked_at_again_and_again():
    density = np.zeros((50, 70))
    density[11, 63] = 1
    xy = draw_scanpaths(density, 3, 30).xy
    cell = 70 / round(70 * min(1, 96 / 70))
    assert (np.abs(xy - (63.5, 11.5)) <= cell).all()


def test_durations_are_log_normal():
    durations = draw_scanpaths(np.ones((10, 10)), 500, 20).durations
    assert np.median(durations) == pytest.approx(OSIE.duration, rel=0.03)
    assert np.log(durations).std() == pytest.approx(OSIE.duration_spread, rel=0.05)


def test_the_first_fixation_is_near_the_middle():
    parameters = dataclasses.replace(ALONE, start=3.0)
    first = draw_scanpaths(np.ones((96, 96)), 1500, 1, parameters=parameters, degrees=96.0).xy[:, 0]
    assert first.mean(0) == pytest.approx((48, 48), abs=0.3) and first.std(0) == pytest.approx(
        (3, 3), rel=0.06
    )


def test_log_likelihood_is_that_of_what_is_drawn():
    density = np.array([[1.0, 2, 3], [4, 5, 5]])
    parameters = dataclasses.replace(ALONE, inhibition=Inhibition(0.5, 1e-3, 0.5))
    found = log_likelihood(density, [(1.5, 0.5), (1.5, 0.5), (0.5, 1.5), (1.5, 0.5)], parameters)
    # Only the cell itself is inhibited: 2 becomes 1, then 2 / (2 * 2**0.5), then 2 / (2**0.5 * 2**0.25).
    twice, thrice = 2**-1.5, 2**-0.75
    expected = [2 / 20, 1 / 19, 4 / (18 + 2 * twice), 2 * thrice / (14 + 4 / 2 + 2 * thrice)]
    np.testing.assert_allclose(np.exp(found), expected)
    total = sum(
        np.exp(log_likelihood(density, [(1.5, 0.5), (x + 0.5, y + 0.5)])[1]) for x in range(3) for y in (0, 1)
    )
    assert total == pytest.approx(1)
    assert log_likelihood(np.array([[0.0, 1]]), [(0.5, 0.5)], ALONE)[0] == -math.inf
    with pytest.raises(UnisalError, match="outside the density"):
        log_likelihood(density, [(3.0, 0.5)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": np.zeros((4, 4))}, "density: must be finite"),
        ({"density": -np.ones((4, 4))}, "density: must be finite"),
        ({"density": np.full((4, 4), np.nan)}, "density: must be finite"),
        ({"density": np.full((4, 4), np.inf)}, "density: must be finite"),
        ({"density": np.ones((4, 4), int)}, "density: int64"),
        ({"density": np.ones(4)}, "density: float64"),
        ({"count": 0}, "count: 0 is not"),
        ({"count": 2.5}, "count: 2.5 is not"),
        ({"fixations": -1}, "fixations: -1 is not"),
        ({"count": 10**6, "fixations": 10**6}, "more than 4,000,000"),
        ({"degrees": 0.0}, "degrees: 0.0 is not"),
        ({"degrees": math.nan}, "degrees: nan is not"),
        ({"seed": -1}, "seed: -1 is not"),
        ({"seed": "x"}, "seed: 'x' is not"),
    ],
)
def test_what_cannot_be_drawn(changes, message):
    with pytest.raises(UnisalError, match=message) as error:
        draw_scanpaths(**{"density": np.ones((4, 4)), **changes})
    assert "\n" not in str(error.value)


def test_string_edit_distance_by_hand():
    """A square of 100 pixels has cells of 20. Strings: a = "AEY", b = "AY", c = "A", d = "YEA"."""
    corners = {"A": (5.0, 5.0), "E": (95.0, 5.0), "Y": (95.0, 95.0)}
    a, b, c, d = (np.array([corners[letter] for letter in word]) for word in ("AEY", "AY", "A", "YEA"))
    found = string_edit([a, b], [a, b, c, d], (100, 100))
    # a to b drops one of three; a to c two of three; a to d replaces two of three;
    # b to d is three: "AY" becomes "YY", "YE", "YEA".
    np.testing.assert_allclose(found, [[0, 1 / 3, 2 / 3, 2 / 3], [1 / 3, 0, 1 / 2, 1]])
    # The ends of a cell, and of the image.
    edges = [np.array([[19.9, 0.0]]), np.array([[20.0, 0.0]]), np.array([[99.9, 0.0]])]
    assert string_edit(edges[:1], edges, (100, 100)).tolist() == [[0, 1, 1]]
    assert math.isnan(string_edit([a[:0]], [a[:0]], (100, 100))[0, 0])


def test_time_delay_embedding_by_hand():
    """In longer sides of 200 pixels: a is (0, 0), (0.3, 0), (0.3, 0.4); b the same, 0.1 to the right."""
    a = np.array([(0.0, 0.0), (60.0, 0.0), (60.0, 80.0)])
    b = a + np.array([20, 0])
    found = time_delay_embedding([a], [a, b, np.vstack([b, a]), a[:2]], (100, 200))
    # Six coordinates, three of them 0.1 apart: 0.1 * sqrt(3) / 3.
    np.testing.assert_allclose(found, [[0, 0.1 / math.sqrt(3), 0, math.nan]])
    # Four fixations are two windows: the first is a's own; the second is apart by 60, 0 and 0, 80.
    longer = np.vstack([a, (60.0, 80.0)])
    second = math.sqrt(60**2 + 80**2) / 200 / 3
    np.testing.assert_allclose(time_delay_embedding([longer], [a], (100, 200)), [[second / 2]])


def test_saccade_lengths_and_returns_by_hand():
    a, b, c = (10.0, 10.0), (70.0, 90.0), (11.0, 10.0)
    assert saccade_length(np.array([a, b, a]), (100, 200)) == pytest.approx(0.5)
    assert math.isnan(saccade_length(np.array([a]), (100, 200)))
    # The third comes back to the first; the fourth has not left the third; the fifth is new.
    assert return_share(np.array([a, b, c, a, (150.0, 50.0)]), (100, 200)) == pytest.approx(1 / 3)
    assert math.isnan(return_share(np.array([a, b]), (100, 200)))


def data_of(people, size=(60, 80), names=("p",), kind="image"):
    """Images with the same scanpaths by the same people; `people` are lists of (x, y)."""
    points = np.array([(y, x) for path in people for x, y in path], np.int32).reshape(-1, 2)
    observers = np.array([n for n, path in enumerate(people) for _ in path], np.int32)
    truth = FrameTruth(np.ones(size, np.uint8), points, observers)
    groups = tuple(
        Group(name, (name,), lambda: iter([np.zeros((*size, 3), np.uint8)]), lambda index: truth)
        for name in names
    )
    return ScoringData("mine", "test", kind, groups)


class FixedMaps:
    def __init__(self, density):
        self._density = density

    def maps(self, group):
        yield self._density


PEOPLE = [
    [(20, 30), (60, 30), (22, 30), (60, 32)],
    [(20, 32), (60, 30), (20, 30)],
    [(21, 29), (59, 30), (20, 30), (61, 30)],
]


def test_scores_of_a_table(tmp_path):
    """A person's own scanpath scores as the mean says; other people are the upper bound."""
    table = tmp_path / "paths.csv"
    rows = [f"p.png,1,{n},{x + 0.5},{y + 0.5}" for n, (x, y) in enumerate(PEOPLE[0], 1)]
    table.write_text("\n".join(["stimulus,path,index,x,y", *rows, "other.png,1,1,2,2", ""]))
    found = evaluate_scanpaths(data_of(PEOPLE), TablePaths(table), {})
    by_name = {method.name: method.mean for method in found.methods}
    assert list(by_name) == ["prediction", "uniform", "inter_observer"]
    # Letters of 16 x 12 cells: "LNLN", "LNL", "LNLN", with the second at row 30 and 32 in one cell.
    assert by_name["prediction"]["string_edit"] == pytest.approx((0 + 1 / 4 + 0) / 3)
    assert by_name["inter_observer"]["string_edit"] == pytest.approx((1 / 4 + 0 + 1 / 4) / 3)
    assert by_name["inter_observer"]["time_delay"] < by_name["uniform"]["time_delay"]
    assert by_name["prediction"]["returns"] == 1 and "bits" not in by_name["prediction"]
    assert by_name["prediction"]["saccade"] == pytest.approx((40 + 38 + math.hypot(38, 2)) / 3 / 80)
    assert found.notes == ("1 stimuli in the table are not in the data, such as other.png",)
    assert found.methods[0].ci == {}  # one image says nothing of another


def test_scores_of_maps():
    density = blob((60, 80), 30, 20, 4) + blob((60, 80), 30, 60, 4)
    found = evaluate_scanpaths(data_of(PEOPLE, names=("p", "q")), FixedMaps(density), {})
    mean = {method.name: method.mean for method in found.methods}
    assert list(mean) == [
        "prediction", "no_inhibition", "no_saccades", "density_alone", "uniform", "inter_observer",
    ]  # fmt: skip
    assert mean["density_alone"]["bits"] == 0 and "bits" not in mean["inter_observer"]
    # Of 80 x 60 cells, the two peaks hold all: log2 of their mean density over the even one.
    at = [density[y, x] for path in PEOPLE for x, y in path]
    expected = np.log2(1 / density.size) - np.mean(np.log2(np.array(at) / density.sum()))
    assert mean["uniform"]["bits"] == pytest.approx(expected, abs=0.01)
    assert mean["density_alone"]["time_delay"] < mean["uniform"]["time_delay"]
    assert set(found.methods[0].groups) == {"p", "q"}
    # A map of half the size is one of the same image.
    half = evaluate_scanpaths(data_of(PEOPLE), FixedMaps(density[::2, ::2]), {})
    assert half.methods[3].mean["time_delay"] == pytest.approx(mean["density_alone"]["time_delay"], rel=0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'stimulus'"),
        ("stimulus,path,x\np,1,2\n", "no column 'y'"),
        ("stimulus,path,x,y\n", "contains no fixations"),
        ("stimulus,path,x,y\np,1,2,b\n", "line 2: could not convert"),
        ("stimulus,path,x,y\nq,1,2,3\n", "contains no path over p"),
        (
            "stimulus,path,x,y\np,1,80,60\np,1,81,3\n",
            "p: a fixation at 81, 3 lies outside the image of 80x60",
        ),
        ("stimulus,path,index,x,y\np,1,2,2,3\np,1,1,2,3\n", "line 3: index '1' does not increase"),
        ("stimulus,path,index,x,y\np,1,a,2,3\n", "line 2: index 'a'"),
        ("stimulus,path,x,y\n" + "p,1,2,3\n" * 1001, "a sequence of 1,001 fixations"),
        (b"\xff\xfe\x00stimulus", "paths.csv"),
    ],
)
def test_tables_that_cannot_be_scored(tmp_path, text, message):
    table = tmp_path / "paths.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UnisalError, match=message) as error:
        evaluate_scanpaths(data_of(PEOPLE), TablePaths(table), {})
    assert "\n" not in str(error.value) and "paths.csv" in str(error.value)


def test_data_that_cannot_be_scored():
    maps = FixedMaps(np.ones((60, 80)))
    unknown = data_of(PEOPLE)
    truth = dataclasses.replace(unknown.groups[0].truth(0), observers=np.full(11, -1, np.int32))
    group = dataclasses.replace(unknown.groups[0], truth=lambda index: truth)
    with pytest.raises(UnisalError, match="observers of the fixations are unknown"):
        evaluate_scanpaths(dataclasses.replace(unknown, groups=(group,)), maps, {})
    with pytest.raises(UnisalError, match="these are videos"):
        evaluate_scanpaths(data_of(PEOPLE, kind="video"), maps, {})
    for bad in (np.zeros((60, 80)), -np.ones((60, 80))):
        with pytest.raises(UnisalError, match="p: its map is not a density"):
            evaluate_scanpaths(unknown, FixedMaps(bad), {})
    with pytest.raises(UnisalError, match="has no fixations"):
        evaluate_scanpaths(data_of([]), maps, {})
    mixed = dataclasses.replace(unknown, groups=(group, dataclasses.replace(unknown.groups[0], id="q")))
    found = evaluate_scanpaths(mixed, maps, {}, skip_errors=True)
    assert len(found.skipped) == 1 and list(found.methods[0].groups) == ["q"]


@pytest.mark.parametrize("level", [0, 255])
def test_the_image_shows_on_light_and_dark(level):
    image = np.full((200, 300, 3), level, np.uint8)
    shown = draw(image, np.array([[(50.0, 100.0), (250.0, 100.0)], [(150.0, 20.0), (150.0, 180.0)]]))
    assert shown.shape == image.shape
    background = shown[5, 5].astype(int)
    for row, column in ((100, 100), (60, 150)):  # on the lines of both paths, whose colours differ
        around = shown[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).astype(int)
        assert np.abs(around - background).sum(1).max() > 200
    assert np.abs(shown[100, 100].astype(int) - shown[60, 150]).sum() > 100
    assert max(draw(np.zeros((30, 3000, 3), np.uint8), np.ones((1, 1, 2))).shape) == 2048


def test_the_commands(command, golden_file, tmp_path):
    """Scanpaths over two images, scored by evaluate against a dataset that keeps the order of fixations."""
    (tmp_path / "raw").mkdir()
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "raw" / f"{name}.png")
    status, out, err = command(
        "scanpath", tmp_path / "raw", "--out", tmp_path / "out", "--count", 2, "--fixations", 4,
        "--weights", golden_file, "--engine", "onnxruntime",
    )  # fmt: skip
    assert status == 0 and not err and "2 images done" in out
    for name in ("a", "b"):
        for kind, suffix in (("csv", "csv"), ("json", "json"), ("image", "png")):
            assert (tmp_path / "out" / kind / f"{name}.{suffix}").is_file()
    assert read_image(tmp_path / "out" / "image" / "a.png").shape == (48, 64, 3)
    content = json.loads((tmp_path / "out" / "json" / "a.json").read_text())
    settings = {"seed": 1, "count": 2, "fixations": 4, "domain": "salicon"}
    assert content["about"] | settings == content["about"]
    lines = [(tmp_path / "out" / "csv" / f"{name}.csv").read_text().splitlines() for name in ("a", "b")]
    rows = list(csv.DictReader(lines[0]))
    numbers = [(row["path"], row["index"]) for row in rows]
    assert numbers == [(str(path), str(index)) for path in (1, 2) for index in range(1, 5)]
    assert [float(row["x"]) for row in rows[:4]] == [each["x"] for each in content["paths"][0]]

    # Two people: one goes as the first path over `a` does, the other the same way back.
    way = [(row["x"], row["y"]) for row in rows[:4]]
    people = [
        f"{name},{n},{x},{y}" for name in "ab" for n, path in enumerate((way, way[::-1])) for x, y in path
    ]
    (tmp_path / "gaze.csv").write_text("\n".join(["stimulus,observer,x,y", *people, ""]))
    (tmp_path / "paths.csv").write_text("\n".join([*lines[0], *lines[1][1:], ""]))
    status, _, err = command(
        "prepare", "own", "--raw", tmp_path / "raw", "--data-dir", tmp_path / "data", "--table",
        tmp_path / "gaze.csv", "--sigma", 3,
    )  # fmt: skip
    assert status == 0, err
    status, out, err = command(
        "evaluate", "--data", tmp_path / "data", "--protocol", "scanpath", "--predictions",
        tmp_path / "paths.csv", "--json", tmp_path / "s.json", "--csv", tmp_path / "s.csv",
    )  # fmt: skip
    assert status == 0, err
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["protocol"] == "scanpath" and set(scores["per_image"]) == {"a", "b"}
    xy = [np.array([(float(x), float(y)) for x, y in path]) for path in (way, way[::-1])]
    expected = string_edit(xy, xy, (48, 64))[0, 1]
    assert scores["baselines"]["inter_observer"]["mean"]["string_edit"] == pytest.approx(expected)
    assert scores["baselines"]["inter_observer"]["mean"]["saccade"] == pytest.approx(
        saccade_length(xy[0], (48, 64)), abs=0.02
    )
    assert out.splitlines()[0].split() == ["SED", "TDE", "saccade", "returns"]
    status, _, err = command(
        "evaluate", "--data", tmp_path / "data", "--protocol", "scanpath", "--predictions",
        tmp_path / "paths.csv", "--csv", tmp_path / "paths.csv",
    )  # fmt: skip
    assert status == 1 and "would overwrite" in err and err.count("\n") == 1
    written = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert {row["method"] for row in written} == {"prediction", "uniform", "inter_observer"}
    assert {"string_edit", "time_delay"} < set(written[0])


def test_flags_default_to_the_modules_numbers():
    assert (cli.KINDS, cli.FIXATIONS, cli.DEGREES) == (KINDS, scanpath.FIXATIONS, scanpath.DEGREES)
    assert evaluate.SCANPATH == PROTOCOL


def test_flags_that_are_refused(command, golden_file, tmp_path):
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(image)
    (tmp_path / "film.mp4").write_bytes(b"")
    out = ("--out", tmp_path / "out", "--weights", golden_file)
    for flags, message in (
        (("--degrees", 0), "degrees: 0.0 is not above 0 and at most 180"),
        (("--count", 10**9), "more than 4,000,000"),
        (("--count", 0), "'0' is not a whole number above 0"),
        (("--save", "map"), "choose from csv,json,image"),
    ):
        status, _, err = command("scanpath", image, *out, *flags)
        assert status == 1 and message in err and err.count("\n") == 1
    for path, message in ((tmp_path / "film.mp4", "is a video"), (tmp_path / "no.png", "no such file")):
        status, _, err = command("scanpath", path, *out)
        assert status == 1 and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    for flag, value in (
        ("--baselines", "uniform"),
        ("--html", tmp_path / "r.html"),
        ("--prior", "train"),
        ("--stride", 2),
    ):
        status, _, err = command("evaluate", "--data", tmp_path, "--protocol", "scanpath", flag, value)
        assert status == 1 and f"{flag}: applies to maps" in err and err.count("\n") == 1
