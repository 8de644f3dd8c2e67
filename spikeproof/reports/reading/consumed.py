"""What does a pass of each network take, clean and under attack, as a mean over its seeds?"""

from collections.abc import Sequence

from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.wording import percent
from spikeproof.runs.records import EnergyRecord, Spent

HEADINGS = (
    "MACs",
    "ACs",
    "Dense",
    "Sparsity",
    "Energy, nJ",
    "Pooled spikes apart: MACs",
    "ACs",
    "Energy, nJ",
    "Random noise",
    "Attack",
    "Class kept",
    "Footprint, kB",
)


def consumed(contender: Contender) -> tuple[EnergyRecord, ...]:
    """The records of the seeds whose energy was measured in the setting of the first; empty where none was."""
    found = [one.energy for one in contender.seeds if one.energy]
    return tuple(record for record in found if setting(record) == setting(found[0]))


def setting(record: EnergyRecord) -> str:
    """What records must share if their figures are compared."""
    attacked = f"{record.attack.label} within {record.threat.label}" if record.attack and record.threat else "no attack"
    return f"{attacked}, on the first {record.images} images of the {record.part} part"


def settings(networks: Sequence[tuple[EnergyRecord, ...]]) -> list[str]:
    """Every setting that occurs, in order."""
    return list(dict.fromkeys(setting(records[0]) for records in networks))


def operations(records: Sequence[EnergyRecord]) -> float | None:
    """MACs and ACs of a clean image, spikes that a pooling joins one by one; None where there are no records."""
    return _mean([record.clean.macs_spikewise + record.clean.acs_spikewise for record in records]) if records else None


def cells(records: Sequence[EnergyRecord]) -> list[str]:
    """The row under `HEADINGS`."""
    plain = ("effective_macs", "effective_acs", "dense")
    apart = ("macs_spikewise", "acs_spikewise", "nanojoules_spikewise")
    kept = [record.kept for record in records if record.kept is not None]
    return [
        *(_count(records, name) for name in plain),
        percent(_mean([record.clean.activation_sparsity for record in records])),
        *(_count(records, name) for name in ("nanojoules", *apart)),
        *(_rise([getattr(record, kind) for record in records], records) for kind in ("random", "attacked")),
        percent(_mean(kept)) if kept else "–",
        f"{_mean([record.footprint / 1000 for record in records]):,.0f}",
    ]


def _count(records: Sequence[EnergyRecord], name: str) -> str:
    return f"{_mean([getattr(record.clean, name) for record in records]):,.0f}"


def _rise(moved: Sequence[Spent | None], records: Sequence[EnergyRecord]) -> str:
    """By how many per cent the estimate is higher than on the images as they are."""
    pairs = [
        (one.nanojoules_spikewise, record.clean.nanojoules_spikewise)
        for one, record in zip(moved, records, strict=True)
        if one and record.clean.nanojoules_spikewise
    ]
    return f"{100 * (_mean([after / before for after, before in pairs]) - 1):+.1f} %" if pairs else "–"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
