"""HopSkipJump: on a plane, whose distance is known; against foolbox; and what it asks of the model."""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import hop_skip_jump
from spikeproof.attacks.hop_skip_jump import HopSkipJump
from spikeproof.attacks.threats import L1, L2, Linf, Threat
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork
from tests.attacks.outcomes import asked

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
SHORT = HopSkipJump(steps=5, draws=30)
every_threat = pytest.mark.parametrize("threat", [Linf(0.9), L2(9)], ids=str)


class Plane(nn.Module):
    """Two classes on either side of a plane through grey."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.normal = torch.randn(pixels, generator=torch.Generator().manual_seed(1))

    def forward(self, x: Tensor) -> Tensor:
        height = (x.flatten(1) - 0.5) @ self.normal
        return torch.stack([height, -height], 1)

    def distance(self, x: Tensor, threat: Threat) -> Tensor:
        return ((x.flatten(1) - 0.5) @ self.normal).abs() / self.normal.norm(2 if threat.norm == "L2" else 1)


@every_threat
def test_on_a_plane_it_comes_near_the_known_distance(threat: Threat) -> None:
    model = Plane(48)
    x = 0.5 + 0.1 * torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    found = HopSkipJump(steps=15)(model, x, y, threat)
    assert (model(found).argmax(1) != y).all()
    ratio = threat.distance(found, x) / model.distance(x, threat)
    assert ratio.min() > 0.999
    assert ratio.median() < 1.1
    assert ratio.max() < 1.5


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # foolbox imports scipy's old names
def test_foolbox_comes_no_nearer(trained_ann: SpikingNetwork, digits: Examples) -> None:
    """From noise, and with the same number of decisions to within a tenth."""
    foolbox = pytest.importorskip("foolbox")
    x, y = digits[2][:16], digits[3][:16]
    with torch.no_grad():
        right = trained_ann(x).argmax(1) == y
    x, y, steps = x[right], y[right], 8
    seen = []

    class Counted(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(len(z))
            return trained_ann(z)

    ours = HopSkipJump(steps=steps).run(trained_ann, x, y, L2(9))
    assert ours.forwards.double().mean() < 1.1 * sum(range_of_draws(steps)) + 400
    model = foolbox.PyTorchModel(Counted().eval(), bounds=(0, 1), device="cpu")
    torch.manual_seed(0)
    starts = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(steps=50).run(model, x, y)
    with torch.no_grad():
        wrong = trained_ann(starts).argmax(1) != y
    assert wrong.double().mean() > 0.8
    seen.clear()
    attack = foolbox.attacks.HopSkipJumpAttack(steps=steps)
    theirs = attack.run(model, x[wrong], y[wrong], starting_points=starts[wrong])
    assert sum(seen) / wrong.sum() == pytest.approx(ours.forwards[wrong].double().mean().item(), rel=0.1)
    assert L2().distance(ours.x, x)[wrong].median() <= 1.05 * L2().distance(theirs, x[wrong]).median()


def range_of_draws(steps: int) -> list[int]:
    return [int(100 * step**0.5) for step in range(1, steps + 1)]


@every_threat
def test_it_counts_what_it_asks(threat: Threat, trained: SpikingNetwork, digits: Examples) -> None:
    seen = []

    class Counted(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(len(z))
            return trained(z)

    x, y = digits[2][:8], digits[3][:8]
    outcome = SHORT.run(Counted(), x, y, threat)
    assert int(outcome.forwards.sum()) == sum(seen)
    assert (outcome.gradients == 0).all()
    assert max(seen) <= hop_skip_jump.TOGETHER
    with torch.no_grad():
        wrong = trained(x).argmax(1) != y
    assert (outcome.forwards[wrong] == 1).all()  # nothing is nearer than the image itself
    assert torch.equal(outcome.x[wrong], x[wrong])


def test_an_image_inside_the_threat_costs_no_more(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y, threat = digits[2][:16], digits[3][:16], L2(0.8)
    whole, early = SHORT.run(trained_ann, x, y, threat), SHORT.run(trained_ann, x, y, threat, stop=True)
    with torch.no_grad():
        broken = trained_ann(early.x).argmax(1) != y
    assert 4 < broken.sum() < 16
    assert (early.forwards[~broken] == whole.forwards[~broken]).all()
    assert early.forwards[broken].double().mean() < 0.8 * whole.forwards[broken].double().mean()
    assert (threat.distance(whole.x, x)[broken] <= threat.distance(early.x, x)[broken] + 0.1).all()


@every_threat
def test_more_steps_come_nearer(threat: Threat, trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:8], digits[3][:8]
    few, many = (HopSkipJump(steps=steps, draws=50)(trained_ann, x, y, threat) for steps in (1, 8))
    near, far = threat.distance(many, x), threat.distance(few, x)
    assert (near <= far + 1e-6).all()  # the same walk, which keeps its nearest image
    assert near.mean() < 0.9 * far.mean()


@every_threat
def test_the_estimate_points_where_the_plane_does(threat: Threat) -> None:
    """On the boundary, and so far beside it that all decisions are the same: there it is the mean direction."""
    model, x, y = Plane(64), torch.full((2, 1, 8, 8), 0.5), torch.ones(2, dtype=torch.long)
    x[1] += 0.2 * model.normal.view(1, 8, 8) / model.normal.norm()
    oracle = hop_skip_jump.Oracle(asked(model, x, y, threat))
    radius, rows = torch.tensor([0.01, 0.01]), torch.arange(2)
    streams = oracle.streams(rows, 1)
    found = hop_skip_jump.estimated_gradient(oracle, x, rows, threat, radius, 3000, streams).flatten(1)
    cosine = torch.cosine_similarity(found, model.normal.unsqueeze(0))
    assert cosine[0] > 0.95
    assert found[1].norm() > 1  # the sum of 3000 random directions, which the mean decision must not cancel


def test_a_model_that_takes_nothing_for_another_class_keeps_its_images() -> None:
    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0]).expand(len(x), 2)

    x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
    outcome = SHORT.run(Sure(), x, y, L2(0.5))
    assert torch.equal(outcome.x, x)
    assert outcome.forwards.tolist() == [1 + hop_skip_jump.STARTS, 1, 1 + hop_skip_jump.STARTS]


def test_wrong_settings_are_refused() -> None:
    for name in ("steps", "draws", "most_draws", "eot"):
        with pytest.raises(UserError, match=name):
            HopSkipJump(**{name: 0})
    with pytest.raises(UserError, match=r"Linf, L2, not that of L1"):
        HopSkipJump()(nn.Flatten(), torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.long), L1(1))


@every_threat
def test_the_random_numbers_of_an_image_do_not_depend_on_how_many_go_into_one_pass(threat: Threat) -> None:
    model = Plane(48).double()
    x = 0.5 + 0.1 * torch.randn(20, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model.normal = model.normal.double()
    y, few = model(x).argmax(1), torch.arange(3)
    together = SHORT.run(model, x, y, threat).x
    assert (model(together).argmax(1) != y).all()
    assert torch.allclose(SHORT.run(model, x[few], y[few], threat).x, together[few], rtol=0, atol=1e-9)
