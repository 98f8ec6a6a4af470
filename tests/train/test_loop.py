"""Training from end to end on small synthetic data: progress, interruption, resuming and errors."""

import dataclasses
import functools
import json
import os
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.prepare import prepare_synthetic
from tests.helpers.fake_cloud import download
from tests.helpers.golden_weights import made_up
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import checkpoints, inputs, loop
from unisal_jax.train import workdir as folders
from unisal_jax.train.config import (
    BestConfig,
    CheckpointConfig,
    DomainConfig,
    SyntheticConfig,
    TrainConfig,
    resolve_domain,
)
from unisal_jax.train.optimizer import OptimizerConfig
from unisal_jax.train.state import UPDATES, create
from unisal_jax.weights.contents import TRAINED
from unisal_jax.weights.store import load_weights

SMALL = DomainConfig("synthetic", 2, validation_clips=2, input_size=(32, 64), target_size=(32, 64))
# Two steps of each domain per epoch. The encoder is frozen: without its gradient, a step compiles in half the
# time.
CONFIG = TrainConfig(
    domains={"dhf1k": SMALL, "salicon": SMALL},
    epochs=2,
    clip_frames=2,
    log_every=1,
    synthetic=SyntheticConfig(4, 2, 6, (64, 64)),
    # Unused parameters change too, to detect errors in resuming between two domains.
    optimizer=OptimizerConfig(lr=0.01, idle="momentum"),
    checkpoints=CheckpointConfig(every_steps=3),
)
STEPS = 8

run = functools.partial(loop.train, prepare_synthetic=prepare_synthetic)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def start():
    """The model config and the initial variables, once for all runs."""
    domains = tuple(resolve_domain(name, CONFIG.domains[name], ()) for name in CONFIG.domains)
    model_config = UnisalConfig(domains=domains)
    return model_config, made_up(model_config)


@pytest.fixture(scope="module", autouse=True)
def begin_alike(start):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "initial", lambda config, domains: start)
        yield


@pytest.fixture(scope="module")
def model_config(start):
    return start[0]


@pytest.fixture(scope="module")
def compiled(model_config):
    return loop.make_programs(CONFIG, model_config)


@pytest.fixture
def train(monkeypatch, compiled):
    """`loop.train` with the module's compiled steps."""
    monkeypatch.setattr(loop, "make_programs", lambda *_: compiled)
    return run


@pytest.fixture(scope="module")
def uninterrupted(compiled, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("train") / "uninterrupted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_programs", lambda *_: compiled)
        return workdir, run(CONFIG, workdir)


def final(workdir, model_config, adamw=False):
    """All arrays of the last checkpoint."""
    like = create(model_config, inputs.initial(CONFIG, ())[1], adamw=adamw)
    manager = checkpoints.open_checkpoints(workdir / folders.CHECKPOINTS)
    state, position, skipped = checkpoints.restore(manager, like, model_config)
    manager.close()
    return state, dict(position), skipped


def assert_same_training(workdir, other, model_config, adamw=False):
    jax.tree.map(
        np.testing.assert_array_equal, *(final(each, model_config, adamw) for each in (workdir, other))
    )
    assert (workdir / folders.VALIDATIONS).read_bytes() == (other / folders.VALIDATIONS).read_bytes()
    assert rows(workdir) == rows(other)
    assert (workdir / folders.BEST).readlink() == (other / folders.BEST).readlink()


