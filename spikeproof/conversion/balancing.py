"""Plain conversions: every spiking layer is to fire at the rate that its ANN layer's activation says.

So is every layer of an ANN of few levels, which comes before them where its levels are to be trained.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from spikeproof.choices import Count, UserError, Within
from spikeproof.conversion.conversion import CalibrationImages, Conversion, percentile, spiking_layers
from spikeproof.snn import QCFS, GradedIF, Network, Neuron, SpikingNetwork, record
from spikeproof.snn.neurons import ACTIVATIONS, ClipFloorShift


@dataclass(frozen=True, kw_only=True)
class ThresholdBalancing(Conversion):
    """Each threshold is a high percentile of its ANN layer's activations, the largest over `batches` batches.

    Wants `GradedIF` neurons: with soft reset, and spikes that weigh their threshold, rates then stand for
    activations (weight balancing is the same). Source: Diehl et al., IJCNN 2015; percentile and soft reset: Rueckauer
    et al., Frontiers in Neuroscience 2017.
    """

    neuron: ClassVar[Neuron] = GradedIF()

    percentile: Annotated[float, Within(0, 1, "(]")] = 0.999
    batches: Count = 10
    batch: Count = 64

    def check(self, ann: SpikingNetwork, network: Network) -> None:
        _want_graded(network)

    def __call__(self, ann: SpikingNetwork, snn: SpikingNetwork, images: CalibrationImages) -> None:
        highest = _highest(ann, images, self.percentile, self.batches, self.batch)
        for layer, threshold in zip(spiking_layers(snn), highest, strict=True):
            layer.threshold.fill_(threshold)


@dataclass(frozen=True, kw_only=True)
class Quantisation(Conversion):
    """From `ReLU` to `QCFS` units, still without time: each bound is a high percentile of its layer's activations.

    It is the largest over `batches` batches. Train the bounds and the weights on, then take `LearnedBounds`. What lies
    above a bound is cut off, so a lower percentile has finer levels and cuts more. Ours; the units are those of Bu et
    al., ICLR 2022, who start at a bound that is the same in all layers.
    """

    neuron: ClassVar[Neuron] = QCFS()

    percentile: Annotated[float, Within(0, 1, "(]")] = 0.9
    batches: Count = 10
    batch: Count = 64

    def check(self, ann: SpikingNetwork, network: Network) -> None:
        if not isinstance(network.neuron, QCFS):
            raise UserError("Quantisation makes an ANN of few levels: choose neuron: QCFS and steps: 1")
        if _units(ann):
            raise UserError("the units of the ANN have levels already: Quantisation takes an ANN with neuron: ReLU")

    def __call__(self, ann: SpikingNetwork, snn: SpikingNetwork, images: CalibrationImages) -> None:
        highest = _highest(ann, images, self.percentile, self.batches, self.batch)
        for unit, bound in zip(_units(snn), highest, strict=True):
            unit.bound.fill_(bound)


@dataclass(frozen=True, kw_only=True)
class LearnedBounds(Conversion):
    """Each threshold is the bound that a `QCFS` unit learned; wants `GradedIF` neurons with a charge of 1/2.

    With as many steps as levels nothing is lost where currents do not change in time: behind a direct code, and
    everywhere with `two_phases` (but for pooling by the maximum). Source: Bu et al.,
    ICLR 2022.
    """

    neuron: ClassVar[Neuron] = GradedIF(charge=0.5)

    def check(self, ann: SpikingNetwork, network: Network) -> None:
        _want_graded(network)
        if network.neuron.charge != 0.5:  # type: ignore[attr-defined]
            raise UserError(
                "LearnedBounds rounds as QCFS units do with half a threshold as the charge: set charge to 0.5"
            )
        if len(_units(ann)) < sum(isinstance(module, ACTIVATIONS) for module in ann.modules()):
            raise UserError("LearnedBounds takes the bounds of QCFS units: train the ANN with neuron: QCFS")

    def __call__(self, ann: SpikingNetwork, snn: SpikingNetwork, images: CalibrationImages) -> None:
        for layer, unit in zip(spiking_layers(snn), _units(ann), strict=True):
            layer.threshold.copy_(unit.learned_bound())


def _highest(ann: SpikingNetwork, images: CalibrationImages, share: float, batches: int, batch: int) -> Tensor:
    """What `share` of the activations of each layer of the ANN lie at or below [layers], the largest of all batches."""
    found = []
    for x in images.batches(batches, batch):
        with record(ann) as inside:
            ann(x)
        found.append(torch.stack([percentile(currents.relu(), share) for currents in inside.currents.values()]))
    highest = torch.stack(found).amax(0)
    if not (highest > 0).all():
        raise UserError("a layer of the ANN is never active on these images: there is nothing to convert")
    return highest


def _units(ann: SpikingNetwork) -> list[ClipFloorShift]:
    return [module for module in ann.modules() if isinstance(module, ClipFloorShift)]


def _want_graded(network: Network) -> None:
    if not isinstance(network.neuron, GradedIF) or network.neuron.reset != "soft":
        raise UserError(
            "rates stand for activations only where spikes weigh their threshold and the reset is soft: "
            "choose neuron: GradedIF"
        )
