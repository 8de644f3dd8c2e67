"""Which numbers of edits follow from votes under noise on event frames: deletion, flips, and all but a few cells?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikeproof.attacks import EventEdits
from spikeproof.certificates.edit_smoothing import EditSmoothing
from spikeproof.certificates.event_bounds import ablation_least, deletion_least, flip_least
from spikeproof.choices import Count
from spikeproof.data.events.noise import Chance, Rare, flipped, refuse_images, refuse_reversal, thinned, uniform

__all__ = ["CellAblation", "DeletionSmoothing", "FlipSmoothing"]


@dataclass(frozen=True, kw_only=True)
class DeletionSmoothing(EditSmoothing):
    """Each event of frames of counts is deleted with `probability`, whatever becomes of the others.

    Of frames with a `span` since zero this is deletion of the raw events, before framing, and the radius is one of raw
    events: moved in time, place or polarity, inserted, deleted. For other framings `RecordingDeletion` is that. On
    binary frames an event is a cell. Where nothing is left, the network's answer to empty frames counts. The formulas
    are our derivation: `event_bounds.deletion_least`.
    """

    probability: Chance = 0.9

    def draw(self, x: Tensor, steps: int) -> Tensor:
        return thinned(x, self.probability)

    def least(self, inserted: int, deleted: int, x: Tensor) -> float:
        return deletion_least(self.probability, inserted, deleted)


@dataclass(frozen=True, kw_only=True)
class FlipSmoothing(EditSmoothing):
    """Each cell of binary frames gets an event with probability `appear`, or loses it with probability `vanish`.

    Source: Bojchevski, Klicpera and Günnemann, ICML 2020, for graphs; that it is of event frames is ours. A raw event
    changes one cell at most, if an event's frame is its own affair: then radii are of raw events too.
    """

    appear: Rare = 0.01
    vanish: Rare = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_reversal(self.appear, self.vanish)

    def check(self, x: Tensor) -> None:
        EventEdits(most=1).check(x.unsqueeze(0))

    def draw(self, x: Tensor, steps: int) -> Tensor:
        return flipped(x, self.appear, self.vanish)

    def least(self, inserted: int, deleted: int, x: Tensor) -> float:
        return flip_least(self.appear, self.vanish, inserted, deleted)


@dataclass(frozen=True, kw_only=True)
class CellAblation(EditSmoothing):
    """`kept` cells of the frames, drawn anew for each pass, are looked at; the others are empty to the network.

    Whatever happens to a cell, it is one cell; a move changes two. Source: Levine and Feizi, AAAI 2020, on pixels.
    """

    kept: Count = 200

    def draw(self, x: Tensor, steps: int) -> Tensor:
        refuse_images(x, "CellAblation")
        flat = x.flatten(1)
        places = uniform(flat.shape, x).topk(min(self.kept, flat.shape[1])).indices
        return (flat * torch.zeros_like(flat).scatter_(1, places, 1.0)).view_as(x)

    def least(self, inserted: int, deleted: int, x: Tensor) -> float:
        return ablation_least(self.kept, x.numel(), inserted + deleted)
