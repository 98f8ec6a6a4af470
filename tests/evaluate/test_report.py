"""All report formats agree, are reproducible, and escape names from disk."""

import base64
import csv
import dataclasses
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import report
from unisal_jax.evaluate.histogram import histogram_svg
from unisal_jax.evaluate.protocols import PROTOCOLS, SCORES
from unisal_jax.evaluate.report_html import page
from unisal_jax.evaluate.results import Evaluation, Example, FrameScores, MethodScores
from unisal_jax.evaluate.wording import definitions, printable

HOSTILE = '<script>alert("1")</script>&\n\x1b[2J\udcff'
NAN = float("nan")


def method(name, names, scores=("auc_judd", "nss", "cc", "kld"), seed=0):
    """Random scores of a method; the last frame has no fixations."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, group in enumerate(names):
        found = {score: float(rng.normal(1, 0.1)) for score in scores}
        last = number == len(names) - 1
        if last:
            found |= {score: NAN for score in ("auc_judd", "nss") if score in found}
        frames.append(FrameScores(group, 1, found, ("no_fixations", "constant_prediction") if last else ()))
    groups = {
        frame.group: {score: value for score, value in frame.scores.items() if not math.isnan(value)}
        for frame in frames
    }
    columns = {score: [each[score] for each in groups.values() if score in each] for score in scores}
    mean = {score: float(np.mean(values)) for score, values in columns.items()}
    ci = {score: (value - 0.01, value + 0.02) for score, value in mean.items()}
    left_out = {"no_fixations": 1, "constant_prediction": 1}
    return MethodScores(
        name, mean, ci, groups, tuple(frames), {s: len(v) for s, v in columns.items()}, left_out
    )


def example(title, group):
    rng = np.random.default_rng(len(title))
    image = rng.integers(0, 256, (48, 64, 3), np.uint8)
    return Example(title, group, 1, {"nss": 1.25, "cc": NAN}, image, np.zeros((48, 64)), rng.random((48, 64)))


@pytest.fixture
def evaluation():
    names = ["a.png", "b/c.png", "d.png", HOSTILE]
    return Evaluation(
        "unisal",
        "image",
        {"data": HOSTILE, "weights": "unisal", "command": "unisal evaluate --data <x>", "prior": NAN},
        (method("prediction", names), method("inter_observer", names, ("auc_judd", "nss"), seed=1)),
        (example("best", "a.png"), example("worst", HOSTILE)),
        (f"{HOSTILE}: damaged",),
    )


class Page(HTMLParser):
    """Parses a page: open tags, all tags, image attributes, text by tag."""

    VOID = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.images, self.links, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_json_keys_and_values(evaluation):
    document = json.loads(report.to_json(evaluation))
    assert list(document) == ["about", "baselines", "ci", "counts", "mean", "per_image", "protocol"]
    assert document["counts"] == {
        "frames": 4,
        "images": 4,
        "left_out": {"constant_prediction": 1, "no_fixations": 1},
        "scored": {"auc_judd": 3, "cc": 4, "kld": 4, "nss": 3},
        "skipped": 1,
    }
    predicted = evaluation.methods[0]
    assert document["mean"] == pytest.approx(predicted.mean, rel=1e-9)
    assert document["ci"]["nss"] == pytest.approx(predicted.ci["nss"], rel=1e-9)
    assert set(document["baselines"]) == {"inter_observer"}
    assert set(document["per_image"][HOSTILE]) == {"cc", "kld"}
    assert document["protocol"] == "unisal" and "prior" not in document["about"]


def test_json_of_videos(evaluation):
    document = json.loads(report.to_json(dataclasses.replace(evaluation, kind="video")))
    assert "per_video" in document and "per_image" not in document and document["counts"]["videos"] == 4


def test_json_leaves_out_what_is_no_number(evaluation):
    odd = dataclasses.replace(
        evaluation.methods[0],
        mean={"nss": NAN, "cc": 0.1 + 0.2, "ig": -math.inf},
        ci={"nss": (NAN, NAN), "cc": (0.1, NAN)},
        groups={"a": {"nss": NAN, "cc": 1 / 3}},
    )
    text = report.to_json(dataclasses.replace(evaluation, methods=(odd,)))
    document = json.loads(text)
    assert "NaN" not in text and "Infinity" not in text
    assert document["mean"] == {"cc": 0.3} and document["ci"] == {}
    assert document["per_image"] == {"a": {"cc": 0.3333333333}}


def test_files_are_the_same_from_run_to_run(evaluation, tmp_path):
    def shuffled(values):
        return dict(reversed(values.items()))

    again = dataclasses.replace(
        evaluation,
        about=shuffled(evaluation.about),
        methods=tuple(
            dataclasses.replace(each, mean=shuffled(each.mean), ci=shuffled(each.ci))
            for each in evaluation.methods
        ),
    )
    for name, write in (
        ("a.json", report.write_json),
        ("a.csv", report.write_csv),
        ("a.html", report.write_html),
    ):
        contents = []
        for run, each in enumerate((evaluation, again)):
            (tmp_path / str(run)).mkdir(exist_ok=True)
            write(tmp_path / str(run) / name, each)
            contents.append((tmp_path / str(run) / name).read_bytes())
        assert contents[0] == contents[1] and contents[0].endswith(b"\n")


def test_an_unwritable_file_is_named(evaluation, tmp_path):
    for write in (report.write_json, report.write_csv, report.write_html):
        with pytest.raises(UnisalError, match=re.escape(f"{tmp_path / 'none' / 'x'}: cannot be written")):
            write(tmp_path / "none" / "x", evaluation)


def test_csv_round_trip(evaluation, tmp_path):
    path = tmp_path / "frames.csv"
    report.write_csv(path, evaluation)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    frames = [(each.name, frame) for each in evaluation.methods for frame in each.frames]
    assert len(rows) == len(frames) == 8
    for row, (name, frame) in zip(rows, frames, strict=True):
        assert (row["method"], row["frame"], row["faults"].split()) == (name, "1", list(frame.faults))
        assert row["group"] == frame.group.replace("\udcff", "\\udcff")
        for score in SCORES:
            value = frame.scores.get(score, NAN)
            assert row[score] == "" if math.isnan(value) else float(row[score]) == pytest.approx(value, 1e-9)


def test_table_is_aligned(evaluation):
    text = report.table_text(evaluation)
    lines = text.splitlines()
    assert text.endswith("\n") and lines[0].split() == ["AUC-Judd", "NSS", "CC", "KLD"]
    table = lines[: lines.index("")]
    assert [line[:14].strip() for line in table[1:]] == [
        *("prediction", "95% from", "to"),
        *("inter observer", "95% from", "to"),
    ]
    ends = [match.end() for match in re.finditer(r"\S+", table[0])]
    for line in table[1:]:
        assert [match.end() for match in re.finditer(r"\S+", line[14:])] == [end - 14 for end in ends]
    assert table[1].split()[1] == f"{evaluation.methods[0].mean['auc_judd']:.4f}"
    assert table[4].split()[-2:] == ["-", "-"]
    assert "4 images" in text and "1 frame without fixations (no AUC-Judd" in text
    assert "\x1b" not in text and "\udcff" not in text and text.count("damaged") == 1
    assert report._cells({"kld": -1e-9}, ["kld"]) == ["0.0000"]


def test_a_table_of_all_scores_fits_a_terminal(evaluation):
    names = ["a.png", "b.png"]
    full = dataclasses.replace(evaluation, methods=(method("inter_observer", names, SCORES),), skipped=())
    assert max(len(line) for line in report.table_text(full).splitlines()) <= 80


def test_html_page(evaluation):
    text = page(evaluation)
    parsed = Page(text)
    assert parsed.open == [] and "script" not in parsed.tags and "\x1b" not in text and "<x>" not in text
    assert "unisal evaluate --data <x>" in parsed.text and printable(HOSTILE) in parsed.text
    assert parsed.tags.count("svg") == 4 and parsed.tags.count("img") == 6
    assert all(link.startswith("data:image/jpeg;base64,") for link in parsed.links)
    for image in parsed.images:
        with Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))) as opened:
            opened.load()
            assert opened.size == (64, 48)
    assert [image["alt"].split(",")[0] for image in parsed.images[:3]] == [
        "input",
        "ground truth",
        "prediction",
    ]
    for mean in evaluation.methods[0].mean.values():
        assert f"{mean:.4f}" in parsed.text
    assert "url(" not in text and "http" not in text


def test_html_page_of_little(evaluation):
    """A single video without examples or intervals: the histogram is over its frames."""
    frames = tuple(FrameScores("clip", number, {"nss": 1.0}) for number in (1, 2))
    alone = MethodScores(
        "prediction", {"nss": 1.0}, {"nss": (NAN, NAN)}, {"clip": {"nss": 1.0}}, frames, {"nss": 2}, {}
    )
    little = Evaluation("dhf1k", "video", {}, (alone,))
    text = Page(page(little)).text
    assert "Distribution over frames" in text and "Nothing." in text and "no interval" in text
    assert "nan" not in text and "1 video, 2 frames" in text
    assert "nan" not in report.table_text(little) and "1 video, 2 frames" in report.table_text(little)


def test_large_images_are_shrunk(evaluation):
    big = dataclasses.replace(
        example("best", "a.png"),
        image=np.zeros((900, 1600, 3), np.uint8),
        truth=np.ones((900, 1600)),
        prediction=np.ones((900, 1600)),
    )
    source = Page(page(dataclasses.replace(evaluation, examples=(big,)))).images[0]["src"]
    with Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) as opened:
        assert opened.size == (640, 360)


@pytest.mark.parametrize(
    "values", [[0.5], [0.0, 0.0], [-3.0, 2.0, 2.5], [1e-9, 2e-9], [1e6 + 0.1, 1e6 + 0.2], [0.3] * 9 + [0.7]]
)
def test_histogram_counts_every_value(values):
    svg = histogram_svg(values, float(np.mean(values)), "image")
    assert sum(int(count) for count in re.findall(r": (\d+) images?</title>", svg)) == len(values)
    assert "nan" not in svg and Page(svg).open == []
    for width in re.findall(r'width="([-\d.]+)"', svg):
        assert float(width) > 0


def test_every_protocol_defines_every_score():
    texts = [definitions(protocol) for protocol in PROTOCOLS.values()]
    assert all(set(text) == set(SCORES) for text in texts)
    assert all(first != second for first, second in itertools.combinations(texts, 2))
