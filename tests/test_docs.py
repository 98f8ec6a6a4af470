"""The README and the documentation site: the site builds, and the blocks of its pages run.

The blocks of a page are run one after the other in one folder, which holds what a reader would bring. A
block that cannot be run here stands behind `<!-- not run: REASON -->`; its commands are still parsed.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.prepare import prepare
from tests.conftest import REPOSITORY
from unisal_jax.cli.main import COMMANDS
from unisal_jax.data import synthetic
from unisal_jax.domains import find_domain
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.models.initialization import add_domain
from unisal_jax.packages import EXTRAS
from unisal_jax.samples import CLIP_FPS, CLIP_SIZE, moving_clip, photograph_path
from unisal_jax.train.config import load_config
from unisal_jax.weights.store import save_weights

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
LANGUAGES = {"python", "sh", "text"}
# All images have the photograph's aspect ratio, so that a few compiled programs do.
SMALL = (75, 64)

_BLOCK = re.compile(
    r"(?:^<!-- not run:(?P<reason>[^\n]*)-->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, what it holds, and why it is not run (None: it is)."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"

    @property
    def lines(self) -> list[list[str]]:
        """The words of each command, continued lines joined, comments left out."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [words for line in joined if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, m.start("text")), m["language"], m["text"], m["reason"])
        for m in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """The arguments of the block's `unisal` commands, also of those that another program starts."""
    found = []
    for words in block.lines:
        if words[0] == "gcloud":
            words = shlex.split(words[-1])
        if "unisal" in words:
            found.append(words[words.index("unisal") + 1 :])
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


def page_id(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def test_the_pages_blocks():
    """None is passed over: a fence that is not understood, or a reason that is none."""
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.M)
        assert len(fences) == 2 * len(blocks(page)), page
        notes = page.read_text(encoding="utf-8").count("<!-- not run")
        assert notes == sum(block.reason is not None for block in blocks(page)), page
    for block in BLOCKS:
        assert block.language in LANGUAGES or block.page.name == "README.md", block.place
        assert block.reason is None or len(block.reason.split()) > 2, block.place


def parsed(arguments: list[str]) -> None:
    """Parses a command line as `unisal` does, and asks for nothing to be done."""
    name = next(word for word in arguments if word in COMMANDS)
    module = importlib.import_module(COMMANDS[name][0])
    parser = argparse.ArgumentParser(exit_on_error=False, conflict_handler="resolve")
    module.configure(parser)
    at = arguments.index(name)
    args, rest = parser.parse_known_args([*arguments[:at], *arguments[at + 1 :]])
    prefix = getattr(args, "open_flags", None)
    unknown = [word for word in rest if prefix is None or not word.startswith(prefix)]
    assert not unknown, f"no such arguments: {unknown}"
    if name == "train":
        load_config(REPOSITORY / args.config, rest)


SHELL = [block for block in BLOCKS if block.language == "sh"]


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_commands_parse(block):
    for arguments in commands(block):
        try:
            parsed(arguments)
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"{block.place}: unisal {shlex.join(arguments)}: {error}")
    makefile = (REPOSITORY / "Makefile").read_text()
    for words in block.lines:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M), words
        elif words[:2] == ["pip", "install"]:
            extras = re.findall(r"\[(\w+)\]", " ".join(words))
            assert set(extras) <= set(EXTRAS), words
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), words
        else:
            assert words[0] in ("unisal", "gcloud", "srun"), words


@pytest.mark.parametrize(
    ("page", "config"),
    [
        ("finetune", "finetune.py:images"),
        ("finetune", "finetune.py:video"),
        ("train", "unisal.py"),
        ("train_pod", "unisal.py"),
    ],
)
def test_overrides_in_the_text(page, config):
    text = (DOCS / "howto" / f"{page}.md").read_text(encoding="utf-8")
    shown = [text for text in re.findall(r"`(--config\.[^`]+)`", text) if "=" in text]
    assert shown
    for overrides in shown:
        load_config(REPOSITORY / "configs" / config, shlex.split(overrides))


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory) -> Path:
    """What a reader would bring: images, clips, frames, boxes, own data."""
    folder = tmp_path_factory.mktemp("reader")
    frames = list(moving_clip(6))
    (folder / "samples").mkdir()
    shutil.copyfile(photograph_path(), folder / "samples" / "photograph.jpg")
    with VideoWriter(folder / "samples" / "clip.mp4", CLIP_SIZE, CLIP_FPS) as writer:
        for frame in frames:
            writer.write(frame)
    (folder / "clips").mkdir()
    (folder / "holiday").mkdir()
    (folder / "frames").mkdir()
    shutil.copyfile(photograph_path(), folder / "photo.jpg")
    shutil.copyfile(photograph_path(), folder / "draft.jpg")
    shutil.copyfile(photograph_path(), folder / "holiday" / "beach.jpg")
    shutil.copyfile(folder / "samples" / "clip.mp4", folder / "clip.mp4")
    shutil.copyfile(folder / "samples" / "clip.mp4", folder / "clips" / "one.mp4")
    for number, frame in enumerate(frames[:5], 1):
        Image.fromarray(frame).save(folder / "frames" / f"{number:04d}.png")
    np.save(folder / "frames.npy", np.stack(frames[:3]))
    small = [np.asarray(Image.fromarray(frame).resize((384, 224))) for frame in frames[:3]]
    np.save(folder / "small_frames.npy", np.stack(small))
    (folder / "boxes.csv").write_text("name,left,top,width,height\nface,200,50,120,150\nflag,20,10,60,200\n")
    (folder / "moving.csv").write_text("frame,name,x,y,w,h\n1,face,250,30,150,190\n6,face,220,10,210,250\n")
    for name in ("old_cut", "new_cut"):
        shutil.copyfile(folder / "clip.mp4", folder / f"{name}.mp4")
    runpy.run_path(str(DOCS / "compare_figures.py"))["make"](folder)
    write_set(folder / "mine", ["a", "b"])
    shutil.copytree(folder / "mine" / "maps", folder / "their_maps")
    shutil.copytree(folder / "mine" / "images", folder / "stimuli")
    rows = [f"{name},{observer},{20 + observer},30" for name in ("a", "b") for observer in range(3)]
    (folder / "fixations.csv").write_text("\n".join(["stimulus,observer,x,y", *rows, ""]))
    return folder


