"""Transfer: images that break another network, tried on this one. A control; it should never beat a white box."""

from dataclasses import dataclass, replace

from torch import nn

from spikeproof.attacks.apgd import APGD
from spikeproof.attacks.attack import Attack, BlackBox, Outcome
from spikeproof.attacks.query import Task
from spikeproof.attacks.threats import Threat
from spikeproof.choices import UserError
from spikeproof.runs.weights import load_model
from spikeproof.snn import ann_twin, attack_view


@dataclass(frozen=True, kw_only=True)
class Transfer(BlackBox):
    """`attack`, run to its end on the network of the run folder `file`. Source: Papernot et al., 2016."""

    file: str
    attack: Attack = APGD()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.file:
            raise UserError("Transfer needs the run folder of another network: set file")

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def on(self, model: nn.Module, *, trust: bool = False) -> Attack:
        return Elsewhere(attack_view(load_model(self.file, trust=trust)), self.attack)

    def search(self, task: Task) -> Outcome:
        return self.on(task.model).search(task)


@dataclass(frozen=True, kw_only=True)
class TwinTransfer(BlackBox):
    """`attack`, run to its end on the network's own ANN twin: its weights, one step, and ReLU for neurons. With
    `clipped` it has the clipped and quantised rate of a neuron that integrates and fires.

    A network without spiking neurons is its own twin. Source: the conversion-based attack of Ozdenizci and
    Legenstein, TMLR 2024, and of Bu et al., CVPR 2023.
    """

    attack: Attack = APGD()
    clipped: bool = False

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def averaging(self, draws: int) -> "TwinTransfer":
        return replace(self, attack=self.attack.averaging(draws))

    def search(self, task: Task) -> Outcome:
        return _searched(ann_twin(task.model, clipped=self.clipped), self.attack, task)


@dataclass(frozen=True)
class Elsewhere(BlackBox):
    """An attack that is run to its end on another network, `source`, of whatever the attacked one answers."""

    source: nn.Module
    attack: Attack

    def check(self, threat: Threat) -> None:
        self.attack.check(threat)

    def averaging(self, draws: int) -> Attack:
        return self

    def search(self, task: Task) -> Outcome:
        return _searched(self.source.to(task.x), self.attack, task)


def _searched(source: nn.Module, attack: Attack, task: Task) -> Outcome:
    return attack.on(source).search(replace(task, model=source, stop=False, memory=None))
