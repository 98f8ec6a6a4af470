"""Resolving names, paths and addresses of weights, and their files."""

import pytest

from unisal_jax.errors import UnisalError
from unisal_jax.weights import fetch
from unisal_jax.weights.sources import check_there, fetched, files_of, resolve


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A working directory with files, one named like a release, and both kinds of folders."""
    for name in ("a.pth", "saved/model.safetensors", "saved/README.md", "steps/7/d/x", "unisal"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    (tmp_path / "checkpoints" / "7" / "d").touch()
    (tmp_path / "best").write_bytes(b"checkpoints/7\n")
    (tmp_path / "gone").write_bytes(b"checkpoints/8\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    "source, kind, path",
    [
        ("unisal", "release", "unisal"),
        ("mobilenet_v2", "release", "mobilenet_v2"),
        ("./unisal", "file", "unisal"),
        ("hf://owner/name@v1/a.pth", "hub", "hf:/owner/name@v1/a.pth"),
        ("a.pth", "file", "a.pth"),
        ("saved", "file", "saved/model.safetensors"),
        ("steps/7", "checkpoint", "steps/7"),
        ("best", "checkpoint", "checkpoints/7"),
        ("gone", "file", "gone"),
        ("b.pth", "missing", "b.pth"),
        ("Unisal", "missing", "Unisal"),
        ("x" * 5000, "missing", "x" * 5000),
        ("a\0b", "missing", "a\0b"),
        ("", "missing", "."),
    ],
)
def test_what_a_source_means(desk, source, kind, path):
    found = resolve(source)
    assert (found.kind, found.name, str(found.path)) == (kind, source, path)


def test_a_path_means_the_same_as_its_text(desk):
    assert resolve(desk / "saved") == resolve(str(desk / "saved"))


def test_what_is_not_there(desk):
    for check in (check_there, fetched):
        with pytest.raises(UnisalError, match=r"^b.pth: no such file or release \(unisal, .*\)$"):
            check(resolve("b.pth"))
        with pytest.raises(UnisalError, match=r"\); on the Hugging Face Hub: hf://owner/na.me-1$"):
            check(resolve("owner/na.me-1"))
    assert fetched(resolve("saved")).is_file()


@pytest.mark.parametrize(
    "source, files",
    [
        ("a.pth", ["a.pth"]),
        ("saved", ["saved", "saved/README.md", "saved/model.safetensors"]),
        ("steps/7", ["steps/7", "steps/7/d/x"]),
        ("best", ["best", "checkpoints/7", "checkpoints/7/d"]),
        ("hf://owner/name", []),
        ("b.pth", []),
    ],
)
def test_files(desk, source, files):
    assert sorted(map(str, files_of(source))) == files


def test_files_of_a_release(desk):
    assert [path.name for path in files_of("unisal")] == ["weights_best.pth", "unisal.safetensors"]
    assert all(path.parent == fetch.cache_dir() for path in files_of("unisal"))
