"""What does the ranking look like in a README? A table for each protocol, and a line that says what it rests on."""

import re
from statistics import mean, stdev

from spikeproof.reports.reading import consumed, proved
from spikeproof.reports.reading.breakdowns import FEW
from spikeproof.reports.reading.conditions import Conditions
from spikeproof.reports.reading.contenders import NOT_EVALUATED, Comparison, Contender, Row, Standings
from spikeproof.reports.reading.flagging import Check, Flagged, flagged
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.reports.reading.probing import HEADINGS, cells, probed, settings
from spikeproof.reports.wording import NARROW, counted, duration, listed
from spikeproof.untrusted.words import printable


def as_markdown(found: Standings) -> str:
    parts = [part for comparison in found.comparisons for part in _comparison(comparison, len(found.comparisons) > 1)]
    if found.waiting:
        parts.append(f"Not evaluated yet, and so not ranked: {listed([_safe(c.row.name) for c in found.waiting])}.")
    parts += _certificates(found.contenders) + _probes(found.networks) + _energy(found.networks)
    return "\n\n".join(parts).replace(NARROW, " ") + "\n"


def _comparison(comparison: Comparison, several: bool) -> list[str]:
    shared = comparison.conditions
    heading = [f"**Protocol {comparison.letter}**"] if several else []
    labels = [_safe(threat.label) for threat in shared.threats]
    titles = ["Rank", "Network", "Clean, %", *(f"{label}, %" for label in labels)]
    measured = any(contender.row.nanojoules is not None for contender in comparison.contenders)
    titles += [f"Gradients per {shared.what.one}", "Training", *(["Energy, nJ"] if measured else [])]
    rows = [_row(contender)[: len(titles)] for contender in comparison.contenders]
    table = _table(titles, rows)
    split = " Each seed has its own split of train, validation and test." if shared.resplit else ""
    split += "" if comparison.same_images else f" Networks of other seeds met other {shared.what.many}."
    reading = _reading(comparison.contenders, shared.what.many)
    met = f"{_met(shared)} {_seeds(comparison.contenders)}{split} {reading}"
    return [*heading, table, met, *_flags(comparison.contenders)]


def _row(contender: Contender) -> list[str]:
    row, threats = contender.row, range(len(contender.verdicts[0].conditions.threats))
    if row.status == "ok":
        clean = _accuracy([v.clean for v in contender.verdicts])
        robust = [_accuracy([v.robust[threat] for v in contender.verdicts]) for threat in threats]
    else:
        clean, *robust = [_status(row)] * (1 + len(threats))
    gradients = "–" if row.gradient_evaluations is None else f"{row.gradient_evaluations:.1f}"
    training = "–" if row.training_seconds is None else duration(row.training_seconds)
    energy = "–" if row.nanojoules is None else f"{row.nanojoules:.0f}"
    return [str(row.rank or "–"), _safe(row.name), clean, *robust, gradients, training, energy]


def _status(row: Row) -> str:
    return _safe(row.status.replace("_", " "))


def _accuracy(seeds: list[Estimate]) -> str:
    if len(seeds) == 1:
        return f"{100 * seeds[0].value:.1f} ({100 * seeds[0].low:.1f}–{100 * seeds[0].high:.1f})"
    values = [100 * seed.value for seed in seeds]
    return f"{mean(values):.1f} ± {stdev(values):.1f} [{min(values):.1f}]"


def _met(shared: Conditions) -> str:
    where = f"{counted(shared.images, shared.what.one)} of {shared.data}, {shared.part} part"
    draws = f"A stochastic network is averaged over {shared.draws} passes."
    few = len(shared.attacks) <= FEW
    attacks = f": {', '.join(shared.attacks)}" if few else f" of {counted(len(shared.attacks), 'attack')}"
    return _safe(f"Data: {where}. Suite {shared.suite}{attacks}. {draws}")


def _seeds(contenders: list[Contender]) -> str:
    seeds = {c.row.name: ", ".join(map(str, c.row.seeds)) for c in contenders}
    if len(set(seeds.values())) == 1:
        return f"Seeds: {next(iter(seeds.values()))}."
    return f"Seeds: {'; '.join(f'{_safe(name)}: {numbers}' for name, numbers in seeds.items())}."


