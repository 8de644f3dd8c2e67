"""What does ``--help`` say? Every option: what it is, what it may hold, and what holds where it is not given."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from spikeproof.choices import Choice, UserError, default_of, fields_of, short
from spikeproof.cli.meanings import meaning_of
from spikeproof.cli.parsing import Command, Words, dashed_name, kind_of, options_of, positionals, sorted_words
from spikeproof.cli.tables import first_line
from spikeproof.fitting import described
from spikeproof.ranges import InPixels
from spikeproof.registry import known, named
from spikeproof.training import Recipe

WIDTH = 110
RECIPES = {"config": "a YAML file with any of these options"}


def help_for(name: str, command: Command, arguments: list[str]) -> str:
    """The options of a command; of the classes that `arguments` choose, or else of those that stand there anyway."""
    words = sorted_words(name, command, arguments)
    said, about = (inspect.getdoc(command) or "").partition("\nArgs:")[0].strip(), _arguments(command)
    paths = [f"  {path:25} {about.get(path, '')}" for path in positionals(command)]
    usage = " ".join(["spikeproof", name, *(path.upper() for path in positionals(command)), "[--option value ...]"])
    signature = inspect.signature(command).parameters
    lines = []
    for option, hint in options_of(command).items():
        if option in signature:
            default = signature[option].default
        else:
            default = default_of(Recipe, option) if option in fields_of(Recipe) else None
        meaning = about.get(option) or RECIPES.get(option) or meaning_of(Recipe, option)
        said_of_it = list(_option(f"--{dashed_name(option)}", hint, default, words, meaning))
        has_fields = any(line.startswith(f"  --{option}.") for line in said_of_it)
        lines += ["", *said_of_it, ""] if has_fields else said_of_it
    return re.sub(r"\n{3,}", "\n\n", "\n".join([usage, "", said, "", *paths, *lines])).rstrip()


def _option(option: str, hint: Any, default: Any, words: Words, meaning: str = "") -> Iterator[str]:
    kind = kind_of(hint)
    if kind is None:
        switch = hint is bool and "." not in option
        what = "a switch" if switch else described(hint) if "." in option else described(hint).removesuffix(" or None")
        yield from _line(option, meaning, what, _default(default, hint))
        return
    choices = sorted(known(kind))
    what = f"one of {', '.join(choices)}" if inspect.isabstract(kind) else "" if meaning else first_line(kind)
    chosen = _chosen(option, kind, words) or (type(default) if isinstance(default, Choice) else None)
    names_itself = isinstance(default, Choice) and inspect.isabstract(kind)
    yield from _line(option, meaning, what, f"default: {short(default)}" if names_itself else "")
    if chosen is None or (default is None and chosen is kind and not _chosen(option, kind, words)):
        return
    for name, inner in fields_of(chosen).items():
        stands = getattr(default, name) if type(default) is chosen else default_of(chosen, name)
        yield from _option(f"{option}.{name}", inner, stands, words, meaning_of(chosen, name))


def _chosen(option: str, kind: type, words: Words) -> type | None:
    node = words.options
    for name in option.removeprefix("--").replace("-", "_").split("."):
        if name not in node.fields:
            return None
        node = node.fields[name]
    if node.said is None:
        return None
    try:
        return named(str(node.said), kind)
    except UserError:
        return None


def _line(option: str, *said: str) -> Iterator[str]:
    *what, default = said
    text = "; ".join(part for part in what if part)
    if default:
        text = f"{text} ({default})".strip()
    lines = textwrap.wrap(text, WIDTH - 28) or [""]
    if len(option) > 25:
        yield f"  {option}"
    else:
        yield f"  {option:25} {lines.pop(0)}".rstrip()
    yield from (f"{'':28}{line}" for line in lines if line)


def _default(value: Any, hint: Any) -> str:
    """The default as one would write it: 8/255, and not 0.03137."""
    if value is None or value is False:
        return ""
    if value is dataclasses.MISSING:
        return "it has to be given"
    in_pixels = get_origin(hint) is Annotated and any(isinstance(part, InPixels) for part in get_args(hint))
    if in_pixels and value < 1 and abs(value * 255 - round(value * 255)) < 1e-9 and value:
        return f"default: {round(value * 255)}/255"
    return f"default: {short(value)}"


def _arguments(command: Command) -> dict[str, str]:
    """What the docstring says about each parameter, on one line or on several."""
    lines = (inspect.getdoc(command) or "").partition("\nArgs:\n")[2]
    said = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", lines, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in said}
