"""Which network tells at once what an attack on frames should do?"""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Two classes, the second by sum of weight * frames, with a bias each; what it is asked about is kept."""

    def __init__(self, weight: Tensor, bias: tuple[float, float]) -> None:
        super().__init__()
        self.weight = weight
        self.bias = torch.tensor(bias)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        value = (x * self.weight).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(value), value], 1) + self.bias
