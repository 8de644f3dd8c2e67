"""How is a model changed without changing it? A view is a new model over the same parameters and buffers."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from spikeproof.snn.encoders import Encoder
from spikeproof.snn.foreign import Foreign, adapt, exchange, fires, takes
from spikeproof.snn.gradients import GradientPath
from spikeproof.snn.layers import Normed, PerStep
from spikeproof.snn.network import SpikingNetwork
from spikeproof.snn.neurons import RateLayer, SpikingLayer, spiking_layers
from spikeproof.snn.readouts import FirstSpike, MeanCurrent
from spikeproof.specs import UserError, short

__all__ = ["ann_twin", "attack_view", "can_follow", "has_spikes", "view", "without_statistics"]


def view(
    model: nn.Module,
    *,
    gradient: GradientPath | None = None,
    steps: int | None = None,
    encoder: Encoder | None = None,
    channels_last: bool | None = None,
) -> nn.Module:
    """A model that shares all tensors with `model` and differs in what is named.

    Training either trains both; but for `channels_last`, which copies the convolutions' weights into the layout
    that it names. Modules of `model` that are no spikeproof layers are kept as they are.
    """
    if steps is not None and steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    if gradient is not None:
        refuse_unless_followed(model, gradient)

    def change(module: nn.Module) -> nn.Module:
        if isinstance(module, SpikingLayer):
            module.gradient = (gradient or module.gradient).for_layer()
            module.steps = steps or module.steps
        if isinstance(module, SpikingNetwork):
            module.encoder = encoder or module.encoder
            if isinstance(readout := module.readout, FirstSpike):
                module.readout = replace(readout, gradient=(gradient or readout.gradient).for_layer())
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
    """The model as an attacker meets it: eval mode, batch norm folded into what precedes it, nothing to train.

    The same function of the image. Holds its own folded weights: make it anew after a training step.
    A model with no spikeproof network in it is returned as it is.
    """
    if not any(isinstance(module, SpikingNetwork) for module in model.modules()):
        return model

    def change(module: nn.Module) -> nn.Module:
        module.training = False
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach(), requires_grad=False)
        return _fold(module) if isinstance(module, Normed) else module

    return _structural_copy(model, change)


def can_follow(model: nn.Module, path: GradientPath) -> bool:
    """Whether a view of `model` can answer along `path`.

    Neurons of another library take slopes and ASSG. A path that is derived for leaky neurons takes no others.
    """
    ours = all(path.follows(layer.dynamics()) for layer in spiking_layers(model).values())
    return ours and (takes(path) or not any(map(fires, model.modules())))


def refuse_unless_followed(model: nn.Module, path: GradientPath) -> None:
    """Raise `UserError` if `model` cannot answer along `path`."""
    if can_follow(model, path):
        return
    if not takes(path) and any(map(fires, model.modules())):
        raise UserError(
            f"{short(path)} needs the neurons of spikeproof, which see all time steps at once; those of another "
            "library take ASSG or a slope, such as Triangle or ATan"
        )
    raise UserError(
        f"{short(path)} is derived for leaky integrate-and-fire neurons, and these are others: choose BPTR, HART, ASSG "
        "or a slope, such as Triangle or ATan"
    )


def has_spikes(model: nn.Module) -> bool:
    """Whether the model has spiking neurons, of ours or of a library that `adapt` knows."""
    return bool(spiking_layers(model)) or any(map(fires, model.modules()))


def ann_twin(model: nn.Module, *, clipped: bool = False) -> nn.Module:
    """The ANN over the same weights: one step, the image itself, and for each neuron the unit of its rate.

    The unit is max(0, x / threshold), or, with `clipped`, the rate of an integrate-and-fire neuron with soft reset and
    half a threshold to begin with: x / threshold cut to [0, 1] and rounded to one of the steps. A model with no
    spikeproof network in it is its own twin. Another function of the image than the model.
    """

    def change(module: nn.Module) -> nn.Module:
        if isinstance(module, SpikingLayer):
            return RateLayer(module, clipped)
        if isinstance(module, RateLayer):  # of a twin: what was its layer is a unit already
            return module.layer
        if isinstance(module, SpikingNetwork):
            module.steps, module.readout = 1, MeanCurrent()
            module.encoder = module.encoder.in_one_step()
        return module

    return _structural_copy(model, change)


def without_statistics(model: nn.Module) -> nn.Module:
    """A view whose batch norms, in training, normalise by the batch but leave the running statistics as they are."""

    def change(module: nn.Module) -> nn.Module:
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            module._buffers = dict.fromkeys(module._buffers)
            module.track_running_stats = False
        return module

    return _structural_copy(model, change)


def _lay_out(module: nn.Module, layout: torch.memory_format) -> None:
    if isinstance(module, SpikingNetwork):
        module.memory_format = layout
    if isinstance(module, nn.Conv2d):
        weight = module.weight
        module._parameters["weight"] = nn.Parameter(
            weight.detach().contiguous(memory_format=layout), requires_grad=weight.requires_grad
        )


def _structural_copy(module: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """New modules all the way down, over the same tensors, each passed through `change` once its children are."""
    if isinstance(module, Foreign):
        other = module.twin()
        for parent in list(other.modules()):
            children = parent._modules.items()
            parent._modules = {name: child if child is None else change(child) for name, child in children}
        return other
    twin = copy.copy(module)
    twin._parameters = dict(module._parameters)
    twin._buffers = dict(module._buffers)
    twin._forward_hooks = OrderedDict()  # who listens to a model does not listen to its views
    twin._forward_pre_hooks = module._forward_pre_hooks.copy()  # these may compute weights (spectral norm)
    twin._modules = {
        name: child if child is None else _structural_copy(child, change) for name, child in module._modules.items()
    }
    return change(twin)


def _fold(layers: Normed) -> PerStep:
    """The one frozen layer that a normed one is in eval mode: the very same numbers."""
    weight, bias = layers.folded()
    single = copy.copy(layers[0])
    single._parameters = {
        "weight": nn.Parameter(weight.detach(), requires_grad=False),
        "bias": nn.Parameter(bias.detach(), requires_grad=False),
    }
    return PerStep(single).eval()
