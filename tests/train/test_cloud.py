"""A workdir in cloud storage, and addresses where only local files are supported."""

import os
import threading
from pathlib import Path

import pytest

from unisal_jax.cli.main import main
from unisal_jax.errors import UnisalError
from unisal_jax.train import cloud as clouds
from unisal_jax.train import loop

RUN = "gs://bucket/run"


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def open_run():
    return clouds.working_folder(RUN, True, ["synthetic"])


def seen(cloud):
    return {name.removeprefix("bucket/run/"): content.decode() for name, content in cloud.objects.items()}


def test_a_local_folder_is_used_directly(tmp_path):
    with clouds.working_folder(tmp_path / "run", True) as place:
        assert place == (tmp_path / "run", None)


def test_uploads_and_downloads(cloud):
    with open_run() as (folder, send):
        write(folder, checkpoints__3__a="3", checkpoints__3__b__c="3", log="1", synthetic__x="no")
        write(folder, checkpoints__9_tmp__a="unfinished")
        send()
        whole = {"checkpoints/3/a": "3", "checkpoints/3/b/c": "3", "log": "1"}
        committed = {"checkpoints/3/commit_success.txt": "checkpoints/3 is complete\n"}
        assert {**seen(cloud), ".lock": ""} == {**whole, **committed, ".lock": ""}
        write(folder, checkpoints__6__a="6", log="12", damaged__3__a="3")
        for name in ("a", "b/c"):
            (folder / "checkpoints/3" / name).unlink()
        (folder / "best").symlink_to("checkpoints/6")
    left = {"checkpoints/6/a": "6", "log": "12", "damaged/3/a": "3"}
    committed = {"checkpoints/6/commit_success.txt": "checkpoints/6 is complete\n"}
    assert seen(cloud) == {**left, **committed, "best": "checkpoints/6\n"}
    with open_run() as (folder, _):
        files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.*")}
        assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == left.keys()
        assert not files
    assert seen(cloud) == {**left, **committed, "best": "checkpoints/6\n"}


def test_failed_uploads_are_reported(cloud):
    with (
        pytest.raises(UnisalError, match=f"^{RUN}: cannot be written .no connection."),
        open_run() as (folder, _),
    ):
        write(folder, log="1")
        cloud.failing = True
    cloud.failing = False
    assert "log" not in seen(cloud)


def test_no_incomplete_checkpoint_is_used_after_an_interruption(cloud, monkeypatch):
    """Interrupts it between any two writes or removals."""
    states = []

    class Recorded(dict):
        def __setitem__(self, name, content):
            super().__setitem__(name, content)
            states.append(dict(self))

        def __delitem__(self, name):
            super().__delitem__(name)
            states.append(dict(self))

        def pop(self, name, default=None):
            content = super().pop(name, default)
            states.append(dict(self))
            return content

    monkeypatch.setattr(clouds, "_THREADS", 1)
    cloud.objects = Recorded()
    with open_run() as (folder, send):
        for step in (1, 2, 3):
            for name in "abc":
                write(folder, **{f"checkpoints__{step}__{name}": f"{step}{name}", "log": str(step)})
            for name in "abc" * (step == 3):
                (folder / "checkpoints/1" / name).unlink()
                write(folder, **{f"checkpoints__2__{name}": f"again {name}"})
            send()
    assert len(states) > 25
    for state in states:
        state.pop("bucket/run/.lock", None)
        cloud.objects = state
        with open_run() as (folder, _):
            for path in (folder / "checkpoints").glob("*"):
                texts = [(path / name).read_text().removesuffix(name) for name in "abc"]
                assert len(set(texts)) == 1
                assert int((folder / "log").read_text()) >= int(path.name)


def test_one_training_at_a_time(cloud, monkeypatch, caplog):
    monkeypatch.setattr(clouds, "BEAT", 0.02)
    with (
        open_run(),
        pytest.raises(UnisalError, match=r"^gs://bucket/run: another process is training in it$"),
        open_run(),
    ):
        raise AssertionError
    assert not cloud.objects

    # Left by a killed process.
    cloud.objects["bucket/run/.lock"] = b"0123456789abcdef 000000000007\n"
    with open_run():
        assert "gs://bucket/run/.lock: exists; waiting" in caplog.text
    assert not cloud.objects


