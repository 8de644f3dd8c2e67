"""In which form is a report written? A page to read, a table to paste, or data to compute with; by the file's name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from spikeproof.choices import UserError
from spikeproof.reports.forms.as_json import as_json
from spikeproof.reports.forms.as_markdown import as_markdown
from spikeproof.reports.forms.pages import page
from spikeproof.reports.reading.contenders import Standings
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run, written_whole

TITLE = "Which spiking networks hold under attack?"


def check_form(path: Path) -> str:
    """The suffix of a report that can be written; raises `UserError` for another one, and for a folder."""
    suffix = path.suffix.lower() or ".html"
    if suffix not in (".html", ".json", ".md"):
        raise UserError(f"a report is written as .html, .json or .md, by the name of its file; not as {path.suffix}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file, such as {path / 'report.html'}")
    return suffix


def write_report(runs: Sequence[Run], path: str | Path, *, title: str = TITLE, verdicts: str = "") -> Path:
    """Writes a report about `runs` to `path`, whole or not at all, and returns `path`.

    ``.html``, or no suffix: one self-contained page, with `title`; ``.json``: the ranking as a list of rows; ``.md``:
    the ranking as a table. The same run folders give the same bytes. Every evaluation is shown, protocols apart;
    `verdicts` chooses some, by the beginning of their protocol's name ("standard-Linf"). Raises `UserError` for another
    suffix, for no runs, for evaluations that there are not, and for a damaged run folder.
    """
    forms: dict[str, Callable[[Standings], str]] = {
        ".html": lambda found: page(found, title),
        ".json": as_json,
        ".md": as_markdown,
    }
    path = Path(path)
    suffix = check_form(path)
    if not runs:
        raise UserError("no runs to report: give at least one run folder")
    text = forms[suffix](standings(runs, verdicts))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
