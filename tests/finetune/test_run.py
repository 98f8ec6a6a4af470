"""`unisal finetune` from data to report: resuming, refusals, and a real run of each type."""

import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.evaluate.test_report import Page
from tests.helpers.prepared_data import make_clip, write_prepared
from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.sources import open_data
from unisal_jax.finetune import folder, run, scores
from unisal_jax.finetune.blend import Blend
from unisal_jax.train import loop
from unisal_jax.train.logs import SCALARS
from unisal_jax.train.workdir import VALIDATIONS
from unisal_jax.trees import flatten
from unisal_jax.weights.packs import load_pack
from unisal_jax.weights.store import load_weights

SIZE = (48, 64)


class Network:
    """Predicts the brightness of the image, or its reverse in the new domain."""

    def __init__(self, weights):
        self.weights = Path(weights).name

    def domain(self, name, *, video):
        return Domain(name, (32, 64), static=not video)

    def predict_resized(self, frames, domain):
        grey = frames.mean(-1) / 255
        density = np.exp(grey if domain.name == "salicon" else -grey)
        return np.log(density / density.sum((1, 2), keepdims=True)).astype(np.float32)


class Killed(Exception):
    pass


@pytest.fixture
def stages(monkeypatch, golden, prepared, tmp_path):
    """A fine-tuning of 24 images with a fake training; `done` lists the stages it ran."""
    done = []
    state = {"train": "kill"}

    def train(config, workdir, on_step):
        done.append(f"train {config.seed}")
        if state["train"] == "kill":
            workdir.mkdir(parents=True, exist_ok=True)
            raise Killed
        if state["train"] == "stop":
            return loop.Outcome(3, False, None, [])
        entry = {"loss": 0.5, "kld": 0.6, "cc": 0.7, "nss": 0.8}
        workdir.mkdir(parents=True, exist_ok=True)
        rows = [{"epoch": 1, "step": 3, "scores": {"images": entry}}]
        (workdir / VALIDATIONS).write_text(json.dumps(rows))
        (workdir / SCALARS).write_text('{"kind": "train", "step": 3, "loss": 0.9}\n')
        return loop.Outcome(3, True, 3, rows)

    original = scores.score_model

    def score_model(path, *rest):
        done.append(path.stem)
        return original(path, *rest)

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(run, "load", Network)
    monkeypatch.setattr(run, "fetched", lambda source: done.append(source.name))
    monkeypatch.setattr(run, "load_weights", lambda path: golden(11))
    chosen = Blend(0.85, 0.9, {"loss": 1.0}, {"loss": 0.9})

    def blended(weights, *_):
        done.append(f"blend of {len(weights)}")
        return weights[0], chosen

    monkeypatch.setattr(run, "blend", blended)
    monkeypatch.setattr(scores, "score_model", score_model)
    options = run.FinetuneOptions(prepared[0], tmp_path / "out", moved="all")
    lines = []

    def again(**changes):
        done.clear()
        lines.clear()
        return run.finetune(dataclasses.replace(options, **changes), lines.append)

    return again, state, done, lines, tmp_path / "out"


def test_an_interrupted_fine_tuning_resumes(stages):
    again, state, done, lines, out = stages
    with pytest.raises(Killed):
        again()
    assert done == ["unisal-mit1003", "before", "train 0"] and not (out / folder.PAGE).exists()
    state["train"] = "stop"
    assert again() is None and done[1:] == ["train 0"] and "run the same command to resume" in lines[-1]
    with pytest.raises(UnisalError, match="--seed 0, not --seed 2"):
        again(seed=2)
    state["train"] = "finish"
    found = again()
    assert done[1:] == ["train 0", "train 1", "blend of 2", "after"]
    assert {path.name for path in out.iterdir()} == {
        "plan.json", "data", "scores", "training", "training-2", "blend.json",
        "weights.safetensors", "report.json", "report.html",
    }  # fmt: skip
    written = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    # It reports that it is finished, and repeats nothing.
    assert again().differences == found.differences and done == []
    assert any("already finished" in line for line in lines)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == written


