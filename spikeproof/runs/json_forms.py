"""How does a record become JSON, and JSON a record of the right types? By its type hints."""

import dataclasses
import math
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from spikeproof.untrusted.words import told

Kind = TypeVar("Kind")


def as_json(value: Any) -> Any:
    """Plain JSON types; named tuples become objects, as dataclasses do."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    return value


def from_json(content: Any, kind: type[Kind]) -> Kind:
    """The record of type `kind`; raises `TypeError` or `ValueError` that names the field that is not as it should be.

    A field that is not known is refused, and so is a missing one that has no default.
    """
    return _read(content, kind, kind.__name__)


def _read(content: Any, kind: Any, where: str) -> Any:
    if kind is Any:
        _refuse_odd_choice(content, where)
        return content
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        if content is None and type(None) in inside:
            return None
        return _read(content, next(choice for choice in inside if choice is not type(None)), where)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _fields(content, kind, where)
    if origin is tuple:
        return tuple(_read(item, inside[0], f"{where}[{i}]") for i, item in enumerate(_a(list, content, where)))
    if origin is dict:
        if inside[1] is Any:
            _refuse_odd_choice(content, where)
        return {name: _read(item, inside[1], f"{where}.{name}") for name, item in _a(dict, content, where).items()}
    if kind is float:
        if not math.isfinite(number := float(_a((int, float), content, where))):
            raise ValueError(f"{where} is {content}, and no finite number")
        return number
    return _a(kind, content, where)


def _refuse_odd_choice(content: Any, where: str) -> None:
    """A choice that is written down, at any depth, has a text as its class, and its fields by name."""
    if isinstance(content, list):
        for number, item in enumerate(content):
            _refuse_odd_choice(item, f"{where}[{number}]")
    elif isinstance(content, dict):
        if "class_path" in content:
            _a(str, content["class_path"], f"{where}.class_path")
        if content.get("init_args") is not None:
            _a(dict, content["init_args"], f"{where}.init_args")
        for name, item in content.items():
            _refuse_odd_choice(item, f"{where}.{name}")


def _fields(content: Any, kind: Any, where: str) -> Any:
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name in _names(kind)}
    known = set(_a(dict, content, where))
    if unknown := sorted(map(str, known - hints.keys())):
        raise ValueError(f"{where} has no field {', '.join(unknown)}")
    if missing := sorted(_needed(kind) - known):
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return kind(**{name: _read(item, hints[name], f"{where}.{name}") for name, item in content.items()})


def _needed(kind: Any) -> set[str]:
    if hasattr(kind, "_fields"):
        return set(kind._fields) - kind._field_defaults.keys()
    absent = dataclasses.MISSING
    return {f.name for f in dataclasses.fields(kind) if f.default is absent and f.default_factory is absent}


def _names(kind: Any) -> tuple[str, ...]:
    return kind._fields if hasattr(kind, "_fields") else tuple(field.name for field in dataclasses.fields(kind))


def _a(kind: Any, content: Any, where: str) -> Any:
    wrong = isinstance(content, bool) and kind is not bool
    if wrong or not isinstance(content, kind):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{where} is {told(content)}, and not {wanted}")
    return content
