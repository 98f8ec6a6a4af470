"""A training's checkpoints, each a folder of weights too: `--weights WORKDIR/checkpoints/STEP` takes it."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from unisal_jax.data.loader import State
from unisal_jax.errors import UnisalError
from unisal_jax.models.unisal import UnisalConfig
from unisal_jax.train.state import TrainState, Tree
from unisal_jax.weights.store import check_shapes


def open_checkpoints(folder: Path) -> ocp.CheckpointManager:
    """The checkpoints in a folder that is there. What a killed run left unfinished is removed.

    Of several processes one alone opens them: it holds the whole state.
    """
    # None is ever removed by orbax: which ones stay also depends on the best epoch (see `prune`).
    options = ocp.CheckpointManagerOptions(cleanup_tmp_directories=True, create=False)
    if jax.process_count() > 1:
        me = jax.process_index()
        options.multiprocessing_options = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix="first"
        )
    return ocp.CheckpointManager(folder.absolute(), options=options)


def save(
    manager: ocp.CheckpointManager, state: TrainState, network: UnisalConfig, loader: State, skipped: int
) -> None:
    """Copies the state to the host and writes it in the background, under the number of its step.

    The folder appears when it is whole. A step that is there already is not written again.

    Args:
      state: after the step; its weights are the ones to predict with (see `TrainState.weights`).
      network: what the variables fit.
      loader: the position after the step's batch.
      skipped: how many steps were left out because they were not finite.
    """
    step = int(state.step)
    if step in manager.all_steps():
        return
    # A copy: the next step uses up the arrays on the device.
    host = jax.tree.map(lambda leaf: np.array(leaf), state)
    items = ocp.args.Composite(
        variables=ocp.args.PyTreeSave(host.weights),
        extras=ocp.args.PyTreeSave({"none": np.zeros((), np.int8)}),
        weights=ocp.args.JsonSave(
            {"format": "unisal-jax", "config": network.to_json(), "source": f"step {step}"}
        ),
        training=ocp.args.PyTreeSave(_training(host)),
        progress=ocp.args.JsonSave({"loader": dict(loader), "skipped": skipped}),
    )
    manager.save(step, args=items)


def restore(
    manager: ocp.CheckpointManager, like: TrainState, network: UnisalConfig
) -> tuple[TrainState, State, int] | None:
    """The latest checkpoint, bit for bit, or None if there is none.

    Args:
      like: a state of the same structure.
      network: what the variables must fit.
    Returns:
      (state on the host, for any number of devices; position of the data; steps left out).
    Raises:
      UnisalError: the checkpoint is damaged or of another network.
    """
    step = manager.latest_step()
    if step is None:
        return None
    path = Path(str(manager.directory)) / str(step)
    trees = {"variables": like.weights, "training": _training(like)}
    try:
        items = manager.restore(
            step,
            args=ocp.args.Composite(
                **{name: _as_numpy(tree) for name, tree in trees.items()}, progress=ocp.args.JsonRestore()
            ),
        )
    # Orbax has no error type of its own.
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnisalError(f"{path}: cannot be restored ({reason}); remove it to go on before it") from error
    check_shapes(items.variables, network, str(path))
    averaged = like.average is not None
    state = TrainState(
        items.training["variables"] if averaged else items.variables,
        items.training["momentum"],
        items.training["step"],
        items.variables if averaged else None,
    )
    return state, items.progress["loader"], int(items.progress["skipped"])


def prune(manager: ocp.CheckpointManager, keep: int, best: int | None) -> None:
    """Removes all checkpoints but the latest `keep` and the best one."""
    for step in sorted(manager.all_steps())[:-keep]:
        if step != best:
            manager.delete(step)


def link_best(manager: ocp.CheckpointManager, step: int, link: Path) -> None:
    """Makes `link` point to a step's checkpoint, once that is written."""
    manager.wait_until_finished()
    target = Path(Path(str(manager.directory)).name) / str(step)
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(link)


def _training(state: TrainState) -> Tree:
    """What a training needs beside the weights to predict with."""
    own = {} if state.average is None else {"variables": state.variables}
    return {"momentum": state.momentum, "step": state.step, **own}


def _as_numpy(tree: Any) -> ocp.args.PyTreeRestore:
    # NumPy arrays come back as they were saved, whatever devices there are now.
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return ocp.args.PyTreeRestore(restore_args=restore_args)
