"""Who else hears of a training, epoch by epoch? Any function; one for TensorBoard is here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spikeproof.calling import as_evaluated
from spikeproof.choices import UserError
from spikeproof.data import Images
from spikeproof.randomness import seeded
from spikeproof.runs.records import Epoch
from spikeproof.snn import SpikingNetwork, record

__all__ = ["TensorBoard", "Tracked"]

LOOKED_AT = 64  # validation images whose spikes are counted


class Tracked(NamedTuple):
    """An epoch that has ended: the name of the recipe, the line of ``metrics.jsonl``, and what the network does then.

    `rates` are the shares of neurons that fire in a step, by layer, on the first validation images.
    """

    name: str
    epoch: Epoch
    rates: dict[str, float]

    def scalars(self) -> dict[str, float]:
        """Every number by its name: loss/..., accuracy/..., rate/..., learning_rate, seconds."""
        row = self.epoch
        named = {"accuracy/clean": row.validation_accuracy, "accuracy/robust": row.validation_robust_accuracy}
        named |= {"learning_rate": row.learning_rate, "seconds": row.seconds}
        named |= {f"loss/{name}": value for name, value in row.losses.items()}
        named |= {f"rate/{layer}": value for layer, value in self.rates.items()}
        return {name: value for name, value in named.items() if value is not None}


Tracker = Callable[[Tracked], None]


@dataclass(frozen=True)
class TensorBoard:
    """A tracker that writes event files for TensorBoard into a folder inside `folder`, named as the recipe.

    Each epoch is a file of its own, which is on the disk when the epoch has been told. Needs the extra
    ``tensorboard``, which writes such files; whoever looks at them has TensorBoard itself. Raises `UserError` without.
    """

    folder: Path | str

    def __post_init__(self) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise UserError("TensorBoard needs tensorboardX: pip install 'spikeproof[tensorboard]'") from None

    def __call__(self, tracked: Tracked) -> None:
        from tensorboardX import SummaryWriter

        number = tracked.epoch.epoch
        where = str(Path(self.folder) / tracked.name)
        with SummaryWriter(where, filename_suffix=f".{number:06}") as writer:  # its flush would not wait
            for name, value in tracked.scalars().items():
                writer.add_scalar(name, value, number)


def tracked(name: str, row: dict[str, Any], model: SpikingNetwork, part: Images) -> Tracked:
    """What a tracker hears of the epoch that `row` is about; the model and all random numbers stay as they are."""
    device = next(model.parameters()).device
    x, _ = part.batch(range(min(LOOKED_AT, len(part))))
    with as_evaluated(model), torch.no_grad(), seeded(0, device), record(model) as inside:
        model(x.to(device))
    return Tracked(name, Epoch(**row), inside.rates())
