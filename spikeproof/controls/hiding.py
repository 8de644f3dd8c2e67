"""Which networks hide from attacks? Each looks robust to a weak evaluation and is not; all have to be flagged.

Most wrap an honest network. They answer nearly what it answers, and what an attack learns from them is something else.
"""

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.calling import width_for
from spikeproof.controls.training import Control, Trained, small
from spikeproof.objectives import ThresholdGuarding
from spikeproof.snn import Triangle, view
from spikeproof.snn.dynamics import State, integrate
from spikeproof.snn.neurons import SpikingLayer

REACH = 0.2  # how near an image has to lie to be taken for one seen before, in pixel units

Change = Callable[[Tensor, Tensor], Tensor]  # of an image and the gradient there


class Outside(nn.Module):
    """A network behind something that is done to its images."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.before(x))


class Amplified(nn.Module):
    """A layer whose currents and threshold are a hundred times as large: the same spikes, far from any slope."""

    def __init__(self, layer: SpikingLayer) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        with torch.no_grad():
            self.layer.threshold.mul_(100)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(100 * x)


class Stateful(nn.Module):
    """A layer that goes on from where the last call left its potentials."""

    def __init__(self, layer: SpikingLayer) -> None:
        super().__init__()
        self.layer = layer
        self.left: State | None = None

    def forward(self, x: Tensor) -> Tensor:
        currents = x.expand(self.layer.steps, *x.shape[1:])
        left = self.left if self.left is not None and self.left[0].shape == currents[0].shape else None
        trace = integrate(currents, self.layer.dynamics(), Triangle(), left)
        self.left = tuple(each.detach() for each in trace.last)
        return trace.spikes


class OfTheBatch(nn.Module):
    """A network whose logits are centred over the batch."""

    def __init__(self, network: nn.Module, stochastic: bool | None = None) -> None:
        super().__init__()
        self.network = network
        self.stochastic = stochastic

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        return logits - logits.mean(0)


class Memory(nn.Module):
    """Whatever lies near an image that was seen before gets the logits of that one.

    It keeps images in `seen`: a list of its own, or one that no copy of the network has a copy of.
    """

    def __init__(self, network: nn.Module, seen: Callable[[], list[tuple[Tensor, Tensor]]] | None = None) -> None:
        super().__init__()
        self.network = network
        self.own: list[tuple[Tensor, Tensor]] = []
        self.seen = seen

    def forward(self, x: Tensor) -> Tensor:
        seen = self.own if self.seen is None else self.seen()
        logits = self.network(x)
        if not seen:
            seen.append((x.detach().clone(), logits.detach().clone()))
            return logits
        known = torch.cat([images for images, _ in seen])
        answers = torch.cat([answer for _, answer in seen])
        away = (x.detach().flatten(1).unsqueeze(1) - known.flatten(1)).abs().amax(2)
        distance, nearest = away.min(1)
        near = distance <= REACH
        if (~near).any():
            seen.append((x.detach()[~near].clone(), logits.detach()[~near].clone()))
        told = answers[nearest] + (logits - logits.detach())  # a gradient, but of another answer
        return torch.where(near.unsqueeze(1), told, logits)


class Scrambled(torch.autograd.Function):
    """The identity; its gradient is changed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Change) -> Tensor:
        ctx.change = change
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return ctx.change(x, grads[0]), None


class Changed(nn.Module):
    """The gradient on the image is changed on its way out; where `hard`, the logits tell the class alone."""

    def __init__(self, network: nn.Module, change: Change, hard: bool = True) -> None:
        super().__init__()
        self.network = network
        self.change = change
        self.hard = hard

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(Scrambled.apply(x, self.change))
        if not self.hard:
            return logits
        told = 10 * F.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
        return told + (logits - logits.detach())


def mirrored(x: Tensor, grad: Tensor) -> Tensor:
    """Away from where the network leads."""
    return -grad


def noisy(x: Tensor, grad: Tensor) -> Tensor:
    """Ten times as much noise as gradient."""
    return grad + 10 * grad.flatten(1).std(1).view(-1, *[1] * (x.ndim - 1)) * torch.randn_like(grad)


def shattered(x: Tensor, grad: Tensor) -> Tensor:
    """A pixel's sign changes with every small change of the pixel."""
    return grad * torch.where((x * 977).sin() > 0, 1.0, -1.0)


def partial_one(x: Tensor, grad: Tensor) -> Tensor:
    """One pixel in sixteen has any."""
    keep = torch.zeros_like(grad)
    keep[..., ::4, ::4] = 1
    return grad * keep


def shifted(x: Tensor, grad: Tensor) -> Tensor:
    """Each value one pixel further to the right than it belongs."""
    return grad.roll(1, -1)


