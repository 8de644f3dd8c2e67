"""How is a model changed without changing it? A view is a new model over the same parameters and buffers."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from spikeproof.choices import UserError, short
from spikeproof.snn.encoders import Encoder
from spikeproof.snn.foreign import Foreign, adapt, detach_reset, exchange, fires, takes
from spikeproof.snn.gradients import GradientPath
from spikeproof.snn.layers import Norm, Normed, PerStep
from spikeproof.snn.network import SpikingNetwork
from spikeproof.snn.neurons import RateLayer, SpikingLayer, neuron_layers
from spikeproof.snn.readouts import FirstSpike, MeanCurrent
from spikeproof.snn.wrappers import computes, copied, unwrapped, without_wrapper

__all__ = ["ann_twin", "attack_view", "can_follow", "has_spikes", "view", "without_statistics"]


def view(
    model: nn.Module,
    *,
    gradient: GradientPath | None = None,
    steps: int | None = None,
    encoder: Encoder | None = None,
    channels_last: bool | None = None,
) -> nn.Module:
    """A model that differs from `model` in what is named, over the same parameters and buffers.

    Training either trains both. `channels_last` alone copies: the convolutions' weights, into the layout it names.
    `gradient` exchanges the gradient path of every neuron, and of a readout that has one. Modules that are not
    spikeproof's are kept as they are. Raises `UserError` for a path that the neurons cannot follow.
    """
    if steps is not None and steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    if not isinstance(gradient, GradientPath | None):
        raise UserError(f"gradient must be a gradient path, ATan() for example, not {gradient!r}")
    if gradient is not None and (obstacle := _obstacle(model, gradient)):
        raise UserError(f"{short(gradient)} {obstacle}")

    def change(module: nn.Module) -> nn.Module:
        _follow(module, gradient)
        if isinstance(module, SpikingLayer):
            module.steps = steps or module.steps
        if isinstance(module, SpikingNetwork):
            module.encoder = encoder or module.encoder
            module.steps = steps or module.steps
            if module.encoder.framed:
                module.shape = (module.steps, *module.shape[-3:])
            elif len(module.shape) > 3:
                raise UserError(f"the network takes event frames, which {module.encoder} does not: choose Frames")
        if gradient is not None:
            exchange(module, gradient)
        if channels_last is not None:
            _lay_out(module, torch.channels_last if channels_last else torch.contiguous_format)
        return module

    return _structural_copy(adapt(model), change)


def attack_view(model: nn.Module) -> nn.Module:
    """The same function of the image, fast to differentiate by it: in eval mode, nothing to train.

    No gradient flows through a reset, unless a path says that it does: sharp slopes answer there with the wrong sign.
    Batch norms are folded into the layers before them, once, and the scale and shift of others are computed once. These
    are copies: make the view again after a training step. A model without a spikeproof network in it is returned as it
    is, but for neurons of another library that know what a detached reset is.
    """
    model = unwrapped(model)
    if not any(isinstance(module, SpikingNetwork) for module in model.modules()):
        return detach_reset(model)

    def change(module: nn.Module) -> nn.Module:
        module.training = False
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach(), requires_grad=False)
        if isinstance(module, Norm):
            module.hold()
        if isinstance(module, SpikingLayer):
            module.detach_reset = True
        if isinstance(module, SpikingNetwork) and isinstance(module.readout, FirstSpike):
            module.readout = replace(module.readout, detach_reset=True)
        return _fold(module) if isinstance(module, Normed) and module.foldable else module

    return _structural_copy(model, change)


def can_follow(model: nn.Module, path: GradientPath) -> bool:
    """Whether a view of `model` can answer along `path`.

    Neurons of another library take slopes and ASSG. A path that is derived for leaky neurons takes no others.
    """
    return _obstacle(model, path) is None


def has_spikes(model: nn.Module) -> bool:
    """Whether the model has spiking neurons, spikeproof's or those of a library that `adapt` knows."""
    return bool(neuron_layers(model)) or any(map(fires, model.modules()))


