"""The robust conversion's thresholds: from the currents that arrive, layer by layer, while all before it spikes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from spikeproof.choices import AtLeast, Count, Positive, UserError, Within
from spikeproof.conversion.conversion import CalibrationImages, Conversion, percentile, spiking_layers
from spikeproof.snn import DLIF, IF, Network, Neuron, SpikingNetwork, StatefulNeuron, view, without_statistics
from spikeproof.snn.network import STEPS
from spikeproof.snn.neurons import THRESHOLD_FLOOR, SpikingNeuron


@dataclass(frozen=True, kw_only=True)
class Calibration(Conversion):
    """A layer's threshold is the `percentile` of the currents that reach it, the largest over `batches` batches.

    Layers are taken in order, with those before already spiking for `steps` time steps and batch norm using each
    batch's own statistics; at the end all thresholds are multiplied by `scale` and batch norm's statistics are
    estimated anew, for the network's own number of steps. Source: Ozdenizci and Legenstein, TMLR 2024, arXiv
    2311.09266 (0.997, 11 batches of 64, 100 steps, 0.3). Their code draws a residual block's two layers from one pass
    over the data, 11 and then 10 batches; here each layer has a pass and `batches` batches of its own. It leaves
    the statistics at 0 and 1 until fine-tuning moves them; that a network is usable at once is our choice.
    """

    neuron: ClassVar[Neuron] = IF(learn_threshold=True)

    percentile: Annotated[float, Within(0, 1, "(]")] = 0.997
    batches: Count = 11
    batch: Annotated[int, AtLeast(2)] = 64  # batch norm needs two images
    steps: Count = 100
    scale: Positive = 0.3

    def check(self, ann: SpikingNetwork, network: Network) -> None:
        if isinstance(network.neuron, StatefulNeuron):
            kind = type(network.neuron).__name__
            raise UserError(
                f"Calibration sets a threshold for currents that are integrated as they come, which {kind} does not: "
                "choose neuron: IF, LIF, PLIF or DLIF"
            )
        if isinstance(network.neuron, SpikingNeuron) and network.neuron.two_phases:
            raise UserError(
                "Calibration looks at the currents of single steps, and neurons of two phases see their mean: take "
                "LearnedBounds or ThresholdBalancing, or set two_phases to false"
            )
        if isinstance(network.neuron, DLIF) and (network.steps or STEPS) != self.steps:
            raise UserError(
                f"DLIF has a gain for each of its {network.steps or STEPS} time steps and cannot be calibrated over "
                f"{self.steps}: set the conversion's steps to {network.steps or STEPS}"
            )

    def __call__(self, ann: SpikingNetwork, snn: SpikingNetwork, images: CalibrationImages) -> None:
        if len(images.images) == 1:
            raise UserError("batch norm needs at least 2 images to calibrate with, and there is 1")
        longer = _normed_by_batch(view(snn, steps=self.steps))
        layers = spiking_layers(snn)
        for layer, twin in zip(layers, spiking_layers(longer), strict=True):
            highest = [percentile(_arriving(longer, twin, x), self.percentile) for x in self._batches(images)]
            layer.threshold.fill_(torch.stack(highest).max().clamp(min=THRESHOLD_FLOOR))  # the twin shares it
        for layer in layers:
            layer.threshold.mul_(self.scale).clamp_(min=THRESHOLD_FLOOR)
        _estimate_statistics(snn, self._batches(images))

    def _batches(self, images: CalibrationImages) -> Iterator[Tensor]:
        return (x for x in images.batches(self.batches, self.batch) if len(x) > 1)  # one image has no variance


class _Arrived(Exception):
    """The currents of interest are there; the rest of the pass is not wanted."""

    def __init__(self, currents: Tensor) -> None:
        super().__init__()
        self.currents = currents


def _arriving(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """The currents ``[T or 1, B, *n]`` that reach `layer`; what lies behind it is not computed."""

    def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        raise _Arrived(inputs[0])

    handle = layer.register_forward_pre_hook(stop)
    try:
        model(x)
    except _Arrived as found:
        return found.currents
    finally:
        handle.remove()
    raise UserError("a layer of neurons is never called: thresholds cannot be set for this architecture")


def _norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def _normed_by_batch(model: nn.Module) -> nn.Module:
    """A view in eval mode, but for batch norms, which use the batch and keep their statistics as they are."""
    for norm in _norms(model):
        norm.training = True
    return without_statistics(model)


def _estimate_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Running means and variances that are plain averages over the batches."""
    norms = _norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True
    for x in batches:
        model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum, norm.training = momentum, False
