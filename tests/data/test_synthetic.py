import numpy as np
import pytest

from unisal_jax.data import synthetic
from unisal_jax.data.synthetic import Amount
from unisal_jax.errors import UnisalError

SMALL = Amount(train=1, validation=1, test=1, frames=2, size=(24, 32), observers=2)


def _content(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("layout", [name for name in synthetic.LAYOUTS if name != "salicon"])
def test_same_seed_same_bytes(tmp_path, layout):
    synthetic.make(layout, tmp_path / "a", 3, SMALL)
    synthetic.make(layout, tmp_path / "b", 3, SMALL)
    synthetic.make(layout, tmp_path / "c", 4, SMALL)
    first = _content(tmp_path / "a")
    assert first and first == _content(tmp_path / "b")
    assert first != _content(tmp_path / "c")


def test_fixations_are_near_the_disc_and_on_the_map():
    amount = Amount(size=(90, 120), observers=5)
    drawn = synthetic.draw(0, "clip", 4, amount)
    points = np.concatenate(drawn.fixations)
    assert drawn.frame.shape == (90, 120, 3) and drawn.map.max() == 255
    assert len(points) == 10 and drawn.marks.sum() // 255 == len(np.unique(points, axis=0))
    # At fixations, the map is well above its mean.
    assert drawn.map[tuple(points.T)].mean() > 5 * drawn.map.mean()


def test_disc_moves():
    frames = [synthetic.draw(0, "clip", index, SMALL).frame for index in range(3)]
    assert (frames[0] != frames[1]).any() and (frames[1] != frames[2]).any()


def test_unknown_layout():
    with pytest.raises(UnisalError, match="no synthetic dataset 'x'; known: dhf1k"):
        synthetic.make("x", "unused")
