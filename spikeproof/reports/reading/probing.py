"""What do the probes say of each network, as a mean over its seeds?"""

from collections.abc import Sequence
from dataclasses import dataclass

from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.wording import NARROW, Noun, listed, percent
from spikeproof.runs.records import ProbesRecord

HEADINGS = (
    "Non-zero share",
    "Above 1 % of the largest",
    "l1",
    "Loss rise, attack",
    "Loss rise, random",
    "Loss rise, gap",
    "Last layer’s rms, mean over time",
)
KINDS = ("adversarial", "random", "gap")


@dataclass(frozen=True, eq=False)
class Probed:
    """Means over `seeds`, those probed in the same setting as the first probed one."""

    setting: str
    draws: int
    seeds: tuple[int, ...]
    figures: dict[str, float]
    adversarial: dict[str, tuple[float, ...]]
    random: dict[str, tuple[float, ...]]
    what: Noun

    @property
    def last_layer(self) -> float | None:
        """The mean over time of the last spiking layer's perturbation under attack; None where nothing spikes."""
        courses = list(self.adversarial.values())
        return sum(courses[-1]) / len(courses[-1]) if courses else None


def probed(contender: Contender) -> Probed | None:
    """None where no seed of the network was probed."""
    known = [(one.seed, one.probed_in, one.probes) for one in contender.seeds if one.probes]
    seeds = [
        (seed, setting, probes) for seed, setting, probes in known if _kind(setting, probes) == _kind(*known[0][1:])
    ]
    if not seeds:
        return None
    probes = [found for _, _, found in seeds]
    courses = [found.potential_perturbation for found in probes]
    return Probed(
        setting=seeds[0][1],
        draws=probes[0].draws,
        seeds=tuple(seed for seed, _, _ in seeds),
        figures={name: _mean([_figures(found)[name] for found in probes]) for name in _figures(probes[0])},
        adversarial=_mean_courses([{layer: c.adversarial for layer, c in found.items()} for found in courses]),
        random=_mean_courses([{layer: c.random for layer, c in found.items()} for found in courses]),
        what=contender.what,
    )


def _figures(found: ProbesRecord) -> dict[str, float]:
    """The numbers of one seed by name: those of the gradient, and of each harm by kind."""
    harms = {"loss_rise": found.loss_rise, "accuracy_drop": found.accuracy_drop}
    rises = {f"{what}_{kind}": value for what, harm in harms.items() for kind, value in harm._asdict().items()}
    return found.gradient._asdict() | rises


def cells(probed: Probed) -> list[str]:
    """The row under `HEADINGS`."""
    f, last = probed.figures, probed.last_layer
    rises = [f"{f[f'loss_rise_{kind}']:.3f}" for kind in KINDS]
    return [
        percent(f["nonzero_share"]),
        percent(f["above_1_percent_share"]),
        f"{f['l1']:.3g}",
        *rises,
        "–" if last is None else f"{last:.3g}",
    ]


def settings(networks: Sequence[Probed]) -> list[str]:
    """Every setting that occurs, in order: figures of two settings do not compare."""
    return list(dict.fromkeys(network.setting for network in networks))


def told(probed: Probed) -> str:
    """The figures as sentences."""
    f = probed.figures
    rise, drop = ([f[f"{what}_{kind}"] for kind in KINDS] for what in ("loss_rise", "accuracy_drop"))
    points = [f"{100 * share:.1f}" for share in drop]
    mean = f" Means over the seeds {listed([str(seed) for seed in probed.seeds])}." if len(probed.seeds) > 1 else ""
    drawn = f" Logits and gradients are means of {probed.draws} passes." if probed.draws > 1 else ""
    return (
        f"Of the entries of the input gradient, {percent(f['nonzero_share'])} are not exactly zero and "
        f"{percent(f['above_1_percent_share'])} exceed 1{NARROW}% of their {probed.what.one}’s largest; its l1 norm is "
        f"{f['l1']:.3g}. The attack raises the cross-entropy by {rise[0]:.3f} and lowers the accuracy by {points[0]} "
        f"points, random noise of the same size by {rise[1]:.3f} and {points[1]} points: a gap of {rise[2]:.3f} and "
        f"{points[2]} points.{mean}{drawn}"
    )


def _kind(setting: str, found: ProbesRecord) -> tuple[str, int, list[tuple[str, int]]]:
    """What the probes of two seeds must share before they are averaged."""
    steps = [(layer, len(course.adversarial)) for layer, course in found.potential_perturbation.items()]
    return setting, found.draws, steps


def _mean_courses(courses: list[dict[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    return {
        layer: tuple(_mean(step) for step in zip(*(course[layer] for course in courses), strict=True))
        for layer in courses[0]
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