def rows(workdir):
    """The logged scalars, without the speed."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    measured = ("frames_per_second", "peak_process_bytes")
    return [{k: v for k, v in json.loads(line).items() if k not in measured} for line in lines]


def at_step(monkeypatch, number, act):
    """Calls `act` when the loop prepares the step with this number, from 1."""
    calls = iter(range(1, 100))
    original = loop.encoder_frozen

    def counted(*args):
        if next(calls) == number:
            act()
        return original(*args)

    monkeypatch.setattr(loop, "encoder_frozen", counted)


def test_a_run_leaves_weights_and_logs(uninterrupted, model_config):
    workdir, outcome = uninterrupted
    assert outcome.step == STEPS and outcome.finished
    assert [entry["step"] for entry in outcome.validations] == [4, 8]
    for workplace in (workdir / folders.CHECKPOINTS / str(STEPS), workdir / folders.BEST):
        weights = load_weights(workplace)
        assert weights.config == model_config
    assert load_weights(workdir / folders.BEST).metadata["source"] == f"step {outcome.best_step}"
    trained = [row for row in rows(workdir) if row["kind"] == "train"]
    assert [row["step"] for row in trained] == list(range(1, STEPS + 1))
    assert {row["domain"] for row in trained} == {"dhf1k", "salicon"}
    assert all(np.isfinite([row["loss"], row["gradient_norm"]]).all() for row in trained)
    # The learning rate of each epoch, and half of it for SALICON.
    assert {row["learning_rate"] for row in trained} == {0.01, 0.005, 0.01 * 0.8, 0.01 * 0.8 * 0.5}
    # The latest two and the best.
    kept = {int(path.name) for path in (workdir / folders.CHECKPOINTS).iterdir()}
    assert kept == {6, 8} | {outcome.best_step}


def test_no_host_name_in_the_workdir(uninterrupted):
    workdir, _ = uninterrupted
    host = os.uname().nodename
    files = [path for path in workdir.rglob("*") if path.is_file()]
    assert any("tfevents" in path.name for path in files)
    assert not [path for path in files if host in str(path.relative_to(workdir))]
    assert host not in (workdir / folders.SURROUNDINGS).read_text()


def test_a_killed_run_resumes_bit_for_bit(train, uninterrupted, model_config, monkeypatch, tmp_path):
    """It is killed before the first checkpoint, and again in the middle of an epoch."""

    def kill():
        raise Killed

    for number in (1, 6):
        with monkeypatch.context() as patch:
            at_step(patch, number, kill)
            with pytest.raises(Killed):
                train(CONFIG, tmp_path)
    assert train(CONFIG, tmp_path).finished
    assert_same_training(tmp_path, uninterrupted[0], model_config)


@pytest.mark.slow
def test_adamw_with_a_cosine_resumes_bit_for_bit(model_config, monkeypatch, tmp_path):
    """The checkpoint has moments and counts of each array; the learning rate warms up and decays."""

    def kill():
        raise Killed

    moved = OptimizerConfig("adamw", lr=0.01, schedule="cosine", warmup_steps=1, domain_only=True)
    config = dataclasses.replace(CONFIG, domains={"salicon": SMALL}, optimizer=moved, best=BestConfig())
    programs = loop.make_programs(config, model_config)
    monkeypatch.setattr(loop, "make_programs", lambda *_: programs)
    assert run(config, tmp_path / "whole").step == 4
    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_step(patch, 4, kill)
        run(config, tmp_path / "killed")
    assert run(config, tmp_path / "killed").finished
    assert_same_training(tmp_path / "killed", tmp_path / "whole", model_config, adamw=True)
    found = final(tmp_path / "whole", model_config, adamw=True)[0].momentum[UPDATES]
    assert set(map(int, jax.tree.leaves(found["salicon"]))) == {0, 4}  # 0: the RNN, which it bypasses
    assert set(map(int, jax.tree.leaves([found["params"], found["dhf1k"]]))) == {0}
    rates = [row["learning_rate"] for row in rows(tmp_path / "whole") if row["kind"] == "train"]
    np.testing.assert_allclose(rates, [0, 0.005, 0.00375, 0.00125], rtol=1e-6)


def test_sigterm_saves(train, uninterrupted, model_config, monkeypatch, tmp_path):
    """In the middle of an epoch and, after resuming, in the validation."""
    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: signal.raise_signal(signal.SIGTERM))
        outcome = train(CONFIG, tmp_path)
    assert (outcome.step, outcome.finished) == (2, False)
    assert (tmp_path / folders.CHECKPOINTS / "2").is_dir()

    with monkeypatch.context() as patch:
        original = loop._Run.validate

        def interrupted(self, *args):
            signal.raise_signal(signal.SIGTERM)
            return original(self, *args)

        patch.setattr(loop._Run, "validate", interrupted)
        outcome = train(CONFIG, tmp_path)
    assert (outcome.step, outcome.finished, outcome.validations) == (4, False, [])
    assert train(CONFIG, tmp_path).finished
    assert_same_training(tmp_path, uninterrupted[0], model_config)


def test_a_finished_run_does_nothing(train, uninterrupted):
    workdir, outcome = uninterrupted
    before = rows(workdir)
    assert train(CONFIG, workdir) == outcome
    assert rows(workdir) == before


def test_two_at_once_are_refused(train, monkeypatch, tmp_path):
    refused = []

    def another():
        with pytest.raises(UnisalError, match="another process is training in it") as caught:
            run(CONFIG, tmp_path)
        refused.append(caught)

    at_step(monkeypatch, 1, another)
    assert train(CONFIG, tmp_path).finished and refused


def test_a_workdir_in_the_cloud(train, uninterrupted, model_config, monkeypatch, tmp_path, cloud):
    """Killed in the middle of an epoch with pending uploads, it ends like the uninterrupted training."""

    def kill():
        cloud.failing = True
        raise Killed

    with monkeypatch.context() as patch:
        at_step(patch, 6, kill)
        # UnisalError if an upload was pending, which depends on when the log was written.
        with pytest.raises(
            (UnisalError, Killed), match=r"^(gs://bucket/run: cannot be written .no connection.*|)$"
        ):
            train(CONFIG, "gs://bucket/run")
    cloud.failing = False
    assert "bucket/run/checkpoints/4/commit_success.txt" in cloud.objects
    assert train(CONFIG, "gs://bucket/run").finished
    assert_same_training(download(cloud, "bucket/run", tmp_path), uninterrupted[0], model_config)


@pytest.mark.slow
def test_a_clock_that_jumps(train, uninterrupted, model_config, monkeypatch, tmp_path):
    """An hour forward and two back: nothing depends on the time of day."""
    real, ahead = time.time, [0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    at_step(monkeypatch, 2, lambda: ahead.__setitem__(0, 3600))
    at_step(monkeypatch, 6, lambda: ahead.__setitem__(0, -3600))
    assert train(CONFIG, tmp_path).finished
    assert ahead == [-3600]
    assert_same_training(tmp_path, uninterrupted[0], model_config)


def test_another_training_is_refused(uninterrupted):
    other = dataclasses.replace(CONFIG, optimizer=dataclasses.replace(CONFIG.optimizer, lr=0.02))
    with pytest.raises(
        UnisalError, match=r"config.json: the training in this folder has optimizer.lr 0.01, not 0.02"
    ):
        run(other, uninterrupted[0])


def fake_programs(broken):
    """Steps that compute nothing; the loss of those with the numbers `broken` (from 1) is NaN."""

    def step(state, lr, batch, key):
        number = int(state.step) + 1
        metrics = {"loss": float("nan") if number in broken else 1.0, "gradient_norm": 1.0}
        return state.replace(step=state.step + 1), metrics | {"finite": number not in broken}

    def evaluate(variables, batch):
        return {"loss": 1.0}, jnp.zeros(batch.maps.shape, jnp.float32)

    return loop.Programs(lambda domain, frozen: step, lambda domain: evaluate)


def test_a_loss_that_is_not_finite_stops_and_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "make_programs", lambda *_: fake_programs({2}))
    message = r"step 2, domain (dhf1k|salicon): loss nan, gradient norm 1, not finite; batch: \1/train/"
    with pytest.raises(UnisalError, match=message):
        run(CONFIG, tmp_path)


def test_nonfinite_steps_are_skipped_up_to_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "make_programs", lambda *_: fake_programs({2, 5}))
    with pytest.raises(UnisalError, match="step 5"):
        run(dataclasses.replace(CONFIG, skip_nonfinite=1), tmp_path)
    # The count is restored from the checkpoint: step 2 is not counted again, and a second one is now allowed.
    assert run(dataclasses.replace(CONFIG, skip_nonfinite=2), tmp_path).finished
    skipped = [row["step"] for row in rows(tmp_path) if row["kind"] == "skipped"]
    assert skipped == [2, 5]


def test_early_stopping(monkeypatch, tmp_path):
    # All validations are equal, so the first is the best.
    monkeypatch.setattr(loop, "make_programs", lambda *_: fake_programs(()))
    outcome = run(dataclasses.replace(CONFIG, epochs=9, patience=2), tmp_path)
    assert (outcome.step, outcome.finished, outcome.best_step) == (12, True, 4)


def damage(workdir, step):
    """Flips a bit in the largest file of a checkpoint's arrays."""
    files = [path for path in (workdir / folders.CHECKPOINTS / str(step) / "variables").rglob("*")]
    largest = max(files, key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def test_a_damaged_checkpoint_is_set_aside(monkeypatch, tmp_path, caplog, capsys):
    """The latest undamaged one is used instead, and the step of the damaged one is saved again."""
    monkeypatch.setattr(loop, "make_programs", lambda *_: fake_programs(()))
    config = dataclasses.replace(CONFIG, epochs=2)
    uninterrupted = run(config, tmp_path)
    kept = {path.name for path in (tmp_path / folders.CHECKPOINTS).iterdir()}
    damage(tmp_path, 8)
    assert "resumed" not in capsys.readouterr().out
    assert run(config, tmp_path) == uninterrupted
    assert "resumed from step 6 of 8" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / folders.CHECKPOINTS).iterdir()} == kept == {"4", "6", "8"}
    (line,) = (record.getMessage() for record in caplog.records if record.name == checkpoints.__name__)
    damaged = tmp_path / checkpoints.DAMAGED / "8"
    assert f"{folders.CHECKPOINTS}/8: " in line and f"moved to {damaged}; continuing from step 6" in line
    with pytest.raises(UnisalError):
        load_weights(damaged)
    load_weights(tmp_path / folders.CHECKPOINTS / "8")

    # The best one, which is not the latest.
    caplog.clear()
    assert uninterrupted.best_step == 4
    damage(tmp_path, 4)
    assert run(config, tmp_path).best_step == 8
    assert f"{tmp_path / checkpoints.DAMAGED / '4'}; best is now the next best checkpoint" in caplog.text
    assert load_weights(tmp_path / folders.BEST).metadata["source"] == "step 8"

    # It does not start again on its own.
    for step in (6, 8):
        damage(tmp_path, step)
    with pytest.raises(
        UnisalError, match="all other checkpoints are damaged too; to start again, choose another --workdir"
    ):
        run(config, tmp_path)
    assert {path.name for path in (tmp_path / folders.CHECKPOINTS).iterdir()} == {"6", "8"}


