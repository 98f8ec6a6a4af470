"""`unisal evaluate` from data to report: layouts, external maps, edge cases, scores of the real clip."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tests.helpers.golden_weights import GOLDEN
from unisal_jax.data import synthetic
from unisal_jax.domains import UCF_SPORTS
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.protocols import get_protocol, score_frame
from unisal_jax.evaluate.sources import open_data

SIZE = (48, 64)


def gaussian(row, column, size=SIZE, sigma=6.0):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))


def write(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).save(path)


def make_set(folder, names, rng, kind="fixations"):
    """images/, maps/ and fixations/ with a Gaussian around a random point and fixations near it."""
    for name in names:
        row, column = rng.uniform(10, 38), rng.uniform(10, 54)
        at = rng.normal((row, column), 3, (12, 2)).round().astype(int).clip(0, np.subtract(SIZE, 1))
        marks = np.zeros(SIZE, np.uint8)
        marks[at[:, 0], at[:, 1]] = 255
        write(folder / "images" / f"{name}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
        write(folder / "maps" / f"{name}.png", (gaussian(row, column) * 255).astype(np.uint8))
        write(folder / kind / f"{name}.png", marks)


@pytest.fixture
def images(tmp_path, rng):
    make_set(tmp_path / "data", ["a", "b", "c", "d"], rng)
    return tmp_path / "data"


@pytest.fixture
def clips(tmp_path, rng):
    for name in ("one", "two"):
        make_set(tmp_path / "clips" / name, [f"{i:02d}" for i in range(1, 6)], rng, kind="fixation")
    return tmp_path / "clips"


def good_maps(data, out, names=("a", "b", "c", "d")):
    """The ground truth as a prediction."""
    for name in names:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.png").write_bytes((data / "maps" / f"{name}.png").read_bytes())


def scores_of(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("protocol", ["unisal", "dhf1k", "pysaliency"])
def test_maps_of_others(command, images, tmp_path, protocol):
    good_maps(images, tmp_path / "maps")
    args = ("evaluate", "--data", images, "--predictions", tmp_path / "maps", "--protocol", protocol)
    runs = []
    for _ in range(2):
        status, out, err = command(*args, "--json", tmp_path / "a.json")
        assert status == 0, err
        runs.append((tmp_path / "a.json").read_bytes())
    assert runs[0] == runs[1]
    found = json.loads(runs[0])
    assert found["protocol"] == protocol and set(found["mean"]) == {
        "auc_judd", "s_auc", "nss", "cc", "sim", "kld", "ig"
    }  # fmt: skip
    assert found["mean"]["cc"] == pytest.approx(1) and found["mean"]["kld"] == pytest.approx(0, abs=1e-6)
    assert set(found["per_image"]) == {"a", "b", "c", "d"} and found["counts"]["images"] == 4
    for name, (low, high) in found["ci"].items():
        assert low <= found["mean"][name] + 1e-9 and found["mean"][name] <= high + 1e-9
    assert found["baselines"]["uniform"]["mean"]["nss"] == 0
    assert found["baselines"]["uniform"]["mean"]["auc_judd"] == pytest.approx(0.5, abs=0.2)
    assert found["baselines"]["centre_prior"]["mean"]["ig"] == pytest.approx(0, abs=1e-9)
    assert protocol in out


def test_forms_of_maps(command, images, tmp_path):
    """Grey images of any size, densities and log-densities score the same; resized ones are counted."""
    good_maps(images, tmp_path / "png")
    for name in "abcd":
        grey = np.asarray(Image.open(images / "maps" / f"{name}.png"), np.float64)
        density = (grey + 1) / (grey + 1).sum()
        for form, array in {"density": density, "log": np.log(density)}.items():
            (tmp_path / form).mkdir(exist_ok=True)
            np.save(tmp_path / form / f"{name}.npy", array.astype(np.float32))
        small = Image.fromarray(np.asarray(grey, np.uint8)).resize((32, 24), Image.Resampling.BOX)
        write(tmp_path / "small" / f"{name}.png", np.asarray(small))
    found = {}
    for form in ("png", "density", "log", "small"):
        status, _, err = command(
            "evaluate", "--data", images, "--predictions", tmp_path / form, "--json", tmp_path / "a.json"
        )
        assert status == 0, err
        found[form] = scores_of(tmp_path / "a.json")
    for name, value in found["density"]["mean"].items():
        assert found["log"]["mean"][name] == pytest.approx(value, abs=2e-3)
    assert found["small"]["mean"]["cc"] > 0.98
    assert found["small"]["counts"]["left_out"] == {"resized_prediction": 4}


def test_edges_are_counted(command, images, tmp_path):
    """No fixations, no truth, a constant prediction: left out of the means, never 1.0 or NaN."""
    good_maps(images, tmp_path / "maps")
    blank = np.zeros(SIZE, np.uint8)
    write(images / "fixations" / "a.png", blank)
    write(images / "maps" / "b.png", blank)
    write(tmp_path / "maps" / "c.png", np.full(SIZE, 7, np.uint8))
    status, _, err = command(
        "evaluate", "--data", images, "--predictions", tmp_path / "maps", "--json", tmp_path / "a.json"
    )
    assert status == 0, err
    text = (tmp_path / "a.json").read_text()
    found = json.loads(text)
    assert "NaN" not in text
    assert found["counts"]["left_out"] == {
        "constant_prediction": 1,
        "empty_ground_truth": 1,
        "no_fixations": 1,
    }
    assert found["counts"]["scored"]["nss"] == 3 and found["counts"]["scored"]["cc"] == 3
    assert "nss" not in found["per_image"]["a"] and "cc" not in found["per_image"]["b"]
    assert found["per_image"]["c"]["nss"] == 0 and found["per_image"]["c"]["auc_judd"] == 0.5


def test_missing_and_damaged_maps(command, images, tmp_path):
    good_maps(images, tmp_path / "maps", "abc")
    args = ("evaluate", "--data", images, "--predictions", tmp_path / "maps", "--json", tmp_path / "a.json")
    status, _, err = command(*args)
    assert status == 1 and err.count("\n") == 1 and str(tmp_path / "maps" / "d") in err
    assert not (tmp_path / "a.json").exists()
    (tmp_path / "maps" / "a.png").write_bytes(b"hello")
    status, _, err = command(*args, "--on-error", "skip")
    assert status == 0 and err.count("unisal evaluate: skipped:") == 2
    found = scores_of(tmp_path / "a.json")
    assert found["counts"]["skipped"] == 2 and set(found["per_image"]) == {"b", "c"}


def test_a_bad_frame_is_left_out_alone(command, clips, tmp_path):
    """In a clip with a damaged map, a missing one and a damaged prediction, the other frames count."""
    for name in ("one", "two"):
        good_maps(clips / name, tmp_path / "maps" / name, [f"{i:02d}" for i in range(1, 6)])
    (clips / "one" / "maps" / "02.png").write_bytes(b"hello")
    (clips / "one" / "fixation" / "03.png").unlink()
    (tmp_path / "maps" / "two" / "04.png").write_bytes(b"hello")
    args = ("evaluate", "--data", clips, "--predictions", tmp_path / "maps", "--json", tmp_path / "a.json")
    status, _, err = command(*args)
    assert status == 1 and err.count("\n") == 1
    status, _, err = command(*args, "--on-error", "skip")
    assert status == 0, err
    assert all(name in err for name in ("02.png", "03.png", "04.png"))
    found = scores_of(tmp_path / "a.json")
    assert found["counts"]["skipped"] == 3 and found["counts"]["frames"] == 7
    assert set(found["per_video"]) == {"one", "two"}


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda d: (d / "maps" / "b.png").unlink(), "b"),
        (lambda d: write(d / "fixations" / "b.png", np.zeros((9, 9), np.uint8)), "b.png"),
        (lambda d: (d / "maps" / "b.png").write_bytes(b"hello"), "b.png"),
    ],
)
def test_damaged_truth(command, images, tmp_path, spoil, says):
    good_maps(images, tmp_path / "maps")
    spoil(images)
    status, _, err = command("evaluate", "--data", images, "--predictions", tmp_path / "maps")
    assert status == 1 and err.count("\n") == 1 and says in err


@pytest.mark.parametrize(
    "args, says",
    [
        (["--protocol", "mine"], "--protocol 'mine': unknown"),
        (["--split", "test"], "no split 'test'"),
        (["--baselines", "colour"], "--baselines"),
        (["--predictions", "nowhere"], "nowhere"),
        (["--json", "no/folder/a.json"], "no/folder/a.json"),
        (["--prior", "nowhere.npy"], "nowhere.npy"),
        (["--domain", "dhf1k"], "--domain: applies to this model, but --predictions scores other maps"),
        (["--input-size", "64x96"], "--input-size: applies to this model"),
    ],
)
def test_bad_flags(command, images, tmp_path, args, says):
    good_maps(images, tmp_path / "maps")
    given = args if "--predictions" in args else [*args, "--predictions", tmp_path / "maps"]
    status, _, err = command("evaluate", "--data", images, *given)
    assert status == 1 and err.count("\n") == 1 and says in err


def test_our_network_on_images(command, images, golden_file, tmp_path):
    args = ("evaluate", "--data", images, "--weights", golden_file, "--input-size", "64x96")
    outs = ("--json", tmp_path / "a.json", "--csv", tmp_path / "a.csv", "--html", tmp_path / "a.html")
    status, _, err = command(*args, *outs)
    assert status == 0, err
    found = scores_of(tmp_path / "a.json")
    assert found["about"]["domain"] == "salicon" and found["counts"]["frames"] == 4
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and {row["method"] for row in rows} == {"prediction", "centre_prior", "uniform"}
    page = (tmp_path / "a.html").read_text()
    assert all(word in page.lower() for word in ("best", "median", "worst", "data:image"))
    # Equals predicting first and scoring the files.
    assert command("predict", images / "images", "--out", tmp_path / "p", "--weights", golden_file,
                   "--input-size", "64x96", "--save", "raw")[0] == 0  # fmt: skip
    command(
        "evaluate", "--data", images, "--predictions", tmp_path / "p" / "raw", "--json", tmp_path / "b.json"
    )
    for name, value in found["mean"].items():
        assert scores_of(tmp_path / "b.json")["mean"][name] == pytest.approx(value, abs=1e-4), name


def test_our_network_on_clips(command, clips, golden_file, tmp_path):
    """Clips are videos: the recurrence runs, and the mean is over videos."""
    args = ("evaluate", "--data", clips, "--weights", golden_file, "--input-size", "64x96")
    status, _, err = command(*args, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html")
    assert status == 0, err
    found = scores_of(tmp_path / "a.json")
    assert set(found["per_video"]) == {"one", "two"}
    assert (found["counts"]["frames"], found["counts"]["videos"]) == (10, 2)
    assert found["about"]["domain"] == "dhf1k"
    mean = np.mean([each["nss"] for each in found["per_video"].values()])
    assert found["mean"]["nss"] == pytest.approx(mean, abs=1e-9)
    # The output of `unisal predict --video` can be scored directly.
    flags = ("--out", tmp_path / "p", "--weights", golden_file, "--input-size", "64x96", "--save", "map,raw")
    assert (
        command("predict", *(clips / name / "images" for name in ("one", "two")), "--video", *flags)[0] == 0
    )
    for kind, tolerance in (("map", 0.05), ("raw", 1e-4)):
        maps = tmp_path / "p" / kind
        command("evaluate", "--data", clips, "--predictions", maps, "--json", tmp_path / "b.json")
        for name in ("nss", "cc", "sim"):
            assert scores_of(tmp_path / "b.json")["mean"][name] == pytest.approx(
                found["mean"][name], abs=tolerance
            )
    (tmp_path / "p" / "map" / "two" / "0003.png").unlink()
    status, _, err = command("evaluate", "--data", clips, "--predictions", tmp_path / "p" / "map")
    assert status == 1 and str(tmp_path / "p" / "map" / "two") in err


def test_a_prior_of_ones_own(command, images, tmp_path):
    """With the map of the first image as prior, information gain is relative to it."""
    good_maps(images, tmp_path / "maps")
    prior = images / "maps" / "a.png"
    args = ("evaluate", "--data", images, "--predictions", tmp_path / "maps", "--prior", prior)
    assert command(*args, "--json", tmp_path / "a.json")[0] == 0
    assert scores_of(tmp_path / "a.json")["per_image"]["a"]["ig"] == pytest.approx(0, abs=1e-6)


def test_the_training_splits_mean_as_prior(command, tmp_path, rng):
    """With one training image, predicting its map for another image equals the prior."""
    for split, name in (("train", "a"), ("test", "b")):
        make_set(tmp_path / "data" / split, [name], rng)
    write(tmp_path / "maps" / "b.png", np.array(Image.open(tmp_path / "data" / "train" / "maps" / "a.png")))
    args = ("evaluate", "--data", tmp_path / "data", "--predictions", tmp_path / "maps", "--prior", "train")
    assert command(*args, "--json", tmp_path / "a.json")[0] == 0
    found = scores_of(tmp_path / "a.json")
    assert set(found["per_image"]) == {"b"}
    assert found["baselines"]["centre_prior"]["mean"] == pytest.approx(found["mean"], abs=1e-6)


@pytest.mark.parametrize("dataset", ["dhf1k", "hollywood2", "ucf_sports", "salicon", "mit1003"])
def test_released_layouts(tmp_path, dataset):
    """Each release is recognised, and read with its frames and truth in the dataset's geometry."""
    synthetic.make(dataset, tmp_path / "raw")
    data = open_data(tmp_path / "raw", "all")
    assert data.name == dataset and data.kind == ("image" if dataset in ("salicon", "mit1003") else "video")
    group = data.groups[0]
    frames = list(group.pixels())
    assert len(frames) == len(group.frame_names)
    truth = group.truth(0)
    assert truth.map.shape == frames[0].shape[:2] and truth.counts().sum() == len(truth.points) > 0
    own = data.input_size(UCF_SPORTS, frames[0].shape[:2])
    assert own == {"dhf1k": (224, 384), "hollywood2": (224, 416), "ucf_sports": (256, 384)}.get(dataset, own)
    assert data.stride(UCF_SPORTS) == {"dhf1k": 5, "salicon": 1}.get(dataset, 4)


def test_data_that_is_none(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "missing"):
        with pytest.raises(UnisalError, match=path):
            open_data(tmp_path / path)


def test_real_clip_scores_as_stored(clip_as_stored, real_clip):
    """Reproduces the stored scores from their maps, each within 1e-3."""
    stored = json.loads((GOLDEN / "ucf_sports_clip.json").read_text())["scores"]
    (group,) = open_data(real_clip.parents[1]).groups
    rows = []
    for number, log_density in enumerate(clip_as_stored):
        truth = group.truth(number)
        pred = np.exp(log_density.astype(np.float64))
        rows.append(score_frame(get_protocol("unisal"), pred, truth.map, truth.counts()))
    for name, value in stored.items():
        assert np.mean([row[name] for row in rows]) == pytest.approx(value, abs=1e-3), name
