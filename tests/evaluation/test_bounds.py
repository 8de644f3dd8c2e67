"""Do bounds cross? What interval arithmetic certifies must not be broken, by any attack, at any radius."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeproof as sp
from spikeproof.snn import ASSG, LIF, ATan

RADII = (0.005, 0.01, 0.02, 0.05)
SUITE = sp.Suite(
    name="all kinds",
    attacks=(
        sp.UniformNoise(draws=5),
        sp.FGSM(),
        sp.PGD(steps=20, loss=sp.Margin()),
        sp.APGD(steps=20),
        sp.SAPGD(steps=20),
        sp.Along(attack=sp.APGD(steps=20), paths=(ASSG(), ATan())),
        sp.FAB(steps=10),
        sp.Square(queries=100),
    ),
)


class TwoLayers(nn.Module):
    """Digits -> hidden units -> logits; the units, ReLU or neurons of one time step, never fall as a current grows."""

    def __init__(self, unit: nn.Module) -> None:
        super().__init__()
        self.hidden, self.unit, self.out = nn.Linear(64, 40), unit, nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fired(self.hidden(x.flatten(1))))

    def fired(self, currents: Tensor) -> Tensor:
        return self.unit(currents.unsqueeze(0)).squeeze(0)

    def certified(self, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Which images ``[B]`` keep their class whatever each pixel is within `eps`, in [0, 1]."""
        low, high = ((x - eps).clamp(min=0).flatten(1), (x + eps).clamp(max=1).flatten(1))
        rows, bias = self.hidden.weight.T, self.hidden.bias
        more, less = rows.clamp(min=0), rows.clamp(max=0)
        low, high = self.fired(low @ more + high @ less + bias), self.fired(high @ more + low @ less + bias)
        ahead = self.out.weight[y].unsqueeze(1) - self.out.weight  # [B, K, units] of the label over each class
        lead = (ahead.clamp(min=0) @ low.unsqueeze(2) + ahead.clamp(max=0) @ high.unsqueeze(2)).squeeze(2)
        lead = lead + self.out.bias[y].unsqueeze(1) - self.out.bias
        return lead.scatter(1, y.unsqueeze(1), torch.inf).amin(1) > 1e-4  # beyond rounding


def learned(model: TwoLayers, x: Tensor, y: Tensor) -> TwoLayers:
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize("unit", [nn.ReLU, lambda: LIF().layer(1)], ids=["ANN", "SNN"])
def test_what_is_certified_is_never_broken(unit: Callable[[], nn.Module], digits: tuple[Tensor, ...]) -> None:
    train, labels, x, y = digits
    model, x, y = learned(TwoLayers(unit()), train, labels), x[:120], y[:120]
    found = sp.evaluate(model, (x, y), sp.Protocol(threats=[sp.Linf(eps) for eps in RADII], suite=SUITE))
    with torch.no_grad():
        certified = torch.stack([model.certified(x, y, eps) for eps in RADII], 1)
    held = torch.stack([torch.from_numpy(found.broken_at) > number for number in range(len(RADII))], 1)
    assert not (certified & ~held).any()
    assert certified[:, 0].float().mean() > 0.1  # there is something to cross
    assert not held[:, -1].all()
    assert (held.float().mean(0) >= certified.float().mean(0)).all()
