"""From what a user names to pictures and videos with names."""

import subprocess
import sys
from pathlib import Path

import pytest

from unisal_jax import errors
from unisal_jax.errors import UnisalError
from unisal_jax.media.sources import Source, expand_inputs


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
    # With `video`, a single picture stays a picture.
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
    assert expand_inputs(["camera:0"]) == [Source("video", "camera:0", "camera_0")]
    with pytest.raises(UnisalError, match="camera:front: give a camera by its number"):
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
        ("set", r"^set: holds no images itself; did you mean set/images\?$"),
        ("clips", r"^clips: holds videos but no images; .*'clips/\*'$"),
        ("*.webp", r"^\*\.webp: no image or video matches$"),
        ("a/*.txt", r"^a/\*\.txt: no image or video matches$"),
    ],
)
@pytest.mark.parametrize("video", [False, True])
def test_refusals(tree, text, message, video):
    with pytest.raises(UnisalError, match=message):
        expand_inputs(["a/x.jpg", text], video)


def test_media_does_not_import_jax():
    # The package's own __init__ imports the network; an empty one stands in for it here.
    code = (
        "import sys, types; package = types.ModuleType('unisal_jax'); package.__path__ = [sys.argv[1]]; "
        "sys.modules['unisal_jax'] = package; import unisal_jax.media; sys.exit('jax' in sys.modules)"
    )
    folder = str(Path(errors.__file__).parent)
    subprocess.run([sys.executable, "-c", code, folder], check=True)
