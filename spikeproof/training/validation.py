"""Which epoch is the best? The one that validates best under attack."""

from typing import Any, NamedTuple, Self

import torch

from spikeproof.data import Images
from spikeproof.snn import SpikingNetwork, attack_view
from spikeproof.training.recipe import Selection


class Scores(NamedTuple):
    """Accuracies in [0, 1] on validation images; compared by the robust one first."""

    robust: float
    clean: float

    def as_row(self) -> dict[str, float]:
        return {"validation_accuracy": self.clean, "validation_robust_accuracy": self.robust}

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(row["validation_robust_accuracy"], row["validation_accuracy"])


def validate(model: SpikingNetwork, part: Images, selection: Selection, *, seed: int, batch: int = 256) -> Scores:
    """Clean accuracy on all of `part`, and accuracy under the selection's attack on the first images of it."""
    device = next(model.parameters()).device
    attacked = attack_view(model)
    clean = robust = 0
    count = min(selection.images, len(part))
    for indices in torch.arange(len(part)).split(batch):
        x, y = (t.to(device) for t in part.batch(indices))
        with torch.no_grad():
            clean += int((attacked(x).argmax(1) == y).sum())
        chosen = indices < count
        if chosen.any():
            x, y = x[chosen], y[chosen]
            outcome = selection.attack.run(attacked, x, y, selection.threat, seed=seed, stop=True)
            with torch.no_grad():
                robust += int((attacked(outcome.x).argmax(1) == y).sum())
    return Scores(robust / count, clean / len(part))
