"""What does an image cost, and what can an adversary make it cost? Operations of a pass, and an estimate of energy.

The estimate is 4.6 pJ a multiplication and accumulation in float32 and 0.9 pJ an accumulation, arithmetic alone in
45 nm (Horowitz, ISSCC 2014). Memory, which dominates on real hardware, is in none of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack, EnergyAttack, Threat
from spikeproof.attacks.query import per_image
from spikeproof.calling import as_evaluated, check_network, checked_logits, in_full_precision, is_stochastic
from spikeproof.choices import UserError, short, whole_number
from spikeproof.configs import to_config
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import EnergyRecord, Labelled, Spent
from spikeproof.snn import adapt, attack_view
from spikeproof.snn.operations import AXES, Operations, operations

__all__ = ["Energy", "energy"]

MAC, AC = 4.6e-3, 0.9e-3  # nJ


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Means over `images`: what a pass takes on them, after random noise of the threat's size, and after the attack.

    `footprint` is in bytes, all parameters and buffers. `connection_sparsity` is the share of weights that are 0.
    `kept` is the share of images whose class the attack left as it was. Without a threat, the last three are None.
    """

    images: int
    footprint: int
    connection_sparsity: float
    clean: Spent
    threat: Threat | None = None
    attack: Attack | None = None
    random: Spent | None = None
    attacked: Spent | None = None
    kept: float | None = None

    @property
    def rise(self) -> float | None:
        """By what factor the attack raises the estimate, pooled spikes handed on one by one."""
        before = self.clean.nanojoules_spikewise
        return self.attacked.nanojoules_spikewise / before if self.attacked and before else None

    def summary(self) -> dict[str, Any]:
        """The JSON-able record of all of it."""
        return as_json(self._found())

    def record(self, **made: Any) -> EnergyRecord:
        """What ``energy.json`` holds; `made` says of what, where and how it was measured."""
        return EnergyRecord(**self._found(), **made)

    def _found(self) -> dict[str, Any]:
        chosen = {"threat": (self.threat, str(self.threat)), "attack": (self.attack, short(self.attack))}
        said = {
            name: choice and Labelled(label=label, config=to_config(choice)) for name, (choice, label) in chosen.items()
        }
        kept = ("images", "footprint", "connection_sparsity", "clean", "random", "attacked", "kept")
        return {name: getattr(self, name) for name in kept} | said


def energy(
    model: nn.Module,
    images: Tensor,
    threat: Threat | None = None,
    attack: Attack = EnergyAttack(),
    *,
    batch: int = 64,
    seed: int = 0,
) -> Energy:
    """The operations and the energy of a pass of `model` on `images` ``[N, C, H, W]`` in [0, 1], in eval mode.

    With a `threat`, also those that `attack` leads to inside it, and those of random noise of the same size. What the
    network says of an image stands in the place of its label. A stochastic network is asked once an image. Leaves the
    model as it was; `batch` bounds memory. Raises `UserError` for a network without layers of weights, and for what an
    attack refuses. Source of the definitions: NeuroBench, Yik et al., Nature Communications 2025.
    """
    model = adapt(model)
    check_network(model)
    whole_number("batch", batch, 1)
    weights = [cast(Tensor, module.weight) for module in model.modules() if isinstance(module, tuple(AXES))]
    if not weights:
        raise UserError("the network has no linear layer and no convolution whose operations could be counted")
    found: dict[str, list[Operations]] = {}
    kept = 0
    for indices in torch.arange(len(images)).split(batch):
        x, drawn = images[indices], seed_from(seed, int(indices[0]))
        said = _said(model, x, drawn)
        for kind, moved in _moved(model, x, said, threat, attack, drawn).items():
            found.setdefault(kind, []).append(_counted(model, moved, drawn))
            kept += int((_said(model, moved, drawn) == said).sum()) if kind == "attacked" else 0
    tensors = [*model.parameters(), *model.buffers()]
    return Energy(
        images=len(images),
        footprint=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        connection_sparsity=sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights),
        threat=threat,
        attack=attack if threat else None,
        kept=kept / len(images) if threat else None,
        **{kind: spent(passes) for kind, passes in found.items()},
    )


def spent(passes: Sequence[Operations]) -> Spent:
    """The means over the images of all passes."""
    layers = [layer for one in passes for layer in one.layers.values()]
    images = sum(len(next(iter(one.layers.values())).macs) for one in passes)
    macs, acs = (sum(float(getattr(layer, name).sum()) for layer in layers) / images for name in ("macs", "acs"))
    joined = [layer for layer in layers if layer.spikewise is None]
    apart = sum(float(layer.spikewise.sum()) for layer in layers if layer.spikewise is not None) / images
    rest = sum(float(layer.macs.sum()) for layer in joined) / images
    again = [
        (one.steps - 1) * float(layer.macs.sum()) for one in passes for layer in one.layers.values() if layer.constant
    ]
    active = sum(float(one.active.sum()) for one in passes if one.active is not None)
    return Spent(
        effective_macs=macs,
        effective_acs=acs,
        dense=sum(layer.dense * len(layer.macs) for layer in layers) / images,
        macs_spikewise=rest,
        acs_spikewise=apart,
        macs_of_further_steps=sum(again) / images,
        activation_sparsity=1 - active / images / passes[0].activations if passes[0].activations else 0.0,
        nanojoules=macs * MAC + acs * AC,
        nanojoules_spikewise=rest * MAC + apart * AC,
    )


@torch.no_grad()
def _said(model: nn.Module, x: Tensor, seed: int) -> Tensor:
    """The classes that the network names ``[B]``."""
    with seeded(seed, x.device), as_evaluated(model), in_full_precision():
        return checked_logits(model, x).argmax(1)


@torch.no_grad()
def _counted(model: nn.Module, x: Tensor, seed: int) -> Operations:
    with seeded(seed, x.device), as_evaluated(model), in_full_precision():
        return operations(model, x.clone())  # a model that writes into its input must not change the caller's


def _moved(
    model: nn.Module, x: Tensor, said: Tensor, threat: Threat | None, attack: Attack, seed: int
) -> dict[str, Tensor]:
    """The images as they are, after random noise of the threat's size, and after the attack."""
    if threat is None:
        return {"clean": x}
    attack = attack.averaging(16 if is_stochastic(model) else 1)
    found = threat.project(attack.run(attack_view(model), x, said, threat, seed=seed).x, x)
    legal = per_image(threat.contains(found, x), x)
    with seeded(seed, x.device):
        noisy = threat.project(x + threat.eps * threat.ascent(torch.randn_like(x), x), x)
    return {"clean": x, "random": noisy, "attacked": torch.where(legal, found, x)}
