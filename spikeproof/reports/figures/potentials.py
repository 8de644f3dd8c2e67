"""How far does a perturbation move the potentials of each layer, step by step?"""

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spikeproof.reports.figures.drawings import INK, MARKERS, SERIES, drawn, series
from spikeproof.reports.reading.probing import Probed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES: dict[str, Any] = {"attacked": "-", "random noise": "--"}


def potential_courses(probed: Probed, key: str, name: str) -> Markup | None:
    """Root mean square perturbation against time, a line a layer; None for a network without spiking layers."""
    if not probed.adversarial:
        return None

    def plot(figure: "Figure") -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        for index, (layer, attacked) in enumerate(probed.adversarial.items()):
            for course, dashes in zip((attacked, probed.random[layer]), DASHES.values(), strict=True):
                steps = range(1, len(course) + 1)
                axes.plot(steps, course, linestyle=dashes, **_ink(index))
        axes.set(xlabel="Time step", title="Perturbation of the potential, rms")
        axes.set_ylim(bottom=0)
        if axes.dataLim.width < 1:  # a single step
            axes.set_xlim(0.5, 1.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, min_n_ticks=1))
        _legend(figure, list(probed.adversarial))

    heard = [
        f"{layer}: {_ends(course)} under attack, {_ends(probed.random[layer])} under random noise"
        for layer, course in probed.adversarial.items()
    ]
    return drawn(
        plot,
        size=(6.4, max(2.8, 0.6 + 0.2 * (len(probed.adversarial) + 2))),
        key=f"{key}-potentials",
        title=f"{name}: perturbation of the membrane potentials over time",
        description="Root mean square, from the first step to the last. " + "; ".join(heard) + ".",
    )


def _ink(index: int) -> dict[str, Any]:
    """Colours repeat in networks of many layers; their markers then differ."""
    return {"color": series(index), "marker": MARKERS[index // SERIES % len(MARKERS)], "markersize": 3.0}


def _legend(figure: "Figure", layers: list[str]) -> None:
    """The layers, numbered in the order of their call, and which line is which."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **_ink(index)) for index in range(len(layers))]
    handles += [Line2D([], [], color=INK, linestyle=dashes) for dashes in DASHES.values()]
    labels = [f"{number + 1}  {layer}" for number, layer in enumerate(layers)] + list(DASHES)
    legend = figure.legend(handles, labels, loc="outside right upper")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _ends(course: tuple[float, ...]) -> str:
    return f"{course[0]:.3g}" if len(course) == 1 else f"{course[0]:.3g} to {course[-1]:.3g}"
