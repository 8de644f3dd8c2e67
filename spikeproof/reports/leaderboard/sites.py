"""How do boards become pages? One a protocol, an index, and the same as JSON; nothing else is needed to read them."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from spikeproof.choices import Choice, UserError
from spikeproof.reports import wording
from spikeproof.reports.figures.drawings import SERIES
from spikeproof.reports.leaderboard.boards import Board, Refused, boards_of
from spikeproof.reports.leaderboard.entries import as_listed
from spikeproof.runs import written_whole

FORMS = Path(__file__).parents[1] / "forms"


def write_leaderboard(
    paths: Sequence[Path | str], out: Path | str, *, protocol: Choice | None = None
) -> tuple[list[Board], list[Refused]]:
    """Write the leaderboards of all records in `paths` into the folder `out`: ``index.html``, and a page a protocol.

    Records are run folders and reports in JSON. Beside each page lies the same as JSON, with RobustBench's keys. With a
    `protocol` only what was evaluated by it is listed. Returns the boards, and the records that were refused. Raises
    `UserError` where nothing can be listed; nothing is written then.
    """
    boards, refused = boards_of([Path(path) for path in paths], protocol)
    if not boards:
        why = f": {refused[0].source}: {refused[0].reason}" if refused else ""
        raise UserError(f"there is nothing to list, of {len(refused)} records{why}")
    folder = Path(out)
    if folder.is_file():
        raise UserError(f"{folder} is a file: a leaderboard is a folder")
    for board in boards:
        rows = [as_listed(entry) for entry in board.entries]
        listed = json.dumps({"protocol": board.facets, "entries": rows}, indent=1, allow_nan=False, ensure_ascii=False)
        _write(folder / f"{board.name}.json", listed + "\n")
        _write(folder / f"{board.name}.html", _page("leaderboard.html", board=board))
    _write(folder / "index.html", _page("leaderboards.html", boards=boards, refused=refused))
    return boards, refused


def _page(form: str, **content: Any) -> str:
    """One self-contained page; the same records give the same page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FORMS), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": wording.percent, "grouped": wording.grouped}
    environment.globals |= {"series": SERIES, "shapes": ()}
    style, script = ((FORMS / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(form).render(
        style=Markup(style), script=Markup(script), script_hash=f"sha256-{digest}", **content
    )


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
