"""What is a red flag, and what is a check that may raise one?"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any, Generic, TypeVar

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Flag:
    """What a check found: a number, the threshold beyond which the flag is raised, and what that would mean.

    `spoils`: a raised flag makes the robust accuracy untrustworthy. `details` hold what the number was taken from.
    """

    key: str
    name: str
    number: float
    threshold: float
    spoils: bool
    meaning: str
    details: dict[str, Any]

    @property
    def raised(self) -> bool:
        return not self.number <= self.threshold  # NaN is raised

    def said(self) -> str:
        return f"{self.name}: {self.number:.3g} (at most {self.threshold:.3g} is normal). {self.meaning}"

    def summary(self) -> dict[str, Any]:
        number = None if math.isnan(self.number) else self.number  # which JSON does not know
        return asdict(self) | {"number": number, "raised": self.raised}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The number of a check, and the `details` it was taken from.

    `chance` is what chance alone explains; the threshold is at least that. `ran` names the attacks that were run.
    """

    number: float
    details: dict[str, Any] = field(default_factory=dict)
    chance: float = 0.0
    ran: str = ""


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Subject]):
    """A declared check of a subject: a network, attacks on it, or what a suite found.

    `number` says what `function` measures; None of it means that the check does not apply. `meaning` says what a number
    above `threshold` tells. `final`: once the flag is raised, no other check of the subject tells anything. `cheap`: it
    takes few gradients, and is made whatever the suite.
    """

    key: str
    name: str
    threshold: float
    spoils: bool
    number: str
    meaning: str
    subject: type[Subject]
    function: Callable[[Subject], Measured | None]
    final: bool = False
    cheap: bool = False

    def flag(self, subject: Subject) -> Flag | None:
        """The flag of this check, raised or not; None where it does not apply."""
        found = self.function(subject)
        if found is None:
            return None
        meaning = f"{self.meaning} {found.ran}".rstrip()
        threshold = max(self.threshold, found.chance)
        return Flag(self.key, self.name, found.number, threshold, self.spoils, meaning, found.details)


def check(
    subject: type[Subject],
    *,
    key: str,
    name: str,
    threshold: float,
    spoils: bool,
    number: str,
    meaning: str,
    final: bool = False,
    cheap: bool = False,
) -> Callable[[Callable[[Subject], Measured | None]], Check[Subject]]:
    """Declares the function below it as a check; see `Check`."""

    def declared(function: Callable[[Subject], Measured | None]) -> Check[Subject]:
        return Check(
            key=key,
            name=name,
            threshold=threshold,
            spoils=spoils,
            number=number,
            meaning=meaning,
            subject=subject,
            function=function,
            final=final,
            cheap=cheap,
        )

    return declared


def declared_in(*modules: ModuleType) -> tuple[Check[Any], ...]:
    """The checks that the modules declare, in the order in which they stand there."""
    return tuple(thing for module in modules for thing in vars(module).values() if isinstance(thing, Check))
