"""Does ThresholdGuarding keep potentials away from thresholds, by hand and in training?"""

import pytest
import torch
from torch import nn

from spikeproof.choices import UserError
from spikeproof.objectives import ThresholdGuarding
from spikeproof.snn import LIF, record


class OneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.neurons = LIF(threshold=1.0, leak=0.5).layer(2)

    def forward(self, x):
        return self.neurons(x.view(1, len(x), -1)).mean(0)


def test_by_hand():
    """Currents 0.8 and 1.5, two steps, leak 0.5: potentials 0.8, 1.2 and 1.5, 1.5; |u| = 0.2, 0.2, 0.5, 0.5."""
    x = torch.tensor([[0.8, 1.5]])
    terms = ThresholdGuarding(weight=2.0, distance=0.4)(OneLayer(), x, torch.tensor([1]))
    assert terms["near_threshold"].item() == pytest.approx(2 * (0.2 + 0.2) / 4)
    far = ThresholdGuarding(weight=2.0, distance=0.1)(OneLayer(), x, torch.tensor([1]))
    assert far["near_threshold"].item() == 0


def test_the_terms_of_several_layers_add_up(trained, digits):
    x, y = digits[0][:8], digits[1][:8]
    found = ThresholdGuarding(weight=1.0, distance=0.5)(trained, x, y)["near_threshold"]
    with record(trained) as inside:
        trained(x)
    means = [(0.5 - (inside.potentials(n) - 1).abs()).clamp(min=0).mean() for n in inside.layers]
    assert len(means) > 1
    torch.testing.assert_close(found, torch.stack(means).sum())


def test_a_step_down_its_gradient_widens_the_gap(trained, digits):
    import copy

    model, x, y = copy.deepcopy(trained), digits[0][:64], digits[1][:64]
    guarding = ThresholdGuarding(weight=1.0, distance=0.5)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    sizes = []
    for _ in range(12):
        term = guarding(model, x, y)["near_threshold"]
        sizes.append(term.item())
        optimiser.zero_grad()
        term.backward()
        optimiser.step()
    assert sizes[-1] < 0.9 * sizes[0]


def test_what_cannot_be_is_refused(trained_ann, digits):
    for settings, said in (
        ({"weight": -1.0}, "weight"),
        ({"distance": 0.0}, "distance"),
        ({"label_smoothing": 2}, r"in \[0, 1\], not 2"),
    ):
        with pytest.raises(UserError, match=said):
            ThresholdGuarding(**settings)
    with pytest.raises(UserError, match="needs spiking layers"):
        ThresholdGuarding()(trained_ann, digits[0][:4], digits[1][:4])
