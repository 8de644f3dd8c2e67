"""How do run folders become one page that anybody can open, offline and years later?"""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from spikeproof.reports import wording
from spikeproof.reports.examples.pictures import Gallery, gallery
from spikeproof.reports.examples.rasters import MOST_NEURONS, Raster, rasters
from spikeproof.reports.examples.recordings import Recordings, recordings
from spikeproof.reports.figures.certified import certified_curves
from spikeproof.reports.figures.climbs import climb
from spikeproof.reports.figures.curves import accuracy_curves
from spikeproof.reports.figures.drawings import SERIES
from spikeproof.reports.figures.learning import begins_converted, learning_curves
from spikeproof.reports.figures.potentials import potential_courses
from spikeproof.reports.forms.downloads import downloads
from spikeproof.reports.forms.sentences import conclude
from spikeproof.reports.reading import consumed, flagging, probing, proved
from spikeproof.reports.reading.breakdowns import Breakdown, Together, breakdowns, joined
from spikeproof.reports.reading.classes import Classes, classes
from spikeproof.reports.reading.contenders import NOT_EVALUATED, Comparison, Contender, Standings
from spikeproof.reports.reading.origins import origin, origin_in_full
from spikeproof.reports.wording import grouped
from spikeproof.runs.json_forms import as_json as to_json
from spikeproof.runs.records import EnergyRecord

_HERE = Path(__file__).parent
SHAPES = (  # of the markers of curves, in a square of 12
    "M6 1.5a4.5 4.5 0 1 0 .01 0z",
    "M2 2h8v8H2z",
    "M6 1.5 11 10.5H1z",
    "M6 .8 11.2 6 6 11.2.8 6z",
    "M6 10.5 1 1.5h10z",
    "M4 1h4v3h3v4H8v3H4V8H1V4h3z",
    "M3.5 1 6 3.5 8.5 1 11 3.5 8.5 6 11 8.5 8.5 11 6 8.5 3.5 11 1 8.5 3.5 6 1 3.5z",
    "M1.5 6 10.5 1v10z",
    "M10.5 6 1.5 1v10z",
    "M6 .9 11.1 4.6 9.2 10.6H2.8L.9 4.6z",
)


@dataclass(frozen=True)
class Portrait:
    """The part of the page that shows one network from near."""

    contender: Contender
    gallery: Gallery | None
    recordings: Recordings | None
    rasters: list[Raster]
    learning: list[Markup]
    flagged: flagging.Flagged
    climb: Markup | None
    probed: probing.Probed | None
    consumed: tuple[EnergyRecord, ...]
    potentials: Markup | None
    classes: Classes | None

    @property
    def converted(self) -> bool:
        return begins_converted(self.contender)

    @property
    def origin(self) -> list[tuple[str, str]]:
        return origin(self.contender.seeds[0].record.config)

    @property
    def masked(self) -> bool:
        """Whether the evaluation found that numbers of this network cannot be trusted."""
        return self.contender.row.status not in ("ok", NOT_EVALUATED)


