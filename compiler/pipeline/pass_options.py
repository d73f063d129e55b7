"""A pass's options: the fields of its dataclass, read from a pipeline's text.

The field `max_iterations` is the option `max-iterations`. A field may be an int, a float, a bool, a str, a Literal, a
tuple of any number of these, or one of them `| None`, where None is said by leaving the option out.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from atoll.compiler.errors import AtollError
from atoll.compiler.pipeline.pipeline_text import Option, PassText
from atoll.compiler.text.language import known_names, shown

Pass = TypeVar("Pass")

_INT = re.compile(r"-?[0-9]{1,4000}")  # int() refuses much longer ones
_BOOLS = {"true": True, "false": False}


def read_options(pass_class: type[Pass], element: PassText) -> Pass:
    """The pass that an element of a pipeline asks for."""
    fields = _fields(pass_class)
    values: dict[str, Any] = {}
    for option in element.options:
        field = fields.get(option.name)
        if field is None:
            raise option.fault(f"{element.name} has no option {shown(option.name)}", known_names(option.name, fields))
        try:
            values[field.name] = _read(field.type, option.value)
        except ValueError:
            found = shown(option.value) if isinstance(option.value, str) else option.value_text
            what = f"{element.name}: option {option.name} takes {_type_text(field.type)}, not {found}"
            raise option.value_fault(what) from None
    for name, field in fields.items():
        if field.name not in values and _is_required(field):
            remedy = f"write {element.name}{{{name}=...}}"
            raise element.fault(f"{element.name}: option {name} ({_type_text(field.type)}) is missing", remedy)
    try:
        return pass_class(**values)
    except AtollError as fault:
        raise element.fault(f"{element.name}: {fault.what}", fault.remedy) from None
    except ValueError as fault:
        raise element.fault(f"{element.name}: {fault}") from None


def pass_text(step: object, name: str) -> PassText:
    """What reads as this pass: its name, and the options that are not as they are by default."""
    found = {option: (field, getattr(step, field.name)) for option, field in _fields(type(step)).items()}
    return PassText(
        name,
        tuple(
            Option(option, _write(value))
            for option, (field, value) in found.items()
            if value is not None and (_is_required(field) or value != _default(field))
        ),
    )


def describe_options(pass_class: type) -> str:
    """The options for a help text: `microbatches=int, rate=float (default 0.5)`; empty if there are none."""
    return ", ".join(
        f"{name}={_type_text(field.type)}{_default_text(field)}" for name, field in _fields(pass_class).items()
    )


@dataclasses.dataclass(frozen=True)
class _Field:
    """A field of a pass, with its type as an object even where the source writes a string."""

    name: str
    type: Any
    default: Any
    factory: Any


def _fields(pass_class: type) -> Mapping[str, _Field]:
    """The fields by the name of their option."""
    types_of = typing.get_type_hints(pass_class)
    return {
        field.name.replace("_", "-"): _Field(field.name, types_of[field.name], field.default, field.default_factory)
        for field in dataclasses.fields(pass_class)
        if field.init
    }


def _is_required(field: _Field) -> bool:
    return field.default is dataclasses.MISSING and field.factory is dataclasses.MISSING


def _default(field: _Field) -> Any:  # noqa: ANN401 (the type is the field's)
    return field.default if field.factory is dataclasses.MISSING else field.factory()


def _default_text(field: _Field) -> str:
    if _is_required(field):
        return ""
    default = _default(field)
    return " (optional)" if default is None else f" (default {Option('default', _write(default)).value_text})"


def _without_none(kind: Any) -> Any:  # noqa: ANN401 (any annotation)
    """X of `X | None`, and any other type as it is."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return kind
    rest = [member for member in typing.get_args(kind) if member is not types.NoneType]
    if len(rest) != 1:
        raise _unsupported(kind)
    return rest[0]


def _unsupported(kind: object) -> TypeError:
    # A defect of the pass, not of the text: whoever writes the pass sees it at once.
    return TypeError(f"a pass's option cannot have type {kind}; pass_options.py lists those that it can have")


def _is_tuple(kind: Any) -> bool:  # noqa: ANN401 (any annotation)
    if typing.get_origin(kind) is not tuple:
        return False
    if typing.get_args(kind)[1:] != (...,):
        raise _unsupported(kind)
    return True


def _read(kind: Any, value: str | tuple[str, ...]) -> Any:  # noqa: ANN401 (any annotation, and a value of it)
    """The value as the type; ValueError if it is none of it."""
    kind = _without_none(kind)
    if _is_tuple(kind):
        if isinstance(value, str):
            raise ValueError(value)
        return tuple(_read_one(typing.get_args(kind)[0], item) for item in value)
    if not isinstance(value, str):
        raise ValueError(value)
    return _read_one(kind, value)


def _read_one(kind: Any, value: str) -> Any:  # noqa: ANN401 (any annotation, and a value of it)
    if typing.get_origin(kind) is Literal:
        return _pick({_write_one(member): member for member in typing.get_args(kind)}, value)
    if kind is bool:
        return _pick(_BOOLS, value)
    if kind is int:
        if not _INT.fullmatch(value):
            raise ValueError(value)
        return int(value)
    if kind is float:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(value)
        return number
    if kind is str:
        return value
    raise _unsupported(kind)


def _pick(choices: Mapping[str, Any], value: str) -> Any:  # noqa: ANN401 (one of the choices)
    if value not in choices:
        raise ValueError(value)
    return choices[value]


def _type_text(kind: Any) -> str:  # noqa: ANN401 (any annotation)
    """A type as a user reads it: `int`, `fast|small`, `[int, ...]`."""
    kind = _without_none(kind)
    if _is_tuple(kind):
        return f"[{_type_text(typing.get_args(kind)[0])}, ...]"
    if typing.get_origin(kind) is Literal:
        return "|".join(_write_one(member) for member in typing.get_args(kind))
    if kind not in (bool, int, float, str):
        raise _unsupported(kind)
    name: str = kind.__name__
    return name


def _write(value: object) -> str | tuple[str, ...]:
    return tuple(_write_one(item) for item in value) if isinstance(value, tuple) else _write_one(value)


def _write_one(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        return str(value)
    raise TypeError(f"{value!r} cannot be written as an option")
