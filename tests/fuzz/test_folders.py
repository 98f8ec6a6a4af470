"""Commands with random folders (`make fuzz`): names, links, system files, output paths, datasets to score.

The other fuzz tests damage bytes. Here every file is intact, but the arrangement is unusual. Only declared
errors may be raised, within the time and memory limits of `Guard`, and no input may change.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.fuzzing import EACH, Guard, counted, made_up, snapshot, whole_files
from unisal_jax.errors import UnisalError
from unisal_jax.media.sources import expand_inputs

pytestmark = pytest.mark.fuzz

FEW = EACH // 10

# --- folders ---

LETTERS = "aB0 .[]*?{}'\"é出\n-_~$%;#"
SYSTEM = ["._a.png", ".hidden.png", "Thumbs.db", "__MACOSX", "desktop.ini", "images", "maps", "CON", "-x"]
SUFFIXES = [".png", ".PNG", ".jpg", ".JPeG", ".gif", ".mp4", ".MOV", ".npy", ".txt", ".heic", "", "."]
STEMS = st.text(LETTERS, min_size=1, max_size=6) | st.sampled_from([*SYSTEM, "x" * 250, "名" * 80])
NAMES = st.builds(lambda stem, suffix: (stem + suffix).strip("/"), STEMS, st.sampled_from(SUFFIXES)).filter(
    lambda name: name not in ("", ".", "..") and len(name.encode()) < 256
)
LEAVES = ["png", "png", "jpg", "gif", "mp4", "text", "empty", "link", "loop", "dangling", "pipe"]
TREES = st.recursive(
    st.dictionaries(NAMES, st.sampled_from(LEAVES), max_size=4),
    lambda inner: st.dictionaries(NAMES, st.sampled_from(LEAVES) | inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> dict[str, bytes]:
    """One small intact file of each format."""
    return whole_files(tmp_path_factory.mktemp("contents"))


def build(folder: Path, tree: dict, contents: dict[str, bytes], made: list[Path]) -> None:
    """Makes a tree of files; names that the disk refuses are left out."""
    folder.mkdir()
    for name, kind in tree.items():
        path = folder / name
        if os.path.lexists(path):
            continue
        if isinstance(kind, dict):
            build(path, kind, contents, made)
        elif kind == "link":
            path.symlink_to(made[-1] if made else folder)
        elif kind == "loop":
            path.symlink_to(folder)
        elif kind == "dangling":
            path.symlink_to(folder / "nothing")
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(contents[kind])
            made.append(path)


def test_inputs_made_up(contents, tmp_path):
    guard, folder = Guard(), tmp_path / "in"

    @made_up(3 * FEW)
    @given(TREES, st.booleans(), st.sampled_from(["", "/*", "/**", "/**/*.png", "/[a-z]*"]))
    def one(tree, video, pattern):
        shutil.rmtree(folder, ignore_errors=True)
        build(folder, tree, contents, [])
        before = snapshot(folder)

        def read(path: Path) -> None:
            sources = expand_inputs([f"{path}{pattern}"], video)
            names = [source.name.casefold() for source in sources]
            assert len(set(names)) == len(names), names
            assert not any(set("/\0") & set(name) or len(name.encode()) > 255 for name in names), names

        guard.check(read, folder, f"{pattern!r} in {tree!r}")
        assert snapshot(folder) == before

    one()
    counted("inputs made up", guard)


FLAGS = ["--video", "--resume", "--on-error=skip"]


def test_predictions_made_up(contents, command, golden_file, tmp_path):
    """`unisal predict` into any folder, including that of the inputs: existing files stay unchanged."""
    guard, room = Guard(), tmp_path / "room"
    keep = ["--weights", golden_file, "--input-size", "32x32"]

    @made_up(FEW)
    @given(
        TREES,
        st.sampled_from(["out", "in", "in/map", ".", "in/a"]),
        st.sets(st.sampled_from(["map", "overlay", "raw", "json"]), min_size=1),
        st.sets(st.sampled_from(FLAGS)),
    )
    def one(tree, out, kinds, flags):
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir()
        build(room / "in", tree, contents, [])
        before = snapshot(room)

        def read(path: Path) -> None:
            for _ in range(2):
                args = [path, "--out", room / out, "--save", ",".join(sorted(kinds)), *sorted(flags), *keep]
                status, _, err = command("predict", *args)
                assert status in (0, 1) and "Traceback" not in err, err
                after = snapshot(room)
                changed = [name for name, what in before.items() if after.get(name) != what]
                assert not changed, changed
                if status:
                    raise UnisalError(err.strip().splitlines()[-1] + f" {path}")

        guard.check(read, room / "in", f"{tree!r} into {out!r} with {sorted(flags)}")

    one()
    counted("predictions made up", guard)


# --- data to score ---

MODES = ["L", "1", "P", "RGB", "RGBA", "LA", "I;16", "F"]
FORMS = [".png", ".PNG", ".jpg", ".tif", ".npy", ".mat", ".bmp", None]
FILES = st.tuples(
    st.sampled_from(FORMS),
    st.sampled_from(MODES),
    st.sampled_from([(24, 32), (24, 32), (24, 32), (12, 16), (1, 1), (40, 3)]),
    st.sampled_from(["points", "none", "row", "all", "one", "log", "nan"]),
)
SETS = st.dictionaries(
    st.sampled_from(["a", "b", "B", "a.b", "c 1", "10", "9"]), st.tuples(FILES, FILES, FILES), max_size=3
)


def pixels(size: tuple[int, int], what: str, rng: np.random.Generator) -> np.ndarray:
    """Values in 0 to 1 of a map or of fixations."""
    found = np.zeros(size)
    if what == "points":
        found[rng.integers(size[0], size=5), rng.integers(size[1], size=5)] = 1
    elif what == "row":
        found[0, :] = 1
    elif what == "one":
        found[0, 0] = 1 / 255
    elif what == "all":
        found = rng.random(size)
    elif what in ("log", "nan"):
        found = np.log(rng.random(size))
        found[0, 0] = -np.inf if what == "log" else np.nan
    return found


def write(path: Path, form: str | None, mode: str, values: np.ndarray) -> None:
    """Writes one file of a set; writes nothing if the format lacks such pixels."""
    if form is None:
        return
    path = path.with_name(path.name + form)
    if form == ".npy":
        np.save(path, values.astype(np.float32))
    elif form == ".mat":
        scipy.io.savemat(path, {"fixations": values > 0})
    else:
        grey = np.nan_to_num(np.clip(values, 0, 1))
        if mode == "I;16":
            image = Image.fromarray((grey * 65535).astype(np.uint16))
        elif mode == "F":
            image = Image.fromarray(grey.astype(np.float32))
        else:
            image = Image.fromarray((grey * 255).astype(np.uint8)).convert(mode)
        try:
            image.save(path)
        except OSError:  # this format has no such pixels
            path.unlink(missing_ok=True)


def test_scores_made_up(command, tmp_path):
    """`unisal evaluate` of maps from files: scores, or an error in one line."""
    guard, room = Guard(), tmp_path / "room"

    @made_up(2 * FEW)
    @given(
        SETS,
        st.sampled_from([("images", "maps", "fixations"), ("Images", "MAPS", "fixation")]),
        st.sampled_from(["none", "centre_prior,uniform", "inter_observer"]),
        st.sampled_from(["unisal", "dhf1k", "pysaliency"]),
        st.booleans(),
    )
    def one(stems, folders, baselines, protocol, skip):
        rng = np.random.default_rng(0)
        shutil.rmtree(room, ignore_errors=True)
        for folder in (*folders, "predictions"):
            (room / folder).mkdir(parents=True)
        for stem, (of_map, of_fixations, of_prediction) in stems.items():
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(
                room / folders[0] / f"{stem}.png"
            )
            for folder, (form, mode, size, what) in zip(
                (*folders[1:], "predictions"), (of_map, of_fixations, of_prediction), strict=True
            ):
                write(room / folder / stem, form, mode, pixels(size, what, rng))
        before = snapshot(room)

        def read(path: Path) -> None:
            files = {kind: tmp_path / f"scores.{kind}" for kind in ("json", "csv", "html")}
            flags = [part for kind, file in files.items() for part in (f"--{kind}", file)]
            status, out, err = command(
                "evaluate", "--data", path, "--predictions", path / "predictions", "--protocol", protocol,
                "--baselines", baselines, *(["--on-error", "skip"] if skip else []), *flags,
            )  # fmt: skip
            assert status in (0, 1) and "Traceback" not in err, err
            if status:
                assert not out and err.count("\n") == 1, (out, err)
                raise UnisalError(f"{path}: {err}")

        guard.check(read, room, f"{stems!r} {folders} {protocol} {baselines} {skip}")
        assert snapshot(room) == before

    one()
    counted("scores made up", guard)
