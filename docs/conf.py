"""How do these pages, those of the repository's root and the docstrings become one site? ``make docs``."""

import json
import re
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

import spikeproof
from spikeproof.choices import Choice, default_of, fields_of, short

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"CHANGELOG.md": "changes.md", "KNOWN_ISSUES.md": "known_issues.md", "first_verdict.ipynb": "tutorial.md"}

project, author, release = "spikeproof", "The spikeproof developers", spikeproof.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"spikeproof {release}"
html_copy_source = html_show_sourcelink = False
html_static_path, html_css_files = ["_static"], ["site.css"]
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
default_role = "literal"  # docstrings write names as `PGD`
autodoc_typehints = "signature"
autodoc_member_order = "alphabetical"
add_module_names = False
myst_heading_anchors = 4


class Notebook(Directive):
    """The cells of a notebook, and what they printed."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        notebook = json.loads((ROOT / "docs" / self.arguments[0]).read_text(encoding="utf-8"))
        found: list[nodes.Node] = []
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                found += _parsed(self, source)
                continue
            found.append(_block(source, "python"))
            found += [_shown(output) for output in cell["outputs"]]
        return found


class Commands(Directive):
    """What ``--help`` says of each command."""

    def run(self) -> list[nodes.Node]:
        from spikeproof.cli.helping import help_for
        from spikeproof.cli.main import COMMANDS

        found: list[nodes.Node] = []
        for name, command in COMMANDS.items():
            found += [nodes.rubric(text=name), _block(help_for(name, command, []), "text")]
        return found


def _parsed(directive: Directive, source: str) -> list[nodes.Node]:
    place = nodes.Element()
    directive.state.nested_parse(source.splitlines(), 0, place, match_titles=True)
    return place.children


def _block(text: str, language: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language=language)


def _shown(output: dict[str, Any]) -> nodes.Node:
    """What a cell gave, as a notebook shows it: as a table where it has that form."""
    data = output.get("data") or {}
    if "text/html" in data:
        table = "".join(data["text/html"])
        return nodes.raw(table, f'<div class="table-wrapper">{table}</div>', format="html")
    return _block("".join(output.get("text") or data.get("text/plain") or []).rstrip(), "text")


def read_source(_: Any, __: str, source: list[str]) -> None:
    """Pages of the root take their place here, and links that are right in the repository lead to the same page."""
    text = re.sub(r"<!-- include (\S+) -->", lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), source[0])
    text = re.sub(r"\]\(docs/", "](", text) if text != source[0] else text
    for name, target in PAGES.items():
        text = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}", f"]({target}", text)
    source[0] = text.replace("<!-- boards -->", '<p><a href="boards/index.html">The leaderboards</a></p>')


def read_docstring(*heard: Any) -> None:
    """Ours are prose with names in backticks: to Sphinx nothing else in them is markup."""
    lines = heard[-1]
    lines[:] = [re.sub(r"(`+[^`]*`+)|([*|_\\])", lambda found: found[1] or f"\\{found[2]}", line) for line in lines]


def read_signature(_: Any, what: str, __: str, thing: Any, *heard: Any) -> tuple[str, str] | None:
    """The fields of a choice and their defaults: its constructor checks names itself, and so takes any."""
    if what != "class" or not issubclass(thing, Choice):
        return None
    defaults = {name: default_of(thing, name) for name in fields_of(thing)}
    told = [name if default is MISSING else f"{name}={short(default)}" for name, default in defaults.items()]
    return f"({', '.join(told)})", ""


def write_boards(app: Any, error: Exception | None) -> None:
    """The leaderboards of our results and of the networks that are installed, inside the site."""
    from spikeproof.reports.leaderboard import write_leaderboard

    if error is None and app.builder.format == "html":
        records = [ROOT / "results", ROOT / "spikeproof" / "zoo" / "networks"]
        _, refused = write_leaderboard([path for path in records if path.exists()], Path(app.outdir) / "boards")
        if refused:
            raise ValueError(f"{refused[0].source} is on no leaderboard: {refused[0].reason}")


def setup(app: Any) -> None:
    app.add_directive("notebook", Notebook)
    app.add_directive("commands", Commands)
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("build-finished", write_boards)
