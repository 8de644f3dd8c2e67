"""How does a test read a page?"""

import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "wbr", "br", "col"}


class Page(HTMLParser):
    """The page as rows of tables, ids, attributes and visible text; complains about tags that do not close."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).replace("\u202f", " ").replace("\u2060", "").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[str]:
        """The cells of the first row about `name`."""
        found = next(row for row in self.rows if any(cell.strip().startswith(name) for cell in row))
        return [" ".join(cell.replace("\u202f", " ").split()) for cell in found]

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]

    def drawings(self, kind: str) -> list[str]:
        """The SVGs whose key ends in `kind`."""
        found = re.findall(r'<svg class="figure".*?</svg>', self.source, re.DOTALL)
        return [svg for svg in found if f"-{kind}-title" in svg]
