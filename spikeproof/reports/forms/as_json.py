"""What does the ranking look like to a program? A list of rows, best first within each protocol."""

import json
from dataclasses import asdict
from typing import Any

from spikeproof.reports.reading.contenders import Contender, Standings
from spikeproof.reports.reading.evidence import Evidence
from spikeproof.reports.reading.probing import Probed, probed
from spikeproof.runs.json_forms import as_json as to_json
from spikeproof.runs.records import Environment


def as_json(found: Standings) -> str:
    """The fields of each `Row` and, beside its means, what each seed reached, with which versions, on which machine."""
    rows = [_row(contender) for contender in found.contenders]
    return json.dumps(rows, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _row(contender: Contender) -> dict[str, Any]:
    row, shared, probes = contender.row, contender.seeds[0].conditions, probed(contender)
    shares = zip(*(v.robust for v in contender.verdicts), strict=True) if row.robust else ()
    return asdict(row) | {
        "data": contender.seeds[0].record.config.get("data"),
        "network": contender.seeds[0].record.config.get("network"),
        "sha256_by_seed": [v.record.network_sha256 for v in contender.verdicts if v.record.network_sha256],
        "clean_by_seed": [verdicts.clean.value for verdicts in contender.verdicts],
        "robust_by_seed": {
            label: [share.value for share in seeds] for label, seeds in zip(row.robust, shares, strict=True)
        },
        "qte_by_seed": [verdicts.record.qte for verdicts in contender.verdicts],
        "flags_by_seed": [[to_json(flag) for flag in verdicts.record.flags] for verdicts in contender.verdicts],
        "protocol_facets": shared.facets() if shared else None,
        "probes": _means(probes) if probes else None,
        "energy_by_seed": [one.energy and to_json(one.energy) for one in contender.seeds],
        "environments": [_environment(one) for one in contender.seeds],
    }


def _means(probes: Probed) -> dict[str, Any]:
    courses = {
        layer: {"adversarial": attacked, "random": probes.random[layer]}
        for layer, attacked in probes.adversarial.items()
    }
    means = probes.figures | {"last_layer_rms": probes.last_layer, "potential_perturbation": courses}
    return {"setting": probes.setting, "draws": probes.draws, "seeds": probes.seeds} | means


def _environment(one: Evidence) -> dict[str, Any]:
    """Where and with what a seed was trained and evaluated; the commit is among the versions."""
    known = one.verdicts.record.environment if one.verdicts else None
    return {"run": one.run.name, "seed": one.seed, "training": _machine(one.record.environment)} | {
        "evaluation": _machine(known) if known else None
    }


def _machine(known: Environment) -> dict[str, Any]:
    return {"versions": known.versions, "machine": known.machine}
