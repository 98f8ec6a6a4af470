"""Makes the images of docs/howto/compare.md, from the sample photograph and the released weights.

python docs/compare_figures.py [FOLDER]     FOLDER: where the two drafts and their boxes are left
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from unisal_jax.cli.main import main
from unisal_jax.samples import photograph_path

HERE = Path(__file__).parent
SIZE = (960, 600)  # width, height
PAPER, INK, BRAND = (244, 241, 232), (30, 40, 70), (200, 40, 40)
# Left, top, width, height of the parts, by draft.
PARTS = {
    "draft_a": {"face": (160, 90, 180, 250), "headline": (550, 80, 390, 130), "logo": (860, 510, 70, 70)},
    "draft_b": {"face": (160, 90, 180, 250), "headline": (550, 80, 390, 130), "logo": (660, 300, 150, 150)},
}


def draw(parts: dict[str, tuple[int, int, int, int]]) -> Image.Image:
    """An advertisement: the photograph, a headline, and a logo."""
    page = Image.new("RGB", SIZE, PAPER)
    with Image.open(photograph_path()) as photograph:
        page.paste(photograph, (0, 0))
    pen = ImageDraw.Draw(page)
    left, top, width, _ = parts["headline"]
    pen.multiline_text(
        (left, top), "A headline that\nsays it all", INK, ImageFont.load_default(46), spacing=14
    )
    left, top, width, height = parts["logo"]
    pen.ellipse((left, top, left + width, top + height), fill=BRAND)
    middle = left + width / 2, top + height / 2
    pen.text(middle, "LOGO", PAPER, ImageFont.load_default(width / 3.4), anchor="mm")
    return page


def make(folder: Path) -> None:
    """Writes the drafts and their boxes."""
    for name, parts in PARTS.items():
        draw(parts).save(folder / f"{name}.png")
        rows = [",".join(map(str, (part, *box))) for part, box in parts.items()]
        (folder / f"{name}.csv").write_text("\n".join(["name,x,y,w,h", *rows, ""]))


def image(folder: Path) -> Image.Image:
    """What `unisal compare` draws of them, in one image."""
    drafts = [str(folder / f"{name}.png") for name in PARTS]
    boxes = ["--boxes", str(folder / "draft_a.csv"), "--boxes-b", str(folder / "draft_b.csv")]
    assert main(["compare", *drafts, *boxes, "--out", str(folder / "compared")]) == 0
    with (
        Image.open(folder / "compared" / "side_by_side.png") as both,
        Image.open(folder / "compared" / "difference.png") as change,
    ):
        height = round(change.height * 0.625)
        small = change.resize((round(change.width * 0.625), height), Image.Resampling.LANCZOS)
        page = both.resize((small.width * 2, round(both.height * small.width * 2 / both.width)))
        sheet = Image.new("RGB", (page.width, page.height + height + 12), "white")
        sheet.paste(page, (0, 0))
        sheet.paste(small, ((page.width - small.width) // 2, page.height + 12))
    return sheet


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        make(place)
        image(place).save(HERE / "compare.jpg", quality=85)
