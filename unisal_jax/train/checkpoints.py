"""Checkpoints of a training run. `--weights WORKDIR/checkpoints/STEP` loads one for prediction."""

import logging
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from unisal_jax.data.loader import State
from unisal_jax.errors import UnisalError
from unisal_jax.files import write_errors, write_text
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train.state import TrainState, Tree
from unisal_jax.weights import claims
from unisal_jax.weights.checkpoint import ABOUT, VARIABLES, as_numpy, check_digests, reading, save_args
from unisal_jax.weights.contents import TRAINED, Weights, check_shapes

TRAINING, PROGRESS = "training", "progress"
DAMAGED = "damaged"
"""Folder for damaged checkpoints, next to the folder of checkpoints."""

logger = logging.getLogger(__name__)


def open_checkpoints(folder: Path) -> ocp.CheckpointManager:
    """Opens the checkpoints in an existing folder, and removes what an interrupted run left unfinished.

    Of several processes, only one may open them: each process holds the whole state.
    """
    # Orbax removes no checkpoints: which ones to keep also depends on the best epoch (see `prune`).
    options = ocp.CheckpointManagerOptions(cleanup_tmp_directories=True, create=False)
    if jax.process_count() > 1:
        me = jax.process_index()
        options.multiprocessing_options = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix="first"
        )
    return ocp.CheckpointManager(folder.absolute(), options=options)


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    model_config: UnisalConfig,
    trained: Iterable[str],
    loader: State,
    skipped: int,
) -> None:
    """Copies the state to the host and writes it in the background, in a folder named after its step.

    The folder appears once it is complete. An existing step is not written again.

    Args:
      manager: the checkpoints, from `open_checkpoints`.
      state: the state after the step; `state.weights` are the weights to predict with.
      model_config: the config of the model.
      trained: names of the trained domains, stored in the metadata as TRAINED.
      loader: position of the data loader after the step's batch.
      skipped: number of steps skipped because they were not finite.
    """
    step = int(state.step)
    if step in manager.all_steps():
        return
    # A copy: the next step deletes the arrays on the device (donation).
    host = jax.tree.map(lambda leaf: np.array(leaf), state)
    metadata = {"source": f"step {step}", TRAINED: ",".join(sorted(trained))}
    weights = Weights(host.weights, model_config, metadata)
    progress = {"loader": dict(loader), "skipped": skipped}
    manager.save(step, args=save_args(weights, {TRAINING: _training(host)}, {PROGRESS: progress}))


def restore(
    manager: ocp.CheckpointManager, like: TrainState, model_config: UnisalConfig
) -> tuple[TrainState, State, int] | None:
    """Restores the latest undamaged checkpoint, bit for bit; None if there are no checkpoints.

    Newer, damaged checkpoints are moved to the folder DAMAGED, so that their steps can be saved again, with a
    warning.

    Args:
      manager: the checkpoints, from `open_checkpoints`.
      like: a state of the same structure.
      model_config: the config that the variables must fit.

    Returns:
      (state on the host, for any number of devices; position of the data loader; number of skipped steps).

    Raises:
      UnisalError: all checkpoints are damaged or of another model config.
    """
    failures: dict[int, UnisalError] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            restored = _restore_step(manager, step, like, model_config)
        except UnisalError as error:
            failures[step] = error
            continue
        for failed, reason in failures.items():
            logger.warning("%s; continuing from step %d", set_aside(manager, failed, reason), step)
        return restored
    if failures:
        more = "; all other checkpoints are damaged too" if len(failures) > 1 else ""
        raise UnisalError(f"{failures[max(failures)]}{more}; to start again, choose another --workdir")
    return None


def set_aside(manager: ocp.CheckpointManager, step: int, error: UnisalError) -> str:
    """Moves a damaged checkpoint to the folder DAMAGED; returns a message about it."""
    folder = Path(str(manager.directory))
    target = folder.with_name(DAMAGED) / str(step)
    with write_errors(target):
        target.parent.mkdir(exist_ok=True)
        while target.exists():
            target = target.with_name(f"{target.name}_again")
        (folder / str(step)).rename(target)
    manager.reload()
    return f"{error}; moved to {target}"


def failure(
    manager: ocp.CheckpointManager, step: int, like: TrainState, model_config: UnisalConfig
) -> UnisalError | None:
    """Why a step's checkpoint cannot be restored; None if it can. Arguments as for `restore`."""
    try:
        _restore_step(manager, step, like, model_config)
    except UnisalError as error:
        return error
    return None


def _restore_step(
    manager: ocp.CheckpointManager, step: int, like: TrainState, model_config: UnisalConfig
) -> tuple[TrainState, State, int]:
    path = Path(str(manager.directory)) / str(step)
    trees = {VARIABLES: like.weights, TRAINING: _training(like)}
    with reading(path):
        claims.check_folder(path)
        for item in trees:
            claims.check_arrays(path, item)
        args = {name: as_numpy(tree) for name, tree in trees.items()}
        texts = {name: ocp.args.JsonRestore() for name in (PROGRESS, ABOUT)}
        items = manager.restore(step, args=ocp.args.Composite(**args, **texts))
        read_trees = {name: items[name] for name in trees}
        check_digests(path, dict(items[ABOUT]), read_trees, {PROGRESS: items[PROGRESS]})
        check_shapes(items.variables, model_config, str(path))
        position, skipped = items.progress["loader"], int(items.progress["skipped"])
    averaged = like.average is not None
    state = TrainState(
        items.training["variables"] if averaged else items.variables,
        items.training["momentum"],
        items.training["step"],
        items.variables if averaged else None,
    )
    return state, position, skipped


def prune(manager: ocp.CheckpointManager, keep: int, best: int | None) -> None:
    """Removes all checkpoints but the latest `keep` and the best one."""
    for step in sorted(manager.all_steps())[:-keep]:
        if step != best:
            manager.delete(step)


def link_best(manager: ocp.CheckpointManager, step: int, link: Path) -> None:
    """Makes `link` point to a step's checkpoint, after waiting until it is written.

    On a disk without links, `link` is a text file with the target, which `--weights` follows too.
    """
    manager.wait_until_finished()
    target = f"{Path(str(manager.directory)).name}/{step}"
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
        write_text(link, f"{target}\n")


def _training(state: TrainState) -> Tree:
    """The part of the state that only training requires, in addition to the weights."""
    own = {} if state.average is None else {"variables": state.variables}
    return {"momentum": state.momentum, "step": state.step, **own}
