"""How does the success of an attack grow with its steps?"""

from typing import TYPE_CHECKING

from markupsafe import Markup

from spikeproof.reports.figures.drawings import drawn, series
from spikeproof.reports.figures.learning import DASHES
from spikeproof.reports.reading.flagging import Flagged
from spikeproof.runs.records import FlagRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURED_BY = (
    "steps-do-not-help"  # the key of the flag whose details are the success of a climb, and its numbers of steps
)


def climb(found: Flagged, key: str, name: str) -> Markup | None:
    """The share of images broken against steps, a line a seed; None for a network without that flag."""
    flags = {seed: flag for check in found.checks for seed, flag in check.by_seed.items() if flag.key == MEASURED_BY}
    courses = {seed: course for seed, flag in flags.items() if (course := _course(flag))}
    if not courses:
        return None
    attacks = _climbers(next(iter(flags.values())))

    def plot(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for index, (seed, course) in enumerate(courses.items()):
            shares = [100 * share for share in course.values()]
            dashes = DASHES[index % len(DASHES)]
            axes.plot(
                list(course),
                shares,
                color=series(index),
                linestyle=dashes,
                marker="o",
                markersize=4,
                label=f"seed {seed}",
            )
        steps = sorted({step for course in courses.values() for step in course})
        axes.set_xscale("log")
        axes.set_xticks(steps, [str(step) for step in steps])
        axes.minorticks_off()
        axes.set(
            xlabel="Steps", title=f"Broken by {attacks} alone,\n% of the examined {found.what.many}", ylim=(0, 103)
        )
        axes.set_yticks(range(0, 101, 25))
        if len(courses) > 1:
            axes.legend()

    return drawn(
        plot,
        size=(4.8, 2.3),
        key=f"{key}-climb",
        title=f"{name}: {found.what.many} broken against steps",
        description="; ".join(_heard(seed, course) for seed, course in courses.items()) + ".",
    )


def _course(flag: FlagRecord) -> dict[int, float]:
    """The share that is broken by number of steps; the first details are these shares, in the order of the steps."""
    return {step: float(share) for step, share in zip(_steps(flag), flag.details.values(), strict=False)}


def _climbers(flag: FlagRecord) -> str:
    """The attacks that climb with the fewest and with the most steps: APGD-CE-10 to APGD-CE-500."""
    names = list(flag.details)[: len(_steps(flag))]
    return f"{names[0]} to {names[-1]}"


def _steps(flag: FlagRecord) -> list[int]:
    return list(flag.details.get("steps", ()))


def _heard(seed: int, course: dict[int, float]) -> str:
    return f"seed {seed}: " + ", ".join(f"{100 * share:.1f} % with {steps} steps" for steps, share in course.items())
