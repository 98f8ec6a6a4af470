"""The inputs of a training: splits, validation batches, new domains, disabled parts."""

import dataclasses

import pytest

from tests.conftest import REPOSITORY
from tests.helpers.prepared_data import make_clip, write_prepared
from unisal_jax.data.examples import find_examples
from unisal_jax.errors import UnisalError
from unisal_jax.train import inputs, processes
from unisal_jax.train.config import DomainConfig, InitConfig, TrainConfig, load_config, resolve_domain

CONFIGS = {
    "settings.py": ("i", "ii", "iii", "iv", "v", "vi"),
    "ablation.py": (
        "baseline",
        "gaussian",
        "rnn_residual",
        "skips",
        "smoothing",
        "domain_adaptive",
        "final",
    ),
    "finetune_mit1003.py": tuple("0123456789"),
    "finetune.py": ("images", "video"),
    "osie.py": ("released", "imagenet"),
    "billiard.py": ("rnn", "bypass"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eleven images of one shape in two folds; three of another shape in another split."""
    splits = {
        "train": [make_clip(f"i{i}", 1, (60, 80)) for i in range(11)],
        "mixed": [make_clip("wide", 1, (40, 80)), make_clip("tall", 1, (80, 40))],
        "video": [make_clip(f"v{i}", 12, (60, 80)) for i in range(2)],
    }
    folder = tmp_path_factory.mktemp("inputs")
    return write_prepared(folder, "mine", splits, cross_validation_folds=[["i1", "i2"], ["i3"]])


def sources(images, tmp_path, **options):
    own = DomainConfig(str(images), **{"batch_size": 4, "validation_split": "train", **options})
    (training,), (validation,) = inputs.open_sources(TrainConfig({"own": own}), tmp_path)
    return training, validation


def ids(source):
    return [video.id for video in source.prepared.videos]


def test_a_new_domain_follows_its_data(images, tmp_path):
    training, _ = sources(images, tmp_path)
    assert training.domain.static and training.domain.input_size == (288, 384)
    video = {"train_split": "video", "validation_split": "video", "batch_size": 2, "stride": 1}
    training, _ = sources(images, tmp_path, **video, input_size=(32, 64))
    assert not training.domain.static and training.domain.input_size == (32, 64)
    with pytest.raises(
        UnisalError, match=r"config.domains.own.input_size: not set, .* fit 2 different sizes"
    ):
        sources(images, tmp_path, train_split="mixed")


def test_a_fold_or_a_fraction_is_held_out(images, tmp_path):
    training, validation = sources(images, tmp_path, cross_validation_fold=0)
    assert ids(validation) == ["i1", "i2"] and len(ids(training)) == 9
    training, validation = sources(images, tmp_path, hold_out=0.3)
    assert len(ids(validation)) == 3 and not set(ids(training)) & set(ids(validation))
    assert ids(sources(images, tmp_path, hold_out=0.3)[1]) == ids(validation)
    with pytest.raises(UnisalError, match="no fold 2"):
        sources(images, tmp_path, cross_validation_fold=2)
    with pytest.raises(UnisalError, match=r"config.domains.own.hold_out: must be between"):
        sources(images, tmp_path, hold_out=1.0)


@pytest.mark.parametrize(("most", "size"), [(4, 3), (8, 5), (16, 11), (1, 1)])
def test_validation_leaves_out_few(images, tmp_path, most, size):
    """Of eleven images, with at most the batch size of training and more than half of it."""
    _, validation = sources(images, tmp_path, batch_size=min(most, 11))
    validation = dataclasses.replace(validation, batch_size=1)
    assert inputs._validation_batch(validation, most) == size


def test_a_batch_that_cannot_be_divided_among_the_devices():
    """It is refused before data are opened, with a suggestion. The paper's batches fit 1, 2 and 4 devices."""
    paper = load_config("unisal")
    for devices in (1, 2, 4):
        inputs.check_batches(paper, devices)
    with pytest.raises(
        UnisalError,
        match=r"^config.domains.dhf1k.batch_size: a batch of 4 cannot be divided among 8 devices; use "
        r"--config.batch_scale=2, .* for batches of dhf1k 8, hollywood2 8, salicon 64, ucf_sports 8$",
    ):
        inputs.check_batches(paper, 8)
    inputs.check_batches(dataclasses.replace(paper, batch_scale=2), 8)
    inputs.check_batches(dataclasses.replace(paper, batch_scale=4), 8)
    with pytest.raises(UnisalError, match=r"a batch of 8 .* 32 devices; use --config.batch_scale=8,"):
        inputs.check_batches(dataclasses.replace(paper, batch_scale=2), 32)
    with pytest.raises(UnisalError, match=r"among 6 devices; use --config.batch_scale=3,"):
        inputs.check_batches(paper, 6)


def test_batch_scale(images, tmp_path):
    own = DomainConfig(str(images), batch_size=2, validation_split="video")
    config = TrainConfig({"own": own}, batch_scale=4)
    (training,), (validation,) = inputs.open_sources(config, tmp_path)
    assert training.batch_size == 8 and validation.batch_size == 2


def test_clips_per_video(images, tmp_path):
    options = {"train_split": "video", "stride": 1, "input_size": (32, 64), "clips_per_video": 5}
    own = DomainConfig(str(images), batch_size=2, validation_split="video", **options)
    config = TrainConfig({"own": own}, clip_frames=3)
    (training,), (validation,) = inputs.open_sources(config, tmp_path)
    assert find_examples(training).batches == 5 and find_examples(validation).batches == 1


def test_weights_of_a_disabled_part_are_removed(golden_file):
    own = DomainConfig("unused", like="dhf1k", input_size=(32, 64))
    domain = resolve_domain("own", own, ())
    config = TrainConfig({"own": own}, init=InitConfig(str(golden_file)), model={"rnn": False})
    model_config, variables = inputs.initial(config, [domain])
    assert [each.name for each in model_config.domains][-1] == "own" and not model_config.has_rnn
    assert not {"rnn", "post_rnn"} & variables["params"].keys()
    assert "rnn" not in variables["own"] and "fusion" in variables["own"]
    config = dataclasses.replace(config, model={"domain_fusion": False})
    with pytest.raises(UnisalError, match="lacks tensors"):
        inputs.initial(config, [domain])


@pytest.mark.parametrize("name", [f"{file}:{name}" for file, some in CONFIGS.items() for name in some])
def test_every_config_loads(name):
    config = load_config(REPOSITORY / "configs" / name)
    if name.startswith("ablation"):
        assert set(config.domains) == {"dhf1k", "hollywood2", "ucf_sports", "salicon"}
        resolved = {resolve_domain(each, domain, ()).input_size for each, domain in config.domains.items()}
        assert (len(resolved) == 4) == name.endswith("final")
    if name == "ablation.py:domain_adaptive":
        assert not config.model
    if name == "settings.py:v":
        assert set(config.domains) == {"dhf1k", "hollywood2", "ucf_sports"}


def test_wrong_names_in_a_config():
    with pytest.raises(UnisalError, match=r"settings.py: has no experiment 'vii'; choose one of i, ii,"):
        load_config(REPOSITORY / "configs" / "settings.py:vii")
    with pytest.raises(UnisalError, match=r"settings.py: has several experiments; choose one of i, ii,"):
        load_config(REPOSITORY / "configs" / "settings.py")


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (("localhost:1234", 2, None), "pass all three"),
        ((None, 2, 0), "pass all three"),
        (("localhost", 2, 0), "--coordinator: localhost is not HOST:PORT"),
        (("localhost:1234", 2, 2), "--process: 2 is not one of 2"),
    ],
)
def test_wrong_clusters_are_refused(cluster, message):
    with pytest.raises(UnisalError, match=message):
        processes.start(*cluster)


def test_a_single_process():
    processes.start()  # not in a cluster, and JAX has been used already
    done = []
    processes.in_turn(lambda: done.append(1))
    assert processes.is_first() and processes.share(b"x") == b"x" and done == [1]
