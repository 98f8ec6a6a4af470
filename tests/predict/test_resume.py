"""Records of inputs: finished outputs, outputs of other inputs, and files that must not be replaced."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from unisal_jax.domains import RELEASED_DOMAINS
from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import new_folders
from unisal_jax.media.film_options import Drawing
from unisal_jax.media.frames import RgbFrame
from unisal_jax.media.sources import expand_inputs
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.batch import PredictOptions, predict_sources
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.outputs import PredictionFiles, make_folders
from unisal_jax.predict.records import (
    FOLDER,
    Record,
    forget,
    read_record,
    weights_state,
    write_record,
)
from unisal_jax.predict.resume import plan

SIZE = (6, 8)


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)
    return path


def run(out, *inputs, video=False, resume=True, frames=2, kinds=("map",), opacity=0.7, **settings):
    """Like `unisal predict` without a network -> (names predicted, number already done)."""
    files = PredictionFiles(out, kinds, Drawing(opacity), {"domain": None, "stride": None, **settings})
    planned = plan(files, expand_inputs([str(each) for each in inputs], video), resume=resume)
    make_folders(out, kinds)
    image, log_density = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.float32)
    for source in planned.sources:
        if source.kind == "image":
            planned.files.image(source, image, log_density, {})
        else:
            with planned.files.video(source, FilmInfo(SIZE), {}) as outputs:
                for _ in range(frames):
                    outputs.write(Predicted(RgbFrame(image), log_density, False))
    return [source.name for source in planned.sources], planned.kept


def test_resume_knows_an_input_by_more_than_its_name(tmp_path):
    one, two, out = (
        write_image(tmp_path / "1" / "x.png"),
        write_image(tmp_path / "2" / "x.png"),
        tmp_path / "out",
    )
    assert run(out, one) == (["x"], 0)
    assert run(out, two) == (["x_2"], 0)
    # Found again, alone and together, from any folder and by any path.
    assert run(out, two) == ([], 1)
    assert run(out, two, one) == ([], 2)
    (tmp_path / "link").symlink_to(tmp_path / "2")
    assert run(out, tmp_path / "link" / "x.png") == ([], 1)
    # Changed since, in content or in time: predicted anew, under the name that it has.
    os.utime(two, ns=(0, 0))
    assert run(out, one, two) == (["x_2"], 1)
    write_image(one, seed=3)
    assert run(out, one, two) == (["x"], 1)
    assert sorted(os.listdir(out / "map")) == ["x.png", "x_2.png"]


def test_resume_without_a_record_or_with_a_damaged_one(tmp_path):
    one, out = write_image(tmp_path / "x.png"), tmp_path / "out"
    run(out, one)
    record = out / FOLDER / "x.json"
    whole = json.loads(record.read_text())
    for damage in (
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        json.dumps({**whole, "name": "../../x"}),
        '{"name": 3}',
    ):
        record.write_text(damage)
        assert run(out, one) == (["x"], 0)
        assert run(out, one) == ([], 1)
    record.unlink()  # as older versions left it
    assert run(out, one) == (["x"], 0)
    (out / "map" / "x.png").unlink()
    assert run(out, one) == (["x"], 0)


def test_resume_knows_the_settings(tmp_path):
    one, out = write_image(tmp_path / "x.png"), tmp_path / "out"
    run(out, one, kinds=("map",), domain="salicon")
    assert run(out, one, kinds=("map",), domain="dhf1k") == (["x"], 0)
    assert run(out, one, kinds=("map",), domain="dhf1k", stride=5) == ([], 1)  # an image has none
    assert run(out, one, kinds=("map", "overlay"), domain="dhf1k") == (["x"], 0)
    assert run(out, one, kinds=("map",), domain="dhf1k", opacity=0.1) == ([], 1)
    assert run(out, one, kinds=("overlay",), domain="dhf1k", opacity=0.1) == (["x"], 0)
    # Outputs of one type made anew say nothing of the others.
    assert run(out, one, kinds=("map",), domain="salicon") == (["x"], 0)
    assert run(out, one, kinds=("map", "overlay"), domain="salicon", opacity=0.1) == (["x"], 0)
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"1")
    run(out, one, weights=weights_state(str(weights)))
    assert run(out, one, weights=weights_state(str(weights))) == ([], 1)
    weights.write_bytes(b"12")
    assert run(out, one, weights=weights_state(str(weights))) == (["x"], 0)
    assert weights_state("unisal") == "unisal"


def test_resume_of_folders_of_frames(tmp_path):
    folders = [tmp_path / name / "images" for name in ("a", "b")]
    for folder in folders:
        for number in range(3):
            write_image(folder / f"{number}.png")
    out = tmp_path / "out"
    assert run(out, *folders, video=True) == (["a", "b"], 0)
    assert run(out, *folders, video=True) == ([], 2)
    write_image(folders[0] / "3.png")
    assert run(out, *folders, video=True, frames=5) == (["a"], 1)
    assert len(os.listdir(out / "map" / "a")) == 5
    assert run(out, folders[0], video=True, frames=1, resume=False) == (["a"], 0)
    assert os.listdir(out / "map" / "a") == ["0001.png"]
    (out / "map" / "a" / "0001.png").unlink()
    assert run(out, *folders, video=True) == (["a"], 1)


def test_a_folder_that_is_not_ours_stays(tmp_path):
    frames, out = tmp_path / "clip", tmp_path / "out"
    write_image(frames / "1.png")
    foreign = write_image(out / "map" / "clip" / "0001.png", 5)
    content = foreign.read_bytes()
    with pytest.raises(UnisalError, match=r"clip: holds files not .*\(0001\.png\); move the folder"):
        run(out, frames, video=True, resume=False)
    assert run(out, frames, video=True) == (["clip_2"], 0)
    assert foreign.read_bytes() == content
    # Of a folder that is ours, but holds more by now.
    notes = out / "map" / "clip_2" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(UnisalError, match=r"clip_2: holds files not .*notes\.txt"):
        run(out, frames, video=True, domain="salicon")
    assert notes.read_text() == "mine" and len(os.listdir(notes.parent)) == 3
    notes.rename(notes.with_name(".DS_Store"))  # the system's: no reason to stop
    assert run(out, frames, video=True, domain="salicon") == (["clip_2"], 0)


def test_a_video_that_fails_leaves_the_older_folder(tmp_path):
    write_image(tmp_path / "clip" / "1.png")
    out = tmp_path / "out"
    run(out, tmp_path / "clip", video=True)
    files = PredictionFiles(out, ("map",))
    (source,) = expand_inputs([str(tmp_path / "clip")], video=True)
    (planned,) = (plan(files, [source]).files,)
    with pytest.raises(UnisalError, match="broken"), planned.video(source, FilmInfo(SIZE), {}) as outputs:
        outputs.write(Predicted(RgbFrame(np.zeros((*SIZE, 3), np.uint8)), np.zeros(SIZE, np.float32), False))
        raise UnisalError("broken")
    assert sorted(os.listdir(out / "map" / "clip")) == ["0001.png", "0002.png"]
    assert os.listdir(out / "map") == ["clip"]


def test_long_names_are_written(tmp_path):
    name = "x" * 251
    source = write_image(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    files = PredictionFiles(out, ("map",))
    (source,) = expand_inputs([str(source)])
    assert run(out, source.path, kinds=("map",))[1] == 0
    assert run(out, source.path, kinds=("map", "json"))[1] == 0
    assert run(out, source.path, kinds=("map", "json")) == ([], 1)
    too_long = dataclasses.replace(source, name="y" * 300)
    with pytest.raises(UnisalError, match="File name too long"):
        plan(files, [too_long])
    planned = plan(files, [too_long, source], skip_errors=True)
    assert planned.sources == [source] and len(planned.errors) == 1


class _Network:
    """The part of a model that `predict_sources` uses."""

    def domain(self, name, video):
        return RELEASED_DOMAINS[0]

    def predict_resized(self, frames, domain):
        return np.zeros(frames.shape[:3], np.float32)


@dataclasses.dataclass(frozen=True)
class _Refusing(PredictionFiles):
    """Results whose first input cannot be written."""

    error: Exception = dataclasses.field(default_factory=ValueError)

    def image(self, source, *rest):
        if source.name == "a":
            raise self.error
        super().image(source, *rest)


def test_skipping_goes_past_a_bad_name_and_not_past_a_full_disk(tmp_path):
    sources = expand_inputs([str(write_image(tmp_path / f"{name}.png")) for name in "ab"])
    make_folders(tmp_path, ("map",))
    for error in (UnisalError("a: cannot be written (File name too long)"), OutputError("a: No space left")):
        shutil.rmtree(tmp_path / "map", ignore_errors=True)
        make_folders(tmp_path, ("map",))
        results = _Refusing(tmp_path, ("map",), error=error)
        if isinstance(error, OutputError):
            with pytest.raises(OutputError):
                predict_sources(_Network(), sources, results, PredictOptions(skip_errors=True))
        else:
            summary = predict_sources(_Network(), sources, results, PredictOptions(skip_errors=True))
            assert (summary.images, len(summary.errors)) == (1, 1)
            assert os.listdir(tmp_path / "map") == ["b.png"]


def test_empty_folders_go_and_full_ones_stay(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(UnisalError), new_folders([tmp_path / "old" / "a" / "b", tmp_path / "new" / "c"]):
        (tmp_path / "new" / "file").touch()
        raise UnisalError("refused")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "new",
        "new/file",
        "old",
    ]


def test_what_a_crop_replaced_is_forgotten(tmp_path):
    write_record(tmp_path, Record("a", "/a.png", 0, {"json": {}, "map": {}}))
    forget(tmp_path, "a", "json")
    forget(tmp_path, "b", "json")
    assert read_record(tmp_path, "a") == Record("a", "/a.png", 0, {"map": {}})
    assert read_record(tmp_path, "b") is None
