"""What do certificates have in common of which the radius is a number of events inserted, deleted or moved?"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import EventEdits, EventFlips, Threat
from spikeproof.certificates.certificates import Certificates
from spikeproof.certificates.event_bounds import SURE, most_edits
from spikeproof.certificates.voting import Voted
from spikeproof.choices import UserError, short

__all__ = ["EditSmoothing"]


class EditSmoothing(Voted):
    """Radii are whole numbers of edits: each inserts, deletes or moves one event. A move is the dearest of the three.

    Of insertions alone, or deletions, more may be certified: `holds` says it of a threat.
    """

    threat: ClassVar[type[Threat]] = EventEdits

    @abstractmethod
    def least(self, inserted: int, deleted: int, x: Tensor) -> float:
        """Above which probability at `x` a class keeps the majority after so many edits; it grows with both."""

    def network(self, model: nn.Module) -> nn.Module:
        refuse_own_noise(model, self)
        return model

    def radius(self, p: float, x: Tensor, steps: int) -> float:
        return most_edits(p, lambda edits: self.least(edits, edits, x))

    def reached(self, p: float, x: Tensor, steps: int) -> float:
        self.check(x)
        return self.radius(p, x, steps) if p > 0.5 else 0.0  # whole numbers: nothing is to be rounded down

    def check(self, x: Tensor) -> None:
        """Raise `UserError` for a recording about which nothing is certified."""
        self.threat().check(x.unsqueeze(0))

    def withstands(self, p: float, threat: EventEdits | EventFlips, x: Tensor) -> bool:
        """Whether a class of probability `p` at `x` keeps the majority anywhere within `threat`."""
        moved = min(threat.eps, threat.eps if threat.move is None else threat.move)
        left = threat.eps - moved
        most = [left if cap is None else min(cap, left) for cap in (threat.add, threat.remove)]
        splits = ((moved + more, moved + min(most[1], left - more)) for more in range(most[0] + 1))
        return p > 0.5 and all(p > self.least(*split, x) + SURE for split in splits)

    def holds(self, found: Certificates, threat: EventEdits | EventFlips) -> np.ndarray:
        """Which recordings ``[N]`` are right, and certified against `threat`, with its bounds on each kind of edit."""
        like = torch.empty(found.pixels)  # least asks for no more than the number of cells
        certain = np.array([self.withstands(p, threat, like) for p in found.p.tolist()])
        return certain & (found.prediction == found.label)


def refuse_own_noise(model: nn.Module, certificate: Voted) -> None:
    """Raise `UserError` for a network that draws noise of its own: what is certified has that of the certificate."""
    if any(getattr(module, "stochastic", False) for module in model.modules()):
        raise UserError(f"the network draws noise of its own, and {short(certificate)} is about noise on events alone")
