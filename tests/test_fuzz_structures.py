"""Commands and readers under made-up structures (`make fuzz`): folders, tables, JSON, claims of arrays.

The other fuzz tests damage bytes. Here every file is whole, and it is the arrangement that is odd: names,
links, cases of letters, system files, columns and separators, fields of other types, claimed sizes. Only
declared errors may come out, within the time and memory of `Guard`; and no file that is read may change.
"""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_prep.own import scan_table
from data_prep.truth import TruthPoints, read_mat
from tests.fuzzing import COUNTED, EACH, Guard, counted
from tests.test_fuzz_made_up import JSON, made_up, npy_header
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.predictions import read_map
from unisal_jax.media.sources import expand_inputs
from unisal_jax.media.video import VideoWriter
from unisal_jax.tables import read_table
from unisal_jax.weights import store

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
    """One small whole file of each format."""
    folder = tmp_path_factory.mktemp("contents")
    frames = [np.full((24, 32, 3), 80 * number, np.uint8) for number in range(3)]
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(folder / "a.png")
    images[1].save(folder / "a.jpg")
    images[0].save(folder / "a.gif", save_all=True, append_images=images[1:])
    with VideoWriter(folder / "a.mp4", (24, 32), 6) as writer:
        for frame in frames:
            writer.write(frame)
    found = {suffix: (folder / f"a.{suffix}").read_bytes() for suffix in ("png", "jpg", "gif", "mp4")}
    return {**found, "text": b"hello", "empty": b""}


def build(folder: Path, tree: dict, contents: dict[str, bytes], made: list[Path]) -> None:
    """Makes a tree of files; a name that the disk does not take twice is left out."""
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


def snapshot(folder: Path) -> dict[str, object]:
    """What lies in a folder: bytes of files, targets of links."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            shown = os.path.relpath(path, folder)
            if path.is_symlink():
                found[shown] = os.readlink(path)
            else:
                found[shown] = path.read_bytes() if path.is_file() else path.is_dir()
    return found


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
    """`unisal predict` into any folder, the inputs' own among them: what was there stays as it was."""
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
    """Values 0 to 1 of a map or of fixations."""
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
    """One file of a set, where the format has such pixels; nothing where it has not."""
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
    """`unisal evaluate` of maps from files: scores, or one line."""
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


# --- tables ---

FIELDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8
).map(str.strip)  # fmt: skip


def test_tables_are_read_as_they_were_written(tmp_path):
    """Any table that Python's own writer makes comes back field by field."""
    guard, path = Guard(), tmp_path / "table.csv"

    @made_up()
    @given(
        st.lists(st.tuples(FIELDS.filter(bool), FIELDS, FIELDS), max_size=4),
        st.sampled_from([",", ";", "\t"]),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
        st.permutations(["Stimulus ", " x", "NAME"]),
    )
    def one(rows, separator, ending, quoting, encoding, header):
        if any(set("\r\n") & set(field) for row in rows for field in row):
            quoting = csv.QUOTE_ALL  # else Python leaves some line breaks unquoted, and nobody can tell
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=separator, lineterminator=ending, quoting=quoting)
        writer.writerow(header)
        writer.writerows(rows)
        path.write_bytes(text.getvalue().encode(encoding))
        columns = [name.strip().lower() for name in header]

        def read(path: Path) -> None:
            found = [[line[name] for name in columns] for line in read_table(path, "a table", ("x", "name"))]
            assert found == [list(row) for row in rows]

        guard.check(read, path, f"{text.getvalue()!r} in {encoding}")

    one()
    COUNTED["tables as they were written"] = guard.inputs  # none is refused


def test_fixations_made_up(contents, tmp_path):
    """No row of a table of fixations is lost or counted twice in silence."""
    guard, folder = Guard(), tmp_path / "stimuli"
    stimuli = ["im0.png", "im0", "IM0.PNG", "im1.jpg", "im1", "clip.mp4", "clip", "other", ""]
    row = st.tuples(
        st.sampled_from(stimuli), st.sampled_from(["", "0", "1", "2", "7", "1.5", "x"]), st.integers(-3, 40)
    )
    folder.mkdir()
    for name in ("im0.png", "im1.jpg", "clip.mp4"):
        (folder / name).write_bytes(contents[name[-3:]])

    @made_up()
    @given(st.lists(row, min_size=1, max_size=6), st.booleans(), st.integers(0, 1))
    def one(rows, has_frames, first_frame):
        path = tmp_path / "fixations.csv"
        head = "stimulus,observer,x,y" + (",frame" if has_frames else "")
        body = [f"{name},p,{at},{at / 2}" + (f",{frame}" if has_frames else "") for name, frame, at in rows]
        path.write_text("\n".join([head, *body]) + "\n")

        def read(path: Path) -> None:
            release = scan_table(folder, path, 2.0, first_frame)
            kept = 0
            for clips in release.splits.values():
                for clip in clips:
                    assert isinstance(clip.truth, TruthPoints)
                    kept += len(clip.truth.frames)
                    if not clip.id.startswith("clip"):
                        assert set(clip.truth.frames) <= {0}, clip
            assert kept == len(rows), f"{kept} of {len(rows)} rows"

        guard.check(read, path, f"{rows!r} {has_frames} {first_frame}", "clip.mp4")

    one()
    counted("fixations made up", guard)


