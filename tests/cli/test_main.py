"""The command line: bad input gives one clear line and status 1, and leaves no partial files."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.helpers.golden_weights import make_weights
from unisal_jax import __version__
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.weights import pth


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "in" / "image.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def predict(command, golden_file, tmp_path):
    def run(*args):
        flags = ("--out", tmp_path / "out", "--weights", golden_file, "--input-size", "96x128")
        return command("predict", *flags, *args)

    return run


def written(tmp_path):
    """The outputs without the hidden records of inputs."""
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    return [path for path in found if path.parent.name != ".inputs"]


def one_line(status, out, err, *parts):
    assert status == 1 and out == "" and err.count("\n") == 1 and "Traceback" not in err
    for part in parts:
        assert str(part) in err


def bad_inputs(folder):
    """By name of a bad file or folder, the text that the message contains."""
    good = folder / "good.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(good)
    Image.open(good).save(folder / "good.jpg")
    with VideoWriter(folder / "good.mp4", (64, 96), 30) as writer:
        for _ in range(12):
            writer.write(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    cut = {"cut.png": "good.png", "cut.jpg": "good.jpg", "cut.mp4": "good.mp4"}
    for name, whole in cut.items():
        content = (folder / whole).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])
    (folder / "empty.jpg").touch()
    (folder / "empty.mp4").touch()
    (folder / "text.jpg").write_text("hello")
    (folder / "text.mp4").write_text("hello")
    (folder / "notes.txt").write_text("hello")
    (folder / "none").mkdir()
    return {
        "missing.jpg": "no such file",
        "empty.jpg": "empty",
        "empty.mp4": "empty",
        "cut.png": "damaged or cut off",
        "cut.jpg": "damaged or cut off",
        "cut.mp4": "",
        "text.jpg": "not a JPEG",
        "text.mp4": "not a video",
        "notes.txt": "not an image",
        "none": "holds no images",
        "no*.jpg": "no image or video matches",
    }


def test_bad_inputs(predict, tmp_path):
    for name, says in bad_inputs(tmp_path).items():
        one_line(*predict(tmp_path / name), tmp_path / name, says)
        assert written(tmp_path) == []


def test_skipping_bad_inputs(predict, tmp_path):
    names = [name for name in bad_inputs(tmp_path) if (tmp_path / name).is_file() and name != "notes.txt"]
    inputs = [tmp_path / name for name in [*names, "good.png", "good.mp4"]]
    status, out, err = predict(*inputs, "--on-error", "skip", "--save", "map")
    assert status == 0 and f"{len(names)} skipped" in out
    assert err.count("unisal predict: skipped:") == len(names)
    assert {path.relative_to(tmp_path / "out").parts[1] for path in written(tmp_path)} == {
        "good_png.png",
        "good_mp4",
    }


def test_all_inputs_bad(predict, tmp_path):
    bad_inputs(tmp_path)
    status, out, err = predict(tmp_path / "empty.jpg", "--on-error", "skip")
    assert status == 1 and "0 images predicted" in out and "empty.jpg" in err


def test_a_failure_keeps_an_older_result(predict, tmp_path):
    bad_inputs(tmp_path)
    assert predict(tmp_path / "good.mp4", "--save", "map,overlay,raw,json")[0] == 0
    before = {path: path.read_bytes() for path in written(tmp_path)}
    cut = (tmp_path / "good.mp4").read_bytes()
    (tmp_path / "good.mp4").write_bytes(cut[: len(cut) * 2 // 3])
    assert predict(tmp_path / "good.mp4", "--save", "map,overlay,raw,json")[0] == 1
    assert {path: path.read_bytes() for path in written(tmp_path)} == before


@pytest.mark.parametrize(
    "args, parts",
    [
        (["--domain", "coco"], ["'coco'", "dhf1k, hollywood2, ucf_sports, salicon"]),
        (["--input-size", "100x200"], ["--input-size", "100x200", "32"]),
        (["--input-size", "big"], ["--input-size", "'big'"]),
        (["--stride", "0"], ["--stride", "'0'"]),
        (["--save", "map,colour"], ["--save", "map,overlay,raw,json"]),
        (["--opacity", "2"], ["--opacity", "'2'"]),
        (["--on-error", "hide"], ["--on-error", "hide"]),
        (["--weights", "nowhere.pth"], ["nowhere.pth", "unisal-mit1003"]),
        (["--weights", "mobilenet_v2"], ["mobilenet_v2", "only the encoder"]),
        (["--colour"], ["--colour"]),
    ],
)
def test_bad_flags(predict, image, tmp_path, args, parts):
    one_line(*predict(image, *args), *parts)
    assert written(tmp_path) == []


def test_weights_of_another_shape(command, image, tmp_path):
    state = make_weights(7)
    state["skip_2x.expansion.0.weight"] = np.zeros((320, 64, 1, 1), np.float32)
    pth.write_pth(tmp_path / "other.pth", state)
    result = command("predict", image, "--out", tmp_path / "out", "--weights", tmp_path / "other.pth")
    one_line(
        *result, tmp_path / "other.pth", "skip_2x.expansion.0.weight", "[320, 64, 1, 1]", "[320, 160, 1, 1]"
    )


def test_output_folder_that_cannot_be_written(command, golden_file, image, tmp_path):
    (tmp_path / "out").touch()
    one_line(
        *command("predict", image, "--out", tmp_path / "out", "--weights", golden_file), tmp_path / "out"
    )


def test_resume_does_what_is_missing_and_nothing_twice(predict, image, tmp_path):
    other = image.with_name("other.png")
    other.write_bytes(image.read_bytes())
    assert predict(image, "--save", "map,raw")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in written(tmp_path)}
    status, out, _ = predict(image.parent, "--save", "map,raw", "--resume")
    assert status == 0 and out.startswith("1 image predicted") and "1 already done" in out
    assert len(written(tmp_path)) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (tmp_path / "out" / "map" / "image.png").unlink()  # as after a kill between the two files
    status, out, _ = predict(image.parent, "--save", "map,raw", "--resume")
    assert status == 0 and out.startswith("1 image predicted") and len(written(tmp_path)) == 4
    status, out, _ = predict(image.parent, "--save", "map,raw", "--resume")
    assert status == 0 and "2 already done" in out


def test_show_needs_a_screen(command, golden_file, tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with VideoWriter(tmp_path / "clip.mp4", (64, 96), 30) as writer:
        writer.write(np.zeros((64, 96, 3), np.uint8))
    one_line(*command("predict", tmp_path / "clip.mp4", "--show", "--weights", golden_file), "--show")
    one_line(*command("predict", tmp_path / "clip.mp4", "--weights", golden_file), "--out")


# Ray's deprecations, and sockets that it closes at exit.
@pytest.mark.filterwarnings("ignore")
def test_ray_does_every_input_once(predict, image, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray")
    with VideoWriter(tmp_path / "in" / "clip.mp4", (64, 96), 30) as writer:
        for _ in range(3):
            writer.write(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    assert predict(tmp_path / "in" / "clip.mp4", image, "--save", "raw")[0] == 0
    plain = {path.name: np.load(path) for path in written(tmp_path)}
    shutil.rmtree(tmp_path / "out")
    status, out, err = predict(tmp_path / "in" / "clip.mp4", image, "--save", "raw", "--ray")
    assert status == 0, err
    assert out.startswith("1 image and 1 video (3 frames) predicted")
    spread = {path.name: np.load(path) for path in written(tmp_path)}
    assert spread.keys() == plain.keys() == {"clip.npy", "image.npy"}
    for name, array in plain.items():
        np.testing.assert_allclose(spread[name], array, atol=1e-5)
    status, out, _ = predict(tmp_path / "in" / "clip.mp4", image, "--save", "raw", "--ray", "--resume")
    assert status == 0 and "2 already done" in out
    (tmp_path / "in" / "bad.png").write_text("hello")
    status, out, err = predict(tmp_path / "in" / "bad.png", "--ray")
    # Ray's log precedes our line.
    assert status == 1 and out == "" and "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"unisal predict: {tmp_path / 'in' / 'bad.png'}: ")


def test_a_domain_and_its_stride_reach_the_network(predict, tmp_path):
    bad_inputs(tmp_path)
    predict(tmp_path / "good.mp4", "--save", "json,raw", "--domain", "UCFSports")
    first = json.loads((tmp_path / "out" / "json" / "good.json").read_text())["about"]
    assert (first["domain"], first["stride"], first["input_size"]) == ("ucf_sports", 5, [96, 128])
    assert first["stride_from"] == "rate"  # from 30 frames/s
    one = np.load(tmp_path / "out" / "raw" / "good.npy")
    predict(tmp_path / "good.mp4", "--save", "json,raw", "--domain", "ucf_sports", "--stride", "1")
    second = json.loads((tmp_path / "out" / "json" / "good.json").read_text())["about"]
    assert (second["stride"], second["stride_from"]) == (1, "option")
    assert np.abs(one[5] - np.load(tmp_path / "out" / "raw" / "good.npy")[5]).max() > 1e-3


def test_json_is_the_same_byte_for_byte(predict, image, tmp_path):
    runs = []
    for _ in range(2):
        assert predict(image, "--save", "json")[0] == 0
        runs.append((tmp_path / "out" / "json" / "image.json").read_bytes())
    assert runs[0] == runs[1]
    facts = json.loads(runs[0])
    assert list(facts) == sorted(facts)


def test_version_and_help(command):
    assert command("--version") == (0, f"unisal-jax {__version__}\n", "")
    status, out, _ = command("--help")
    assert status == 0 and all(name in out for name in ("predict", "convert", "weights"))
    assert command()[0] == 1
    one_line(*command("foretell"), "foretell")
    unknown = command("predict", "a.png", "--saves", "map")
    one_line(*unknown, "unisal predict: unrecognized arguments: --saves map; see unisal predict --help")


def test_debug_shows_the_traceback(image, tmp_path):
    call = [
        sys.executable,
        "-m",
        "unisal_jax",
        "predict",
        str(tmp_path / "no.jpg"),
        "--out",
        str(tmp_path / "out"),
    ]
    plain = subprocess.run(call, capture_output=True, text=True, check=False)
    assert plain.returncode == 1 and plain.stderr.count("\n") == 1
    debug = subprocess.run([*call, "--debug"], capture_output=True, text=True, check=False)
    assert debug.returncode == 1 and "Traceback" in debug.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_large_pages_are_asked_for_once_and_arguments_kept(tmp_path):
    """The command restarts itself with the tunable set and the same arguments."""
    program = (
        "import os, sys; from unisal_jax.cli import memory; memory.restart_with_large_pages(); "
        "print(os.environ['GLIBC_TUNABLES'], sys.argv[1:], os.getpid())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    for given in ({}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}):
        process = subprocess.Popen(
            [sys.executable, "-c", program, "a b", "c"],
            env={**environment, **given},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        out = process.communicate()[0]
        want = given.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        assert out == f"{want} ['a b', 'c'] {process.pid}\n"


def test_importing_and_helping_need_no_heavy_module():
    """--help imports neither torch, TensorFlow nor orbax."""
    code = "import sys, unisal_jax.cli.main as m; m.main(['weights', '--help'])"
    check = f"""
