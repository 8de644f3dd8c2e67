"""How did the training of a network go, epoch by epoch?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from spikeproof.reports.drawings import INK, drawn, series
from spikeproof.reports.rankings import Contender

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Quantity:
    """Something that an epoch's record may hold, and how the reader calls it."""

    label: str
    read: Callable[[dict[str, Any]], float | None]

    def points(self, epochs: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
        known = [(row["epoch"], value) for row in epochs if (value := self.read(row)) is not None]
        return [epoch for epoch, _ in known], [value for _, value in known]


def learning_curves(contender: Contender, key: str) -> list[Markup]:
    """Loss terms, and validation accuracies; the kept epoch is marked, each seed is one line. May be empty."""
    seeds = [one.epochs for one in contender.seeds if one.epochs]
    if not seeds:
        return []
    terms = sorted({term for epochs in seeds for row in epochs for term in row.get("losses", {})})
    return [
        _drawing(seeds, [_loss(term) for term in terms], f"{key}-losses", f"{contender.row.name}: loss"),
        _drawing(
            seeds,
            [_share("clean", "validation_accuracy"), _share("under attack", "validation_robust_accuracy")],
            f"{key}-validation",
            f"{contender.row.name}: validation accuracy, %",
            top=101.0,
        ),
    ]


def _loss(term: str) -> Quantity:
    return Quantity(term.replace("_", " "), lambda row: row.get("losses", {}).get(term))


def _share(label: str, field: str) -> Quantity:
    return Quantity(label, lambda row: None if row.get(field) is None else 100 * row[field])


def _drawing(
    seeds: list[list[dict[str, Any]]],
    quantities: list[Quantity],
    key: str,
    title: str,
    top: float | None = None,
) -> Markup:
    def plot(figure: "Figure") -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        for number, epochs in enumerate(seeds):
            for index, quantity in enumerate(quantities):
                x, y = quantity.points(epochs)
                label = None if number else quantity.label
                axes.plot(x, y, color=series(index), linestyle=DASHES[index % len(DASHES)], label=label)
            for kept in [row["epoch"] for row in epochs if row.get("best")][-1:]:
                axes.axvline(kept, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set(xlabel="Epoch", title=title.rpartition(": ")[2].capitalize())
        axes.set_ylim(bottom=min(0.0, axes.dataLim.y0), top=top)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        if quantities:
            axes.legend()

    told = "; ".join(
        f"{quantity.label} ends at {y[-1]:.3g}" for quantity in quantities if (y := quantity.points(seeds[0])[1])
    )
    return drawn(plot, size=(4.8, 2.6), key=key, title=title, description=f"After the last epoch: {told}.")
