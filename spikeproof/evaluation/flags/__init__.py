"""Can a robust accuracy be believed? Red flags: what an evaluation would look like if its attacks were blind.

Some checks look at the network and its layers, whatever is attacked (`Inspection`). Others run attacks that must win,
or must not, on some of the images (`Trials`). One looks at what the suite itself found (`Credited`). A raised flag that
spoils makes the number untrustworthy: the verdict is then `unreliable`. To add a check, declare one function in the
file of its subject.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from spikeproof.evaluation.flags import attacks, gradients, layers, network, suite
from spikeproof.evaluation.flags.flag import Check, Flag, Measured, check, declared_in
from spikeproof.evaluation.flags.inspection import CHECKED, Inspection
from spikeproof.evaluation.flags.suite import Credited
from spikeproof.evaluation.flags.trials import Trials

__all__ = [
    "CHECKED",
    "CHECKS",
    "Check",
    "Credited",
    "Flag",
    "Inspection",
    "Measured",
    "Trials",
    "check",
    "examine",
    "rows",
]

CHECKS: tuple[Check[Any], ...] = declared_in(network, layers, gradients, attacks, suite)


def examine(subject: Inspection | Trials | Credited, checks: Sequence[Check[Any]] | None = None) -> Iterator[Flag]:
    """The flags of the subject, raised or not, one by one; of some `checks` only, where they are given."""
    for each in CHECKS if checks is None else checks:
        if isinstance(subject, each.subject) and (flag := each.flag(subject)):
            yield flag
            if flag.raised and each.final:
                return


def rows() -> list[tuple[str, str, str, str]]:
    """A line for each check: its key, what a raised flag means, the threshold, and whether it spoils the number."""
    return [(c.key, c.meaning, f"{c.threshold:g}", "spoils" if c.spoils else "warns") for c in CHECKS]
