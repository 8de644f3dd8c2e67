"""What is a conversion? A choice of how thresholds are set; `convert` copies the weights and asks it."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from spikeproof.choices import Choice, UserError
from spikeproof.data import Augmentation, Images, augment
from spikeproof.randomness import seeded
from spikeproof.snn import Network, Neuron, SpikingNetwork, attack_view, has_spikes
from spikeproof.snn.neurons import ACTIVATIONS, Activation, GradedLayer, SpikingLayer, is_neuron


@dataclass(frozen=True, eq=False)
class CalibrationImages:
    """Where images for a conversion come from; every pass draws anew, from the ambient generator."""

    images: Images | Tensor
    augmentation: Sequence[Augmentation]
    device: torch.device

    def batches(self, count: int, size: int) -> Iterator[Tensor]:
        """`count` batches ``[size, C, H, W]``, or as many as there are images for."""
        for indices in torch.randperm(len(self.images))[: count * size].split(size):
            x = self.images.batch(indices)[0] if isinstance(self.images, Images) else self.images[indices]
            yield augment(x.to(self.device), tuple(self.augmentation))


class Conversion(Choice):
    """Sets what the new network has and its ANN had not; `neuron` is the kind that it is meant for."""

    neuron: ClassVar[Neuron]

    def check(self, ann: SpikingNetwork, network: Network) -> None:
        """Raise `UserError` for choices that this conversion cannot work with, before anything is computed."""

    @abstractmethod
    def __call__(self, ann: SpikingNetwork, snn: SpikingNetwork, images: CalibrationImages) -> None:
        """Finish `snn`, which has the weights and statistics of `ann` already; both are in eval mode, `ann` frozen."""


def convert(
    ann: SpikingNetwork,
    network: Network,
    images: Images | Tensor,
    conversion: Conversion,
    *,
    augmentation: Sequence[Augmentation] = (),
    seed: int = 0,
) -> SpikingNetwork:
    """The spiking network `network` with the weights of `ann`, which stays as it is; in eval mode, on its device.

    `images` (a part of a data set, or ``[N, C, H, W]`` in [0, 1]) are what thresholds are set from; no label is used.
    Raises `UserError` if `ann` is no ANN, if `network` is one or has another architecture, and without images or for
    images out of range.
    """
    if not isinstance(ann, SpikingNetwork):
        raise UserError("a conversion takes a network of spikeproof: Weights brings in those of another program")
    mean, std = (tuple(getattr(ann.normalise, name).flatten().tolist()) for name in ("mean", "std"))
    snn = network.build(ann.shape, ann.classes, mean=mean, std=std)
    refuse_impossible(conversion, ann, network, snn)
    if len(images) == 0:
        raise UserError("a conversion sets its thresholds from images, and there are none: give it training images")
    if isinstance(images, Tensor) and not ((images >= 0) & (images <= 1)).all():
        raise UserError("images lie in [0, 1]: divide by 255, and leave normalisation to the network")
    device = next(ann.parameters()).device
    snn = snn.to(device).eval()
    ours = weights_and_statistics(snn)
    for name, tensor in weights_and_statistics(ann).items():
        ours[name].copy_(tensor)
    with torch.no_grad(), seeded(seed, device):
        conversion(attack_view(ann), snn, CalibrationImages(images, augmentation, device))  # type: ignore[arg-type]
    return snn.eval()


def spiking_layers(model: nn.Module) -> list[SpikingLayer | GradedLayer]:
    """What has a threshold, in the order of the body, which for every architecture here is that of the calls."""
    inside = {id(module.fire) for module in model.modules() if isinstance(module, GradedLayer)}
    return [m for m in model.modules() if isinstance(m, SpikingLayer | GradedLayer) and id(m) not in inside]


def percentile(x: Tensor, share: float) -> Tensor:
    """The entry of `x` that `share` of all entries lie at or below, as a scalar."""
    flat = x.flatten()
    return flat.kthvalue(1 + round(share * (flat.numel() - 1))).values


def refuse_impossible(conversion: Conversion, ann: SpikingNetwork, network: Network, snn: SpikingNetwork) -> None:
    """Raise `UserError` unless `ann` is an ANN that can become `snn`, which `network` describes."""
    if len(ann.shape) > 3:
        raise UserError(
            "a conversion sets thresholds for a constant current, and event frames are none: train directly"
        )
    if has_spikes(ann):
        raise UserError("only an ANN can be converted, and this network spikes: train one with neuron: ReLU, steps: 1")
    if not any(isinstance(module, ACTIVATIONS) for module in ann.modules()):
        raise UserError("there is nothing to convert: the ANN has no layer of units")
    if network.is_ann and not isinstance(conversion.neuron, Activation):
        kind = type(network.neuron).__name__
        raise UserError(f"a conversion makes a spiking network, not one of {kind} units: choose neuron: IF")
    if bad := [name for name, tensor in ann.state_dict().items() if not tensor.isfinite().all()]:
        raise UserError(f"the ANN is damaged, and is not converted: {bad[0]} holds NaN or infinite numbers")
    conversion.check(ann, network)
    _refuse_other_bodies(ann, snn)


def _refuse_other_bodies(ann: SpikingNetwork, snn: SpikingNetwork) -> None:
    """Raise `UserError` unless both have the same weights and statistics, but for their neurons."""
    theirs, ours = weights_and_statistics(ann), weights_and_statistics(snn)
    for name in sorted(theirs.keys() ^ ours.keys()):
        raise UserError(f"a conversion keeps the architecture: only one of the two networks has {name}")
    for name, tensor in theirs.items():
        if tensor.shape != ours[name].shape:
            raise UserError(
                f"a conversion keeps the architecture: {name} has the shape {list(tensor.shape)} in the ANN and "
                f"{list(ours[name].shape)} in the spiking network"
            )


def weights_and_statistics(model: SpikingNetwork) -> dict[str, Tensor]:
    """All that a network has beside its neurons, by name; the tensors themselves."""
    own = tuple(f"{name}." for name, module in model.named_modules() if is_neuron(module))
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(own)}
