"""How does the success of an attack grow with its steps?"""

import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from spikeproof.reports.drawings import drawn, series
from spikeproof.reports.evidence import Flag
from spikeproof.reports.flagging import Flagged
from spikeproof.reports.learning import DASHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURED_BY = "more steps do not help"  # its details are the success of "APGD 10", "APGD 50", ...


def climb(found: Flagged, key: str, name: str) -> Markup | None:
    """The share of images broken against steps, a line a seed; None for a network without that flag."""
    flags = {seed: flag for check in found.checks for seed, flag in check.by_seed.items() if flag.name == MEASURED_BY}
    courses = {seed: course for seed, flag in flags.items() if (course := _course(flag))}
    if not courses:
        return None

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
        axes.set(xlabel="Steps", title=f"Broken by APGD alone, % of the examined {found.what.many}", ylim=(0, 103))
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


def _course(flag: Flag) -> dict[int, float]:
    numbered = [(re.fullmatch(r"\D+ (\d+)", attack), share) for attack, share in flag.details.items()]
    return {int(steps[1]): float(share) for steps, share in numbered if steps}


def _heard(seed: int, course: dict[int, float]) -> str:
    return f"seed {seed}: " + ", ".join(f"{100 * share:.1f} % with {steps} steps" for steps, share in course.items())
