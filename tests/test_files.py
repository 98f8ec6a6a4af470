"""Listing of folders, and protection of inputs against overwriting."""

import errno
import os

import pytest

from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import atomic_path, check_no_device, is_hidden, keep_inputs, list_folder, write_text


@pytest.mark.parametrize(
    "name", ["._a.png", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "__MACOSX", "@eaDir"]
)
def test_system_files_are_in_no_listing(tmp_path, name):
    (tmp_path / name).touch()
    (tmp_path / "a.png").touch()
    assert is_hidden(name)
    assert [path.name for path in list_folder(tmp_path)] == ["a.png"]


def test_an_output_is_no_input(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    (tmp_path / "link.png").symlink_to(tmp_path / "in" / "a.png")
    (tmp_path / "folder").symlink_to(tmp_path / "in")
    os.link(tmp_path / "in" / "a.png", tmp_path / "hard.png")
    (tmp_path / "other.png").write_bytes(b"a")
    read = [tmp_path / "in" / "a.png", "camera:0"]
    for output in ("in/a.png", "link.png", "hard.png", "folder/a.png", "in", "folder", "in/../in/a.png"):
        with pytest.raises(UnisalError, match=r"would overwrite .*a\.png"):
            keep_inputs([tmp_path / "other.png", tmp_path / output], read)
    keep_inputs([tmp_path / "other.png", tmp_path / "in" / "new.png", tmp_path / "in" / "new"], read)


def test_a_name_as_long_as_the_disk_allows_is_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".png")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"x")
    assert os.listdir(tmp_path) == [path.name]


def test_what_stops_a_write_is_one_line_and_leaves_the_older_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old\n")
    with (
        pytest.raises(OutputError, match=r"a\.txt: cannot be written \(No space left"),
        atomic_path(path) as part,
    ):
        part.write_text("new")
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(KeyError), atomic_path(path) as part:
        part.write_text("new")
        raise KeyError("mine")
    assert path.read_text() == "old\n" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for name in ("pipe", "link"):
        with pytest.raises(UnisalError, match=f"{name}: cannot be written .a device or a pipe"):
            write_text(tmp_path / name, "text")
        assert not (tmp_path / name).is_file()
    assert len(os.listdir(tmp_path)) == 2
    # A link, possibly to a file.
    with pytest.raises(UnisalError, match=r"/dev/stdout: cannot be written \(a device"):
        check_no_device("/dev/stdout")


@pytest.mark.parametrize("name", ["", "a\0.txt", "\0/a.txt", "\ud800.txt"])
def test_what_is_no_name_is_refused(tmp_path, name):
    with pytest.raises(UnisalError, match="cannot be written"):
        write_text(tmp_path / name, "text")
    assert not list(tmp_path.iterdir())


def test_names_that_are_not_utf8_are_written_with_escapes(tmp_path):
    write_text(tmp_path / "a.txt", "\udcff")
    assert (tmp_path / "a.txt").read_bytes() == b"\\udcff"
