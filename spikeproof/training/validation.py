"""Which epoch is the best? The one that validates best under attack."""

from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from spikeproof.calling import as_evaluated, predict
from spikeproof.choices import UserError
from spikeproof.data import Images
from spikeproof.distributed import ALONE, Ranks
from spikeproof.randomness import seed_from
from spikeproof.shortage import unless_short
from spikeproof.snn import SpikingNetwork, attack_view
from spikeproof.training.recipe import Selection

DRAWS = 4  # passes for a stochastic network, in training alone; an evaluation takes more


class Scores(NamedTuple):
    """Accuracies in [0, 1] on validation images; compared by the robust one first."""

    robust: float
    clean: float

    def as_row(self) -> dict[str, float]:
        return {"validation_accuracy": self.clean, "validation_robust_accuracy": self.robust}

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(row["validation_robust_accuracy"], row["validation_accuracy"])


def validate(
    model: SpikingNetwork, part: Images, selection: Selection, *, seed: int, batch: int = 256, ranks: Ranks = ALONE
) -> Scores:
    """Accuracy without and with the selection's attack on the first images of `part`, in the model's own forward.

    An image that is wrong as it is counts as wrong under attack too, whatever the attack makes of it, as in an
    evaluation: training on perturbed images alone can make a network right on these and wrong on the images themselves.
    A stochastic network is judged by the mean of `DRAWS` passes, and attacked with as many. Where memory is short,
    batches are halved. The images are dealt to `ranks`.
    """
    count = min(selection.images, len(part))
    mine = ranks.dealt(torch.arange(count), batch, whole=model.stochastic)
    while (found := unless_short(partial(_validated, model, part, selection, seed, mine))) is None:
        if all(len(indices) == 1 for indices in mine):
            raise UserError("out of memory in the attack that validates the epoch, for a single image")
        mine = [half for indices in mine for half in indices.split((len(indices) + 1) // 2)]
    clean, robust = (sum(right) for right in zip(*ranks.gather(found), strict=True))
    return Scores(robust / count, clean / count)


def _validated(
    model: SpikingNetwork, part: Images, selection: Selection, seed: int, batches: list[Tensor]
) -> tuple[int, int]:
    """How many images of these `batches` are classified right, and how many after the attack too."""
    device = next(model.parameters()).device
    draws = DRAWS if model.stochastic else 1
    attacked, attack = attack_view(model), selection.attack.averaging(draws)
    clean = robust = 0
    with as_evaluated(model):
        for indices in batches:
            x, y = (t.to(device) for t in part.batch(indices))
            found = attack.run(attacked, x, y, selection.threat, seed=seed, stop=draws == 1, index=indices).x
            noise = seed_from(seed, 1, int(indices[0]))
            right = answers_right(model, x, y, draws, noise)
            kept = right & answers_right(model, selection.threat.project(found, x), y, draws, noise)
            clean, robust = clean + int(right.sum()), robust + int(kept.sum())
    return clean, robust


def answers_right(model: SpikingNetwork, x: Tensor, y: Tensor, draws: int, seed: int) -> Tensor:
    """Which images ``[B]`` are classified right."""
    return predict(model, x, draws=draws, seed=seed).argmax(1) == y.cpu()