def test_what_is_held_out_is_scored_alone(stages):
    again, state, _, lines, out = stages
    with pytest.raises(Killed):
        again()
    state["train"] = "finish"
    again()
    document = json.loads((out / folder.REPORT).read_text())
    test = document["stimuli"]["test"]
    assert document["per_stimulus"].keys() == set(test)
    assert not set(test) & {*document["stimuli"]["train"], *document["stimuli"]["validation"]}
    assert [group.id for group in open_data(out / "data", "test").groups] == test
    assert document["scores"].keys() == {
        "centre_prior",
        "before",
        "after",
    }  # no other people, as observers are unknown
    # Both information gains are relative to the prior of the training split.
    assert document["scores"]["centre_prior"]["mean"]["ig"] == 0 and "ig" in document["difference"]
    assert f"unisal evaluate --data {out}/data --split test" in document["commands"]["score after"]
    assert len(Page((out / folder.PAGE).read_text()).images) == 4 * 5
    assert any(line.startswith("2 trainings: at most") for line in lines)


@pytest.mark.parametrize("name", ["before.json", "people.json"])
def test_damaged_scores_are_told(stages, name):
    again, *_, out = stages
    with pytest.raises(Killed):
        again()
    (out / "scores" / name).write_text("{")
    with pytest.raises(UnisalError, match=name):
        again()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--domain", "salicon"], "--domain salicon: is a released domain"),
        (["--domain", "A b"], "domain name 'A b'"),
        (["--seed", "-1"], "--seed"),
        (["--fps", "nan"], "--fps"),
        (["--train", "some"], "--train"),
        (["--config.domains.images.hold_out=0.1"], "set by unisal finetune"),
        (["--config.domains.more={'data': 'x'}"], "config.domains: a fine-tuning has one"),
        (["--config.epoch=1"], "config.epoch: no such field"),
        (["--config.epochs=0"], "config.epochs: 0 is not above 0"),
        (["--out", "DATA/runs"], "is inside the data folder"),
        (["--out", "gs://bucket/x"], "must be on a disk"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(command, prepared, tmp_path, monkeypatch, flags, reason):
    monkeypatch.chdir(tmp_path)
    flags = [flag.replace("DATA", str(prepared[0])) for flag in flags]
    status, _, err = command("finetune", "--data", prepared[0], "--out", "out", *flags)
    assert status == 1 and reason in err and err.count("\n") == 1, err
    assert list(tmp_path.iterdir()) == [] and not (prepared[0] / "runs").exists()


def test_a_stopped_training_is_no_success(stages, command, prepared, tmp_path):
    """A script must not continue after a stopped command."""
    _, state, *_ = stages
    state["train"] = "stop"
    status, out, _ = command("finetune", "--data", prepared[0], "--out", tmp_path / "cli")
    assert status == 128 + signal.SIGTERM and "run the same command to resume" in out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "video"])
def test_a_whole_fine_tuning(command, released, tmp_path, monkeypatch, kind):
    """Few steps at a tiny size, killed in the second; then the same command runs to the report."""
    count, frames = (20, 1) if kind == "images" else (5, 14)
    clips = [make_clip(f"clip{n}", frames, SIZE, seed=n) for n in range(count)]
    data = write_prepared(tmp_path, "mine", {"train": clips})
    out = tmp_path / "out"
    tiny = ("--config.epochs=2", "--config.domains.mine.input_size=(32, 64)", "--fps", "6")
    arguments = ("finetune", "--data", data, "--out", out, "--train", "domain", *tiny)
    with monkeypatch.context() as patch:
        original, calls = loop.encoder_frozen, iter(range(100))

        def kill(*each):
            if next(calls) == 1:
                raise KeyboardInterrupt
            return original(*each)

        patch.setattr(loop, "encoder_frozen", kill)
        assert command(*arguments)[0] == 130
    before = (out / "scores" / "before.json").stat().st_mtime_ns
    status, text, err = command(*arguments)
    assert status == 0, err
    assert (out / "scores" / "before.json").stat().st_mtime_ns == before
    document = json.loads((out / folder.REPORT).read_text())
    # The command in the report reproduces its scores.
    words = document["commands"]["score after"].split()[1:]
    assert command(*words, "--json", tmp_path / "again.json")[0] == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["mean"] == pytest.approx(document["scores"]["after"]["mean"], rel=1e-4)
    tuned = load_weights(out / folder.WEIGHTS)
    assert "mine" in {domain.name for domain in tuned.config.domains}
    # Shared parameters and those of other domains equal the release's.
    for name in ("params", "salicon", "dhf1k"):
        for path, leaf in flatten(released.variables[name]).items():
            np.testing.assert_array_equal(flatten(tuned.variables[name])[path], leaf)
    assert load_pack(out / "mine.pack.safetensors").domain.name == "mine"
    assert Page((out / folder.PAGE).read_text()).images and "gain" in text
