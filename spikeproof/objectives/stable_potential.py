"""StablePotential: training for membrane potentials that a perturbation moves little (MS-MPPD)."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, Linf, Threat
from spikeproof.choices import NonNegative, Pixels, Share, UserError
from spikeproof.objectives.objective import Objective, adversarial_images
from spikeproof.snn import Internals, potential_perturbation, record


@dataclass(frozen=True, kw_only=True)
class StablePotential(Objective):
    """w CE(z(x), y) + (1 - w) CE(z(x~), y) + weight mean Y[t]^2, with w = `clean_weight`.

    Y[t] = leak Y[t-1] + I~[t] - I[t] is how far the currents of x~ move the potential of the last spiking layer off its
    course, the reset left out. The clean currents I are held fixed, so the perturbed ones are pulled to them. Mean over
    time, images and neurons; with `layers` "all" the mean over layers too. `penalty` "absolute" takes |Y[t]|. x~ comes
    from `attack` within `threat`, or, where `attack` is None, is x + sigma n, not clamped. Source: Ding et al., ICML
    2024, arXiv 2405.20694 (weight rho, clean_weight chi); the absolute value: MPPD-TV, ICLR 2026. Theirs is for DLIF
    neurons; a large weight hurts plain LIF. One step from x + 0.001 n is projected into the threat here, in their code
    it is not.
    """

    weight: NonNegative = 1.0
    clean_weight: Share = 0.5
    layers: Literal["last", "all"] = "last"
    penalty: Literal["squared", "absolute"] = "squared"
    threat: Threat = Linf(4 / 255)
    attack: Attack | None = PGD(steps=1, relative_step=1.0, start="near", keep="last")
    sigma: Pixels = 8 / 255
    label_smoothing: Share = 0.0

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.attack is None:
            perturbed = x + self.sigma * torch.randn_like(x)
        else:
            perturbed = adversarial_images(model, x, y, self.attack, self.threat)
        with record(model) as clean:
            logits = model(x)
        with record(model) as moved:
            other = model(perturbed)
        losses = [F.cross_entropy(z, y, label_smoothing=self.label_smoothing) for z in (logits, other)]
        terms = {
            "cross_entropy": self.clean_weight * losses[0],
            "perturbed_cross_entropy": (1 - self.clean_weight) * losses[1],
        }
        if self.weight > 0:
            terms["potential_perturbation"] = self.weight * self.size(clean, moved)
        return terms

    def size(self, clean: Internals, moved: Internals) -> Tensor:
        """The mean size of the potential perturbation of the chosen layers, a scalar."""
        names = list(moved.layers)
        if not names:
            raise UserError("StablePotential needs spiking layers, and this network has none")
        chosen = names[-1:] if self.layers == "last" else names
        return torch.stack([self._mean(potential_perturbation(clean, moved, name)) for name in chosen]).mean()

    def _mean(self, perturbation: Tensor) -> Tensor:
        return (perturbation.square() if self.penalty == "squared" else perturbation.abs()).mean()