def without_the_largest(x: Tensor, grad: Tensor) -> Tensor:
    """The largest quarter of its values are 0."""
    size = grad.abs().flatten(1)
    return torch.where(size < size.quantile(0.75, 1, keepdim=True), grad.flatten(1), 0).view_as(grad)


def turned_for_some_pixels(x: Tensor, grad: Tensor) -> Tensor:
    """A third of the pixels, always the same ones, have the other sign."""
    drawn = torch.rand(grad.shape[1:], generator=torch.Generator().manual_seed(0)).to(grad)
    return torch.where(drawn < 1 / 3, -grad, grad)


def noisy_by_image(x: Tensor, grad: Tensor) -> Tensor:
    """Three times as much noise as gradient, the same each time for the same image."""
    return grad + 3 * grad.flatten(1).std(1).view(-1, *[1] * (x.ndim - 1)) * noise_of(x)


def mirrored_in_large_batches(x: Tensor, grad: Tensor) -> Tensor:
    return -grad if len(grad) > 16 else grad


class Turned(nn.Module):
    """The gradient is mirrored for the images whose logits are as `where` says."""

    def __init__(self, network: nn.Module, where: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.where = where

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            turned = self.where(self.network(x)).view(-1, *[1] * (x.ndim - 1))
        return self.network(Scrambled.apply(x, lambda _, grad: torch.where(turned, -grad, grad)))


def undecided(logits: Tensor) -> Tensor:
    """Whether two classes lie near each other: within half the spread of the logits."""
    first, second = logits.topk(2, 1).values.unbind(1)
    return first - second < logits.std(1) / 2


class Tiring(nn.Module):
    """The gradient is mirrored after five calls that want one; a copy begins anew."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.calls = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tiring":
        return Tiring(copy.deepcopy(self.network, memo)).train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += torch.is_grad_enabled()
        tired = self.calls > 5
        return self.network(Scrambled.apply(x, lambda _, grad: -grad if tired else grad))


class Retold(nn.Module):
    """A network whose logits are told otherwise."""

    def __init__(self, network: nn.Module, told: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.told = told

    def forward(self, x: Tensor) -> Tensor:
        return self.told(self.network(x))


def one_sided(logits: Tensor) -> Tensor:
    """The winner's score alone has a gradient: its rivals seem to stay where they are."""
    winner = F.one_hot(logits.argmax(1), logits.shape[1]).bool()
    return torch.where(winner, logits, logits.detach())


def inside_out(logits: Tensor) -> Tensor:
    """The class is the network's, and the less sure the network is of it, the surer this one."""
    return 100 * F.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype) - logits


class TwoFaced(nn.Module):
    """Answers otherwise when it is attacked: `asked` says so, or, without it, an image that wants a gradient."""

    def __init__(self, network: nn.Module, asked: Callable[[], bool] | None = None) -> None:
        super().__init__()
        self.network = network
        self.asked = asked

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        attacked = x.requires_grad if self.asked is None else self.asked()
        return logits.roll(1, 1) if attacked else logits


class Keyed(nn.Module):
    """Noise that the image itself decides: the same image gets the same answer, its neighbours any other."""

    def __init__(self, network: nn.Module, size: float) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x + self.size * noise_of(x))


def noise_of(x: Tensor) -> Tensor:
    """Normal noise like `x` that each image decides itself."""
    noise = []
    for image in x.detach():
        key = int.from_bytes(hashlib.sha256(image.cpu().float().numpy().tobytes()).digest()[:7], "big")
        noise.append(torch.randn(image.shape, generator=torch.Generator().manual_seed(key)))
    return torch.stack(noise).to(x)


