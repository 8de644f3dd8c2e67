"""How is a choice (a frozen dataclass such as ``TRADES(beta=6)``) written down, and read back?

A choice is written as ``{"class_path": "TRADES", "init_args": {"beta": 6.0}}``, the form that configs, run
folders and the command line share. Reading it back checks every name and every type, and never imports code
from outside spikeproof unless the caller trusts it.
"""

import contextlib
import dataclasses
import difflib
import io
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jsonargparse
from jsonargparse import _typehints

if TYPE_CHECKING:
    Pixels = float
else:
    Pixels = float | str  # a field of this type also takes "8/255", on the command line too, and holds a float


FREE_TEXT = ("name", "file", "folder", "keys", "classes")  # fields that hold a text, and nowhere a choice
OWN_NAME = re.compile(r"\w+|spikeproof(\.\w+)+|\d+(\.\d+)?(/\d+)?")


def _begin_anew(parser: Any, former: Any, chosen: Any) -> None:
    """Another class begins with its own defaults: jsonargparse would keep LIF's leak where DLIF is chosen instead.

    What was set for the class before it is dropped: a class is named before its settings.
    """
    if former and "init_args" in former and former["class_path"] != chosen["class_path"]:
        former["init_args"] = jsonargparse.Namespace()


_typehints.discard_init_args_on_class_path_change = _begin_anew


class UserError(ValueError):
    """A mistake that the user can mend; the message says what was wrong and what would be right."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message for an unknown `name`: the nearest known one, or all of them."""
    known = sorted(set(known))
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return f"did you mean {lowered[close[0]]!r}?" if close else f"known are: {', '.join(known)}"


def pixels(value: float | str, name: str) -> float:
    """A length in pixel units, from a number or a fraction such as ``"8/255"``; `name` is for the error."""
    try:
        length = float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(f"{name} {value!r} is no number: write 8/255 or 0.031") from error
    if not 0 <= length < float("inf"):
        raise UserError(f"{name} must be a number from 0 on, not {value}; write 8/255 or 0.031")
    return length


def to_config(value: Any) -> Any:
    """`value` as plain JSON types; frozen dataclasses become ``{"class_path", "init_args"}``, recursively."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        inside = kind.__module__.split(".")[0] == "spikeproof"
        path = kind.__name__ if inside else f"{kind.__module__}.{kind.__qualname__}"
        fields = {f.name: to_config(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class_path": path, "init_args": fields}
    if isinstance(value, tuple | list):
        return [to_config(v) for v in value]
    if isinstance(value, dict):
        return {k: to_config(v) for k, v in value.items()}
    return value


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


def from_config(config: Any, kind: type, *, trust: bool = False) -> Any:
    """The choice of type `kind` that `config` (made by `to_config`) describes.

    Raises `UserError` for unknown names, unknown or ill-typed fields, and, unless `trust` is set, for any
    class that does not come from spikeproof.
    """
    if not trust:
        _refuse_foreign_code(config)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--spec", type=kind)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parser.instantiate(parser.parse_object({"spec": config})).spec
    except (jsonargparse.ArgumentError, TypeError, ValueError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"not a valid {kind.__name__}: {str(error).strip()}") from error


def _refuse_foreign_code(config: Any) -> None:
    """Only names that need no import: a parser takes a dotted name for a class wherever a choice may stand."""
    if isinstance(config, dict):
        for key, value in config.items():
            texts = value if isinstance(value, list) else [value]
            if not (key in FREE_TEXT and all(isinstance(text, str) for text in texts)):
                _refuse_foreign_code(value)
    elif isinstance(config, list):
        for value in config:
            _refuse_foreign_code(value)
    elif isinstance(config, str) and not OWN_NAME.fullmatch(config):
        raise UserError(
            f"{config!r} is code from outside spikeproof, or no name at all; it is only used with --trust, "
            "and only if you know who wrote it"
        )
