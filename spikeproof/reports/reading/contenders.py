"""What is a line of the ranking, and what stands in one ranking together?"""

from dataclasses import dataclass, field
from pathlib import Path

from spikeproof.reports.reading.conditions import Conditions
from spikeproof.reports.reading.evidence import Evidence, Judged
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.reports.reading.objectives import in_words, learned_by
from spikeproof.reports.wording import Noun, noun

NOT_EVALUATED = "not evaluated"
ANN_UNITS = ("ReLU", "QCFS")


@dataclass(frozen=True)
class Row:
    """One line of the ranking: a network, averaged over its seeds.

    `rank` is None and `robust` (threat label -> estimate, smallest eps first) empty unless `status` is "ok".
    Ranks start again in each `protocol` ("A", "B", ...; "" if not evaluated): rows of two protocols do not
    compare. `gradient_evaluations` is per image, `training_seconds` a mean over the seeds.
    `nanojoules` is the estimated energy of a pass, where it was measured.
    """

    rank: int | None
    name: str
    objective: str
    seeds: tuple[int, ...]
    status: str
    reason: str
    protocol: str
    clean: Estimate | None
    robust: dict[str, Estimate]
    gradient_evaluations: float | None
    training_seconds: float | None
    parameters: int | None
    nanojoules: float | None = None


@dataclass(frozen=True, eq=False)
class Contender:
    """A network: its row and the runs, one per seed, that the row averages."""

    row: Row
    seeds: tuple[Evidence, ...]

    @property
    def verdicts(self) -> list[Judged]:
        return [one.verdicts for one in self.seeds if one.verdicts]

    @property
    def what(self) -> Noun:
        return self.seeds[0].what

    @property
    def learned(self) -> str:
        """What it was trained by, in a few words."""
        config = self.seeds[0].record.config
        choice = learned_by(config)
        begun = "converted, " if config.get("conversion") and choice == config.get("objective") else ""
        return begun + in_words(choice) if choice else "–"

    @property
    def is_ann(self) -> bool:
        """Whether its units are an ANN's: then it does not spike."""
        config = self.seeds[0].record.config
        neuron = ((config.get("network") or {}).get("init_args") or {}).get("neuron") or {}
        kind = str(neuron.get("class_path") if isinstance(neuron, dict) else neuron).rpartition(".")[2]
        return kind in ANN_UNITS and not config.get("conversion")

    @property
    def worst(self) -> Estimate:
        """Robust accuracy at the largest eps, of a network that has one."""
        return list(self.row.robust.values())[-1]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The networks measured under one protocol, the best first; the unreliable ones last."""

    letter: str
    conditions: Conditions
    contenders: list[Contender]

    @property
    def ranked(self) -> list[Contender]:
        return [contender for contender in self.contenders if contender.row.rank]

    @property
    def chance(self) -> float:
        """The accuracy of who guesses: one over the number of classes that were met."""
        return 1 / max(1, *(1 + int(v.label.max()) for c in self.contenders for v in c.verdicts))

    @property
    def same_images(self) -> bool:
        """Whether every network met the same images: not where seeds have a split each, and networks other seeds."""
        return len({frozenset(v.met for v in contender.verdicts) for contender in self.contenders}) == 1


@dataclass(frozen=True, eq=False)
class Standings:
    """Every comparison that the runs allow, and the networks without verdicts."""

    comparisons: list[Comparison]
    waiting: list[Contender] = field(default_factory=list)

    @property
    def contenders(self) -> list[Contender]:
        return [c for comparison in self.comparisons for c in comparison.contenders] + self.waiting

    @property
    def networks(self) -> list[Contender]:
        """Of a network that was evaluated several times one alone: one without a number, where there is such a one."""
        found: dict[tuple[Path, ...], Contender] = {}
        for one in self.contenders:
            runs = tuple(evidence.run.path for evidence in one.seeds)
            if runs not in found or one.row.status not in ("ok", NOT_EVALUATED):
                found[runs] = one
        return list(found.values())

    @property
    def what(self) -> Noun:
        """What all the networks are about: images, recordings, or either."""
        return noun(contender.seeds[0].recordings for contender in self.contenders)

    def differences(self) -> list[tuple[str, list[str]]]:
        """What differs between the protocols: (facet, its value in each protocol)."""
        facets = [comparison.conditions.facets(self.what) for comparison in self.comparisons]
        shown = [(name, [f[name] for f in facets]) for name in (facets[0] if facets else ())]
        return [(name, values) for name, values in shown if len(set(values)) > 1]
