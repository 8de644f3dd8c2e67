"""Plain conversions: every spiking layer is to fire at the rate that its ANN layer's activation says."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from spikeproof.choices import Count, UserError, Within
from spikeproof.conversion.conversion import CalibrationImages, Conversion, percentile, spiking_layers
from spikeproof.snn import GradedIF, Network, Neuron, SpikingNetwork, record
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
        layers = spiking_layers(snn)
        thresholds = torch.zeros(len(layers), device=images.device)
        for x in images.batches(self.batches, self.batch):
            with record(ann) as inside:
                ann(x)
            highest = [percentile(currents.relu(), self.percentile) for currents in inside.currents.values()]
            thresholds = torch.maximum(thresholds, torch.stack(highest))
        for layer, threshold in zip(layers, thresholds, strict=True):
            if not threshold > 0:
                raise UserError("a layer of the ANN is never active on these images: there is nothing to convert")
            layer.threshold.fill_(threshold)


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


def _units(ann: SpikingNetwork) -> list[ClipFloorShift]:
    return [module for module in ann.modules() if isinstance(module, ClipFloorShift)]


def _want_graded(network: Network) -> None:
    if not isinstance(network.neuron, GradedIF) or network.neuron.reset != "soft":
        raise UserError(
            "rates stand for activations only where spikes weigh their threshold and the reset is soft: "
            "choose neuron: GradedIF"
        )