try:
    {code}
except SystemExit:
    pass
print([name for name in ("torch", "tensorflow", "orbax") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_import_is_light():
    """`import unisal_jax` does not import slow modules, yet provides all names."""
    heavy = "flax", "cv2", "av", "orbax", "grain", "optax", "tensorflow_datasets", "matplotlib"
    program = f"import sys, unisal_jax; print(*[name for name in {heavy} if name in sys.modules]); "
    program += "print(unisal_jax.load.__name__, unisal_jax.SaliencyModel.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["", "load SaliencyModel"]


@pytest.fixture
def owned(tmp_path, monkeypatch):
    """Inputs of all commands, where outputs are written."""
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8))
    for name in (
        "crop/p",
        "map/clip/1",
        "map/clip/2",
        "raw/images/1",
        "data/images/a",
        "data/maps/a",
        "data/fixations/a",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / f"{name}.png")
    (tmp_path / "overlay").mkdir()
    with VideoWriter(tmp_path / "overlay" / "v.mp4", (32, 48), 10) as writer:
        writer.write(np.asarray(image))
    (tmp_path / "boxes.csv").write_text("left,top,width,height,name\n0,0,4,4,x\n")
    for name in ("w.pth", "o.onnx.json", "prior.npy", "maps/a.npy", "w.h5", "checkpoint/item/array"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "link.json").symlink_to("boxes.csv")
    os.link("data/maps/a.png", "hard.html")
    (tmp_path / "there").symlink_to(".")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "crop crop/p.png --aspect 1:1 --save crop --out .",
        "crop overlay/v.mp4 crop/p.png --aspect 1:1 --save crop --out there",
        "predict overlay/v.mp4 --out .",
        "predict map/clip --video --out there --save map",
        "predict map/clip/*.png overlay/v.mp4 --out . --on-error skip",
        "predict crop/p.png overlay/v.mp4 --out . --resume",
        "convert w.pth w.pth",
        "convert w.pth there/w.pth --verify",
        "convert checkpoint checkpoint/item/array.pth",
        "export w.pth --weights w.pth --format onnx",
        "export o.onnx --weights o.onnx.json --format onnx",
        "submit mit300 crop/p.png --out w.h5 --weights w.h5",
        "evaluate --data data --json data/maps/a.png",
        "evaluate --data data --csv new.csv --html hard.html",
        "evaluate --data data --predictions maps --csv maps/a.npy",
        "evaluate --data data --prior prior.npy --csv prior.npy",
        "evaluate --data data --weights w.pth --html w.pth",
        "score-regions crop/p.png --boxes boxes.csv --json crop/p.png",
        "score-regions crop/p.png --boxes boxes.csv --json link.json",
        "score-regions map/clip --video --boxes boxes.csv --json map/clip/2.png",
        "score-regions crop/p.png --boxes boxes.csv --weights w.pth --json w.pth",
        "score-regions overlay/v.mp4 --boxes boxes.csv --csv boxes.csv",
        "score-regions overlay/v.mp4 --boxes boxes.csv --plot crop/p.png --weights crop/p.png",
        "compare crop/p.png map/clip/1.png --boxes boxes.csv --json boxes.csv",
        "compare crop/p.png map/clip/1.png --json there/map/clip/1.png",
        "prepare own --raw data --data-dir prepared --preview data/images/a.png",
    ],
)
def test_what_is_read_is_never_overwritten(command, owned, line):
    if "array.pth" in line:
        (owned / "checkpoint" / "item" / "array").rename(owned / "checkpoint" / "item" / "array.pth")
    before = {path: path.read_bytes() for path in owned.rglob("*") if path.is_file()}
    status, out, err = command(*line.split())
    one_line(status, out, err, "would overwrite", "which is read")
    assert {path: path.read_bytes() for path in owned.rglob("*") if path.is_file()} == before
    assert not (owned / "json").exists() and not (owned / ".inputs").exists()


