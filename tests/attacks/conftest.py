"""Which examples do several attacks share?"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Linear = tuple[nn.Module, Tensor, Tensor, Tensor]


@pytest.fixture
def linear() -> Callable[[float], Linear]:
    """For a dual norm: a linear model of 5 classes, 20 images, their labels and known distances to the boundary."""

    def example(dual: float) -> Linear:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).double()
        x = 0.4 + 0.2 * torch.rand(20, 3, 2, 2, dtype=torch.float64)
        logits, weight = model(x).detach(), model[1].weight.detach()
        y = logits.argmax(1)
        margins = logits.gather(1, y.unsqueeze(1)) - logits
        known = margins / (weight[y].unsqueeze(1) - weight).norm(p=dual, dim=2)
        return model, x, y, known.scatter(1, y.unsqueeze(1), torch.inf).amin(1)

    return example