# --- fields of JSON files ---


def places(value: object, at: tuple = ()) -> list[tuple]:
    """The place of every value within a JSON value."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:3]):
            found += places(inner, (*at, number))
    return found


ODD = JSON | st.sampled_from(
    [
        -1,
        2**31,
        2**63,
        10**400,
        1e308,
        "../../x",
        "/etc/passwd",
        "payload",
        "payload.Ran",
        "os.system",
        "a\nb",
    ]
)


def changed(content: dict, draw: Callable) -> dict:
    """The value with one to three of its parts replaced, removed or added."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        all_places = places(content)
        if not all_places:
            break
        *way, last = draw(st.sampled_from(all_places))
        target = content
        for step in way:
            target = target[step]
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if action == "replace":
            target[last] = draw(ODD)
        elif action == "remove":
            del target[last]
        elif isinstance(target, dict):
            target[draw(st.text(max_size=5))] = draw(ODD)
        else:
            target.append(draw(ODD))
    return content


@pytest.fixture
def payload(tmp_path, monkeypatch) -> None:
    """A module that is imported by nobody unless a file's text is believed."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "payload.py").write_text("class Ran: pass\n")
    monkeypatch.syspath_prepend(tmp_path / "modules")


def test_checkpoint_fields(golden, tmp_path, payload):
    """A checkpoint folder with odd fields in one of its JSON files. (`test_fuzz_data.py` has datasets.)"""
    whole, copy, guard = tmp_path / "whole", tmp_path / "copy", Guard()
    store.save_weights(whole, golden(7))
    contents = {}
    for file in sorted(file for file in whole.rglob("*") if file.is_file()):
        try:
            contents[file.relative_to(whole)] = json.loads(file.read_bytes())
        except ValueError:
            continue  # arrays
    assert contents

    @made_up(FEW)
    @given(st.data(), st.sampled_from(sorted(contents)))
    def one(data, file):
        content = json.dumps(changed(contents[file], data.draw))
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        (copy / file).write_text(content)
        before = snapshot(copy)
        guard.check(store.load_weights, copy, f"{file}: {content}"[:2000])
        assert snapshot(copy) == before
        assert "payload" not in sys.modules, "a file's text was imported"

    one()
    counted("checkpoint fields", guard)


# --- what arrays claim ---

CLAIMED = st.lists(st.sampled_from([0, 1, 3, 24, 2**16, 2**31, 2**40, -1, 2**62]), max_size=4).map(tuple)
DTYPES = ["<f4", ">f8", "|u1", "<i8", "|b1", "<c16", "|O", "|S9", "<U4", "<M8[s]", "<f2", "|V8"]


def test_npy_claims(tmp_path):
    guard = Guard()

    @made_up()
    @given(CLAIMED, st.sampled_from(DTYPES), st.integers(0, 3000))
    def one(shape, dtype, size):
        path = tmp_path / "a.npy"
        path.write_bytes(npy_header(repr(shape)).replace(b"'<f4'", repr(dtype).encode()) + bytes(size))
        guard.check(read_map, path, f"npy {shape} {dtype}")

    one()
    counted("npy claims", guard)


def test_mat_claims(tmp_path):
    """Variables of any name, type and shape; compressed ones unpack to far more than the file."""
    guard = Guard()
    names = ["gaze", "resolution", "fixations", "fixLocs", "I", "a"]
    values = st.sampled_from(
        [
            np.zeros((24, 32), bool), np.ones((24, 32), np.uint8), np.zeros((0, 0)), np.array([[480, 640]]),
            np.zeros((6000, 6000), np.uint8), np.array("text"), np.array([[1j]]), np.full((2, 2), np.nan),
            np.zeros((2, 3, 4)), np.array([[10**9, 10**9]]), np.array([[-1, 0]]),
        ]
    )  # fmt: skip

    @made_up(FEW)
    @given(st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=3), st.booleans())
    def one(variables, compressed):
        path = tmp_path / "a.mat"
        scipy.io.savemat(path, variables, do_compression=compressed)
        guard.check(read_mat, path, f"mat {[(n, v.shape, v.dtype) for n, v in variables.items()]}")

    one()
    counted("mat claims", guard)
