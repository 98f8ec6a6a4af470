"""Loading the datasets by their names with tensorflow-datasets."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import data_prep
from data_prep.prepare import prepare, prepare_synthetic
from unisal_jax.data.synthetic import Amount, make
from unisal_jax.errors import UnisalError

NAMES = (*data_prep.BUILDERS, "own")
AMOUNT = Amount(train=2, validation=1, test=1, frames=3, size=(40, 56))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """SALICON, and its training images as two collections of own data."""
    folder = tmp_path_factory.mktemp("data")
    raw = folder.with_name("raw")
    prepare_synthetic("salicon", folder, AMOUNT, 0)
    make("salicon", raw, 0, AMOUNT)
    for name in ("posters", "walls-2"):
        prepare(data_prep.Own(config=name, data_dir=folder, scan=_salicon_as_own), raw)
    return folder


def _salicon_as_own(root):
    release = data_prep.BUILDERS["salicon"](data_dir=root / "unused", partial=True).scan(root)
    return type(release)(root, {"train": release.splits["train"]})


_FRESH = """
import sys
import tensorflow_datasets as tfds, data_prep
for name in ("salicon", "salicon/full", "salicon:1.0.0", "own/posters", "own/walls-2:1.0.0"):
    record = tfds.data_source(name, data_dir=sys.argv[1])["train"][0]
    print(name, record["frame"].shape, record["video"].decode(), len(record["fixations"]))
print(tfds.builder("own/posters", data_dir=sys.argv[1]).info.splits["train"].num_examples)
assert "tensorflow" not in sys.modules and "jax" not in sys.modules
"""


def test_by_name_in_a_fresh_process(data_dir):
    found = subprocess.run(
        [sys.executable, "-c", _FRESH, str(data_dir)], capture_output=True, text=True, cwd=Path.cwd()
    )
    assert found.returncode == 0, found.stderr
    *lines, count = found.stdout.splitlines()
    assert count == "2"
    assert len({line.split(" ", 1)[1] for line in lines}) == 1 and "(40, 56, 3)" in lines[0]
    assert len(lines) == 5


@pytest.mark.parametrize("name", NAMES)
def test_every_builder_is_registered_under_a_name_that_tfds_does_not_use(name, tmp_path):
    config = "/mine" if name == "own" else ""
    builder = tfds.builder(f"{name}{config}", data_dir=tmp_path)
    assert type(builder).__module__ == "data_prep.builders" and builder.name == name
    assert not builder.is_prepared()
    assert not list(Path(tfds.__file__).parent.rglob(f"{name}_dataset_builder.py"))
    assert not list(tmp_path.iterdir())


def test_base_classes_are_not_registered():
    concrete = set(tfds.core.registered._DATASET_REGISTRY)
    assert {"saliency_builder", "released_builder"}.isdisjoint(concrete)


def test_the_only_collection_need_not_be_named(data_dir, tmp_path):
    with pytest.raises(UnisalError, match=r"own: contains posters, walls-2; specify one, as own/posters"):
        data_prep.Own(data_dir=data_dir)
    with pytest.raises(UnisalError, match=r"own: contains no prepared collection; specify one, as own/NAME"):
        data_prep.Own(data_dir=tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "posters").symlink_to(data_dir / "own" / "posters")
    assert len(tfds.data_source("own", data_dir=tmp_path)["train"]) == 2


def test_prepared_by_tfds(data_dir, tmp_path):
    """Writes the same records as `unisal prepare`, and nothing else."""
    config = tfds.download.DownloadConfig(manual_dir=data_dir / "raw" / "salicon")
    data = tfds.data_source(
        "salicon",
        data_dir=tmp_path,
        builder_kwargs={"partial": True},
        download_and_prepare_kwargs={"download_config": config},
    )
    assert len(data["train"]) == 2
    made, other = (folder / "salicon" / "full" for folder in (tmp_path, data_dir))
    assert [path.name for path in made.iterdir()] == ["1.0.0"]
    for path in (other / "1.0.0").glob("*array_record*"):
        assert (made / "1.0.0" / path.name).read_bytes() == path.read_bytes()


def test_an_unprepared_dataset_explains_how_to_prepare_it(tmp_path):
    with pytest.raises(AssertionError, match=r"unisal prepare NAME --raw DIR --data-dir DATA_DIR"):
        tfds.data_source("dhf1k", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["salicon", "own/posters"])
def test_load_requires_tensorflow(name, data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UnisalError, match=r"requires TensorFlow; tfds.data_source does not"):
        tfds.load(name, data_dir=data_dir)


def test_load_returns_the_records(data_dir):
    pytest.importorskip("tensorflow", reason="TensorFlow is no requirement")
    # Two decoders of JPEG files differ by some grey levels.
    encoded = {"frame": tfds.decode.SkipDecoding()}
    for name in ("salicon", "own/posters"):
        decoded = tfds.load(name, split="train", data_dir=data_dir)
        assert next(iter(decoded))["frame"].shape == (40, 56, 3)
        loaded = tfds.load(name, split="train", data_dir=data_dir, decoders=encoded)
        plain = tfds.data_source(name, split="train", data_dir=data_dir, decoders=encoded)
        assert len(loaded) == len(plain) == 2
        for record, other in zip(tfds.as_numpy(loaded), plain, strict=True):
            for key, value in record.items():
                np.testing.assert_array_equal(value, other[key])
