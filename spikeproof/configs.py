"""How is a choice written down, and read back?

A choice is written as ``{"class_path": "TRADES", "init_args": {"beta": 6.0}}``, the form that configs, run folders and
the command line share. A bare name means a class with its defaults; a mapping without a class_path sets fields of the
class that stands there anyway. What is not said keeps the default of the place: the attack of `TRADES` begins near
the image, whatever else is set of it, until another class is chosen.
"""

import dataclasses
import inspect
from typing import Any

from spikeproof.choices import Choice, UserError, default_of, fields_of, fit_field, refuse_unknown, refuse_wrong_names
from spikeproof.fitting import Unfit, Word, described
from spikeproof.registry import known, named, path_of
from spikeproof.untrusted.words import told


def to_config(value: Any) -> Any:
    """`value` as plain JSON types; choices become ``{"class_path", "init_args"}``, recursively."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_config(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class_path": path_of(type(value)), "init_args": fields}
    if isinstance(value, tuple | list):
        return [to_config(v) for v in value]
    if isinstance(value, dict):
        return {k: to_config(v) for k, v in value.items()}
    return value


def differing(written: Any, value: Any, at: str = "") -> list[str]:
    """The dotted names of what a written choice says otherwise than `value`; empty if it is the same choice.

    A field that did not exist when it was written has its default there.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return [] if written == to_config(value) else [at or "all"]
    if not isinstance(written, dict) or written.get("class_path") != path_of(type(value)):
        return [at or "all"]
    given, names = written.get("init_args") or {}, []
    fields = {field.name: field for field in dataclasses.fields(value)}
    for name, field in fields.items():
        own, inside = getattr(value, name), f"{at}.{name}" if at else name
        if name in given:
            names += differing(given[name], own, inside)
        elif own != (field.default_factory() if callable(field.default_factory) else field.default):
            names.append(inside)
    return names + [f"{at}.{name}" if at else name for name in given if name not in fields]


def from_config(config: Any, kind: type, *, trust: bool = False, default: Any = None, where: str = "") -> Any:
    """The choice of type `kind` that `config` (made by `to_config`) describes; `default` stands there if nothing does.

    Raises `UserError` for unknown names, unknown or ill-typed fields, and, unless `trust` is set, for any class that
    comes neither from spikeproof nor from a plug-in. `where` is the dotted place that the message names.
    """
    if isinstance(config, kind):
        return config
    try:
        cls, given = _told_apart(config, kind, default, trust)
    except Unfit as error:
        raise UserError(f"{where or 'the configuration'} must be {error.wanted}, not {told(error.value)}") from None
    except UserError as error:
        raise _located(error, where) from error
    same = type(default) is cls
    settled = {name: getattr(default, name) for name in fields_of(cls)} if same else {}
    for name, value in given.items():
        at = f"{where}.{name}" if where else str(name)
        try:
            refuse_unknown(name, fields_of(cls), cls)
        except UserError as error:
            raise _located(error, at) from None
        settled[name] = _field(cls, name, value, settled, trust, at)
    try:
        refuse_wrong_names(cls, settled)
        return cls(**settled)
    except UserError as error:
        raise _located(error, where) from error


def _field(cls: type, name: str, value: Any, settled: dict[str, Any], trust: bool, where: str) -> Any:
    default = settled[name] if name in settled else default_of(cls, name)
    inner = []

    def build(value: Any, kind: type, at: str) -> Any:
        if not isinstance(value, str | dict | kind):
            raise Unfit(value, described(kind), at)
        try:
            return from_config(value, kind, trust=trust, default=None if at else default, where=f"{where}{at}")
        except UserError as error:
            inner.append(error)
            raise

    try:
        return fit_field(cls, name, value, build)
    except UserError as error:
        raise error if error in inner else _located(error, where) from None


def _told_apart(config: Any, kind: type, default: Any, trust: bool) -> tuple[type, dict[str, Any]]:
    """The class that `config` describes, and the fields that it sets."""
    if isinstance(config, Word):
        config = config.meaning if isinstance(config.meaning, dict) else str(config)
    if isinstance(config, str):
        config = {"class_path": config}
    if not isinstance(config, dict):
        raise Unfit(config, described(kind))
    written = set(config) <= {"class_path", "init_args"} and bool(config)
    fields = (config.get("init_args") or {}) if written else config
    if not isinstance(fields, dict):
        raise UserError(f"init_args must be a mapping from fields to values, not {told(fields)}")
    if "class_path" in config:
        if not written:
            extra = next(key for key in config if key not in ("class_path", "init_args"))
            raise UserError(f"{told(extra)} stands beside class_path: the fields of a choice stand under init_args")
        return named(str(config["class_path"]), kind, trust=trust), fields
    if isinstance(default, Choice):
        return type(default), fields
    if inspect.isabstract(kind):
        raise UserError(
            f"say by its name (class_path) which {kind.__name__} is meant: {', '.join(sorted(known(kind)))}"
        )
    return kind, fields


def _located(error: UserError, where: str) -> UserError:
    """The same error, and the place where it happened, unless the message says that already."""
    return UserError(f"{error}\nin {where}") if "." in where or "[" in where else UserError(str(error))
