"""How far is each network certified, and what did attacks leave? Of one network, the truth lies between the two."""

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from spikeproof.reports.figures.curves import SIZE
from spikeproof.reports.figures.drawings import drawn, series
from spikeproof.reports.reading.proved import Proved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def certified_curves(found: dict[str, list[Proved]], colours: dict[str, int]) -> list[Markup]:
    """A figure for each norm: the certified share of images against the radius, under what attacks left."""
    norms = dict.fromkeys(one.norm for several in found.values() for one in several)
    return [_figure(norm, found, colours) for norm in norms]


def _figure(norm: str, found: dict[str, list[Proved]], colours: dict[str, int]) -> Markup:
    shown = [(name, one) for name, several in found.items() for one in several if one.norm == norm]
    end = max(max(_sizes(one)) for _, one in shown) * 1.02 or 1.0

    def plot(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for name, one in shown:
            _curves(axes, one, series(colours[name]), end, name)
        unit = shown[0][1].record.unit or "pixel values in [0, 1]"
        axes.set(title="Accuracy, % of images", ylim=(0, 101), xlim=(0, end))
        axes.set_xlabel(f"eps: {unit}, {norm}", parse_math=False)
        axes.set_yticks(range(0, 101, 20))
        if len(shown) > 1:
            axes.legend()

    heard = [f"{name}: certified at a mean radius of {one.radius.mean():.3g}" for name, one in shown]
    return drawn(
        plot,
        size=SIZE,
        key=f"{norm.lower()}-certified",
        title=f"Certified accuracy against the radius in {norm}",
        description="; ".join(heard) + ".",
    )


def _sizes(one: Proved) -> list[float]:
    return [float(one.radius.max()), *(threat.eps for threat in (one.judged.conditions.threats if one.judged else ()))]


def _curves(axes: "Axes", one: Proved, ink: str, end: float, name: str) -> None:
    radii = np.sort(one.radius[one.radius > 0])
    at = np.concatenate([[0.0], radii, [end]])
    holding = 100 * np.concatenate([[len(radii)], np.arange(len(radii), 0, -1), [0]]) / len(one.radius)
    axes.step(at, holding, where="pre", color=ink, linestyle="--", linewidth=1.2, label=name[:24])
    if one.judged and one.judged.robust:
        threats = one.judged.conditions.threats
        left = [one.judged.clean, *one.judged.robust]
        axes.plot([0.0, *(t.eps for t in threats)], [100 * e.value for e in left], color=ink, marker="o", markersize=4)
