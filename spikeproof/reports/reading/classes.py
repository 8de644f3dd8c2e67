"""Which classes does a network tell apart, before and after the attacks?"""

from dataclasses import dataclass

import numpy as np

from spikeproof.reports.reading.contenders import Contender

MOST = 20  # classes of a table


@dataclass(frozen=True, eq=False)
class Classes:
    """Counts ``[K, K]``, rows true and columns answered, of all seeds; `after` every attack up to the largest eps.

    `after` is None where an older evaluation did not write down what broken images were taken for.
    """

    names: list[str]
    before: np.ndarray
    after: np.ndarray | None
    robust: np.ndarray

    @property
    def rows(self) -> list[tuple[str, int, float, float, str]]:
        """(class, images, clean accuracy, robust accuracy, what it is most often taken for after the attacks)."""
        found = []
        for k, name in enumerate(self.names):
            total = int(self.before[k].sum())
            if total:
                found.append((name, total, self.before[k, k] / total, self.robust[k] / total, self._mistaken(k)))
        return found

    def _mistaken(self, k: int) -> str:
        if self.after is None:
            return "–"
        others = self.after[k].copy()
        others[k] = 0
        return f"{self.names[int(others.argmax())]} ({int(others.max())})" if others.any() else "–"

    @property
    def cells(self) -> list[tuple[str, list[tuple[int, int, float, str]]]]:
        """The matrices as squares: (title, [(column, row, share of the row, words)])."""
        parts = [("before", self.before), *([("after", self.after)] if self.after is not None else [])]
        return [(title, self._squares(counts)) for title, counts in parts]

    def _squares(self, counts: np.ndarray) -> list[tuple[int, int, float, str]]:
        totals = counts.sum(1)
        return [
            (j, i, counts[i, j] / totals[i], f"{self.names[i]} taken for {self.names[j]}: {counts[i, j]}")
            for i, j in zip(*np.nonzero(counts), strict=True)
        ]


def classes(contender: Contender, names: list[str]) -> Classes | None:
    """Those of a network that has a number, over all its seeds; None for more than `MOST` classes, or without one."""
    judged = contender.verdicts
    if not contender.row.rank or not judged:
        return None
    count = max(classes_of(contender), 1 + max(int(max(v.label.max(), v.clean_prediction.max())) for v in judged))
    if count > MOST:
        return None
    before, after, robust = np.zeros((count, count), int), np.zeros((count, count), int), np.zeros(count, int)
    known = all(v.broken_as is not None for v in judged)
    for v in judged:
        last = len(v.conditions.threats) - 1
        np.add.at(before, (v.label, v.clean_prediction), 1)
        np.add.at(robust, v.label[v.holds(last)], 1)
        if v.broken_as is not None:
            broken = (v.broken_at >= 0) & (v.broken_at <= last) & (v.broken_as >= 0) & (v.broken_as < count)
            np.add.at(after, (v.label, np.where(broken, v.broken_as, v.clean_prediction)), 1)
    called = names if len(names) >= count else [str(k) for k in range(count)]
    return Classes(called[:count], before, after if known else None, robust)


def classes_of(contender: Contender) -> int:
    """How many classes there are at least: as many as labels were met."""
    return max((1 + int(v.label.max()) for v in contender.verdicts), default=0)
