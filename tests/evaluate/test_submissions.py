"""Submissions contain what the benchmark servers, or pysaliency, read."""

import sys

import numpy as np
import pytest
from PIL import Image

from unisal_jax.cli import submit
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.pysaliency_model import pysaliency_model
from unisal_jax.evaluate.submissions import (
    BENCHMARKS,
    find_stimuli,
    write_log_densities,
    write_submission,
)
from unisal_jax.media.images import map_to_grey
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.predict.model import load


@pytest.fixture(scope="module")
def model(golden_file):
    return load(golden_file)


def write_image(path, seed=0, size=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)
    return path


def clip(path, count=3, size=(64, 96)):
    with VideoWriter(path, size, 30) as writer:
        for seed in range(count):
            writer.write(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def names_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def stimuli_of(benchmark, *inputs):
    return find_stimuli(BENCHMARKS[benchmark], [str(each) for each in inputs]).sources


def test_dhf1k(model, tmp_path):
    clip(tmp_path / "0701.mp4")
    for number in (1, 2):
        write_image(tmp_path / "0702" / "images" / f"{number:04d}.png", number)
        write_image(tmp_path / "0703" / f"{number:04d}.png", number)
    stimuli = stimuli_of("dhf1k", tmp_path / "0701.mp4", tmp_path / "0702" / "images", tmp_path / "0703")
    write_submission(model, BENCHMARKS["dhf1k"], stimuli, tmp_path / "out")
    assert names_below(tmp_path / "out") == [
        *(f"0701/{number:04d}.png" for number in (1, 2, 3)),
        *(f"{video}/{number:04d}.png" for video in ("0702", "0703") for number in (1, 2)),
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0701", "0702", "0703"}
    densities = [density for _, density in model.predict_video(tmp_path / "0703")]
    for number, density in enumerate(densities, 1):
        with Image.open(tmp_path / "out" / "0703" / f"{number:04d}.png") as written:
            assert written.mode == "L"
            np.testing.assert_array_equal(np.asarray(written), map_to_grey(density))


def test_a_broken_video_leaves_no_folder(model, tmp_path):
    clip(tmp_path / "0701.mp4", 40)
    content = (tmp_path / "0701.mp4").read_bytes()
    (tmp_path / "0702.mp4").write_bytes(content[: len(content) * 2 // 3])
    stimuli = stimuli_of("dhf1k", tmp_path / "0702.mp4")
    with pytest.raises(UnisalError, match=r"0702\.mp4"):
        write_submission(model, BENCHMARKS["dhf1k"], stimuli, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_salicon(model, tmp_path):
    paths = [write_image(tmp_path / "test" / f"COCO_test2014_{number:012d}.jpg", number) for number in (1, 2)]
    stimuli = stimuli_of("salicon", tmp_path / "test")
    write_submission(model, BENCHMARKS["salicon"], stimuli, tmp_path / "out" / "maps")
    assert names_below(tmp_path / "out" / "maps") == [f"{path.stem}.png" for path in paths]
    with (
        Image.open(paths[0]) as image,
        Image.open(tmp_path / "out" / "maps" / f"{paths[0].stem}.png") as written,
    ):
        assert written.mode == "L" and written.size == image.size
        np.testing.assert_array_equal(np.asarray(written), map_to_grey(model.predict(np.asarray(image))))


def cat2000_folder(folder):
    for category, number in (("Action", 1), ("Action", 2), ("Art", 1)):
        write_image(folder / category / f"{number:03d}.jpg", number)
    write_image(folder / "Action" / "Output" / "001_SaliencyMap.jpg")
    return folder


def test_cat2000_names_keep_the_category(tmp_path):
    folder = cat2000_folder(tmp_path / "Stimuli")
    names = ["Action/001.jpg", "Action/002.jpg", "Art/001.jpg"]
    assert [each.name for each in stimuli_of("cat2000", folder)] == names
    assert [each.name for each in stimuli_of("cat2000", folder / "Action", folder / "Art")] == names
    assert [each.name for each in stimuli_of("cat2000", folder / "Art" / "001.jpg")] == names[2:]


def test_hdf5_file(model, tmp_path):
    h5py = pytest.importorskip("h5py")
    stimuli = stimuli_of("cat2000", cat2000_folder(tmp_path / "Stimuli"))
    for name in ("a.hdf5", "b.hdf5"):
        write_submission(model, BENCHMARKS["cat2000"], stimuli, tmp_path / name)
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert {name: list(group) for name, group in file.items()} == {
            "Action": ["001.jpg", "002.jpg"],
            "Art": ["001.jpg"],
        }
        log_density = file["Art/001.jpg"][:]
    assert log_density.shape == (48, 64) and log_density.dtype == np.float32
    assert np.exp(log_density.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)


def test_hdf5_file_is_whole_or_absent(tmp_path):
    pytest.importorskip("h5py")

    def breaks_off():
        yield "a.png", np.zeros((2, 2), np.float32)
        raise UnisalError("b.png: damaged")

    with pytest.raises(UnisalError, match="damaged"):
        write_log_densities(tmp_path / "x.h5", breaks_off())
    assert list(tmp_path.iterdir()) == []


def test_coco_freeview_goes_by_file_name(tmp_path):
    for number in (139, 724):
        write_image(tmp_path / "images" / f"{number:012d}.jpg", number)
    found = stimuli_of("coco-freeview", tmp_path / "images")
    assert [each.name for each in found] == ["000000000139.jpg", "000000000724.jpg"]
    assert BENCHMARKS["coco-freeview"].hdf5 and BENCHMARKS["coco-freeview"].count == 1000


def test_a_missing_h5py_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UnisalError, match="requires h5py; install it with: pip install"):
        write_log_densities(tmp_path / "x.h5", [])


# pysaliency leaves files of stimuli open until garbage collection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_pysaliency_reads_the_file(model, tmp_path):
    pytest.importorskip("h5py")
    datasets = pytest.importorskip("pysaliency.datasets")
    from pysaliency.precomputed_models import HDF5Model

    cat2000 = cat2000_folder(tmp_path / "Stimuli")
    mit300 = tmp_path / "BenchmarkIMAGES"
    for number in (1, 2):
        write_image(mit300 / f"i{number}.png", number, (40 + number, 60))
    for name, folder in (("cat2000", cat2000), ("mit300", mit300)):
        found = stimuli_of(name, folder)
        write_submission(model, BENCHMARKS[name], found, tmp_path / f"{name}.h5")
        files = datasets.FileStimuli([str(each.path) for each in found])
        reader = HDF5Model(files, str(tmp_path / f"{name}.h5"))
        ours = pysaliency_model(model)
        for stimulus in files:
            np.testing.assert_allclose(reader.log_density(stimulus), ours.log_density(stimulus), atol=1e-5)


def test_pysaliency_model(model):
    pytest.importorskip("pysaliency")
    grey = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    ours = pysaliency_model(model, "dhf1k", caching=False)
    log_density = ours.log_density(grey)
    assert log_density.shape == (40, 60) and log_density.dtype == np.float64
    assert np.exp(log_density).sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(log_density, ours.log_density(np.repeat(grey[..., None], 3, axis=2)))
    with pytest.raises(UnisalError, match="uint8"):
        ours.log_density(grey.astype(float))


def test_a_missing_pysaliency_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysaliency.models", None)
    with pytest.raises(UnisalError, match="pysaliency cannot be imported"):
        pysaliency_model(model)


def test_bad_inputs(tmp_path, command, golden_file):
    image = write_image(tmp_path / "a" / "x.png")
    write_image(tmp_path / "b" / "x.png")
    clip(tmp_path / "0701.mp4")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    new = tmp_path / "new"
    for args, says in (
        (("salicon", tmp_path / "0701.mp4", "--out", new), "SALICON requires images"),
        (("dhf1k", image, "--out", new), "DHF1K requires videos"),
        (("dhf1k", "camera:0", "--out", new), "DHF1K requires videos"),
        (("salicon", image, tmp_path / "b", "--out", new), "would be x"),
        (("salicon", image, "--out", tmp_path / "full"), "new or empty folder"),
        (("salicon", image, "--out", image), "new or empty folder"),
        (("mit300", image, "--out", new), ".h5 or .hdf5"),
        (("salicon", tmp_path / "none.png", "--out", new), "none.png: no such file"),
        (("salicon", image, "--out", new, "--domain", "moon"), "moon"),
    ):
        status, out, err = command("submit", *args, "--weights", golden_file)
        assert status == 1 and out == "" and err.count("\n") == 1 and says in err
        assert not new.exists()


def test_the_command_knows_every_benchmark():
    assert tuple(BENCHMARKS) == submit.BENCHMARKS


def test_command(tmp_path, command, golden_file):
    image = write_image(tmp_path / "x.png")
    status, out, err = command(
        "submit", "salicon", image, "--out", tmp_path / "out", "--weights", golden_file
    )
    assert status == 0 and out == f"1 image predicted into {tmp_path / 'out'}\n"
    assert err == "unisal submit: SALICON's test set has 5000 images, not 1\n"
    assert names_below(tmp_path / "out") == ["x.png"]