def page(found: Standings, title: str) -> str:
    """One self-contained HTML page; the same run folders give the same page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(wording, name)
        for name in ("breakable", "duration", "grouped", "images", "listed", "percent", "spelled", "words")
    } | {"yaml": _yaml, "cells": probing.cells, "told": probing.told, "by": lambda attacks, part: part.by(attacks)}
    environment.filters |= {f"proved_{name}": getattr(proved, name) for name in ("cells", "promise")}
    environment.globals.update(remarks=proved.remarks, faults=proved.faults)
    environment.filters |= {f"consumed_{name}": getattr(consumed, name) for name in ("cells", "setting")}
    environment.filters |= {name: getattr(flagging, name) for name in ("because", "cautions", "figure")}
    environment.globals |= {"series": SERIES, "shapes": SHAPES}
    colours = {contender.row.name: index for index, contender in enumerate(found.contenders)}
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    portraits = [_portrait(contender, colours) for contender in found.contenders]
    networks = found.networks
    found_proved = {c.row.name: several for c in found.contenders if (several := proved.proved(c))}
    broken = {contender.row.name: breakdowns(contender) for contender in found.contenders}
    return environment.get_template("report.html").render(
        title=title,
        style=Markup(_style(any(portrait.recordings for portrait in portraits))),
        standings=found,
        what=found.what,
        resplit=[comparison for comparison in found.comparisons if comparison.conditions.resplit],
        counted=sorted({t.unit for comparison in found.comparisons for t in comparison.conditions.threats} - {""}),
        conclusions=conclude(found),
        about=_about(found),
        downloads=downloads(found, colours) if found.comparisons else [],
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        colours=colours,
        anchors={name: f"network-{index + 1}" for name, index in colours.items()},
        curves=[accuracy_curves(c, colours) if c.ranked else None for c in found.comparisons],
        breakdowns=broken,
        columns={c.letter: _columns(c, broken) for c in found.comparisons},
        rows={c.row.name: _rows(c, broken[c.row.name]) for c in found.contenders if broken[c.row.name]},
        portraits=portraits,
        networks=[portrait for portrait in portraits if portrait.contender in networks],
        flagged={portrait.contender.row.name: portrait.flagged for portrait in portraits},
        warned=any(portrait.contender.row.rank and portrait.flagged.warnings for portrait in portraits),
        checked=any(portrait.flagged.checks for portrait in portraits),
        probe_headings=probing.HEADINGS,
        probe_settings=probing.settings([portrait.probed for portrait in portraits if portrait.probed]),
        energy_headings=consumed.HEADINGS,
        energy_settings=consumed.settings([portrait.consumed for portrait in portraits if portrait.consumed]),
        proved=found_proved,
        proved_headings=proved.HEADINGS,
        proved_curves=certified_curves(found_proved, colours),
        most_neurons=MOST_NEURONS,
        settings=_settings(found),
    )


def _portrait(contender: Contender, colours: dict[str, int]) -> Portrait:
    key = f"network-{colours[contender.row.name] + 1}"
    arrays = _examples(contender)
    first = contender.seeds[0]
    with (first.evaluation or first.run).understood("examples.npz"):
        framed = arrays is not None and arrays["clean"].ndim == 5
        pictures = gallery(arrays) if arrays and not framed else None
        seen = recordings(arrays) if arrays and framed else None
        spikes = rasters(arrays) if arrays else []
    with contender.seeds[0].run.understood("metrics.jsonl"):
        learning = learning_curves(contender, key)
    flagged = flagging.flagged(contender)
    with (first.evaluation or first.run).understood("verdicts.json"):
        climbing = climb(flagged, key, contender.row.name)
    found = probing.probed(contender)
    potentials = potential_courses(found, key, contender.row.name) if found else None
    names = [str(name) for name in arrays["classes"]] if arrays and "classes" in arrays else []
    told_apart = classes(contender, names)
    took = consumed.consumed(contender)
    return Portrait(contender, pictures, seen, spikes, learning, flagged, climbing, found, took, potentials, told_apart)


def _about(found: Standings) -> list[str]:
    """When, by which suite, on what: the line under the title. The day is that of the last training that is known."""
    days = [one.record.finished[:10] for c in found.contenders for one in c.seeds if one.record.finished]
    told = [f"trained until {max(days)}"] if days else []
    for comparison in found.comparisons[:1]:
        shared = comparison.conditions
        data = shared.data.partition("(")[0]
        told += [f"suite {shared.suite}", f"{grouped(shared.images)} {shared.what.many} of {data}"]
        told.append(", ".join(threat.label for threat in shared.threats))
    return told + ([f"and {len(found.comparisons) - 1} more protocols"] if len(found.comparisons) > 1 else [])


def _style(recordings: bool) -> str:
    files = ("report.css", "recordings.css") if recordings else ("report.css",)
    return "".join((_HERE / file).read_text(encoding="utf-8") for file in files)


def _columns(comparison: Comparison, broken: dict[str, list[Breakdown]]) -> list[Together]:
    """Few enough for all networks side by side."""
    return joined(comparison.conditions.attacks, [broken[c.row.name][-1] for c in comparison.ranked])


def _rows(contender: Contender, broken: list[Breakdown]) -> list[Together]:
    """Of one network, all the attacks that broke an image."""
    attacks = contender.verdicts[0].conditions.attacks
    return joined(attacks, broken[-1:], most=len(attacks))


def _examples(contender: Contender) -> dict[str, np.ndarray] | None:
    """Of the first seed; seeds are not mixed in pictures."""
    folder = contender.seeds[0].evaluation
    return folder.read_arrays("examples.npz") if folder and "examples.npz" in folder else None


def _settings(found: Standings) -> list[tuple[str, str, list[tuple[str, str]], dict[str, Any]]]:
    """(network, folder, where it comes from, what made it) for each run, in the page's order."""
    told = []
    for contender in found.contenders:
        for one in contender.seeds:
            config, around = one.record.config, to_json(one.record.environment)
            times = {"started": one.record.started, "finished": one.record.finished}
            made: dict[str, Any] = {"seed": one.seed, "training": times | around}
            if one.verdicts:
                kept = ("seed", "draws", "width", "gradient_evaluations", "forward_evaluations_per_image", "seconds")
                found_there = to_json(one.verdicts.record)
                made["evaluation"] = {name: found_there[name] for name in kept} | found_there["environment"]
            told.append((contender.row.name, one.run.name, origin_in_full(config), {"config": config} | made))
    return told


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).rstrip()