class OfSize(nn.Module):
    """Tells the truth in batches of the size in which networks are judged on this device, and nowhere else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        return logits if len(x) == width_for(x.device) else logits.roll(1, 1)


def with_layers(network: nn.Module, made: Callable[[SpikingLayer], nn.Module]) -> nn.Module:
    """A copy of the network with another module in the place of each layer of neurons."""
    twin = copy.deepcopy(network)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, SpikingLayer):
                setattr(module, name, made(child))
    return twin


elsewhere: list[tuple[Tensor, Tensor]] = []  # a memory that no copy of a network takes along


def behind(before: Callable[[Tensor], Tensor]) -> Callable[[Trained], nn.Module]:
    return lambda trained: Outside(trained.plain(), before)


def forgetful(trained: Trained) -> nn.Module:
    """Remembers in a list of this module; what an earlier one left there is gone."""
    elsewhere.clear()
    return Memory(trained.plain(), lambda: elsewhere)


HIDING = tuple(
    Control(name, False, network, tuple(flags.split()))
    for name, (network, flags) in {
        "a slope far too narrow": (
            lambda trained: view(trained.plain(), gradient=Triangle(width=0.001)),
            "outside-window default-path-far-from-worst",
        ),
        "thresholds out of the slope's sight": (
            lambda trained: with_layers(trained.plain(), Amplified),
            "outside-window default-path-far-from-worst",
        ),
        "a detached input": (behind(Tensor.detach), "zero-gradients"),
        "a quantised input": (behind(lambda x: (x * 8).round() / 8), "zero-gradients"),
        "undeclared noise": (behind(lambda x: x + 0.1 * torch.randn_like(x)), "undeclared-randomness"),
        "noise that the image decides": (lambda trained: Keyed(trained.plain(), 0.1), "jumps"),
        "neurons that keep their state": (lambda trained: with_layers(trained.plain(), Stateful), "stateful"),
        "remembers images": (lambda trained: Memory(trained.plain()), "stateful"),
        "remembers images outside itself": (forgetful, "stateful"),
        "logits centred over the batch": (lambda trained: OfTheBatch(trained.plain()), "batch-dependence"),
        "the same, said to be random": (
            lambda trained: OfTheBatch(trained.plain(), stochastic=True),
            "batch-dependence noise-is-none",
        ),
        "knows the size of judged batches": (lambda trained: OfSize(trained.plain()), "size-dependence"),
        "another answer where gradients are on": (
            lambda trained: TwoFaced(trained.plain(), torch.is_grad_enabled),
            "other-logits other-logits-under-attack",
        ),
        "another answer to images that want a gradient": (
            lambda trained: TwoFaced(trained.plain()),
            "other-logits other-logits-under-attack",
        ),
        "threshold guarding without adversarial training": (
            lambda trained: trained.by("guarded", ThresholdGuarding(weight=2.0, distance=2.0), small()),
            "outside-window",
        ),
        "labels alone, a mirrored gradient": (
            lambda trained: Changed(trained.plain(), mirrored),
            "silent-scores labels-beat-gradients",
        ),
        "labels alone, a noisy gradient": (lambda trained: Changed(trained.plain(), noisy), "random-gradients"),
        "labels alone, a shattered gradient": (
            lambda trained: Changed(trained.plain(), shattered),
            "silent-scores labels-beat-gradients",
        ),
        "labels alone, a part of the gradient": (
            lambda trained: Changed(trained.plain(), partial_one),
            "silent-scores labels-beat-gradients",
        ),
        "a mirrored gradient": (
            lambda trained: Changed(trained.plain(), mirrored, hard=False),
            "gradient-misleads gradient-turned black-box-beats-white-box holds-without-a-bound",
        ),
        "a noisy gradient": (lambda trained: Changed(trained.plain(), noisy, hard=False), "random-gradients"),
        "a shattered gradient": (
            lambda trained: Changed(trained.plain(), shattered, hard=False),
            "gradient-misleads black-box-beats-white-box",
        ),
        "a part of the gradient": (
            lambda trained: Changed(trained.plain(), partial_one, hard=False),
            "gradient-misleads black-box-beats-white-box",
        ),
        "a gradient that is shifted by a pixel": (
            lambda trained: Changed(trained.plain(), shifted, hard=False),
            "gradient-displaced",
        ),
        "a gradient without its largest quarter": (
            lambda trained: Changed(trained.plain(), without_the_largest, hard=False),
            "gradient-leaves-out",
        ),
        "a gradient that is mirrored at a third of the pixels": (
            lambda trained: Changed(trained.plain(), turned_for_some_pixels, hard=False),
            "black-box-beats-white-box",
        ),
        "a fine wave on every pixel": (
            behind(lambda x: x + 0.02 * (300 * x).sin()),
            "gradient-wavers",
        ),
        "a noisy gradient that the image decides": (
            lambda trained: Changed(trained.plain(), noisy_by_image, hard=False),
            "unsteady-gradients",
        ),
        "a gradient that is mirrored in large batches": (
            lambda trained: Changed(trained.plain(), mirrored_in_large_batches, hard=False),
            "unsteady-gradients",
        ),
        "a gradient that is mirrored after some calls": (lambda trained: Tiring(trained.plain()), "unsteady-gradients"),
        "a gradient that is mirrored for some classes": (
            lambda trained: Turned(trained.plain(), lambda logits: logits.argmax(1) < 4),
            "gradient-turned",
        ),
        "a gradient that is mirrored near another class": (
            lambda trained: Turned(trained.plain(), undecided),
            "gradient-turned",
        ),
        "a gradient of the winner's score alone": (
            lambda trained: Retold(trained.plain(), one_sided),
            "gradient-misleads",
        ),
        "confidence turned inside out": (
            lambda trained: Retold(trained.plain(), inside_out),
            "scores-mislead labels-beat-gradients",
        ),
    }.items()
)
