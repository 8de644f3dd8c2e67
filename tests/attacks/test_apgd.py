"""APGD: its schedule by hand, its steps against torchattacks, and that it is no weaker than what it improves on."""

import copy
from dataclasses import dataclass, field

import pytest
import torch
from outcomes import as_many, broken
from torch import Tensor, nn

from spikeproof.attacks import APGD, DLR, PGD, CrossEntropy, Linf
from spikeproof.attacks.apgd import lengths, periods
from spikeproof.choices import UserError
from spikeproof.randomness import Streams
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def test_the_schedule_by_hand() -> None:
    """100 steps: p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, then 0.06 more each (Croce and Hein, section 3.1)."""
    assert periods(100) == {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}
    assert list(periods(10).items()) == [(2, 2), *((step, 1) for step in range(3, 11))]
    assert periods(1) == {1: 1}
    assert lengths(100, torch.tensor([0, 1, 22, 23, 99, 100])).tolist() == [0, 0, 22, 0, 6, 0]


@dataclass(frozen=True)
class From(Linf):
    """A ball whose random start is the one that is given."""

    given: Tensor = field(default=torch.zeros(0), compare=False)

    def start(self, x: Tensor, streams: Streams | None = None) -> Tensor:
        return self.given


@pytest.mark.parametrize(("loss", "share"), [("ce", 0.97), ("dlr", 0.88)])
def test_torchattacks_takes_the_same_course(
    loss: str, share: float, trained_ann: SpikingNetwork, digits: Examples
) -> None:
    """From the same start: the best loss of nearly all images agrees to rounding, and their median to a hundredth.

    Over eight starts 94 % of the images agree in DLR, with a deviation of 3 % a start; `share` is of three starts.
    """
    torchattacks = pytest.importorskip("torchattacks")
    model, x, y = copy.deepcopy(trained_ann).double(), digits[2][:60].double(), digits[3][:60]
    theirs = torchattacks.APGD(model, eps=0.1, steps=20, loss=loss, rho=0.75)
    attack = APGD(steps=20, loss=CrossEntropy() if loss == "ce" else DLR())
    agree = []
    for seed in (5, 6, 7):
        torch.manual_seed(seed)
        _, right, best_loss, _ = theirs.attack_single_run(x, y)
        torch.manual_seed(seed)
        t = 2 * torch.rand(x.shape) - 1
        start = (x + 0.1 * t / t.abs().flatten(1).amax(1).view(-1, 1, 1, 1)).clamp(0, 1)
        with torch.no_grad():
            logits = model(attack(model, x, y, From(0.1, start)))
        wrong = logits.argmax(1) != y
        agree.append(torch.isclose(attack.loss(logits, y), best_loss, rtol=1e-6, atol=1e-9)[wrong == ~right])
        assert attack.loss(logits, y).median().item() == pytest.approx(best_loss.median().item(), rel=0.01)
        assert abs(int(wrong.sum()) - int((~right).sum())) <= 1
    assert torch.cat(agree).float().mean() > share


def test_the_step_is_halved_where_the_loss_stays() -> None:
    """A loss that is flat but for one pixel's hill: the climb overshoots, comes back to its best, and closes in."""

    class Hill(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            height = -((x.flatten(1)[:, 0] - 0.53) ** 2)
            return torch.stack([-height, height], 1)

    x, y = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    found = APGD(steps=40)(Hill(), x, y, Linf(0.1))
    assert found.item() == pytest.approx(0.53, abs=2e-3)
    coarse = PGD(steps=40, relative_step=2.0, keep="last")(Hill(), x, y, Linf(0.1))
    assert abs(coarse.item() - 0.53) > 0.03


def test_it_breaks_no_fewer_than_pgd(trained: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:100], digits[3][:100]
    pgd, apgd = (
        torch.cat([broken(trained, attack(trained, x, y, Linf(0.06), seed=seed), y) for seed in range(3)])
        for attack in (PGD(steps=20), APGD(steps=20))
    )
    assert as_many(apgd, pgd)
    assert apgd.sum() > 60


def test_stopped_images_cost_no_more(trained: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:60], digits[3][:60]
    whole = APGD(steps=20, restarts=2).run(trained, x, y, Linf(0.1))
    early = APGD(steps=20, restarts=2).run(trained, x, y, Linf(0.1), stop=True)
    assert set(whole.gradients.tolist()) == {42}  # two starts, and twenty steps from each
    assert early.gradients.sum() < whole.gradients.sum()
    with torch.no_grad():
        broken = [trained(outcome.x).argmax(1) != y for outcome in (whole, early)]
    assert (early.gradients[~broken[1]] == 42).all()
    assert int(broken[1].sum()) == pytest.approx(int(broken[0].sum()), abs=2)


@pytest.mark.parametrize(("settings", "said"), [({"steps": 0}, "steps"), ({"eot": 0}, "eot"), ({"rho": 1.5}, "rho")])
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        APGD(**settings)