def test_two_reports_have_two_names(command, owned):
    one_line(*command("evaluate", "--data", "data", "--csv", "r", "--html", "there/r"), "two reports")


@pytest.mark.parametrize(
    "line",
    [
        "predict crop/p.png --out new/out --weights nowhere.pth",
        "predict w.pth.png --out new/out",
        "crop crop/p.png --aspect 1:1 --out new/out --weights w.pth",
        "submit salicon crop/p.png --out new/out --weights nowhere.pth",
        "convert w.pth new/out/w.safetensors",
        "export new/out/o.onnx --format onnx --weights w.pth",
        "analyze qualitative --out new/out --data data --weights nowhere.pth",
    ],
)
def test_a_refused_run_leaves_no_empty_folders(command, owned, line):
    (owned / "w.pth.png").write_bytes(b"no image")
    assert command(*line.split())[0] == 1
    assert not (owned / "new").exists()


def test_resume_keeps_two_inputs_of_one_name_apart(predict, tmp_path):
    """Two days of a camera that restarts its numbering each day."""
    for day in (1, 2):
        (tmp_path / f"day{day}").mkdir()
        pixels = np.random.default_rng(day).integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"day{day}" / "IMG_0001.png")
    for day, kept in ((1, 0), (2, 0), (2, 1), (1, 1)):
        status, out, err = predict(tmp_path / f"day{day}", "--save", "raw", "--resume")
        assert status == 0 and out.startswith(f"{1 - kept} image"), err
    one, two = (np.load(path) for path in sorted(written(tmp_path)))
    assert np.abs(one - two).max() > 1e-3
    # Without --resume, outputs are named by this run's inputs; replaced files are reported.
    status, _, err = predict(tmp_path / "day2", "--save", "raw")
    assert status == 0 and "IMG_0001 of" in err and "--resume keeps both" in err and err.count("\n") == 1
