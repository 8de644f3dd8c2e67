"""How is an evaluation done? A protocol: one protocol file is one leaderboard."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spikeproof.attacks import Linf, Threat, Transfer
from spikeproof.choices import Choice, Count, Seed, UserError, short, within
from spikeproof.configs import to_config
from spikeproof.data import DataSet, Images, PartName
from spikeproof.evaluation.pools import part_of, pool_of
from spikeproof.evaluation.predictions import Given
from spikeproof.evaluation.suites import STANDARD, Suite, suite_for, suite_named
from spikeproof.runs.protocol_names import fingerprint_of, protocol_name
from spikeproof.untrusted.words import told

__all__ = ["Protocol"]


@dataclass(frozen=True, kw_only=True)
class Protocol(Choice):
    """All that two evaluations must share if their numbers are compared.

    `threats` differ in size only; they are kept sorted by eps, and one alone may be given without brackets. A size
    alone, 0.1 or "8/255", means `Linf`. A `suite` of spikeproof's may be given by its name; "standard" and "quick" mean
    those for recordings where the threats are on events. `images` counts the images of `part`, from the first on (None:
    all). `draws` passes are averaged for a stochastic network (None: 16), and one for any other. `seed` is for random
    starts. `attack_precision` is that of the network while it is attacked: "bf16" runs it under autocast, which is
    faster on most GPUs. What judges is always float32. Raises `UserError` for threats that do not belong together, for
    an attack of the suite that does not know them, and for numbers out of range.
    """

    threats: tuple[Threat, ...]
    suite: Suite = STANDARD
    part: PartName = "test"
    images: Count | None = None
    draws: Count | None = None
    seed: Seed = 0
    attack_precision: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "threats", _threats(self.threats))
        object.__setattr__(self, "suite", _suite(self.suite))
        super().__post_init__()
        object.__setattr__(self, "threats", _in_order(self.threats))
        object.__setattr__(self, "suite", suite_for(self.threats[0], self.suite))
        for member in self.suite.members:
            for threat in self.threats:
                member.check(threat)

    @property
    def fingerprint(self) -> str:
        """A digest of every choice: equal for two evaluations exactly if they were done in the same way."""
        return fingerprint_of(to_config(self))

    @property
    def name(self) -> str:
        """What its evaluations are called in run folders: suite, threat and the beginning of the fingerprint."""
        return protocol_name(self.suite.name, type(self.threats[0]).__name__, to_config(self))

    @property
    def sources(self) -> list[Path]:
        """The run folders of the networks that images are transferred from."""
        return [Path(attack.file) for attack in within(self.suite, Transfer)]

    def part_of(self, data: DataSet, data_root: str | Path | None = None) -> Images:
        """The images of a data set that are judged; raises `UserError` where there are fewer."""
        return part_of(data, self.part, self.images, data_root)

    def pool(self, data: Any) -> Images | Given:
        """The images of anything that is judged: of a data set those of `part`, of what `pair_of` takes the first."""
        return pool_of(data, self.part, self.images)


def as_protocol(given: Any, suite: Suite | str | None = None) -> Protocol:
    """A protocol, or what stands in its place: threats, or their sizes, and a `suite`."""
    if isinstance(given, Protocol):
        if suite is not None:
            raise UserError(f"the protocol has its suite, {given.suite.name}: leave out suite, or give threats alone")
        return given
    if isinstance(given, bool) or not isinstance(given, Threat | int | float | str | tuple | list):
        raise UserError(f"a protocol is needed, Protocol(threats=Linf(0.1)) for example, not {told(given)}")
    return Protocol(threats=given, **({} if suite is None else {"suite": suite}))  # type: ignore[arg-type]


def _suite(given: object) -> object:
    """A suite in the place of its name."""
    return suite_named(given) if isinstance(given, str) else given


def _threats(given: object) -> object:
    """One threat without brackets is as good as a list, and a size alone means Linf."""
    if isinstance(given, str) and "," in given:
        given = [part.strip() for part in given.split(",")]
    those = given if isinstance(given, tuple | list) else [given]
    sized = [Linf(each) if isinstance(each, int | float | str) else each for each in those]  # type: ignore[arg-type]
    return tuple(sized) if sized != [given] or isinstance(given, Threat) else given


def _in_order(threats: Sequence[Threat]) -> tuple[Threat, ...]:
    if not threats:
        raise UserError("an evaluation needs at least one threat, for example Linf(8/255)")
    kinds = {replace(threat, eps=0): threat for threat in threats}  # type: ignore[type-var]
    if len(kinds) > 1:
        these = ", ".join(sorted(map(short, kinds.values())))
        raise UserError(f"the threats of one evaluation differ in size only; these are {these}")
    ordered = sorted(threats, key=lambda threat: threat.eps)
    if len({threat.eps for threat in ordered}) < len(ordered):
        raise UserError("the same eps is given twice")
    return tuple(ordered)
