"""What do we want to reach? How many times better than whom, at what; and whether it is met."""

from dataclasses import dataclass
from typing import Literal

EAGER = "SpikingJelly"
COMPILED = "SpikingJelly compiled"
SNNTORCH = "snnTorch"
OURS = "spikeproof"

WARM_UP_SECONDS = 10.0  # our first call may take at most this long with an empty compiler cache


@dataclass(frozen=True, kw_only=True)
class Goal:
    """At `workload`, we want `against` to need at least `factor` times as much as we do."""

    workload: str
    against: str
    factor: float
    quantity: Literal["time", "memory"] = "time"

    def met(self, measured: float) -> bool:
        """Whether `measured` reaches the factor in the two digits that are shown."""
        return round(measured, 2) >= self.factor


def _goals(workload: str, **factors: float) -> tuple[Goal, ...]:
    names = {"eager": EAGER, "compiled": COMPILED, "snntorch": SNNTORCH}
    return tuple(Goal(workload=workload, against=names[name], factor=factor) for name, factor in factors.items())


GOALS: tuple[Goal, ...] = (
    *_goals("LIF layer", eager=8.0, snntorch=15.0),
    Goal(workload="LIF layer", against=EAGER, factor=3.0, quantity="memory"),
    Goal(workload="LIF layer", against=SNNTORCH, factor=2.5, quantity="memory"),
    *_goals("CNN train, wide", eager=1.25, compiled=1.15, snntorch=1.6),
    *_goals("CNN train, narrow", eager=1.5, compiled=1.15, snntorch=2.2),
    *_goals("CNN PGD step, wide", eager=1.6, compiled=1.6, snntorch=2.0),
    *_goals("CNN PGD step, narrow", eager=1.9, compiled=1.6, snntorch=3.0),
    *_goals("CNN inference, wide", eager=1.7, compiled=1.1, snntorch=1.8),
    *_goals("CNN inference, narrow", eager=2.2, compiled=1.1, snntorch=2.3),
    *_goals("MLP PGD step", eager=2.5, snntorch=2.7),
)
