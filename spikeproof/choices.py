"""What can be chosen, and who checks it? A `Choice`: a frozen dataclass whose type hints say what each field may hold.

``Annotated[int, AtLeast(1)]`` is a whole number from 1 on, ``Literal["hard", "soft"]`` one of two words, `Pixels` a
length that may be written "8/255", and a field of type `Threat` takes a threat and nothing else.
"""

import dataclasses
import difflib
import functools
import inspect
from abc import ABC
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Self, TypeVar, get_type_hints

from spikeproof.fitting import Build, Unfit, as_it_is, fit
from spikeproof.ranges import (
    Above,
    AtLeast,
    Count,
    EventCount,
    NonNegative,
    Pixels,
    Positive,
    Seed,
    Share,
    Steps,
    Within,
)
from spikeproof.untrusted.words import told

__all__ = [
    "Above",
    "Advice",
    "AtLeast",
    "Choice",
    "Count",
    "EventCount",
    "NonNegative",
    "Pixels",
    "Positive",
    "Seed",
    "Share",
    "Steps",
    "UserError",
    "Within",
    "default_of",
    "fields_of",
    "fit_field",
    "nearest",
    "pixels",
    "refuse_unknown",
    "refuse_wrong_names",
    "short",
    "whole_number",
    "within",
]

C = TypeVar("C", bound="Choice")


class UserError(ValueError):
    """A mistake that the user can mend; the message says what was wrong and what would be right."""


class Advice(UserError):
    """One whose message ends with what to write, of as many lines as that has."""


class Choice(ABC):  # noqa: B024 - each kind says what is abstract
    """Everything that can be chosen. A subclass is a frozen dataclass; its fields are checked by their type hints.

    Whole numbers become floats where a float is meant, lists tuples, and "8/255" a float. A class with conditions over
    several fields extends ``__post_init__``. Raises `UserError` for a field that does not exist or is missing, and for
    a value that its field cannot hold.
    """

    def __new__(cls, *positional: Any, **given: Any) -> Self:
        if positional or given:  # a copy is made without
            refuse_wrong_names(cls, given, len(positional))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name in fields_of(type(self)):
            given = getattr(self, name)
            value = fit_field(type(self), name, given)
            if value is not given:
                object.__setattr__(self, name, value)


def refuse_wrong_names(cls: type[Choice], given: Iterable[str], first: int = 0) -> None:
    """Raise `UserError` for a name that is no field of `cls`, and for a missing field; `first` fields have no name."""
    fields = _parameters(cls)
    if fields is None:
        return
    for name in given:
        refuse_unknown(name, fields, cls)
    missing = [name for name, needed in list(fields.items())[first:] if needed and name not in given]
    if missing:
        raise UserError(f"{cls.__name__} needs {' and '.join(map(repr, missing))}")


def refuse_unknown(name: str, fields: Iterable[str], cls: type) -> None:
    """Raise `UserError` unless `name` is one of the `fields` of `cls`."""
    if name not in fields:
        hint = nearest(str(name), fields) if fields else "it has none"
        raise UserError(f"{cls.__name__} has no field {told(name)}; {hint}")


@functools.cache
def fields_of(cls: Any) -> dict[str, Any]:
    """The type hint of every field of a choice, by name."""
    if not dataclasses.is_dataclass(cls):
        return {}
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


@functools.cache
def default_of(cls: Any, name: str) -> Any:
    """What the field `name` holds where nothing is said; `dataclasses.MISSING` where something has to be."""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    return field.default_factory() if callable(field.default_factory) else field.default


@functools.cache
def _parameters(cls: type) -> dict[str, bool] | None:
    """The parameters of its constructor, and which have to be given; None where it takes anything."""
    parameters = list(inspect.signature(cls).parameters.values())
    if any(parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) for parameter in parameters):
        return None
    return {parameter.name: parameter.default is parameter.empty for parameter in parameters}


def fit_field(cls: type, name: str, value: Any, build: Build = as_it_is) -> Any:
    """`value` as the field `name` of `cls` holds it; raises `UserError` where it cannot."""
    try:
        return fit(value, fields_of(cls)[name], build)
    except Unfit as error:
        said = short(error.value) if isinstance(error.value, Choice) else told(error.value)
        raise UserError(f"{name}{error.at} of {cls.__name__} must be {error.wanted}, not {said}{error.hint}") from None


def within(choice: Any, kind: type[C]) -> Iterator[C]:
    """Every choice of type `kind` in the fields of `choice`, itself too, at any depth."""
    if isinstance(choice, kind):
        yield choice
    if isinstance(choice, tuple):
        for part in choice:
            yield from within(part, kind)
    elif isinstance(choice, Choice):
        for name in fields_of(type(choice)):
            yield from within(getattr(choice, name), kind)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message for an unknown `name`: the nearest known one, or all of them."""
    known = sorted(set(known))
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return f"did you mean {lowered[close[0]]!r}?" if close else f"known are: {', '.join(known)}"


def pixels(value: float | str, name: str) -> float:
    """A length in pixel units, from a number or a fraction such as ``"8/255"``; `name` is for the error."""
    try:
        length: float = fit(value, Pixels)
    except Unfit as error:
        raise UserError(f"{name} must be {error.wanted}, not {told(value)}") from None
    return length


def whole_number(name: str, value: Any, least: int) -> int:
    """`value`, an argument called `name`; raises `UserError` unless it is a whole number from `least` on."""
    try:
        number: int = fit(value, Annotated[int, AtLeast(least)])
    except Unfit as error:
        raise UserError(f"{name} must be {error.wanted}, not {value!r}{error.hint}") from None
    return number


def short(value: Any) -> str:
    """A short name for a choice: its class, and the fields that differ from their defaults."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(short, value))}]"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if type(value).__str__ is not object.__str__:
        return str(value)
    parts = []
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if given != default:
            parts.append(f"{field.name}={short(given)}")
    return f"{type(value).__name__}({', '.join(parts)})" if parts else type(value).__name__
