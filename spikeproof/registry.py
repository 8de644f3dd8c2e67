"""Which classes are there to choose from? Those of spikeproof, those of plug-ins, and, if trusted, any other.

A package names its own choices in the entry point group ``spikeproof``: classes, or modules that hold them.
"""

import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from spikeproof.choices import Choice, UserError, nearest
from spikeproof.untrusted.words import brief, printable, told

GROUP = "spikeproof"


def known(kind: type) -> dict[str, type]:
    """The public, concrete classes of one kind, by name: spikeproof's own, then those of plug-ins."""
    return {cls.__name__: cls for cls in (*_of_kind(plugged_in(), kind), *_of_kind(own(), kind))}


def named(name: str, kind: type, *, trust: bool = False) -> type:
    """The class of type `kind` that `name` means: PGD, spikeproof.PGD or mypackage.attacks.MyAttack.

    Raises `UserError` for an unknown name, for a class of another kind, and, unless `trust` is set, for code that
    neither spikeproof nor a plug-in names: it is not even imported.
    """
    package, _, last = name.rpartition(".")
    if name in (kind.__name__, path_of(kind)) and not inspect.isabstract(kind):
        return kind
    if package and name.partition(".")[0] != "spikeproof":
        return _foreign(name, kind, trust)
    if found := next((cls for cls in _of_kind(own(), kind) if cls.__name__ == last), None):
        return found
    if found := known(kind).get(name):
        return found
    other = next((cls for cls in (*own(), *plugged_in()) if cls.__name__ == last), None)
    if other is not None:
        raise UserError(f"{last} is no {kind.__name__}; known are: {', '.join(sorted(known(kind)))}")
    raise UserError(f"there is no {kind.__name__} {told(name)}; {nearest(last, known(kind))}")


@functools.cache
def own() -> tuple[type[Choice], ...]:
    """Every choice that spikeproof names."""
    from spikeproof.everything import ROOMS

    return tuple(dict.fromkeys(cls for room in ROOMS for cls in _choices_in(room)))


@functools.cache
def plugged_in() -> tuple[type[Choice], ...]:
    """Every choice that installed packages name; one that cannot be imported is warned of and left out."""
    for one in plug_ins():
        if one.error:
            said = f"{one.name} ({one.value}) of {one.package}"
            warnings.warn(f"the plug-in {said} cannot be imported, and is left out: {one.error}", stacklevel=2)
    return tuple(dict.fromkeys(cls for one in plug_ins() for cls in one.choices))


@dataclass(frozen=True, kw_only=True)
class PlugIn:
    """An entry point: what it names, the package that it is of, and its choices, or in one line why it has none."""

    name: str
    value: str
    package: str
    choices: tuple[type[Choice], ...] = ()
    error: str = ""


@functools.cache
def plug_ins() -> tuple[PlugIn, ...]:
    """Every entry point of the group ``spikeproof``, imported once."""
    return tuple(map(_imported, sorted(entry_points(group=GROUP), key=lambda point: point.name)))


def _imported(point: EntryPoint) -> PlugIn:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else point.module.partition(".")[0]
    one = PlugIn(name=printable(point.name), value=printable(point.value), package=printable(package))
    try:
        return replace(one, choices=tuple(_choices_of(point.load())))
    except (Exception, SystemExit) as error:  # whatever that package raises
        said = printable(brief(" ".join(str(error).split())))
        return replace(one, error=f"{type(error).__name__}: {said}")


def _choices_of(thing: object) -> list[type[Choice]]:
    """What an entry point names: one class, or all those of a module."""
    if isinstance(thing, ModuleType):
        return list(_choices_in(thing))
    if isinstance(thing, type) and issubclass(thing, Choice):
        return [thing]
    raise TypeError(f"{thing!r} is neither a module nor a class that can be chosen")


def _choices_in(module: ModuleType) -> Iterator[type[Choice]]:
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    for thing in (getattr(module, name) for name in names):
        if isinstance(thing, type) and issubclass(thing, Choice) and not inspect.isabstract(thing):
            yield thing


def _of_kind(classes: tuple[type[Choice], ...], kind: type) -> list[type]:
    return [cls for cls in classes if issubclass(cls, kind)]


def _foreign(name: str, kind: type, trust: bool) -> type:
    """The class of a dotted name: a plug-in's, or one that is imported now."""
    for cls in plugged_in():
        if path_of(cls) == name:
            return _checked(cls, kind)
    if not trust:
        raise UserError(
            f"{told(name)} is code from outside spikeproof; it is only used with --trust, and only if you know who "
            "wrote it"
        )
    package, _, last = name.rpartition(".")
    module = imported(package)
    found = getattr(module, last, None)
    if found is None:
        there = [cls.__name__ for cls in _choices_in(module) if issubclass(cls, kind)]
        hint = nearest(last, there) if there else f"it holds no {kind.__name__}"
        raise UserError(f"{package} holds no class {told(last)}; {hint}")
    return _checked(found, kind)


def imported(module: str) -> ModuleType:
    """A module of the user's own; the current folder is looked in first. Raises `UserError` where that fails."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever that code raises
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise UserError(f"there is no module {error.name!r}, neither in {here} nor installed") from error
        raise UserError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error


def _checked(cls: type, kind: type) -> type:
    if not (isinstance(cls, type) and issubclass(cls, kind) and not inspect.isabstract(cls)):
        raise UserError(f"{getattr(cls, '__name__', cls)} is no {kind.__name__} that can be chosen")
    return cls


def path_of(cls: type) -> str:
    """The name under which a class is written down: its own for spikeproof's, with its module for others."""
    inside = cls.__module__.split(".")[0] == "spikeproof"
    return cls.__name__ if inside else f"{cls.__module__}.{cls.__qualname__}"
