"""Can a page be read aloud and used by the keyboard? WCAG 2.2, level A, as far as the source of a page tells."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spikeproof.reports import write_report
from spikeproof.reports.leaderboard import write_leaderboard
from spikeproof.runs import Run

MakeRun = Callable[..., Run]
HEADINGS = [f"h{level}" for level in range(1, 7)]
FIELDS = ("input", "select", "textarea")
USED_BY_KEYS = (*FIELDS, "a", "button", "summary")


class Access(HTMLParser):
    """What keeps a page from being read aloud or used by the keyboard: `faults`."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.fields: list[dict[str, str]] = []
        self.seen: set[str] = set()
        self.open: list[list[str]] = []  # buttons and links: the tag and what it is called
        self.in_label = 0
        self.feed(source)
        self._judge()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.seen.add(tag)
        self.ids += [said["id"]] if "id" in said else []
        if tag == "html" and not said.get("lang"):
            self.faults.append("no language")
        if tag == "img" and "alt" not in said:
            self.faults.append("a picture without words")
        named = said.get("role") == "img" and ("aria-label" in said or "aria-labelledby" in said)
        if tag == "svg" and not named and said.get("aria-hidden") != "true":
            self.faults.append("a drawing without a name")
        if tag == "th" and "scope" not in said:
            self.faults.append("a heading of nothing")
        if tag in HEADINGS:
            self.levels.append(int(tag[1]))
        if tag == "label":
            self.in_label += 1
            self.labelled.add(said.get("for", ""))
        if tag in FIELDS and said.get("type") != "hidden" and not self.in_label and "aria-label" not in said:
            self.fields.append(said)
        if "onclick" in said and tag not in USED_BY_KEYS:
            self.faults.append(f"a {tag} that only a mouse can press")
        if said.get("tabindex", "0") not in ("0", "-1"):
            self.faults.append("an order of its own for the keyboard")
        if tag in ("a", "button"):
            self.open.append([tag, said.get("aria-label", "")])

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self.in_label -= 1
        if tag in ("a", "button"):
            opened, name = self.open.pop()
            if not name.strip():
                self.faults.append(f"a nameless {opened}")

    def handle_data(self, data: str) -> None:
        for each in self.open:
            each[1] += data

    def _judge(self) -> None:
        self.faults += [f"no {tag}" for tag in ("title", "main") if tag not in self.seen]
        self.faults += ["a field without a label" for said in self.fields if said.get("id", "") not in self.labelled]
        self.faults += ["an id twice"] * (len(set(self.ids)) < len(self.ids))
        self.faults += ["not one first heading"] * (self.levels.count(1) != 1)
        jumps = [(a, b) for a, b in zip(self.levels, self.levels[1:], strict=False) if b > a + 1]
        self.faults += [f"from h{a} to h{b}" for a, b in jumps]


GOOD = (
    '<html lang="en"><title>a</title><main><h1>a</h1><h2>b</h2><img alt="c"><svg role="img" aria-label="d"></svg>'
    '<label for="e">f</label><input id="e"><table><tr><th scope="col">g</th></tr></table>'
    "<button>h</button></main></html>"
)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (' lang="en"', "", "no language"),
        (' alt="c"', "", "a picture without words"),
        (' aria-label="d"', "", "a drawing without a name"),
        (' scope="col"', "", "a heading of nothing"),
        ('for="e"', 'for="other"', "a field without a label"),
        ("<button>h", "<button>", "a nameless button"),
        ("<h2>", "<h3>", "from h1 to h3"),
        ("<h1>a</h1>", "", "not one first heading"),
        ("<label", '<div onclick="f()"></div><label', "a div that only a mouse can press"),
        ("<label", '<div tabindex="3"></div><label', "an order of its own for the keyboard"),
        ("<label", '<div id="e"></div><label', "an id twice"),
        ("<title>a</title>", "", "no title"),
    ],
)
def test_each_fault_would_be_seen(old: str, new: str, fault: str) -> None:
    assert Access(GOOD).faults == []
    assert fault in Access(GOOD.replace(old, new)).faults


def test_a_report_has_none(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run("first", pictures=(8, 1)),
        make_run("second", robust=(0.8, 0.6, 0.4)),
        make_run("masked", status="zero_gradient", reason="No gradient moves."),
        make_run("later", robust=None),
    ]
    page = write_report(runs, tmp_path / "report.html")
    source = page.read_text(encoding="utf-8")
    assert {"svg", "img", "a", "summary", "th"} <= Access(source).seen
    assert Access(source).faults == []


def test_a_report_on_recordings_has_none(make_recorded: Callable[..., Run], tmp_path: Path) -> None:
    page = write_report([make_recorded("frames")], tmp_path / "report.html")
    assert Access(page.read_text(encoding="utf-8")).faults == []


def test_a_leaderboard_has_none(make_run: MakeRun, tmp_path: Path) -> None:
    network = {"architecture": {"class_path": "SmallCNN"}, "neuron": {"class_path": "LIF"}, "steps": 4}
    make_run("sent", folder="sent/one", choices={"network": {"class_path": "Network", "init_args": network}})
    write_leaderboard([tmp_path / "sent"], tmp_path / "site")
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert len(pages) == 2
    for page in pages:
        assert Access(page.read_text(encoding="utf-8")).faults == []
