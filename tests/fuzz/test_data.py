"""User data with random changes (`make fuzz`): dataset descriptions, tables, boxes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_prep.manifest import read_manifest
from tests.helpers.fuzzing import EACH, Guard, counted, made_up
from tests.helpers.prepared_data import make_clip, write_prepared
from unisal_jax.apps.moving import read_moving_regions
from unisal_jax.apps.regions import read_regions
from unisal_jax.data.layouts.own import scan_table
from unisal_jax.data.prepared import open_prepared, read_frames, split_names

pytestmark = pytest.mark.fuzz

VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 3, 10**9, 10**30, -2.5, 1e300, "", "a", "../x", "a\nb", "\ud800", "1", [], {}),
    *([1], [[]], {"a": 1}),
]
CELLS = st.sampled_from(
    [
        *(
            "a",
            "a.png",
            "A",
            "B",
            "b",
            "c d.png",
            "é.png",
            "e\u0301",
            "",
            "0",
            "1",
            "2",
            "1.0",
            "-1",
            "1e9",
            "nan",
        ),
        *(
            "inf",
            "1_0",
            '"',
            '"a"',
            '" a" ',
            '"a" ',
            "a\nb",
            "٣",
            "9" * 400,
            "\0",
            "\u2028",
            "0x1",
            "'",
            "x,y",
        ),
    ]
)
COLUMNS = ["stimulus", "observer", "x", "y", "frame"]


def _places(content: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in nested lists and dicts."""
    keys = (
        list(content)
        if isinstance(content, dict)
        else range(len(content))
        if isinstance(content, list)
        else []
    )
    return [place for key in keys for place in ((content, key), *_places(content[key]))]


@pytest.mark.parametrize("name", ["videos.json", "dataset_info.json", "features.json"])
def test_what_a_prepared_dataset_says(tmp_path, name):
    clips = [make_clip("a", 3, (24, 32)), make_clip("b", 1, (24, 32))]
    path = write_prepared(tmp_path, "fuzzed", {"train": clips}, cross_validation_folds=[["a"], ["b"]])
    whole = (path / name).read_text()
    guard = Guard()

    def read_all(folder):
        prepared = open_prepared(folder, "train")
        read_frames(prepared, range(len(prepared.records)))

    @made_up(EACH // 2)
    @given(st.data())
    def one(data):
        content = json.loads(whole)
        for _ in range(data.draw(st.integers(1, 2))):
            places = _places(content)
            if not places:
                break
            container, key = data.draw(st.sampled_from(places))
            how = data.draw(st.sampled_from(["other", "other", "gone", "again"]))
            if how == "other":
                container[key] = data.draw(st.sampled_from(VALUES))
            elif how == "gone":
                del container[key]
            elif isinstance(container, list):
                container.append(container[key])
            else:
                container[data.draw(st.sampled_from(["x", "train", "../y", ""]))] = container[key]
            content = json.loads(json.dumps(content))
        (path / name).write_text(json.dumps(content))
        for read in (read_all, split_names, read_manifest):
            guard.check(read, path, f"{name} {content!r}")

    one()
    counted(f"{name} made up", guard)


@pytest.fixture
def stimuli(tmp_path):
    raw = tmp_path / "raw"
    for name in ("a.png", "B.jpg", "b.png", "c d.png", "é.png", "Thumbs.db", "notes.txt", "__MACOSX/x.png"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("g"):
            Image.new("RGB", (8, 8)).save(raw / name)
        else:
            (raw / name).write_bytes(b"x")
    return raw


def test_tables_beside_images(stimuli, tmp_path):
    guard = Guard()
    path = tmp_path / "t.csv"
    header = st.just(COLUMNS) | st.lists(st.sampled_from([*COLUMNS, "Frame", " X", "", "extra"]), max_size=7)
    row = st.tuples(*[st.sampled_from(["a", "b", "1", "2"]) | CELLS for _ in COLUMNS]) | st.lists(
        CELLS, max_size=7
    )
    good = st.tuples(st.sampled_from(["a", "A.png", "é"]), *[st.just("1")] * 4)

    @made_up(2 * EACH)
    @given(
        header,
        st.lists(row, max_size=4) | st.lists(good, max_size=4),
        st.sampled_from(",;\t"),
        st.sampled_from(["\n", "\r", "\r\n"]),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    )
    def one(columns, rows, separator, end, encoding):
        text = end.join(separator.join(fields) for fields in [columns, *rows])
        path.write_bytes(text.encode(encoding, "replace"))
        guard.check(lambda table: scan_table(stimuli, table, 3.0), path, f"table {text!r}")

    before = {file: file.read_bytes() for file in stimuli.rglob("*") if file.is_file()}
    one()
    assert before == {file: file.read_bytes() for file in stimuli.rglob("*") if file.is_file()}
    counted("tables beside images", guard)


def test_tables_of_boxes(tmp_path):
    guard = Guard()
    columns = st.permutations(["left", "top", "width", "height", "name", "frame"])
    cells = st.sampled_from(["1", "5", ""]) | CELLS

    @made_up(EACH)
    @given(columns, st.lists(st.lists(cells, min_size=4, max_size=7), max_size=3), st.sampled_from(",;\t"))
    def one(header, rows, separator):
        path = tmp_path / "a.csv"
        path.write_text("\n".join(separator.join(fields) for fields in [header, *rows]), encoding="utf-8")
        guard.check(read_regions, path, f"boxes {rows!r}")
        guard.check(read_moving_regions, path, f"moving boxes {rows!r}")

    one()
    counted("tables of boxes", guard)
