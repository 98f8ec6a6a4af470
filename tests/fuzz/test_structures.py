"""Readers with random structures (`make fuzz`): tables, JSON fields, declared array sizes.

Every file is intact, but has unusual columns, separators, types or declared sizes. Only declared errors may
be raised, within the time and memory limits of `Guard`, and no input may change.
"""

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fuzzing import (
    COUNTED,
    EACH,
    JSON,
    Guard,
    counted,
    made_up,
    npy_header,
    snapshot,
    whole_files,
)
from unisal_jax.data.layouts.own import scan_table
from unisal_jax.data.layouts.truth import TruthPoints, read_mat
from unisal_jax.evaluate.predictions import read_map
from unisal_jax.tables import read_table
from unisal_jax.weights import store

pytestmark = pytest.mark.fuzz

FEW = EACH // 10

# --- tables ---

FIELDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8
).map(str.strip)  # fmt: skip


def test_tables_are_read_as_they_were_written(tmp_path):
    """Any table that Python's csv module writes is read back field by field."""
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
            quoting = csv.QUOTE_ALL  # else Python leaves some line breaks unquoted, which is ambiguous
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


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> dict[str, bytes]:
    """One small intact file of each format."""
    return whole_files(tmp_path_factory.mktemp("contents"))


def test_fixations_made_up(contents, tmp_path):
    """No row of a table of fixations is silently lost or counted twice."""
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
    """The paths of all values within a JSON value."""
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
    """The value with one to three parts replaced, removed or added."""
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
    """A module that is imported only if a file's text is trusted."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "payload.py").write_text("class Ran: pass\n")
    monkeypatch.syspath_prepend(tmp_path / "modules")


def test_checkpoint_fields(golden, tmp_path, payload):
    """A checkpoint folder with unusual fields in a JSON file. (`test_data.py` tests datasets.)"""
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


# --- declared array sizes ---

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
    """Variables of any name, dtype and shape; compressed ones unpack to much more than the file size."""
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
