"""RAT: any objective, with weights that are kept nearly orthogonal after each step."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from spikeproof.attacks import PGD, Linf
from spikeproof.choices import NonNegative
from spikeproof.objectives.adversarial import Adversarial
from spikeproof.objectives.objective import Objective, Terms
from spikeproof.snn import ConvexCombination

MANY_ROWS, SHARE = 200, 0.3  # linear layers this large take the step on a random share of their rows


@dataclass(frozen=True, kw_only=True)
class RAT(Objective):
    """The terms of `objective`. After each step of the optimiser every weight matrix W (one row an output) becomes (1 +
    beta) W - beta W W' W, a gradient step towards orthonormal rows. The two weights of every learned shortcut are
    projected onto the simplex.

    Train it without weight decay. Source: Ding et al., SNN-RAT, NeurIPS 2022, whose objective is adversarial
    training with two PGD steps at 2/255; beta 0.001 for VGG-11 and 0.004 for WRN-16.
    """

    beta: NonNegative = 0.001
    objective: Objective = Adversarial(threat=Linf(2 / 255), attack=PGD(steps=2, relative_step=0.5, keep="last"))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return self.objective(model, x, y)

    @property
    def needs_ann(self) -> bool:
        return self.objective.needs_ann

    def at(self, epoch: float) -> Self:
        inside = self.objective.at(epoch)
        return self if inside is self.objective else replace(self, objective=inside)

    def check(self, model: nn.Module) -> None:
        self.objective.check(model)

    def prepared(self, ann: nn.Module | None) -> Terms:
        return self.objective.prepared(ann)

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        self.objective.after_step(model)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                matrix = module.weight.flatten(1)
                rows = _some_rows(matrix) if isinstance(module, nn.Linear) else slice(None)
                module.weight[rows] = towards_orthonormal(matrix[rows], self.beta).view_as(module.weight[rows])
            elif isinstance(module, ConvexCombination):
                module.weights.copy_(onto_simplex(module.weights))


def towards_orthonormal(w: Tensor, beta: float) -> Tensor:
    """(1 + beta) W - beta W W' W for `w` ``[rows, columns]``."""
    return (1 + beta) * w - beta * (w @ w.T) @ w


def onto_simplex(pair: Tensor) -> Tensor:
    """The nearest pair of numbers from 0 on whose sum is 1."""
    first = ((1 + pair[0] - pair[1]) / 2).clamp(0, 1)
    return torch.stack([first, 1 - first])


def _some_rows(matrix: Tensor) -> Tensor | slice:
    if len(matrix) < MANY_ROWS:
        return slice(None)
    return torch.randperm(len(matrix), device=matrix.device)[: int(SHARE * len(matrix))]
