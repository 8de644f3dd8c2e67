"""How many events does a recording have before and after the attack, and how many of them were touched?"""

from dataclasses import dataclass

import numpy as np

from spikeproof.edit_counts import edit_counts

UNCHANGED = 1e-6  # rounding of float32, in events


@dataclass(frozen=True)
class Touched:
    """Events before and after; as few changes as make the one the other, told apart into `added`, `removed`, `moved`.

    A move takes an event to another frame and leaves its pixel and polarity; there are as many moves as there can be,
    as `EventEdits.told_apart` counts them. `cells` of all `of_cells` of the frames hold another number of events than
    before. Fractions of events add up in the same way.
    """

    before: float
    after: float
    added: float
    removed: float
    moved: float
    cells: int
    of_cells: int

    @property
    def share(self) -> float | None:
        """Events added, removed and moved, a share of those before; None of no events."""
        return (self.added + self.removed + self.moved) / self.before if self.before else None

    @property
    def share_of_cells(self) -> float:
        return self.cells / self.of_cells

    @property
    def gained(self) -> float:
        """By how many events the cells that rose did so, all together."""
        return self.added + self.moved

    @property
    def lost(self) -> float:
        return self.removed + self.moved


def touched(clean: np.ndarray, adversarial: np.ndarray) -> Touched:
    """What was done to one recording, frames [T, P, H, W] of numbers of events."""
    rise, fall = changes(clean, adversarial)
    added, removed, moved = edit_counts(rise.sum(0).ravel(), fall.sum(0).ravel())
    return Touched(
        before=float(clean.sum(dtype=np.float64)),
        after=float(adversarial.sum(dtype=np.float64)),
        added=float(added),
        removed=float(removed),
        moved=float(moved),
        cells=int((rise + fall > 0).sum()),
        of_cells=clean.size,
    )


def changes(clean: np.ndarray, adversarial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how many events each cell rose and by how many it fell, float64 like `clean`."""
    change = adversarial.astype(np.float64) - clean
    change[np.abs(change) < UNCHANGED] = 0
    return np.maximum(change, 0), np.maximum(-change, 0)
