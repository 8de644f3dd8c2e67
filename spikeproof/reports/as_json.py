"""What does the ranking look like to a program? A list of rows, best first within each protocol."""

import json
import math
from dataclasses import asdict
from typing import Any

from spikeproof.reports.evidence import Evidence, Flag
from spikeproof.reports.probing import Probed, probed
from spikeproof.reports.rankings import Contender, Standings


def as_json(found: Standings) -> str:
    """The fields of each `Row` and, beside its means, what each seed reached, with which versions, on which machine."""
    rows = [_row(contender) for contender in found.contenders]
    return json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _row(contender: Contender) -> dict[str, Any]:
    row, protocol, probes = contender.row, contender.seeds[0].protocol, probed(contender)
    shares = zip(*(v.robust for v in contender.verdicts), strict=True) if row.robust else ()
    return asdict(row) | {
        "data": contender.seeds[0].record["config"].get("data"),
        "clean_by_seed": [verdicts.clean.value for verdicts in contender.verdicts],
        "robust_by_seed": {
            label: [share.value for share in seeds] for label, seeds in zip(row.robust, shares, strict=True)
        },
        "qte_by_seed": [verdicts.record.get("qte") for verdicts in contender.verdicts],
        "flags_by_seed": [[_flag(flag) for flag in verdicts.flags] for verdicts in contender.verdicts],
        "protocol_facets": protocol.facets() if protocol else None,
        "probes": _means(probes) if probes else None,
        "environments": [_environment(one) for one in contender.seeds],
    }


def _flag(flag: Flag) -> dict[str, Any]:
    return asdict(flag) | {"number": None if math.isnan(flag.number) else flag.number}


def _means(probes: Probed) -> dict[str, Any]:
    courses = {
        layer: {"adversarial": attacked, "random": probes.random[layer]}
        for layer, attacked in probes.adversarial.items()
    }
    means = probes.figures | {"last_layer_rms": probes.last_layer, "potential_perturbation": courses}
    return {"setting": probes.setting, "draws": probes.draws, "seeds": probes.seeds} | means


def _environment(one: Evidence) -> dict[str, Any]:
    """Where and with what a seed was trained and evaluated; the commit is among the versions."""
    made = {"run": one.run.name, "seed": one.seed, "training": {n: one.record.get(n) for n in ("versions", "machine")}}
    evaluated = (one.verdicts.record.get("environment") or {}) if one.verdicts else None
    known = None if evaluated is None else {n: evaluated.get(n) for n in ("versions", "machine")}
    return made | {"evaluation": known}
