"""Configs: files, overrides, and one-line error messages."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from unisal_jax.domains import DHF1K
from unisal_jax.errors import UnisalError
from unisal_jax.train import experiments
from unisal_jax.train.config import (
    DomainConfig,
    OptimizerConfig,
    TrainConfig,
    check_same,
    config_fields,
    load_config,
    resolve_domain,
)

SMOKE, PAPER = REPOSITORY / "configs" / "smoke.py", REPOSITORY / "configs" / "unisal.py"


def test_the_papers_config():
    config = load_config(PAPER)
    assert set(config.domains) == {"dhf1k", "hollywood2", "ucf_sports", "salicon"}
    assert {name: domain.batch_size for name, domain in config.domains.items()} == {
        "dhf1k": 4,
        "hollywood2": 4,
        "ucf_sports": 4,
        "salicon": 32,
    }
    assert (config.epochs, config.clip_frames, config.order) == (16, 12, "random")
    # `idle` is the exception, as fine-tuning must not use it.
    assert config.optimizer == OptimizerConfig(idle="momentum")
    assert (
        load_config("settings:v").optimizer.idle == load_config("ablation:final").optimizer.idle == "momentum"
    )
    assert load_config("finetune:images").optimizer.idle == "still"
    assert resolve_domain("dhf1k", config.domains["dhf1k"], ()) == DHF1K


def test_overrides():
    config = load_config(
        SMOKE,
        [
            "--config.optimizer.lr=1",
            "config.optimizer.domain_lr_scale.dhf1k=0.5",
            "epochs=3",
            "--config.init.weights=unisal",
            "--config.domains.dhf1k.input_size=(96, 64)",
            "--config.domains.salicon.flip=true",
            "--config.optimizer.clip_norm=None",
            "--config.model.skips=False",
        ],
    )
    assert config.optimizer.lr == 1.0 and isinstance(config.optimizer.lr, float)
    assert config.optimizer.domain_lr_scale == {"dhf1k": 0.5, "salicon": 0.5}
    assert config.optimizer.clip_norm is None
    assert config.epochs == 3 and config.init.weights == "unisal"
    assert config.domains["dhf1k"].input_size == (96, 64) and config.domains["salicon"].flip
    assert config.model == {"skips": False}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--config.optimizer.learning_rate=1",
            r"^config.optimizer.learning_rate: no such field; known: name, lr,",
        ),
        ("--config.epoch=1", r"^config.epoch: no such field"),
        ("--config.epochs=1.5", r"^config.epochs: 1.5 is not int"),
        ("--config.epochs=True", r"^config.epochs: True is not int"),
        ("--config.epochs=0", r"^config.epochs: 0 is not above 0"),
        ("--config.optimizer.lr=fast", r"^config.optimizer.lr: 'fast' is not float"),
        ("--config.order=sorted", r"^config.order: 'sorted' is not one of random, alternating"),
        ("--config.domains.dhf1k.input_size=(64,)", r"^config.domains.dhf1k.input_size: \(64,\) is not"),
        ("--config.domains.dhf1k.input_size=(60,64)", r"domain dhf1k: input size 60x64"),
        ("--config.domains.mine.batch_size=2", r"^config.domains.mine.batch_size: no such field"),
        ("--config.domains.mine={'batch_size': 2}", r"^config.domains.mine.data: not set"),
        ("--config.optimizer=3", r"^config.optimizer: has fields of its own; set one, as --config.optimizer"),
        ("--config.my-field=3", r"^config.my-field: no such field; unisal train --config FILE"),
        ("--config.optimizer.warmup_steps=-1", r"^optimizer: warmup_steps -1 is negative"),
        ("--config.batch_scale=0", r"^config.batch_scale: 0 is not above 0"),
        ("--config.model.skip=True", r"^config.model.skip: no such field; known: prior_maps"),
        ("--config.model.skips=3", r"^config.model.skips: 3 is not bool"),
        ("--config.best.domain=mit1003", r"^config.best.domain: 'mit1003' is not one"),
        ("--config.epochs.more=1", r"^config.epochs.more: no such field"),
        ("--config.epochs", r"^--config.epochs: not an override of the form --config.NAME=VALUE"),
        ("--config.optimizer.lr=-1", r"^optimizer: lr -1 is negative"),
    ],
)
def test_wrong_overrides_are_named(override, message):
    with pytest.raises(UnisalError, match=message):
        load_config(SMOKE, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(): return {}", "returns a dict, not a TrainConfig"),
        ("x = 1", "AttributeError"),
        ("import nothing_such", "ModuleNotFoundError"),
    ],
)
def test_wrong_files_are_named(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UnisalError, match=rf"broken.py: .*{message}"):
        load_config(path)
    with pytest.raises(UnisalError, match=r"none.py: no such config file"):
        load_config(tmp_path / "none.py")


def test_a_config_dict_is_accepted(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n"
        "    config = ConfigDict({'domains': {'dhf1k': {'data': 'synthetic'}}})\n"
        "    config.optimizer = {'lr': 1, 'clip_norm': None}\n"
        "    return config\n"
    )
    config = load_config(path, ["domains.dhf1k.input_size=[32, 64]", "optimizer.momentum=0"])
    assert config == TrainConfig(
        {"dhf1k": DomainConfig("synthetic", input_size=(32, 64))},
        optimizer=OptimizerConfig(lr=1.0, momentum=0.0, clip_norm=None),
    )


def test_help_lists_every_field(command):
    """Once each, with the description from the docstring, the default, and the value in the config."""
    status, out, _ = command("train", "--config", "smoke", "--help")
    text = " ".join(out.split())
    assert status == 0 and len(out.splitlines()[0]) < 100
    fields = config_fields()
    assert len(fields) > 60
    for name, _, meaning in fields:
        assert meaning[:1] in "(`" or meaning[:1].isupper(), (name, meaning)
        assert meaning.endswith("."), (name, meaning)
        assert text.count(f"--config.{name.replace('*', 'NAME')}=VALUE {meaning} [") == 1, name
    assert "--config.epochs=VALUE Number of epochs. [16; 2]" in text
    assert "released domains only. [required; 'synthetic']" in text
    assert "--config.seed=VALUE" not in command("train", "--help")[1]
    status, _, err = command("train", "--config", "nothing", "--help")
    assert status == 1 and err.startswith("unisal train: nothing: no such config file")


def test_configs_by_name(tmp_path, monkeypatch):
    assert load_config("smoke") == load_config("smoke.py") == load_config(SMOKE)
    assert load_config("settings:iv") == load_config(REPOSITORY / "configs" / "settings.py:iv")
    for name in experiments.known_configs():
        path, _ = experiments.find_config(name)
        assert path == REPOSITORY / "configs" / f"{name}.py"
    # A file takes precedence over a name, and a folder's name may contain a colon.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    for path in (tmp_path / "smoke.py", tmp_path / "a:b" / "mine.py"):
        path.write_text(SMOKE.read_text().replace("epochs=2", "epochs=77"))
    assert load_config("smoke.py").epochs == load_config("a:b/mine.py").epochs == 77
    assert load_config("smoke").epochs == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", r"^nothing: no such config file, and not one of ablation, .*, unisal$"),
        ("a:b/none.py", r"^a:b/none.py: no such config file"),
        ("configs_of_mine/finetune.py:video", r"use --config finetune:video$"),
        (
            "finetune",
            r"finetune.py: has several experiments; choose one of images, video, as finetune.py:images$",
        ),
        ("finetune:imges", r"finetune.py: has no experiment 'imges'; choose one of images, video,"),
        ("ablation:x", r"has no experiment 'x'; choose one of baseline, gaussian"),
        ("osie", r"choose one of released, imagenet"),
        ("billiard:x", r"choose one of rnn, bypass"),
        ("finetune_mit1003:10", r"choose one of 0, 1, .*, 9,"),
        ("settings:vii", r"choose one of i, ii, iii, iv, v, vi,"),
        ("smoke:x", r"smoke.py: has only one experiment, without a name; omit :x$"),
    ],
)
def test_unknown_experiments(text, message):
    with pytest.raises(UnisalError, match=message):
        load_config(text)


def test_an_own_config_with_an_argument(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def get_config(kind): raise KeyError(kind)")
    with pytest.raises(
        UnisalError, match=r"mine.py: get_config\(\) requires an argument; pass it as mine.py:NAME"
    ):
        load_config(path)
    with pytest.raises(UnisalError, match=r"mine.py: KeyError: 'x'"):
        load_config(f"{path}:x")


def test_missing_data_are_reported_before_jax_is_imported(tmp_path):
    (tmp_path / "file").touch()
    program = (
        "import sys\nfrom unisal_jax.cli.main import main\n"
        "status = main(['train', '--config', sys.argv[1], '--workdir', sys.argv[2]])\n"
        "sys.exit(100 if 'jax' in sys.modules else status)"
    )
    for config, workdir in (("nothing", "w"), ("finetune", "w"), ("smoke", "file"), ("smoke", "file/w")):
        done = subprocess.run(
            [sys.executable, "-c", program, config, tmp_path / workdir],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr


def test_the_command_prints_a_command_to_paste(monkeypatch, tmp_path, command):
    from unisal_jax.train import loop

    monkeypatch.setattr(loop, "train", lambda config, workdir, prepare: loop.Outcome(7, True, 4, []))
    workdir = tmp_path / "my run's"
    status, out, _ = command("train", "--config", "smoke", "--workdir", workdir)
    words = shlex.split(out.splitlines()[-1].partition(": ")[2])
    assert status == 0 and words[:2] == ["unisal", "predict"] and Path(words[2]).is_file()
    assert words[3:] == ["--weights", str(workdir / "best"), "--domain", "dhf1k", "--out", "maps"]


def test_a_workdir_of_another_training(tmp_path):
    stored = load_config(SMOKE).to_json()
    path = tmp_path / "config.json"
    check_same(load_config(SMOKE), stored, path)
    # More epochs do not make it a different training.
    check_same(load_config(SMOKE, ["epochs=5", "checkpoints.keep=1", "log_every=3"]), stored, path)
    with pytest.raises(
        UnisalError, match=r"config.json: the training in this folder has seed 0, not 1; choose another"
    ):
        check_same(load_config(SMOKE, ["seed=1"]), stored, path)
    # Stored by an older version without the field, which behaved like the default.
    earlier = json.loads(stored)
    del earlier["optimizer"]["idle"]
    check_same(load_config(SMOKE), json.dumps(earlier), path)
    with pytest.raises(UnisalError, match=r"has optimizer.idle still, not momentum; choose another"):
        check_same(load_config(SMOKE, ["optimizer.idle=momentum"]), json.dumps(earlier), path)
    folds = load_config("finetune_mit1003:0")
    check_same(folds, folds.to_json(), path)
    # But a cosine schedule depends on the number of epochs.
    cosine = "optimizer.schedule=cosine"
    with pytest.raises(UnisalError, match="has epochs 2, not 5"):
        check_same(load_config(SMOKE, [cosine, "epochs=5"]), load_config(SMOKE, [cosine]).to_json(), path)
    with pytest.raises(UnisalError, match="damaged"):
        check_same(load_config(SMOKE), stored[:-5], path)
    assert json.loads(stored)["optimizer"]["momentum"] == 0.9


def test_the_command_accepts_overrides(monkeypatch, tmp_path, command):
    from unisal_jax.train import loop

    seen = []

    def fake(config, workdir, prepare_synthetic):
        seen.append((config, workdir))
        return loop.Outcome(7, False, None, [])

    monkeypatch.setattr(loop, "train", fake)
    args = ["train", "--config", SMOKE, "--config.epochs=3", "--workdir", tmp_path]
    status, out, _ = command(*args, "--config.optimizer.lr=0.5")
    assert status == 0 and "stopped after step 7" in out
    config, workdir = seen[0]
    assert (config.epochs, config.optimizer.lr, workdir) == (3, 0.5, tmp_path)
    status, _, err = command(*args, "--other=1")
    assert status == 1 and "--other=1" in err and len(seen) == 1
    # Other commands do not accept them.
    status, _, err = command("weights", "--config.epochs=3")
    assert status == 1 and "--config.epochs=3" in err
