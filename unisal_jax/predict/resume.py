"""Plans a prediction: which inputs are finished, names of the other outputs, and what they may replace."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unisal_jax.errors import OutputError, UnisalError
from unisal_jax.files import check_name, keep_inputs, list_folder
from unisal_jax.media.names import name_bytes, number
from unisal_jax.media.sources import MediaSource
from unisal_jax.predict import records
from unisal_jax.predict.outputs import PredictionFiles
from unisal_jax.predict.records import Record, place
from unisal_jax.predict.video_outputs import check_replaceable


@dataclasses.dataclass(frozen=True)
class Plan:
    """The inputs to predict, and the files to write.

    Attributes:
      sources: the unfinished inputs, each with the name of its outputs.
      files: the results, with the state of each input.
      kept: number of finished inputs.
      errors: a line for each input whose output names the file system does not allow.
      notes: lines to print.
    """

    sources: list[MediaSource]
    files: PredictionFiles
    kept: int
    errors: list[str]
    notes: list[str]


def plan(
    files: PredictionFiles,
    sources: list[MediaSource],
    read: Iterable[str | Path] = (),
    resume: bool = False,
    skip_errors: bool = False,
) -> Plan:
    """Compares the inputs with the existing outputs. Writes nothing.

    With `resume`, an input is finished if its outputs were made from its current state with the current
    settings. An input whose name is taken by another input's outputs gets another name (NAME_2).

    Args:
      files: the results to write.
      sources: the inputs.
      read: other files that are read: the weights.
      resume: whether to skip finished inputs.
      skip_errors: whether to skip inputs whose output names the file system does not allow.

    Raises:
      UnisalError: an output would overwrite a file that is read, or a folder not written by this package; or
        the file system does not allow a name.
    """
    states = [_state(source) for source in sources]
    if resume:
        sources, finished = _named(files, sources, states)
    else:
        finished = [False] * len(sources)
    todo, errors = [], []
    for source, done in zip(sources, finished, strict=True):
        if done:
            continue
        try:
            for path in files.paths(source).values():
                check_name(path)
            todo.append(source)
        except OutputError:
            raise
        except UnisalError as error:
            if not skip_errors:
                raise
            errors.append(str(error))
    outputs = [path for source in todo for path in files.paths(source).values()]
    # A generator, so that the frames of folders are listed only if an output already exists.
    keep_inputs(outputs, (path for part in (_files_of(sources), read) for path in part))
    notes = _check_old(files, todo)
    by_name = {source.name: state for source, state in zip(sources, states, strict=True)}
    planned = dataclasses.replace(files, states={source.name: by_name[source.name] for source in todo})
    return Plan(todo, planned, sum(finished), errors, notes)


def _state(source: MediaSource) -> Any:
    try:
        return records.fingerprint(source)
    except (OSError, UnisalError):
        return {"unreadable": os.urandom(8).hex()}  # reading it reports the error


def _files_of(sources: list[MediaSource]) -> Iterable[str | Path]:
    for source in sources:
        yield from source.files()


def _named(
    files: PredictionFiles, sources: list[MediaSource], states: list[Any]
) -> tuple[list[MediaSource], list[bool]]:
    """Returns the sources with output names that fit the existing outputs, and whether each is finished."""
    known = records.read_records(files.out)
    by_place: Mapping[str, list[Record]] = defaultdict(list)
    for record in known:
        by_place[record.path].append(record)
    limit = name_bytes(files.out, files.kinds)
    names: dict[int, str] = {}
    used: set[str] = set()
    finished = [False] * len(sources)
    for index, (source, state) in enumerate(zip(sources, states, strict=True)):
        mine = [
            record
            for record in by_place.get(place(source), [])
            if record.name.casefold() not in used and len(os.fsencode(record.name)) <= limit
        ]
        whole = [record for record in mine if _is_finished(files, record, source, state)]
        usual = [record for record in mine if record.name == source.name]
        for record in (whole + usual + mine)[:1]:
            names[index] = record.name
            used.add(record.name.casefold())
            finished[index] = bool(whole)
    used |= {record.name.casefold() for record in known}
    rest = [index for index in range(len(sources)) if index not in names]
    # First the sources that keep their names, then those that get a number.
    for index in rest:
        if sources[index].name.casefold() not in used and _is_free(files, sources[index]):
            names[index] = sources[index].name
            used.add(names[index].casefold())
    for index in rest:
        while index not in names:
            candidate = dataclasses.replace(sources[index], name=number(sources[index].name, used, limit))
            if _is_free(files, candidate):
                names[index] = candidate.name
    return [dataclasses.replace(source, name=names[i]) for i, source in enumerate(sources)], finished


def _is_finished(files: PredictionFiles, record: Record, source: MediaSource, state: Any) -> bool:
    """Whether all outputs of this input exist and were made with the current settings."""
    named = dataclasses.replace(source, name=record.name)
    paths = files.paths(named)
    return (
        bool(paths)
        and all(record.outputs.get(kind) == made for kind, made in files.made_with(named, state).items())
        and all(path.exists() for path in paths.values())
        and (not _in_folder(files, source) or len(list_folder(paths["map"])) >= record.maps)
    )


def _in_folder(files: PredictionFiles, source: MediaSource) -> bool:
    """Whether the source's maps are written as images in a folder."""
    return source.kind == "video" and files.has_map_folder


def _is_free(files: PredictionFiles, source: MediaSource) -> bool:
    """Whether a video's maps would not replace a folder that this package did not write."""
    try:
        _check_maps(files, source, 0)
    except UnisalError:
        return False
    return True


def _check_old(files: PredictionFiles, todo: list[MediaSource]) -> list[str]:
    """Rejects folders not written by this package; returns a line on replaced results of other inputs."""
    replaced = []
    for source in todo:
        record = records.read_record(files.out, source.name)
        _check_maps(files, source, record.maps if record else 0)
        if record and record.path != place(source) and any(p.exists() for p in files.paths(source).values()):
            replaced.append(f"{source.name} of {record.path}")
    if not replaced:
        return []
    more = f" and {len(replaced) - 1} more" if len(replaced) > 1 else ""
    return [f"{files.out}: replaces results of other inputs: {replaced[0]}{more}; --resume keeps both"]


def _check_maps(files: PredictionFiles, source: MediaSource, written: int) -> None:
    if _in_folder(files, source):
        check_replaceable(files.paths(source)["map"], written)
