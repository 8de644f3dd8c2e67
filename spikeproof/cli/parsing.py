"""What do the words of a command line mean? Options of a command's function, or fields of a choice among them.

``--objective TRADES`` chooses a class, and ``--objective.beta 3`` sets a field of it, in whatever order they come.
"""

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from spikeproof.choices import Choice, UserError, fields_of, nearest
from spikeproof.cli.files import fields_in
from spikeproof.configs import from_config
from spikeproof.fitting import Unfit, Word, fit
from spikeproof.training import Recipe
from spikeproof.untrusted.settings import yaml_in
from spikeproof.untrusted.texts import Unreadable
from spikeproof.untrusted.words import told

Command = Callable[..., None]


@dataclass
class Node:
    """What was said of one option, and of the fields under it."""

    said: Word | None = None
    fields: dict[str, "Node"] = field(default_factory=dict)

    def put(self, path: list[str], word: Word) -> None:
        if not path:
            self.said = word
            return
        self.fields.setdefault(path[0], Node()).put(path[1:], word)

    def config(self) -> Any:
        """The form that `from_config` reads: a class first, then its fields."""
        fields = {name: node.config() for name, node in self.fields.items()}
        if not fields:
            return self.said
        return fields if self.said is None else merged(self.said, fields)


def merged(base: Any, over: Any) -> Any:
    """The config `base` with what `over` says instead; another class begins without the settings of the former."""
    chosen, former = _written(over), _written(base)
    if chosen is None or former is None or (isinstance(over, str) and isinstance(base, str)):
        return over
    if chosen["class_path"] is None:
        path = former["class_path"]
    elif _last(chosen["class_path"]) == _last(former["class_path"]):
        path = chosen["class_path"]
    else:
        return over
    fields = dict(former["init_args"])
    for name, value in chosen["init_args"].items():
        fields[name] = merged(fields[name], value) if name in fields else value
    return {"init_args": fields} if path is None else {"class_path": path, "init_args": fields}


def _written(config: Any) -> dict[str, Any] | None:
    """A config as a class and its fields; None for what can be no choice."""
    if isinstance(config, Word):
        config = config.meaning if isinstance(config.meaning, dict) else str(config)
    if isinstance(config, str):
        return {"class_path": config, "init_args": {}}
    if not isinstance(config, dict):
        return None
    if config and set(config) <= {"class_path", "init_args"}:
        return {"class_path": config.get("class_path"), "init_args": config.get("init_args") or {}}
    return {"class_path": None, "init_args": config}


def _last(path: str | None) -> str | None:
    return path and str(path).rpartition(".")[2]


@dataclass
class Words:
    """A command line, sorted: what stands alone, and what was said of each option."""

    alone: list[str] = field(default_factory=list)
    options: Node = field(default_factory=Node)
    configs: list[Path] = field(default_factory=list)


def sorted_words(name: str, command: Command, arguments: list[str]) -> Words:
    """The words after the name of a command; raises `UserError` for options that it does not have."""
    found, known, rest = Words(), options_of(command), iter(arguments)
    for argument in rest:
        if not argument.startswith("--") or argument == "--":
            found.alone.append(argument)
            continue
        option, equals, value = argument[2:].partition("=")
        first, *fields = option.replace("-", "_").split(".")
        first += "_" if iskeyword(first) else ""
        if first not in known:
            typed, *dashed = map(dashed_name, (first, *known))
            raise UserError(f"{name} has no option --{typed}; {nearest(typed, dashed)}")
        if fields and kind_of(known[first]) is None:
            raise UserError(f"--{dashed_name(first)} has no fields, and --{option} names one")
        if not equals:
            value = "true" if known[first] is bool else _following(option, rest)
        if first == "config":
            found.configs.append(Path(value))
        else:
            found.options.put([first, *fields], Word(value, meaning(value)))
    return found


def dashed_name(parameter: str) -> str:
    """The option of a parameter; one whose name is a word of Python ends in _ there."""
    return parameter.rstrip("_").replace("_", "-")


def _following(option: str, rest: Any) -> str:
    value = next(rest, None)
    if value is None or value.startswith("--"):
        raise UserError(f"--{option} needs a value")
    return str(value)


def meaning(text: str) -> Any:
    """What YAML takes a text for."""
    try:
        return yaml_in(text)
    except Unreadable:
        return text


def options_of(command: Command) -> dict[str, Any]:
    """The type hint of every option of a command, by name; those of its recipe are fields of the recipe."""
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    known = {name: hint for name, hint in hints.items() if name not in positionals(command)}
    if known.pop("recipe", None):
        known = {"config": Path} | fields_of(Recipe) | known
    return known


def positionals(command: Command) -> dict[str, inspect.Parameter]:
    """The parameters that are given without a name: paths, and required ones."""
    parameters = inspect.signature(command).parameters.items()
    return {
        name: parameter
        for name, parameter in parameters
        if name != "recipe" and (_are_paths(parameter.annotation) or parameter.default is parameter.empty)
    }


def _are_paths(annotation: Any) -> bool:
    return annotation in (list[Path], list[Path] | None)


def kind_of(hint: Any) -> type | None:
    """The type of choice that an option takes, None for an option that takes none."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Choice)), None)


def understood(name: str, command: Command, words: Words) -> dict[str, Any]:
    """The arguments that `command` is called with."""
    options = _alone(name, command, words.alone)
    known, signature = options_of(command), inspect.signature(command).parameters
    said = {option: node.config() for option, node in words.options.fields.items()}
    trust = getattr(said.get("trust"), "meaning", False) is True
    for option, value in said.items():
        if option in signature:
            options[option] = _option(option, value, known[option], signature[option].default, trust)
    if "recipe" in signature:
        options["recipe"] = _recipe(words.configs, {k: v for k, v in said.items() if k not in signature}, trust)
    return options


def _recipe(configs: list[Path], said: dict[str, Any], trust: bool) -> Recipe:
    config: Any = {"init_args": {}}
    for path in configs:
        config = merged(config, {"init_args": fields_in(path, Recipe, "configuration")})
    recipe: Recipe = from_config(merged(config, {"init_args": said}), Recipe, trust=trust)
    return recipe


def _option(name: str, value: Any, hint: Any, default: Any, trust: bool) -> Any:
    kind = kind_of(hint)
    if kind is not None:
        return from_config(value, kind, trust=trust, default=default, where=name)
    try:
        return fit(value, hint)
    except Unfit as error:
        raise UserError(f"--{dashed_name(name)} must be {error.wanted}, not {told(error.value)}{error.hint}") from None


def _alone(name: str, command: Command, words: list[str]) -> dict[str, Any]:
    """The words without an option: paths."""
    wanted = positionals(command)
    several = next((p for p in wanted if _are_paths(wanted[p].annotation)), None)
    if several is not None:
        if not words and wanted[several].default is inspect.Parameter.empty:
            raise UserError(f"{name} needs {several}: one or more paths")
        return {several: [Path(word) for word in words]} if words else {}
    if len(words) > len(wanted):
        raise UserError(f"{name} does not know what to do with {told(words[len(wanted)])}")
    if missing := list(wanted)[len(words) :]:
        raise UserError(f"{name} needs {missing[0]}: a path")
    return {parameter: Path(word) for parameter, word in zip(wanted, words, strict=False)}