def write_set(folder: Path, names: list[str]) -> None:
    """images/, maps/ and fixations/."""
    for name in names:
        drawn = synthetic.draw(0, name, 0, synthetic.Amount(size=SMALL))
        for part, pixels in (("images", drawn.frame), ("maps", drawn.map), ("fixations", drawn.marks)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")


def before_prepare(folder: Path, released) -> None:
    """The prepared dataset of the block that reads batches, which requires the whole release."""
    from data_prep.builders import BUILDERS

    synthetic.make("ucf_sports", folder / "raw", amount=synthetic.Amount(train=5, frames=46, size=(48, 72)))
    prepare(BUILDERS["ucf_sports"](data_dir=folder / "data", partial=True), folder / "raw")


def before_finetune(folder: Path, released) -> None:
    """Data by split, and what the training would leave."""
    for split in ("train", "validation", "test"):
        write_set(folder / "splits" / split, [f"{split}_a", f"{split}_b"])
    shutil.rmtree(folder / "mine")
    (folder / "splits").rename(folder / "mine")
    salicon = find_domain("salicon", released.config.domains)
    own = dataclasses.replace(salicon, name="own", source_name="")
    variables, config = add_domain(released.variables, released.config, own, like=salicon)
    save_weights(
        folder / "runs" / "mine" / "best", dataclasses.replace(released, variables=variables, config=config)
    )


def before_gaze(folder: Path, released) -> None:
    """Exports of three people, of which the page shows what is in them."""
    text = next(block.text for block in blocks(DOCS / "howto" / "gaze.md") if block.language == "text")
    (folder / "exports").mkdir()
    for person in ("P1", "P2", "P3"):
        (folder / "exports" / f"{person}.csv").write_text(text)


BEFORE = {
    "docs/howto/prepare.md": before_prepare,
    "docs/howto/finetune.md": before_finetune,
    "docs/howto/gaze.md": before_gaze,
    "docs/start/own_data.md": before_gaze,
}


def run_page(page: Path, command, keep) -> None:
    """Runs the blocks of a page that `keep` takes, in order, in the current folder."""
    namespace = {"__name__": "page"}
    for block in blocks(page):
        if block.reason is not None or not keep(block):
            continue
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, block.place, "exec"), namespace)
            if "get_config" in namespace:
                Path("page_config.py").write_text(block.text, encoding="utf-8")
                load_config("page_config.py")
                del namespace["get_config"]
        elif block.language == "sh":
            for arguments in commands(block):
                status, _, err = command(*arguments)
                assert status == 0, f"{block.place}: unisal {shlex.join(arguments)}: {err}"


def is_export(block: Block) -> bool:
    """Exports are compiled as Python and as a file, and take the longest."""
    return "unisal export" in block.text or "onnxruntime" in block.text or "jax.export" in block.text


@pytest.fixture
def page_folder(tmp_path, monkeypatch, readers_folder):
    shutil.copytree(readers_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUNNING = [
    page for page in PAGES if any(block.reason is None and block.language != "text" for block in blocks(page))
]


# They compile networks that no other page does.
SLOW = ("docs/migration.md", "docs/howto/add_domain.md")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page_id(page) in SLOW else ()) for page in RUNNING],
    ids=page_id,
)
def test_the_page_runs(page, command, released, page_folder):
    BEFORE.get(page_id(page), lambda *_: None)(page_folder, released)
    run_page(page, command, lambda block: not is_export(block))


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in RUNNING if any(map(is_export, blocks(p)))], ids=page_id)
def test_the_pages_exports_run(page, command, released, page_folder):
    pytest.importorskip("onnxruntime")
    np.save("frames.npy", np.load("small_frames.npy"))
    run_page(page, command, is_export)


@pytest.mark.filterwarnings("default")
def test_the_site_builds(tmp_path):
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    site = tmp_path / "site"
    assert "predict_video" in (site / "api.html").read_text(encoding="utf-8")
    assert not list(site.rglob("*.py"))
    # Nothing is fetched from elsewhere by who reads it.
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"?(https?:[^\" >]+)", page.read_text())
        assert not [address for address in loaded if "canonical" not in address], page
    assert json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
