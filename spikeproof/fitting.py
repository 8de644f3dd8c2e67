"""Does a value fit a type hint, and what would? Ranges, words, tuples, and what stands for another choice."""

import math
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from spikeproof.ranges import InEvents, InPixels


class Word(str):
    """What was typed on a command line: a text, or the `meaning` that YAML gives it. Its field decides which."""

    meaning: Any

    def __new__(cls, text: str, meaning: Any) -> Self:
        word = super().__new__(cls, text)
        word.meaning = meaning
        return word


class Unfit(Exception):
    """A `value` that its type hint does not allow; `wanted` would be right, and `at` is its place in a tuple.

    `hint` says how the same is written rightly, where that is known.
    """

    def __init__(self, value: Any, wanted: str, at: str = "", hint: str = "") -> None:
        super().__init__(wanted)
        self.value, self.wanted, self.at, self.hint = value, wanted, at, hint


WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    NoneType: "None",
    Path: "a path",
}
Build = Callable[[Any, type, str], Any]


def as_it_is(value: Any, kind: type, at: str) -> Any:
    """In Python a choice is an object already."""
    if not isinstance(value, kind):
        raise Unfit(value, described(kind), at)
    return value


def fit(value: Any, hint: Any, build: Build = as_it_is, at: str = "") -> Any:
    """`value` as the type `hint` has it; `build` makes choices of what stands for them. Raises `Unfit`."""
    bare, conditions = _parts(hint)
    if get_origin(bare) in (Union, UnionType):
        return _fit_union(value, bare, build, at)
    if isinstance(value, Word) and not _holds_text(bare, conditions):
        value = value.meaning
    if bare in (int, float):
        number = _number_of(value, bare, conditions)
        if number is None or not all(condition.allows(number) for condition in conditions):
            raise Unfit(value, described(hint), at, _without_point(value, bare, conditions))
        return number
    if get_origin(bare) is tuple:
        return _fit_tuple(value, bare, build, at)
    if get_origin(bare) is Literal:
        if not any(value == known and type(value) in (type(known), Word) for known in get_args(bare)):
            raise Unfit(value, described(hint), at)
        return next(known for known in get_args(bare) if known == value)
    if not isinstance(bare, type):
        return value
    if issubclass(bare, PurePath) and isinstance(value, str):
        return bare(value)
    return str(value) if bare is str and isinstance(value, Word) else build(value, bare, at)


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
            unfit = error if error.at != at else Unfit(error.value, described(union), at, error.hint)
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
        value = _fraction(value)
    if isinstance(value, float) and value.is_integer() and any(isinstance(c, InEvents) for c in conditions):
        value = int(value)  # of events, 10.0 is half of 20
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return None
    try:
        number: float = value if type(value) is kind else kind(value)  # type: ignore[assignment]
    except OverflowError:
        return None
    return number if kind is int or math.isfinite(number) else None


def _without_point(value: Any, kind: type, conditions: tuple[Any, ...]) -> str:
    """How a whole number is written, where 100.0 or 1e2 stands for one."""
    if kind is not int or not isinstance(value, float) or not value.is_integer():
        return ""
    return f": write {int(value)}" if all(condition.allows(int(value)) for condition in conditions) else ""


def _fraction(text: str) -> Any:
    """The number that a text such as 8/255 stands for; None where it stands for none."""
    from fractions import Fraction

    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def _holds_text(bare: Any, conditions: tuple[Any, ...]) -> bool:
    if get_origin(bare) is Literal:
        return all(isinstance(word, str) for word in get_args(bare))
    texts = isinstance(bare, type) and bare not in (int, float, bool)
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