def ann_twin(model: nn.Module, *, clipped: bool = False) -> nn.Module:
    """The ANN over the same weights: another function of the image, whose gradient may lead to the model's errors.

    It sees the image itself, in one step. Each neuron becomes the unit max(0, x / threshold), its rate under a lasting
    current. With `clipped` this is cut to [0, 1] and rounded to one of the steps, as an integrate-and-fire neuron with
    soft reset and a charge of 1/2 does. A model without a spikeproof network in it is its own twin.
    """

    def change(module: nn.Module) -> nn.Module:
        if isinstance(module, SpikingLayer):
            return RateLayer(module, clipped)
        if isinstance(module, RateLayer):  # a twin's twin: its layer has become a unit above
            return module.layer
        if isinstance(module, SpikingNetwork):
            module.steps, module.readout = 1, MeanCurrent()
            module.encoder = module.encoder.in_one_step()
        return module

    return _structural_copy(unwrapped(model), change)


def without_statistics(model: nn.Module) -> nn.Module:
    """A view whose batch norms leave their running statistics as they are; in training they still use the batch's."""

    def change(module: nn.Module) -> nn.Module:
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            module._buffers = dict.fromkeys(module._buffers)
            module.track_running_stats = False
        return module

    return _structural_copy(unwrapped(model), change)


def _obstacle(model: nn.Module, path: GradientPath) -> str | None:
    """What keeps the neurons of `model` from answering along `path`, if anything does."""
    if not takes(path) and any(map(fires, model.modules())):
        return (
            "needs the neurons of spikeproof, which see all time steps at once; those of another library take ASSG or "
            "a slope, such as Triangle or ATan"
        )
    if not all(path.follows(layer.dynamics()) for layer in neuron_layers(model).values()):
        return (
            "is derived for leaky integrate-and-fire neurons, and these are others: choose BPTR, HART, ASSG or a "
            "slope, such as Triangle or ATan"
        )
    return None


def _follow(module: nn.Module, path: GradientPath | None) -> None:
    """Make a layer of neurons, or a network's readout, answer along `path`, or its own; with a memory of its own."""
    if isinstance(module, SpikingLayer):
        module.gradient = (path or module.gradient).for_layer()
    if isinstance(module, SpikingNetwork) and isinstance(readout := module.readout, FirstSpike):
        module.readout = replace(readout, gradient=(path or readout.gradient).for_layer())


def _lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    if isinstance(module, SpikingNetwork):
        module.memory_format = layout
    if isinstance(module, nn.Conv2d) and not computes(module):
        weight = module.weight
        module._parameters["weight"] = nn.Parameter(
            weight.detach().contiguous(memory_format=layout), requires_grad=weight.requires_grad
        )


def _structural_copy(module: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """New modules over the same tensors, down to the last; each passes through `change` after its children."""
    module = without_wrapper(module)
    if isinstance(module, Foreign):
        other = module.twin()
        for parent in list(other.modules()):
            children = parent._modules.items()
            parent._modules = {name: child if child is None else change(child) for name, child in children}
        return other
    twin = copied(module)
    _follow(twin, None)
    twin._forward_hooks.clear()  # hooks on a model do not see its views; those before a call may compute weights
    twin._modules = {
        name: child if child is None else _structural_copy(child, change) for name, child in module._modules.items()
    }
    return change(twin)


def _fold(layers: Normed) -> PerStep:
    """The one frozen layer that does what `layers` does in eval mode, to the last bit."""
    weight, bias = layers.folded()
    single = copied(layers[0])
    single._parameters = {
        "weight": nn.Parameter(weight.detach(), requires_grad=False),
        "bias": nn.Parameter(bias.detach(), requires_grad=False),
    }
    return PerStep(single).eval()
