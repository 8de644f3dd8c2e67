"""What do the probes say of each network, as a mean over its seeds?"""

from collections.abc import Sequence
from dataclasses import dataclass

from spikeproof.reports.evidence import Probes
from spikeproof.reports.rankings import Contender
from spikeproof.reports.wording import NARROW, Noun, listed, percent

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
    """Means over `seeds`, those probed in the same setting as the first probed one; see `Probes`."""

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
    known = [(one.seed, one.probes) for one in contender.seeds if one.probes]
    alike = [(seed, probes) for seed, probes in known if _kind(probes) == _kind(known[0][1])]
    if not alike:
        return None
    seeds, probes = zip(*alike, strict=True)
    return Probed(
        setting=probes[0].setting,
        draws=probes[0].draws,
        seeds=seeds,
        figures={name: _mean([p.figures[name] for p in probes]) for name in probes[0].figures},
        adversarial=_mean_courses([p.adversarial for p in probes]),
        random=_mean_courses([p.random for p in probes]),
        what=contender.what,
    )


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


def _kind(probes: Probes) -> tuple[str, int, list[tuple[str, int]]]:
    return probes.setting, probes.draws, [(layer, len(course)) for layer, course in probes.adversarial.items()]


def _mean_courses(courses: list[dict[str, tuple[float, ...]]]) -> dict[str, tuple[float, ...]]:
    return {
        layer: tuple(_mean(step) for step in zip(*(course[layer] for course in courses), strict=True))
        for layer in courses[0]
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
