"""What keeps a network from being written as a NIR graph? Layer by layer, with what would be right."""

from collections.abc import Iterator

from torch import nn

from spikeproof.exchange.consumers import Consumer
from spikeproof.exchange.writing import can_be_written
from spikeproof.snn.architectures.resnet import AddThenFire, FireThenAdd
from spikeproof.snn.architectures.wide_resnet import PreActivationBlock
from spikeproof.snn.layers import Norm
from spikeproof.snn.neurons import ACTIVATIONS, GradedLayer, LeakyLayer
from spikeproof.snn.stateful import StatefulLayer

BRANCHED = (PreActivationBlock, AddThenFire, FireThenAdd)


def obstacles(layer: nn.Module, consumer: Consumer, name: str = "") -> Iterator[tuple[str, str]]:
    """Every part of `layer` that cannot be written for `consumer`, by name, and why."""
    if not can_be_written(layer):
        yield name, _without_a_node(layer)
        return
    for why in _reasons(layer, consumer):
        yield name, why
    for inner, part in () if isinstance(layer, Norm) else layer.named_children():
        yield from obstacles(part, consumer, f"{name}.{inner}" if name else inner)


def _without_a_node(layer: nn.Module) -> str:
    if isinstance(layer, ACTIVATIONS):
        return "a unit of an ANN is no spiking neuron; spikeproof convert makes a spiking network of an ANN"
    if isinstance(layer, GradedLayer):
        return "the spikes of GradedIF weigh its threshold, and those of NIR are 0 or 1; IF can be written"
    if isinstance(layer, StatefulLayer):
        kind = type(layer.neuron).__name__
        return f"the equations of {kind} are none of NIR's IF and LIF; IF, LIF and PLIF can be written"
    if isinstance(layer, nn.MaxPool2d):
        return "NIR has no pooling by the maximum; mean pooling can be written"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return "this batch norm cannot be folded, for the weights before it are computed at each call"
    return f"{type(layer).__name__} has no node in NIR"


def _reasons(layer: nn.Module, consumer: Consumer) -> Iterator[str]:
    """Why this layer, whose kind can be written, cannot be."""
    if isinstance(layer, LeakyLayer):
        yield from _of_neurons(layer, consumer)
    if isinstance(layer, nn.Conv2d):
        yield from _of_convolutions(layer, consumer)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size not in (1, (1, 1)):
        yield "a pooling to another size than 1x1 has no node in NIR; one with a fixed kernel has"
    if isinstance(layer, nn.AvgPool2d) and (layer.ceil_mode or layer.divisor_override or not layer.count_include_pad):
        yield "NIR's pooling rounds sizes down and counts the padding; this one does not"
    if isinstance(layer, BRANCHED) and not consumer.branches:
        yield (
            f"{consumer.title} adds the branches of a residual block before both are computed (nirtorch.load); "
            "networks without branches can be written"
        )


def _of_neurons(layer: LeakyLayer, consumer: Consumer) -> Iterator[str]:
    if not layer.hard_reset:
        yield "NIR's neurons reset to a value, so a soft reset cannot be said; reset: hard can"
    if layer.charge:
        yield f"NIR's neurons begin at rest, and these at a charge of {layer.charge:g}; charge: 0 can be written"
    if layer.two_phases:
        yield "NIR's neurons fire while currents arrive, and these after it; two_phases: false can be written"
    if layer.gain is not None:
        yield "the gains of DLIF, one a step, cannot be said; LIF and PLIF can be written"
    if layer.dynamics().leak.item() == 0 and not consumer.forgets:
        yield f"{consumer.title} takes no leak of 0; a leak above 0 can be written"


def _of_convolutions(layer: nn.Conv2d, consumer: Consumer) -> Iterator[str]:
    if layer.padding_mode != "zeros":
        yield f"NIR pads with zeros, and not by {layer.padding_mode!r}"
    if layer.groups != 1 and not consumer.groups:
        yield f"{consumer.title} takes no convolution in groups, and this one has {layer.groups}"
