"""What can be taken out of a page? The ranking as CSV, JSON and LaTeX and the curves as PNG, inside the one file."""

import base64
import csv
import io
from dataclasses import dataclass

from spikeproof.reports.figures.curves import accuracy_picture
from spikeproof.reports.forms.as_json import as_json
from spikeproof.reports.reading.contenders import Comparison, Contender, Standings
from spikeproof.untrusted.words import printable

SPECIAL = str.maketrans({c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\~{}", "^": r"\^{}", "\\": r"\textbackslash{}"})


@dataclass(frozen=True)
class Download:
    """A file inside the page: its name, and its content as an address."""

    name: str
    label: str
    href: str


def downloads(found: Standings, colours: dict[str, int]) -> list[Download]:
    """Of all protocols; a picture for each that has curves."""
    files = [
        ("ranking.csv", "CSV", "text/csv", as_csv(found)),
        ("ranking.json", "JSON", "application/json", as_json(found)),
    ]
    files.append(("ranking.tex", "LaTeX", "text/plain", as_latex(found)))
    made = [Download(name, label, _address(kind, text.encode())) for name, label, kind, text in files]
    several = len(found.comparisons) > 1
    for comparison in found.comparisons:
        if comparison.ranked:
            letter = comparison.letter if several else ""
            picture = _address("image/png", accuracy_picture(comparison, colours))
            made.append(Download(f"curves{letter}.png", f"PNG {letter}".strip(), picture))
    return made


def as_csv(found: Standings) -> str:
    """A line a network and threat, shares in [0, 1]."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["protocol", "rank", "network", "learned by", "status", "threat", "accuracy", "low", "high", "seeds"]
    )
    for contender in found.contenders:
        row = contender.row
        start = [row.protocol, row.rank or "", printable(row.name), printable(contender.learned), row.status]
        shares = ({"clean": row.clean} if row.clean else {}) | row.robust
        for label, share in shares.items() or [("", None)]:
            values = [f"{each:.6f}" for each in (share.value, share.low, share.high)] if share else ["", "", ""]
            table.writerow([*start, label, *values, " ".join(map(str, row.seeds))])
    return text.getvalue()


def as_latex(found: Standings) -> str:
    """A tabular for each protocol (package booktabs), accuracies in % with 95 % intervals."""
    return "\n".join(_tabular(comparison) for comparison in found.comparisons)


def _tabular(comparison: Comparison) -> str:
    labels = [threat.label for threat in comparison.conditions.threats]
    head = " & ".join(["Network", "Clean", *(_plain(label) for label in labels)])
    rows = [_line(contender, len(labels)) for contender in comparison.contenders]
    about = f"% {comparison.conditions.suite} suite, {comparison.conditions.images} images, 95 % Wilson intervals"
    body = "\n".join(rows)
    begin = rf"\begin{{tabular}}{{l{'r' * (1 + len(labels))}}}"
    lines = [about, begin, r"\toprule", rf"{head} \\", r"\midrule", body, r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def _line(contender: Contender, threats: int) -> str:
    row = contender.row
    shares = [row.clean, *(row.robust.values() if row.robust else [None] * threats)]
    cells = ["--" if e is None else f"{100 * e.value:.1f} ({100 * e.low:.0f}--{100 * e.high:.0f})" for e in shares]
    return f"{_plain(row.name)} & {' & '.join(cells)} \\\\"


def _plain(text: str) -> str:
    return printable(text).translate(SPECIAL)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
