"""Transfer: images that break another network, tried on this one. A control; it should never beat a white box."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from spikeproof.attacks.apgd import APGD
from spikeproof.attacks.attack import Attack, BlackBox, Query
from spikeproof.attacks.threats import Threat
from spikeproof.runs.weights import load_model
from spikeproof.snn import ann_twin, attack_view
from spikeproof.specs import UserError


@dataclass(frozen=True, kw_only=True)
class Transfer(BlackBox):
    """`attack`, run to its end on the network of the run folder `file`. Source: Papernot et al., 2016."""

    file: str
    attack: Attack = APGD()

    def __post_init__(self) -> None:
        if not self.file:
            raise UserError("Transfer needs the run folder of another network: set file")

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return _on(attack_view(load_model(self.file).to(x)), self.attack, query, x, y, threat)


@dataclass(frozen=True, kw_only=True)
class TwinTransfer(BlackBox):
    """`attack`, run to its end on the network's own ANN twin: its weights, one step, and for neurons ReLU or, with
    `clipped`, the clipped and quantised rate of a neuron that integrates and fires.

    A network without spiking neurons is its own twin. Source: the conversion-based attack of Ozdenizci and
    Legenstein, TMLR 2024, and of Bu et al., CVPR 2023.
    """

    attack: Attack = APGD()
    clipped: bool = False

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def averaging(self, draws: int) -> "TwinTransfer":
        return replace(self, attack=self.attack.averaging(draws))

    def search(self, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return _on(ann_twin(query.model, clipped=self.clipped), self.attack, query, x, y, threat)


def _on(source: nn.Module, attack: Attack, query: Query, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """What the attack finds on `source`; its cost counts, but only the attacked network says what is broken."""
    with query.among(torch.arange(len(x), device=x.device), source, stop=False) as elsewhere:
        return attack.search(elsewhere, x, y, threat)
