"""What can be chosen, and who checks it? A `Choice`: a frozen dataclass whose type hints say what each field may hold.

``Annotated[int, AtLeast(1)]`` is a whole number from 1 on, ``Literal["hard", "soft"]`` one of two words, `Pixels` a
length that may be written "8/255", and a field of type `Threat` takes a threat and nothing else.
"""

import dataclasses
import difflib
import functools
import inspect
import math
from abc import ABC
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral, Real
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C", bound="Choice")


class UserError(ValueError):
    """A mistake that the user can mend; the message says what was wrong and what would be right."""


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Numbers from `least` on."""

    least: float

    def allows(self, number: float) -> bool:
        return number >= self.least

    def __str__(self) -> str:
        return f"from {self.least:g} on"


@dataclasses.dataclass(frozen=True)
class Above:
    """Numbers above `low`."""

    low: float

    def allows(self, number: float) -> bool:
        return number > self.low

    def __str__(self) -> str:
        return f"above {self.low:g}"


@dataclasses.dataclass(frozen=True)
class Within:
    """Numbers between `low` and `high`; a round bracket in `ends` leaves out its end, as in mathematics."""

    low: float
    high: float
    ends: Literal["[]", "[)", "(]", "()"] = "[]"

    def allows(self, number: float) -> bool:
        above = number >= self.low if self.ends[0] == "[" else number > self.low
        return above and (number <= self.high if self.ends[1] == "]" else number < self.high)

    def __str__(self) -> str:
        return f"in {self.ends[0]}{_number(self.low)}, {_number(self.high)}{self.ends[1]}"


class InPixels(AtLeast):
    """Lengths in pixel units, from 0 on; they may be written as a fraction."""

    def __str__(self) -> str:
        return f"{super().__str__()} (write 8/255 or 0.031)"


Count = Annotated[int, AtLeast(1)]
Seed = Annotated[int, AtLeast(0)]
Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Above(0)]
NonNegative = Annotated[float, AtLeast(0)]
Pixels = Annotated[float, InPixels(0)]


class Word(str):
    """What was typed on a command line: a text, or the `meaning` that YAML gives it. Its field decides which."""

    meaning: Any

    def __new__(cls, text: str, meaning: Any) -> Self:
        word = super().__new__(cls, text)
        word.meaning = meaning
        return word


class Choice(ABC):  # noqa: B024 - each kind says what is abstract
    """Everything that can be chosen. A subclass is a frozen dataclass; its fields are checked by their type hints.

    Whole numbers become floats where a float is meant, lists tuples, and "8/255" a float. A class with conditions over
    several fields extends ``__post_init__``. Raises `UserError` for a field that does not exist or is missing, and for
    a value that its field cannot hold.
    """

    def __new__(cls, *positional: Any, **given: Any) -> Self:
        fields = _parameters(cls)
        if fields is not None:
            for name in given:
                refuse_unknown(name, fields, cls)
            missing = [name for name in list(fields)[len(positional) :] if fields[name] and name not in given]
            if missing:
                raise UserError(f"{cls.__name__} needs {' and '.join(map(repr, missing))}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name in fields_of(type(self)):
            given = getattr(self, name)
            value = fit_field(type(self), name, given)
            if value is not given:
                object.__setattr__(self, name, value)


def refuse_unknown(name: str, fields: Iterable[str], cls: type) -> None:
    """Raise `UserError` unless `name` is one of the `fields` of `cls`."""
    if name not in fields:
        hint = nearest(str(name), fields) if fields else "it has none"
        raise UserError(f"{cls.__name__} has no field {name!r}; {hint}")


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


class Unfit(Exception):
    """A `value` that its type hint does not allow; `wanted` would be right, and `at` is its place in a tuple."""

    def __init__(self, value: Any, wanted: str, at: str = "") -> None:
        super().__init__(wanted)
        self.value, self.wanted, self.at = value, wanted, at


WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    NoneType: "None",
    Path: "a path",
}
Build = Callable[[Any, type, str], Any]


def _as_it_is(value: Any, kind: type, at: str) -> Any:
    """In Python a choice is an object already."""
    if not isinstance(value, kind):
        raise Unfit(value, described(kind), at)
    return value


def fit_field(cls: type, name: str, value: Any, build: Build = _as_it_is) -> Any:
    """`value` as the field `name` of `cls` holds it; raises `UserError` where it cannot."""
    try:
        return fit(value, fields_of(cls)[name], build)
    except Unfit as error:
        said = short(error.value) if isinstance(error.value, Choice) else repr(error.value)
        raise UserError(f"{name}{error.at} of {cls.__name__} must be {error.wanted}, not {said}") from None


def fit(value: Any, hint: Any, build: Build = _as_it_is, at: str = "") -> Any:
    """`value` as the type `hint` has it; `build` makes choices of what stands for them. Raises `Unfit`."""
    bare, conditions = _parts(hint)
    if get_origin(bare) in (Union, UnionType):
        return _fit_union(value, bare, build, at)
    if isinstance(value, Word) and not _holds_text(bare, conditions):
        value = value.meaning
    if bare in (int, float):
        number = _number_of(value, bare, conditions)
        if number is None or not all(condition.allows(number) for condition in conditions):
            raise Unfit(value, described(hint), at)
        return number
    if get_origin(bare) is tuple:
        return _fit_tuple(value, bare, build, at)
    if get_origin(bare) is Literal:
        if not any(value == known and type(value) in (type(known), Word) for known in get_args(bare)):
            raise Unfit(value, described(hint), at)
        return next(known for known in get_args(bare) if known == value)
    if not isinstance(bare, type):
        return value
    if issubclass(bare, Choice):
        return build(value, bare, at)
    if issubclass(bare, PurePath) and isinstance(value, str):
        return bare(value)
    if not isinstance(value, bare):
        raise Unfit(value, described(hint), at)
    return str(value) if isinstance(value, Word) else value


def _fit_union(value: Any, union: Any, build: Build, at: str) -> Any:
    empty = value.meaning if isinstance(value, Word) else value
    if NoneType in get_args(union) and (empty is None or (empty == "None" and str not in get_args(union))):
        return None
    unfit = Unfit(value, described(union), at)
    for hint in get_args(union):
        if hint is NoneType:
            continue
        try:
            return fit(value, hint, build, at)
        except Unfit as error:
            unfit = error if error.at != at else Unfit(error.value, described(union), at)
    raise unfit


def _fit_tuple(value: Any, hint: Any, build: Build, at: str) -> Any:
    parts = get_args(hint)
    if not isinstance(value, tuple | list) or (... not in parts and len(parts) != len(value)):
        raise Unfit(value, described(hint), at)
    kinds = parts[:1] * len(value) if ... in parts else parts
    fitted = tuple(fit(v, kind, build, f"{at}[{k}]") for k, (v, kind) in enumerate(zip(value, kinds, strict=True)))
    same = isinstance(value, tuple) and all(new is old for new, old in zip(fitted, value, strict=True))
    return value if same else fitted


def _number_of(value: Any, kind: type, conditions: tuple[Any, ...]) -> float | None:
    """`value` as an int or a finite float, or None if it is none: True is no number, and 1.0 no whole one."""
    if isinstance(value, str) and any(isinstance(condition, InPixels) for condition in conditions):
        from fractions import Fraction

        try:
            value = float(Fraction(value))
        except (ValueError, ZeroDivisionError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return None
    number: float = value if type(value) is kind else kind(value)  # type: ignore[assignment]
    return number if math.isfinite(number) else None


def _holds_text(bare: Any, conditions: tuple[Any, ...]) -> bool:
    if get_origin(bare) is Literal:
        return all(isinstance(word, str) for word in get_args(bare))
    texts = isinstance(bare, type) and issubclass(bare, str | PurePath | Choice)
    return texts or any(isinstance(condition, InPixels) for condition in conditions)


def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type of a hint, and the conditions that `Annotated` adds."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    bare, *conditions = get_args(hint)
    return bare, tuple(condition for condition in conditions if hasattr(condition, "allows"))


def described(hint: Any) -> str:
    """What a field of this type may hold, in words: "a whole number from 1 on"."""
    bare, conditions = _parts(hint)
    if get_origin(bare) in (Union, UnionType):
        return " or ".join(described(part) for part in get_args(bare))
    if get_origin(bare) is Literal:
        return " or ".join(map(repr, get_args(bare)))
    if get_origin(bare) is tuple:
        parts = get_args(bare)
        if ... in parts:
            return f"a list, each of it {described(parts[0])}"
        return f"a list of {len(parts)}, each of it {described(parts[0])}"
    named = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        type(None): "None",
        Path: "a path",
    }
    name = named.get(bare) or _with_article(getattr(bare, "__name__", str(bare)))
    return " ".join([name, ", ".join(map(str, conditions))]).strip()


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _number(value: float) -> str:
    return "inf" if value == math.inf else f"{value:g}"


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
        raise UserError(f"{name} must be {error.wanted}, not {value!r}") from None
    return length


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