def _reading(contenders: list[Contender], images: str) -> str:
    """How the cells that occur are to be read."""
    counts = {len(c.row.seeds) > 1 for c in contenders if c.row.status == "ok"}
    several = ["mean ± standard deviation over the seeds (n − 1) [lowest seed]"] if True in counts else []
    single = [f"one seed (its 95 % Wilson interval over {images})"] if False in counts else []
    unreliable = any(c.row.status != "ok" for c in contenders)
    refused = " A network that cannot be trusted has its status instead of numbers." if unreliable else ""
    return (f"Accuracy: {'; '.join(several + single)}." if counts else "No accuracy can be trusted.") + refused


def _flags(contenders: list[Contender]) -> list[str]:
    """The raised ones, a line each; nothing where none was looked for."""
    known = [(contender.row.name, flagged(contender)) for contender in contenders]
    if not any(found.checks for _, found in known):
        return []
    lines = [_flag(name, found, check) for name, found in known for check in found.raised]
    unchecked = [_safe(name) for name, found in known if not found.checks]
    missing = f"; of {listed(unchecked)}, none were looked for" if unchecked else ""
    if not lines:
        return [f"No red flag was raised{missing}."]
    return [f"Red flags that were raised{missing}:", "\n".join(lines)]


def _flag(name: str, found: Flagged, check: Check) -> str:
    weight = "spoils the number" if check.worst.spoils else "a warning"
    return "- " + _safe(f"{name}, {weight}: {found.spelled(check)}. {check.worst.meaning}")


def _certificates(contenders: list[Contender]) -> list[str]:
    known = [(c.row.name, one) for c in contenders for one in proved.proved(c)]
    if not known:
        return []
    rows = [[_safe(name), *(_safe(cell) for cell in proved.cells(one))] for name, one in known]
    said = [sentence for name, one in known for sentence in (*proved.faults(name, one), *proved.remarks(name, one))]
    table = _table(["Network", *proved.HEADINGS], rows)
    return [table, _safe(proved.promise([one for _, one in known])), *map(_safe, said)]


def _probes(contenders: list[Contender]) -> list[str]:
    known = [(c, found) for c in contenders if (found := probed(c))]
    if not known:
        return []
    used = settings([found for _, found in known])
    rows = []
    for contender, found in known:
        row = contender.row
        masked = row.status not in ("ok", NOT_EVALUATED)
        figures = [_status(row)] * len(HEADINGS) if masked else cells(found)
        rows.append([_safe(row.name), *figures, *([str(used.index(found.setting) + 1)] if len(used) > 1 else [])])
    titles = ["Network", *HEADINGS, *(["Setting"] if len(used) > 1 else [])]
    met = [f"{number}: {setting}" if len(used) > 1 else setting for number, setting in enumerate(used, 1)]
    return [_table(titles, rows), _safe(f"Probes, means over the seeds: {'; '.join(met)}.")]


def _energy(contenders: list[Contender]) -> list[str]:
    known = [(c.row.name, records) for c in contenders if (records := consumed.consumed(c))]
    if not known:
        return []
    used = consumed.settings([records for _, records in known])
    rows = [
        [
            _safe(name),
            *consumed.cells(records),
            *([str(used.index(consumed.setting(records[0])) + 1)] * (len(used) > 1)),
        ]
        for name, records in known
    ]
    titles = ["Network", *consumed.HEADINGS, *(["Setting"] if len(used) > 1 else [])]
    met = [f"{number}: {setting}" if len(used) > 1 else setting for number, setting in enumerate(used, 1)]
    said = "Operations and energy of a pass, arithmetic alone in 45 nm"
    return [_table(titles, rows), _safe(f"{said}: {'; '.join(met)}.")]


def _table(titles: list[str], rows: list[list[str]]) -> str:
    """Text is on the left, numbers are on the right."""
    rule = ["---" if title == "Network" else "--:" for title in titles]
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, rule, *rows))


def _safe(text: str) -> str:
    """`text` as it is: nothing in it is markup, nor does it end a cell or a line."""
    return re.sub(r"([\\`*|<>\[\]&~$]|(?<!\w)_|_(?!\w))", r"\\\1", printable(" ".join(text.split())))