def test_a_training_that_is_refused_leaves_no_files(monkeypatch, tmp_path):
    def missing(*_):
        raise UnisalError("no data")

    monkeypatch.setattr(inputs, "open_sources", missing)
    with pytest.raises(UnisalError, match="no data"):
        run(CONFIG, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_training_without_checkpoints_accepts_another_config(monkeypatch, tmp_path, caplog):
    # As left by a run that was killed before its first checkpoint.
    (tmp_path / folders.CONFIG).write_text(CONFIG.to_json())
    monkeypatch.setattr(loop, "make_programs", lambda *_: fake_programs(()))
    other = dataclasses.replace(CONFIG, seed=5)
    assert run(other, tmp_path).finished
    assert f"{tmp_path}: has no checkpoint yet; replacing its config" in caplog.text
    assert json.loads((tmp_path / folders.CONFIG).read_text())["seed"] == 5
    with pytest.raises(UnisalError, match="the training in this folder has seed 5, not 0"):
        run(CONFIG, tmp_path)
    assert (tmp_path / folders.CONFIG).exists()


def test_checkpoints_list_the_trained_domains(uninterrupted):
    assert load_weights(uninterrupted[0] / folders.BEST).metadata[TRAINED] == "dhf1k,salicon"


def test_validation_images_come_once_each(tmp_path):
    # A clip of two frames spans six: a video of six frames has one position for it, one of twelve several.
    for frames, clips in ((6, 1), (12, 2)):
        config = dataclasses.replace(CONFIG, synthetic=SyntheticConfig(4, 2, frames, (64, 64)))
        _, held_out = inputs.open_sources(config, tmp_path / str(frames), prepare_synthetic)
        assert {each.domain.name: each.fixed_clips for each in held_out} == {"dhf1k": clips, "salicon": 1}


def test_a_missing_validation_split_suggests_a_remedy(monkeypatch, tmp_path):
    domain = dataclasses.replace(SMALL, validation_split="other")
    config = dataclasses.replace(CONFIG, domains={"salicon": domain})
    with pytest.raises(UnisalError, match=r"other.*; config.domains.salicon.hold_out=0.1 validates on"):
        inputs.open_sources(config, tmp_path, prepare_synthetic)


def test_synthetic_data_require_prepare_synthetic(tmp_path):
    with pytest.raises(UnisalError, match=r"domains.dhf1k.data: synthetic data require prepare_synthetic="):
        loop.train(CONFIG, tmp_path)
