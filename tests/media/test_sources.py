"""Finding inputs: files, folders, globs, cameras; names of outputs, notes and errors."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, features

from unisal_jax import errors
from unisal_jax.errors import UnisalError
from unisal_jax.media.frame_counts import count_frames
from unisal_jax.media.names import shorten
from unisal_jax.media.sources import MediaSource, expand_inputs, find_inputs

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="a Pillow without AVIF")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "a/x.jpg",
        "a/x10.PNG",
        "a/x9.png",
        "a/.hidden.png",
        "a/notes.txt",
        "b/x.jpg",
        "b/x.png",
        "clips/one.MP4",
        "clips/two.avi",
        "set/images/1.png",
        "we[ir]d.png",
        "empty/readme.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*inputs, video=False):
    return [(source.kind, str(source.path), source.name) for source in expand_inputs(inputs, video)]


def test_files_by_suffix(tree):
    assert found("a/x10.PNG", "clips/one.MP4") == [
        ("image", "a/x10.PNG", "x10"),
        ("video", "clips/one.MP4", "one"),
    ]
    # With `video`, a single image stays an image.
    assert found("a/x9.png", video=True) == [("image", "a/x9.png", "x9")]


def test_folder_in_natural_order(tree):
    assert [name for _, _, name in found("a")] == ["x", "x9", "x10"]
    assert found("a", video=True) == [("video", "a", "a")]
    # The name of a folder that is called `images` says nothing of the video.
    assert found("set/images", video=True) == [("video", "set/images", "set")]


def test_the_folder_itself_has_its_real_name(tree, monkeypatch):
    monkeypatch.chdir(tree / "a")
    assert found(".", video=True) == [("video", ".", "a")]


def test_globs(tree):
    assert [path for _, path, _ in found("a/*.[pP][nN][gG]")] == ["a/x9.png", "a/x10.PNG"]
    # Notes and hidden files are passed over, folders without images too.
    assert [path for _, path, _ in found("[ac]*/*")] == [
        "a/x.jpg",
        "a/x9.png",
        "a/x10.PNG",
        "clips/one.MP4",
        "clips/two.avi",
    ]
    assert len(found("**/*.png")) == 4
    assert found("?", video=True) == [("video", "a", "a"), ("video", "b", "b")]


def test_a_file_named_like_a_glob(tree):
    assert found("we[ir]d.png") == [("image", "we[ir]d.png", "we[ir]d")]


def test_camera():
    assert expand_inputs(["camera:0"]) == [MediaSource("video", "camera:0", "camera_0")]
    with pytest.raises(UnisalError, match="camera:front: not a camera; give its number"):
        expand_inputs(["camera:front"])


def test_the_same_file_twice_is_taken_once(tree):
    assert len(found("b/x.jpg", "b", "./b/../b/x.png", "b/*")) == 2
    assert len(found("camera:0", "camera:0")) == 1


def test_clashing_names(tree):
    assert [name for *_, name in found("b")] == ["x_jpg", "x_png"]
    assert [name for *_, name in found("a/x.jpg", "b/x.jpg", "a/x9.png")] == ["a_x_jpg", "b_x_jpg", "x9"]
    assert [name for *_, name in found("a/x.jpg", "b/x.jpg", "b/x.png")] == ["a_x_jpg", "b_x_jpg", "x_png"]


def test_clashing_folders_of_frames(tree):
    other = tree / "other" / "images"
    other.mkdir(parents=True)
    (other / "1.png").touch()
    assert [name for *_, name in found("set/images", "other/images", video=True)] == [
        "set",
        "other",
    ]


def test_names_that_no_folder_tells_apart(tree):
    for folder in ("p_q", "p/q"):
        (tree / folder).mkdir(parents=True)
    (tree / "p_q" / "r.png").touch()
    (tree / "p" / "q_r.png").touch()
    (tree / "p" / "q" / "r.png").touch()
    names = [name for *_, name in found("p_q/r.png", "p/q/r.png", "p/q_r.png")]
    assert len({name.casefold() for name in names}) == 3


def test_upper_and_lower_case_are_one(tree):
    (tree / "a" / "X9.jpg").touch()
    names = [name for *_, name in found("a/x9.png", "a/X9.jpg")]
    assert names == ["x9_png", "X9_jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("none.jpg", r"^none.jpg: no such file or folder$"),
        ("a/notes.txt", r"^a/notes.txt: not an image \(.*\.jpg.*\) nor a video \(.*\.mp4.*\)"),
        ("empty", r"^empty: holds no images$"),
        ("set", r"^set: holds no images; did you mean set/images\?$"),
        ("clips", r"^clips: holds videos but no images; .*'clips/\*'$"),
        ("*.webp", r"^\*\.webp: no image or video matches$"),
        ("a/*.txt", r"^a/\*\.txt: no image or video matches$"),
    ],
)
@pytest.mark.parametrize("video", [False, True])
def test_refusals(tree, text, message, video):
    with pytest.raises(UnisalError, match=message):
        expand_inputs(["a/x.jpg", text], video)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnisalError, match="is a pipe or a device"):
        expand_inputs([str(tmp_path / "a.png")])
    Image.new("L", (2, 2)).save(tmp_path / "b.png")
    assert [source.name for source in expand_inputs([str(tmp_path)])] == ["b"]


def test_many_named_files_take_no_quadratic_time(tmp_path, monkeypatch):
    files = [tmp_path / f"{number}.png" for number in range(200)]
    for file in files:
        file.touch()
    asked = []
    monkeypatch.setattr(
        os.path, "realpath", lambda path, real=os.path.realpath: asked.append(path) or real(path)
    )
    assert len(expand_inputs([str(file) for file in files])) == 200
    assert len(asked) < 10 * 200


def test_links_that_loop(tmp_path, monkeypatch):
    """Two links in each folder of a chain: naively, 2 to the power of the depth paths."""
    folder = tmp_path
    for depth in range(8):
        folder = folder / f"d{depth}"
        folder.mkdir()
        (folder / f"{depth}.png").touch()
        (folder / "a_me").symlink_to(".")
        (folder / "a_up").symlink_to("..")
        (folder / "a_top").symlink_to(tmp_path)
        (folder / "a.jxl").touch()
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    monkeypatch.chdir(tmp_path)
    for pattern in ("**/*.png", "**/*", "**", "**/**/*.png", "d0/**/d?/**/*.png", "*/a_me/**/*.png"):
        paths = [path for _, path, _ in found(pattern)]
        assert sorted(path.split("/")[-1] for path in paths) == [f"{depth}.png" for depth in range(8)]
    for pattern in ("**/*", "**"):
        (note,) = find_inputs([pattern]).notes
        assert note == f"{pattern}: 9 other files (.jxl, .png) were skipped"
    # Under their own paths, and so by their own names.
    assert found("**/*.png")[1] == ("image", "d0/d1/1.png", "1")


def test_a_file_that_links_lead_to_is_taken_once_and_told(tree):
    (tree / "b" / "link.png").symlink_to("x.png")
    (tree / "other").symlink_to("b")
    inputs = find_inputs(["b/link.png", "other", "b"])
    assert sorted(str(source.path) for source in inputs.sources) == ["other/x.jpg", "other/x.png"]
    assert len(inputs.notes) == 1 and "each file is processed once" in inputs.notes[0]


@pytest.mark.parametrize("name", ["clips [2020]", "it's", "a*b?", '[!x] $HOME `ls` \\ "q"', "-dash"])
def test_the_hint_works_when_pasted(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for file in ("1.MP4", "2.MP4"):
        (tmp_path / name / file).touch()
    with pytest.raises(UnisalError) as refused:
        expand_inputs([name])
    (pasted,) = shlex.split(str(refused.value).partition("such as ")[2])
    assert [source.name for source in expand_inputs([pasted])] == ["1", "2"]


def test_system_files_match_no_glob(tree):
    for name in ("a/._x9.png", "a/@eaDir/x9.png", "__MACOSX/a/x9.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    assert not [path for _, path, _ in found("**/*") if "_" in path or "@" in path]
    assert found("a/.hid*")[0][1] == "a/.hidden.png"  # asked for by its dot


def test_what_is_left_out_is_told(tree):
    for name in (
        "mix/1.png",
        "mix/a.mp4",
        "mix/b.MOV",
        "mix/c.JXL",
        "mix/d.txt",
        "mix/.e.txt",
        "mix/s/2.png",
    ):
        (tree / name).parent.mkdir(exist_ok=True, parents=True)
        (tree / name).touch()
    (tree / "mix" / "empty").mkdir()
    (note,) = find_inputs(["mix"]).notes
    assert note.startswith(
        "mix: 2 videos, 1 folder with images or videos and 2 other files (.jxl, .txt) were skipped; "
    )
    (pasted,) = shlex.split(note.partition(" as ")[2])
    everything = find_inputs([pasted])
    assert [source.kind for source in everything.sources].count("video") == 2
    assert len(everything.sources) == 4 and everything.notes == [
        "mix/*: 2 other files (.jxl, .txt) were skipped"
    ]
    assert find_inputs(["mix/1.png", "b", "mix/*.png"]).notes == []
    with pytest.raises(UnisalError, match="JPEG XL images, which cannot be read; convert them"):
        (tree / "empty" / "a.jxl").touch()
        expand_inputs(["empty"])


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", pytest.param("avif", marks=needs_avif)])
def test_animations(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), (40 * n, 0, 0)) for n in range(4)]
    moving, still = tmp_path / f"moving.{suffix}", tmp_path / f"still.{suffix}"
    frames[0].save(moving, save_all=True, append_images=frames[1:], comment=b"x" * 1000)
    frames[0].save(still)
    assert (count_frames(moving), count_frames(still)) == (4, 1)
    inputs = [str(moving), str(still)]
    assert [source.kind for source in expand_inputs(inputs, video=True)] == ["video", "image"]
    assert [source.kind for source in expand_inputs(inputs)] == ["image", "image"]
    assert find_inputs(inputs).notes == [
        f"{moving}: 3 frames after the first skipped; --video reads all frames"
    ]
    moving.write_bytes(moving.read_bytes()[: 60 if suffix == "avif" else 20])
    assert count_frames(moving) == 1


def test_long_names_are_cut_and_stay_apart(tmp_path):
    names = ["x" * 251, "x" * 250 + "y", "視" * 83 + "a"]
    paths = [tmp_path / f"{name}.png" for name in names]
    for path in paths:
        path.touch()
    cut = [source.name for source in find_inputs([str(path) for path in paths], name_bytes=100).sources]
    assert len(set(cut)) == 3 and all(len(os.fsencode(name)) <= 100 for name in cut)
    assert cut == [shorten(name, 100) for name in names]  # as in any other run
    whole = find_inputs([str(path) for path in paths], name_bytes=251).sources
    assert [source.name for source in whole] == names


def test_names_that_would_be_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("..png", "...mp4", "images"):
        (tmp_path / name).touch()
    assert [name for *_, name in found("..png", "...mp4")] == ["_.", "_.."]


def test_media_does_not_import_jax():
    # The package's own __init__ imports the network; an empty one stands in for it here.
    code = (
        "import sys, types; package = types.ModuleType('unisal_jax'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['unisal_jax'] = package; import unisal_jax.media as media; "
        "[getattr(media, name) for name in media.__all__]; sys.exit('jax' in sys.modules)"
    )
    folder = str(Path(errors.__file__).parent)
    subprocess.run([sys.executable, "-c", code, folder], check=True)
