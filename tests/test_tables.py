"""The reader of tables: accepted variants, and refusals in one line."""

import gzip

import pytest

from unisal_jax import tables
from unisal_jax.errors import UnisalError
from unisal_jax.tables import read_table

ROWS = [{"name": "a b", "x": "1", "y": "2"}, {"name": "c", "x": "3", "y": "4"}]
PLAIN = "name,x,y\na b,1,2\nc,3,4\n"


def _read(path, content, needed=("name", "x", "y")):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_table(path, "a table of points", needed))


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip(),
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(PLAIN[:9].encode(), mtime=0) + gzip.compress(PLAIN[9:].encode(), mtime=0),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        "\ufeffsep=,\n" + PLAIN,
        PLAIN.replace(",", " , "),
        PLAIN.replace(",", ",\u00a0"),
        PLAIN.replace("name", " Name ").replace("x", "X"),
        "\n  \n" + PLAIN.replace("\n", "\n\n"),
        PLAIN + ",,\n , , \n" + '"" ,"" , ""  \n',
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("\n", ",,,\n"),
        '"name","x","y"\n"a b","1","2"\n"c","3","4"\n',
        '"name" , "x" , "y"\n"a b" , "1" , "2" \n"c" , "3" , "4"',
        '"name" ; "x" ; "y"\r\n"a b" ; 1,; "2" \r\n"c" ; "3" ; "4"'.replace("1,", "1"),
    ],
)
def test_ways_to_write_one_table(tmp_path, content):
    rows = _read(tmp_path / "t.csv", content)
    assert [{column: row[column] for column in ("name", "x", "y")} for row in rows] == ROWS


def test_names_keep_their_line_breaks_and_quotes(tmp_path):
    names = ["sky\nblue", "sky\r\nblue", "\nsky", "sky\u2028blue", "\u2028", "a, b; c", 'say "hi"', "视\x85"]
    quoted = "".join('"{}",1,2\n'.format(name.replace('"', '""')) for name in names)
    rows = _read(tmp_path / "t.csv", "name,x,y\n" + quoted + "sky\u2028red,1,2\n")
    assert [row["name"] for row in rows] == [*names, "sky\u2028red"]
    # Line numbers are those of a text editor.
    assert [row.number for row in rows] == [2, 4, 6, 8, 9, 10, 11, 12, 13]


def test_short_lines_and_other_columns(tmp_path):
    (row,) = _read(tmp_path / "t.csv", "Time,name,x,y,\n7,a\n", ("name", "x"))
    assert (row["time"], row["name"], row["x"], row["y"], row["other"]) == ("7", "a", "", "", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no column 'name'; a table of points has name, x, y in its first line"),
        ("\n\n", "no column 'name'"),
        ("a,1,2\n", "no column 'name'"),
        ("name,x\n", "no column 'y'"),
        ("name,x,y,X\n", "two columns are called 'x'"),
        ("name,x,y,t,t\n", "two columns are called 't'"),
        (PLAIN + "d,1,2,3\n", "line 4: 4 fields for 3 columns"),
        (PLAIN + '"d,1,2\n', r"line 4: not CSV \(unexpected end"),
        (PLAIN + '"d"e,1,2\n', "line 4: not CSV"),
        (PLAIN + "d" * 200_000 + ",1,2\n", r"line 4: not CSV \(field larger"),
        (PLAIN + "d" * (1 << 20) + ",1,2\n", "line 4: longer than 1048576"),
        (PLAIN + "d\0,1,2\n", "line 4: a zero byte"),
        (PLAIN.encode("utf-16-le"), "line 1: a zero byte; save the table as UTF-8"),
        (PLAIN.encode("utf-32"), "line 1: a zero byte"),
        ((PLAIN + "é,1,2\n").encode("latin-1"), "not a text in UTF-8; save the table as UTF-8"),
        (PLAIN.encode("utf-16")[:-1], "not a text in UTF-8"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], r"cannot be read \(Compressed file ended"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:10] + b"x" * 20, r"cannot be read \("),
        (b"PK\x03\x04" + bytes(40), "an Excel workbook; unpack it, or save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "an Excel workbook .* save the sheet as CSV"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a text in UTF-8"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, message):
    with pytest.raises(UnisalError, match=message) as caught:
        _read(tmp_path / "t.csv", content)
    assert str(caught.value).startswith(f"{tmp_path / 't.csv'}: ") and "\n" not in str(caught.value)


def test_a_folder_and_no_file(tmp_path):
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "no.csv", "No such file")):
        with pytest.raises(UnisalError, match=rf"cannot be read \({reason}"):
            list(read_table(path, "a table", ("x",)))


@pytest.mark.parametrize("filling", [b"\n", b"a\n", b",", b'"', b"0" * 1000 + b"\n"])
def test_what_unpacks_without_end_is_refused_soon(tmp_path, monkeypatch, filling):
    monkeypatch.setattr(tables, "SMALL_UNPACKED_BYTES", 1 << 18)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"x\n" + filling * ((4 << 20) // len(filling))))
    taken = 0
    with pytest.raises(UnisalError, match=r"unpacks to more than|longer than|not CSV"):
        for _ in read_table(path, "a table", ("x",)):
            taken += 1
    assert taken < 1 << 18


def test_a_large_table_is_read_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_UNPACKED_BYTES", 1 << 17)
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "1\n" * (1 << 17))
    lines = read_table(path, "a table", ("x",))
    assert next(lines)["x"] == "1"
    with pytest.raises(UnisalError, match="larger than 0 MiB, unpacked"):
        list(lines)
