"""Which attacks make an evaluation? Suites: short readable lists, cheapest first."""

from dataclasses import dataclass
from typing import Annotated, Literal

from spikeproof.attacks import (
    APGD,
    DLR,
    FAB,
    FGSM,
    PGD,
    SAPGD,
    SCG,
    SDA,
    Along,
    Annealing,
    Attack,
    CornerPattern,
    DashPattern,
    Margin,
    SpikeRetiming,
    Square,
    SteepestRetiming,
    Targeted,
    TargetedDLR,
    Threat,
    TwinTransfer,
    UniformNoise,
)
from spikeproof.choices import AtLeast, Choice, UserError, nearest
from spikeproof.snn import (
    ASSG,
    BPTR,
    DSR,
    HART,
    PDSG,
    RGA,
    AsANN,
    ATan,
    Exponential,
    GradientPath,
    Mixture,
    Rectangle,
    StraightThrough,
    Triangle,
)
from spikeproof.untrusted.words import told

__all__ = ["SUITES", "Suite", "suite_named"]


@dataclass(frozen=True, kw_only=True)
class Suite(Choice):
    """A named list of attacks; each sees only the images that all before it left unbroken.

    An attack of several members (`Along` several gradient paths) is run and credited member by member. `examined`
    images are attacked once more, each attack by itself, to raise red flags (0: only the flags that need no attack).
    A stochastic network answers with the mean logits of its draws, or, `judged_by` "vote", with the class that most of
    them name (as randomised smoothing does).
    """

    name: str
    attacks: tuple[Attack, ...] = ()
    judged_by: Literal["mean", "vote"] = "mean"
    examined: Annotated[int, AtLeast(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attacks:
            raise UserError(f"the suite {self.name!r} has no attacks")

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks one by one, those of several members taken apart."""
        return tuple(member for attack in self.attacks for member in attack.members())

    @property
    def paths(self) -> tuple[GradientPath, ...]:
        """The gradient paths that are attacked beside a network's own, each once."""
        paths = [path for attack in self.attacks if isinstance(attack, Along) for path in attack.paths]
        return tuple(dict.fromkeys(paths))


QUICK = Suite(
    name="quick",
    attacks=(UniformNoise(draws=2), FGSM(), PGD(steps=10), PGD(steps=20, loss=Margin(), restarts=2)),
)

# The papers' habit: a number to compare theirs with, not one to believe.
HABIT = Suite(name="habit", attacks=(FGSM(), PGD(steps=10)))

# Three climbs along the path that finds most, by two rules of step and two losses: they end at different images. Of
# another slope, the same climb finds fewer new ones. Square, which sees no gradient, is the control.
SHARP = ASSG(share=0.9)
STANDARD = Suite(
    name="standard",
    attacks=(
        FGSM(),
        PGD(steps=20, loss=Margin()),
        Along(attack=APGD(), paths=(SHARP,)),
        Along(attack=SAPGD(loss=Margin()), paths=(SHARP,)),
        Along(attack=APGD(loss=Margin()), paths=(SHARP,)),
        Square(proposals=8),
    ),
    examined=64,
)

# Where spiking networks are compared with ANNs: annealing, in the place of Square, finds more on the former.
ANNEALED = Suite(
    name="annealed",
    attacks=(*STANDARD.attacks[:-1], Along(attack=Annealing(), paths=(ATan(alpha=8.0),))),
)

# Ozdenizci and Legenstein, TMLR 2024: there the gradient flows through the reset
ENSEMBLE = (
    *(Triangle(width=width, detach_reset=False) for width in (1.0, 2.0, 3.0, 0.5, 0.25)),
    *(Exponential(height=0.3, sharpness=sharpness, detach_reset=False) for sharpness in (0.5, 1.0, 2.0)),
    *(Exponential(height=1.0, sharpness=sharpness, detach_reset=False) for sharpness in (0.5, 1.0, 2.0)),
    *(Rectangle(width=width, detach_reset=False) for width in (0.25, 0.5, 1.0, 2.0, 4.0)),
    StraightThrough(detach_reset=False),
    BPTR(),
)
ENSEMBLE19 = Suite(
    name="ensemble19", attacks=(Along(attack=APGD(), paths=ENSEMBLE), TwinTransfer(attack=APGD())), examined=64
)

# Croce and Hein, ICML 2020
AUTOATTACK = Suite(
    name="autoattack",
    attacks=(APGD(), Targeted(attack=APGD(loss=TargetedDLR())), FAB(), Square()),
    examined=64,
)

EXHAUSTIVE = Suite(
    name="exhaustive",
    attacks=(
        *STANDARD.attacks[:-1],
        Along(
            attack=SAPGD(steps=300, loss=Margin(), restarts=2),
            paths=(SHARP, ASSG(), ASSG(share=0.95), ASSG(share=0.9, detach_reset=False)),
        ),
        Along(attack=Targeted(), paths=(SHARP, Triangle())),
        Along(
            attack=APGD(loss=DLR()),
            paths=(ATan(), ATan(alpha=10.0), *ENSEMBLE, AsANN(), PDSG(), HART(), DSR(), RGA(), Mixture()),
        ),
        FAB(),
        TwinTransfer(),
        TwinTransfer(clipped=True),
        ANNEALED.attacks[-1],
        Square(queries=20000, proposals=8),
    ),
    examined=128,
)

# Under EventFlips or EventEdits, for development and for a claim. A flip is far from a small step: the gradients that
# find it are those of slopes as wide as the potentials spread. Patterns, which see no gradient, are the control.
EVENTS = Suite(
    name="events",
    attacks=(
        UniformNoise(draws=5),
        SCG(),
        Along(attack=SCG(), paths=(ASSG(), PDSG())),
        Along(attack=SDA(steps=5), paths=(ASSG(),)),
    ),
)
EVENTS_STANDARD = Suite(
    name="events_standard",
    attacks=(
        UniformNoise(draws=10),
        SCG(),
        Along(attack=SCG(steps=100), paths=(PDSG(), ASSG(), ATan(alpha=1.0))),
        Along(attack=SDA(), paths=(ASSG(), PDSG())),
        CornerPattern(),
        DashPattern(),
    ),
    examined=64,
)

RETIMING = Suite(
    name="retiming",
    attacks=(
        UniformNoise(draws=5),
        SteepestRetiming(),
        Along(attack=SteepestRetiming(), paths=(ASSG(), PDSG())),
        Along(attack=SpikeRetiming(steps=50), paths=(ASSG(),)),
    ),
    examined=64,
)

SUITES = {
    suite.name: suite
    for suite in (
        QUICK,
        HABIT,
        STANDARD,
        ANNEALED,
        ENSEMBLE19,
        AUTOATTACK,
        EXHAUSTIVE,
        EVENTS,
        EVENTS_STANDARD,
        RETIMING,
    )
}


FOR_EVENTS = {"events": {STANDARD: EVENTS_STANDARD, QUICK: EVENTS}, "retiming": {STANDARD: RETIMING, QUICK: RETIMING}}


def suite_for(threat: Threat, suite: Suite) -> Suite:
    """What "standard" and "quick" mean under a threat: those for recordings where it is on events."""
    return FOR_EVENTS.get(threat.kind, {}).get(suite, suite)


def suite_named(name: str) -> Suite:
    """The suite of that name; raises `UserError` with the nearest one for an unknown name."""
    if name not in SUITES:
        raise UserError(f"unknown suite {told(name)}; {nearest(name, SUITES)}")
    return SUITES[name]
