"""Dataclasses as configs: checks values against type hints, and describes fields. Does not import JAX."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from unisal_jax.errors import UnisalError


class Field(NamedTuple):
    """A field that an override can set.

    Attributes:
      name: the NAME in `--config.NAME=VALUE`; `*` stands for the key of a mapping.
      default: its default value; `dataclasses.MISSING` if it is required.
      meaning: its description from the docstring, in one line.
    """

    name: str
    default: Any
    meaning: str


def typed(hint: Any, value: Any, name: str) -> Any:
    """Checks a value against a type hint, and converts dicts to dataclasses and ints to floats.

    Args:
      hint: a dataclass, or the type of a field.
      value: the value.
      name: name of the value, for errors.

    Raises:
      UnisalError: an unknown or missing field, or a value of the wrong type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _record(typing.cast(type, hint), value, name)
    if origin in (types.UnionType, typing.Union):
        for argument in arguments:
            try:
                return typed(argument, value, name)
            except UnisalError:
                continue
    elif origin is Mapping and isinstance(value, dict):
        return {key: typed(arguments[1], each, f"{name}.{key}") for key, each in value.items()}
    elif origin is tuple and isinstance(value, tuple | list) and len(value) == len(arguments):
        return tuple(typed(a, each, name) for a, each in zip(arguments, value, strict=True))
    elif origin is Literal and value in arguments:
        return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool) == isinstance(value, bool):
        return value
    raise UnisalError(f"{name}: {value!r} is not {_expected(hint)}")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; omits empty mappings."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return leaves


def describe(cls: type, prefix: str = "") -> Iterator[Field]:
    """All fields of a dataclass and of the dataclasses in it, in order."""
    hints, meanings = typing.get_type_hints(cls), _meanings(cls)
    for field in dataclasses.fields(cls):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from describe(typing.cast(type, hint), f"{name}.")
            continue
        if typing.get_origin(hint) is Mapping and dataclasses.is_dataclass(typing.get_args(hint)[1]):
            yield from describe(typing.get_args(hint)[1], f"{name}.*.")
            continue
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        yield Field(name, default, meanings[field.name])


def _meanings(cls: type) -> dict[str, str]:
    """Field -> its description in the section `Attributes:` of the class's docstring."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    # An entry is indented by two spaces, its continuation lines by four.
    for entry in re.split(r"\n(?=  \S)", section):
        names, _, meaning = entry.partition(":")
        found |= dict.fromkeys(re.split(r",\s+", names.strip()), " ".join(meaning.split()))
    return found


def _record(cls: type, values: dict[str, Any], name: str) -> Any:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UnisalError(f"{name}.{key}: no such field; known: {', '.join(fields)}")
    for key, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and key not in values:
            raise UnisalError(f"{name}.{key}: not set")
    return cls(**{key: typed(hints[key], value, f"{name}.{key}") for key, value in values.items()})


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    return getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)
