"""How does accuracy fall as the adversary grows?"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup

from spikeproof.reports.figures.drawings import INK, drawn, look, painted, series
from spikeproof.reports.reading.conditions import Conditions
from spikeproof.reports.reading.contenders import Comparison, Contender
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.reports.wording import percent, plain, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELLED = 10  # the best
SIZE = (10.4, 4.3)  # inches


def accuracy_curves(comparison: Comparison, colours: dict[str, int]) -> Markup:
    """Accuracy against eps (eps 0 is clean) with 95 % bands; thin lines are single seeds, a dotted one is chance."""
    heard = [f"{c.row.name}: {', '.join(percent(e.value) for e in _estimates(c))}" for c in comparison.ranked]
    return drawn(
        _plot(comparison, colours),
        size=SIZE,
        key=f"accuracy-{comparison.letter}",
        title="Accuracy against the size of the perturbation",
        description=f"From clean to the largest eps. {'; '.join(heard)}. Chance is {percent(comparison.chance)}.",
    )


def accuracy_picture(comparison: Comparison, colours: dict[str, int]) -> bytes:
    """The same as a PNG."""
    return painted(_plot(comparison, colours), size=SIZE)


def _plot(comparison: Comparison, colours: dict[str, int]) -> "Callable[[Figure], None]":
    def plot(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for contender in comparison.ranked:
            _curve(axes, contender, comparison.conditions, colours[contender.row.name])
        _chance(axes, comparison.chance)
        _end_labels(axes, comparison.ranked[:LABELLED], _positions(comparison.conditions)[-1], colours)
        _eps_axis(axes, comparison.conditions)

    return plot


def _chance(axes: "Axes", chance: float) -> None:
    axes.axhline(100 * chance, color=INK, linewidth=0.8, linestyle=":")
    axes.text(0, 100 * chance + 1.2, f"chance, {percent(chance)}", color=INK, fontsize=8, parse_math=False)


def _estimates(contender: Contender) -> list[Estimate]:
    assert contender.row.clean
    return [contender.row.clean, *contender.row.robust.values()]


def _positions(shared: Conditions) -> list[float]:
    """Where clean and each threat stand: at eps, or evenly where several norms leave no common axis."""
    if len({threat.norm for threat in shared.threats}) > 1:
        return [float(index) for index in range(1 + len(shared.threats))]
    return [0.0, *(threat.eps for threat in shared.threats)]


def _curve(axes: "Axes", contender: Contender, shared: Conditions, colour: int) -> None:
    at, estimates = _positions(shared), _estimates(contender)
    ink = series(colour)
    low, high = [100 * e.low for e in estimates], [100 * e.high for e in estimates]
    axes.fill_between(at, low, high, color=ink, alpha=0.13, linewidth=0)
    if len(contender.verdicts) > 1:
        for verdicts in contender.verdicts:
            single = [100 * e.value for e in (verdicts.clean, *verdicts.robust)]
            axes.plot(at, single, color=ink, linewidth=0.6, alpha=0.7)
    axes.plot(
        at,
        [100 * e.value for e in estimates],
        **look(colour),
    )


def _end_labels(axes: "Axes", ranked: list[Contender], end: float, colours: dict[str, int]) -> None:
    """Each name stands at the end of its line, moved up or down where names would touch."""
    ends = [(100 * c.worst.value, c) for c in reversed(ranked)]
    for (value, contender), y in zip(ends, _apart([value for value, _ in ends], gap=5.2), strict=True):
        ink = series(colours[contender.row.name])
        axes.plot(
            [end * 1.012, end * 1.045],
            [value, y],
            color=ink,
            linewidth=0.8,
            clip_on=False,
            solid_capstyle="butt",
        )
        name = contender.row.name if len(contender.row.name) < 25 else contender.row.name[:23] + "…"
        axes.text(end * 1.055, y, name, va="center", color=INK, parse_math=False)


def _apart(values: list[float], gap: float) -> list[float]:
    """Ascending `values`, each at least `gap` above the one before and, if they fit, inside [0, 100]."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    ceiling = 100.0
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed


def _eps_axis(axes: "Axes", shared: Conditions) -> None:
    at, norms = _positions(shared), {threat.norm for threat in shared.threats}
    mixed = len(norms) > 1
    write = plain if shared.recordings else size
    labels = [threat.label if mixed else write(threat.eps) for threat in shared.threats]
    axes.set_xticks(at, ["clean", *labels], parse_math=False)
    axes.set_xlim(-at[-1] * 0.02, at[-1] * 1.015)
    axes.set_ylim(0, 101)
    axes.set_yticks(range(0, 101, 20))
    axes.set(title=f"Accuracy, % of {shared.what.many}")
    counted = shared.threats[-1].unit
    axes.set_xlabel(
        "Threat" if mixed else f"eps: {counted}" if counted else f"eps, {norms.pop()} norm", parse_math=False
    )