def test_two_processes_that_start_at_once(cloud, monkeypatch):
    monkeypatch.setattr(clouds, "SETTLE", 0.1)
    monkeypatch.setattr(clouds, "BEAT", 0.02)
    barrier, done = threading.Barrier(2), threading.Event()
    inside, refused = [], []

    def start():
        barrier.wait()
        try:
            with open_run():
                inside.append(1)
                done.wait(2)
        except UnisalError as error:
            refused.append(str(error))
            done.set()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == len(refused) == 1


def test_a_training_that_lost_its_lock_uploads_nothing(cloud, monkeypatch):
    monkeypatch.setattr(clouds, "BEAT", 0.02)
    with (
        pytest.raises(UnisalError, match="another process has taken over"),
        open_run() as (folder, send),
    ):
        cloud.objects["bucket/run/.lock"] = b"another"
        threading.Event().wait(0.2)
        write(folder, log="1")
        send()
    assert seen(cloud) == {".lock": "another"}


def test_nothing_is_downloaded_outside_the_folder(cloud):
    cloud.objects |= {"bucket/run/../../escaped": b"", "bucket/run/checkpoints/../../escaped": b""}
    with open_run() as (folder, _):
        assert not any(path.is_file() for path in folder.rglob("*"))
        assert not (folder.parent / "escaped").exists()


def test_an_error_names_the_address(cloud):
    with (
        pytest.raises(UnisalError, match=r"^gs://bucket/run/config.json: damaged$"),
        open_run() as (folder, _),
    ):
        raise UnisalError(f"{folder / 'config.json'}: damaged")


def test_the_command_names_a_checkpoint_to_copy(cloud, monkeypatch, command):
    monkeypatch.setattr(loop, "train", lambda config, workdir, prepare: loop.Outcome(7, True, 4, []))
    status, out, _ = command("train", "--config", "smoke", "--workdir", RUN)
    assert status == 0 and not Path("gs:").exists()
    assert out.splitlines() == [
        "gs://bucket/run/checkpoints/7: the latest weights",
        "gs://bucket/run/checkpoints/4: the best weights; copy this folder to a disk to use them",
    ]


@pytest.mark.parametrize(
    ("workdir", "message"),
    [
        ("nothing://b/run", "unknown storage nothing://"),
        ("gs://bucket/run", r"a package is missing .*; install it with: pip install \"gcsfs>="),
    ],
)
def test_addresses_that_cannot_be_used(workdir, message, monkeypatch):
    monkeypatch.setattr(clouds.epath.gpath, "_is_tf_installed", lambda: False)
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UnisalError, match=f"^{workdir}: {message}"):
        clouds.open_address(workdir)


@pytest.mark.parametrize(
    "words",
    [
        "predict gs://bucket/a.jpg --out maps",
        "predict a.jpg --out gs://bucket/maps",
        "predict a.jpg --out=gs://bucket/maps",
        "predict a.jpg --out hf://owner/maps",
        "predict a.jpg --out maps --weights gs://bucket/run/checkpoints/8",
        "crop a.jpg --aspect 9:16 --out s3://bucket/maps",
        "score-regions a.jpg --boxes gs://bucket/boxes.csv",
        "compare a.jpg gs://bucket/b.jpg",
        "compare a.jpg b.jpg --out gs://bucket/compared",
        "evaluate --data gs://bucket/data",
        "evaluate --data data --json gs://bucket/scores.json",
        "prepare dhf1k --raw DHF1K --data-dir gs://bucket/data",
        "prepare dhf1k --raw gs://bucket/DHF1K --data-dir data",
        "train --config smoke --workdir run --config.domains.dhf1k.data=gs://bucket/data",
        "train --config gs://bucket/config.py --workdir run",
        "convert unisal az://bucket/unisal.safetensors",
        "export gs://bucket/unisal.onnx --format onnx",
        "benchmark --json gs://bucket/speed.json",
        "analyze cost --out gs://bucket/figures",
        "submit dhf1k images --out gs://bucket/submission",
    ],
)
def test_addresses_are_refused_for_local_files(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    address = next(part for word in words.split() for part in word.split("=") if "://" in part)
    assert main(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"unisal {words.split()[0]}: {address}: must be on a disk; copy it here, or mount"
    )
    assert error.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_prepared_data_are_read_from_disks():
    from unisal_jax.data.prepared import open_prepared

    with pytest.raises(UnisalError, match=r"^gs://bucket/data: must be on a disk"):
        open_prepared("gs://bucket/data", "train")
    assert not Path("gs:").exists()
