"""Checkpoints without a training: the link to the best one."""

from types import SimpleNamespace

import pytest

from unisal_jax.train.checkpoints import link_best
from unisal_jax.weights.sources import resolve


@pytest.mark.parametrize("has_links", [True, False])
def test_best_is_a_link_or_a_file_that_names_the_checkpoint(tmp_path, monkeypatch, has_links):
    folder, best = tmp_path / "checkpoints", tmp_path / "best"
    for step in (3, 12):
        (folder / str(step)).mkdir(parents=True)
    manager = SimpleNamespace(directory=folder, wait_until_finished=lambda: None)
    if not has_links:

        def refuse(self, target, target_is_directory=False):
            raise OSError("a required privilege is not held by the client")

        monkeypatch.setattr(type(tmp_path), "symlink_to", refuse)
    for step in (3, 12):
        link_best(manager, step, best)
        assert best.is_symlink() == has_links
        found = resolve(best)
        assert found.kind == "checkpoint" and found.path.resolve() == folder / str(step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "checkpoints"]
