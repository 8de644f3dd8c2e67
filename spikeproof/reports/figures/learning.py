"""How did the training of a network go, epoch by epoch?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spikeproof.reports.figures.drawings import INK, drawn, series
from spikeproof.reports.reading.contenders import Contender
from spikeproof.runs.records import Epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Quantity:
    """Something that an epoch's record may hold, and how the reader calls it."""

    label: str
    read: Callable[[Epoch], float | None]

    def points(self, epochs: Sequence[Epoch]) -> tuple[list[int], list[float]]:
        known = [(row.epoch, value) for row in epochs if (value := self.read(row)) is not None]
        return [epoch for epoch, _ in known], [value for _, value in known]


def learning_curves(contender: Contender, key: str) -> list[Markup]:
    """Loss terms, and validation accuracies; the kept epoch is marked, each seed is one line. May be empty.

    Epoch 0, marked by dots, is a network that did not begin at random, before any training: it has no losses.
    """
    seeds = [one.epochs for one in contender.seeds if one.epochs]
    if not seeds:
        return []
    terms = sorted({term for epochs in seeds for row in epochs for term in row.losses})
    name = contender.row.name
    shares = [_share("clean", "validation_accuracy"), _share("under attack", "validation_robust_accuracy")]
    drawings = [
        _drawing(seeds, [_loss(term) for term in terms], f"{key}-losses", f"{name}: loss"),
        _drawing(seeds, shares, f"{key}-validation", f"{name}: validation accuracy, %", top=101.0),
    ]
    return [drawing for drawing in drawings if drawing]


def begins_converted(contender: Contender) -> bool:
    """Whether some seed was measured before any training."""
    return any(row.epoch == 0 for one in contender.seeds for row in one.epochs)


def _loss(term: str) -> Quantity:
    return Quantity(term.replace("_", " "), lambda row: row.losses.get(term))


def _share(label: str, field: str) -> Quantity:
    def percent(row: Epoch) -> float | None:
        share = getattr(row, field)
        return None if share is None else 100 * share

    return Quantity(label, percent)


def _drawing(
    seeds: Sequence[Sequence[Epoch]],
    quantities: list[Quantity],
    key: str,
    title: str,
    top: float | None = None,
) -> Markup | None:
    """None where no epoch of any seed has any of the quantities."""
    quantities = [q for q in quantities if any(q.points(epochs)[0] for epochs in seeds)]
    if not quantities:
        return None

    def plot(figure: "Figure") -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        for number, epochs in enumerate(seeds):
            for index, quantity in enumerate(quantities):
                x, y = quantity.points(epochs)
                label = None if number else quantity.label
                axes.plot(x, y, label=label, **_style(index, x))
            for kept in [row.epoch for row in epochs if row.best][-1:]:
                axes.axvline(kept, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set(xlabel="Epoch", title=title.rpartition(": ")[2].capitalize())
        axes.set_ylim(bottom=min(0.0, axes.dataLim.y0), top=top)
        if axes.dataLim.width < 1:  # a single epoch
            axes.set_xlim(axes.dataLim.x0 - 0.5, axes.dataLim.x1 + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))
        axes.legend()

    return drawn(plot, size=(4.8, 2.6), key=key, title=title, description=_told(quantities, seeds[0]))


def _style(index: int, epochs: list[int]) -> dict[str, Any]:
    """Dots only at epoch 0, and where one point alone makes no line."""
    alone = [i for i, epoch in enumerate(epochs) if epoch == 0 or len(epochs) == 1]
    dots = {"marker": "o", "markersize": 4.5, "markevery": alone} if alone else {}
    return {"color": series(index), "linestyle": DASHES[index % len(DASHES)]} | dots


def _told(quantities: list[Quantity], epochs: Sequence[Epoch]) -> str:
    """The first seed in words: where each quantity starts, if that is before any training, and where it ends."""
    points = [(quantity.label, *quantity.points(epochs)) for quantity in quantities]
    before = [f"{label} is {y[0]:.3g}" for label, x, y in points if x and x[0] == 0]
    after = [f"{label} ends at {y[-1]:.3g}" for label, x, y in points if x and x[-1] > 0]
    told = [f"Before any training: {'; '.join(before)}."] if before else []
    return " ".join(told + ([f"After the last epoch: {'; '.join(after)}."] if after else []))
