"""Does Along find what a network's own gradient hides, keep the best of all paths, and count what it spends?"""

import json

import pytest
import torch
from outcomes import broken
from torch import Tensor, nn

from spikeproof.attacks import FGSM, L2, PGD, Along, Attack, KullbackLeibler, Linf, Margin, UniformNoise
from spikeproof.attacks.attack import Outcome
from spikeproof.attacks.engine import State
from spikeproof.attacks.query import Query, Task
from spikeproof.choices import UserError, short
from spikeproof.configs import from_config, to_config
from spikeproof.snn import (
    LIF,
    MLP,
    ATan,
    FirstSpike,
    GradientPath,
    Network,
    Poisson,
    Sigmoid,
    SpikingNetwork,
    StraightThrough,
    Triangle,
    attack_view,
    view,
)

PATHS: tuple[GradientPath, ...] = (Triangle(), ATan(), Triangle(width=0.5))
THREAT = Linf(0.1)
plain = PGD(steps=4, start="clean")  # draws nothing, so that a path can be taken again alone


@pytest.fixture(scope="module")
def narrow(trained: SpikingNetwork) -> SpikingNetwork:
    """The same network with a slope so narrow that no gradient passes: the very same logits."""
    return view(trained, gradient=Triangle(width=1e-4))


def test_it_breaks_what_a_narrow_slope_hides(
    narrow: SpikingNetwork, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """PGD moves no pixel; along wider slopes at least as many images break as with a slope that hides nothing."""
    x, y = batch
    with torch.no_grad():
        assert torch.equal(narrow(x), trained(x))
    clean = broken(narrow, x, y).sum()
    assert clean <= 2
    assert torch.equal(plain(narrow, x, y, THREAT), x)
    found = Along(attack=plain, paths=PATHS)(narrow, x, y, THREAT)
    assert THREAT.contains(found, x).all()
    assert broken(narrow, found, y).sum() >= clean + 10
    assert broken(narrow, found, y).sum() >= broken(trained, plain(trained, x, y, THREAT), y).sum()


def test_its_own_narrow_path_adds_nothing(narrow: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    alone = Along(attack=plain, paths=(Triangle(width=1e-4),))
    assert torch.equal(alone(narrow, *batch, THREAT), batch[0])


def test_the_logits_are_the_same_in_every_path(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    """A path changes how the network answers backward, never what it answers: bit for bit."""
    x, _ = batch
    attacked = attack_view(trained)
    first_spike = Network(architecture=MLP(hidden=(8,)), readout=FirstSpike(), steps=3).build((1, 8, 8), 10).eval()
    for model in (trained, attacked, first_spike, nn.Sequential(nn.Identity(), trained)):
        expected = model(x)
        for path in (*PATHS, StraightThrough(), Sigmoid()):
            assert torch.equal(view(model, gradient=path)(x), expected)


def test_every_path_is_taken_with_its_own_gradient(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    seen = []

    class Witness(FGSM):
        def begin(self, query: Query) -> State:
            layers = [m for m in query.model.modules() if type(m).__name__ == "LeakyLayer"]
            seen.append({layer.gradient for layer in layers})
            return super().begin(query)

    own = [m.gradient for m in trained.modules() if type(m).__name__ == "LeakyLayer"]
    Along(attack=Witness(), paths=PATHS)(trained, *batch, THREAT)
    assert seen == [{path} for path in PATHS]
    assert [m.gradient for m in trained.modules() if type(m).__name__ == "LeakyLayer"] == own


@pytest.mark.parametrize("attack", [plain, FGSM(), PGD(steps=3, start="clean", keep="last", loss=Margin())], ids=short)
@pytest.mark.parametrize("stop", [False, True])
def test_never_weaker_than_along_any_path_alone(
    attack: Attack, stop: bool, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """An image that one path breaks is broken; of the rest it keeps the one with the largest loss."""
    x, y = batch
    found = Along(attack=attack, paths=PATHS).run(trained, x, y, THREAT, stop=stop).x
    alone = [attack.run(view(trained, gradient=path), x, y, THREAT, stop=stop).x for path in PATHS]
    assert len({tuple(z.flatten().tolist()) for z in alone}) == 3
    verdicts = torch.stack([broken(trained, z, y) for z in alone])
    assert torch.equal(broken(trained, found, y), verdicts.any(0))
    assert (verdicts.any(0) & ~verdicts.all(0)).any()  # the paths differ, and it matters
    held = ~verdicts.any(0)
    assert held.any()
    with torch.no_grad():
        losses = torch.stack([attack.loss(trained(z), y) for z in (*alone, found)])
    assert torch.equal(losses[3][held], losses[:3].amax(0)[held])


def test_costs_add_up(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    """Four gradients and a last look along each of three paths, and a look of its own at each outcome.

    With `stop`, an image costs what PGD spends until it breaks, on each path up to the one that does it.
    """
    x, y = batch
    whole = Along(attack=plain, paths=PATHS).run(trained, x, y, THREAT)
    assert (whole.gradients == 3 * 4).all()
    assert (whole.forwards == 3 * (4 + 1 + 1)).all()
    stopped = Along(attack=plain, paths=PATHS).run(trained, x, y, THREAT, stop=True)
    expected = torch.zeros_like(stopped.gradients)
    looks = torch.zeros_like(stopped.gradients)
    open_ = torch.ones(len(x), dtype=torch.bool)
    for path in PATHS:
        alone = plain.run(view(trained, gradient=path), x, y, THREAT, stop=True)
        expected[open_] += alone.gradients[open_]
        looks[open_] += alone.forwards[open_] + 1
        open_ &= ~broken(trained, alone.x, y)
    assert torch.equal(stopped.gradients, expected)
    assert torch.equal(stopped.forwards, looks)
    assert (stopped.gradients[open_] == 12).all()
    assert len(stopped.gradients.unique()) > 3
    assert torch.equal(broken(trained, stopped.x, y), ~open_)


def test_nothing_is_spent_where_all_are_broken(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, _ = batch
    wrong = (trained(x).argmax(1) + 1) % 10
    found = Along(attack=plain, paths=PATHS).run(trained, x, wrong, THREAT, stop=True)
    assert (found.gradients == 1).all()
    assert torch.equal(found.x, x)


def test_a_module_from_outside_is_attacked_once_along_its_own_path(batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Dropout(0.9), nn.Linear(16, 10)).train()
    found = Along(attack=plain, paths=PATHS).run(model, x, y, L2(0.5))
    assert (found.gradients == 4).all()
    assert torch.equal(found.x, plain(model, x, y, L2(0.5)))
    assert torch.equal(found.x, plain(model, x, y, L2(0.5)))  # every path is its own
    several = PGD(steps=4)
    losses = [
        several.loss(model.eval()(attack(model, x, y, L2(0.5))), y) for attack in (several, Along(attack=several))
    ]
    assert (losses[1] >= losses[0] - 1e-6).all()  # the first of three random starts is that of PGD alone


def test_a_network_inside_a_module_from_outside_is_reached(
    narrow: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = narrow

        def forward(self, x: Tensor) -> Tensor:
            return 2 * self.inner(x)

    found = Along(attack=plain, paths=PATHS)(Wrapped(), *batch, THREAT)
    assert broken(narrow, found, batch[1]).sum() >= 10


def test_averaging_reaches_the_attack_inside(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    along = Along(attack=PGD(steps=2), paths=PATHS[:2])
    assert along.averaging(5) == Along(attack=PGD(steps=2, eot=5), paths=PATHS[:2])
    assert along.averaging(1) == along
    own = Along(attack=PGD(steps=2, eot=3), paths=PATHS[:2])
    assert own.averaging(5) == own  # as it is with any attack that sets its own
    assert Along(attack=along).averaging(5) == Along(attack=along.averaging(5))
    spent = along.averaging(5).run(view(trained, encoder=Poisson()), *batch, THREAT)
    assert (spent.gradients == 2 * 2 * 5).all()
    assert (spent.forwards == 2 * (2 + 1 + 1) * 5).all()


def test_it_takes_any_attack_inside(trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    noise = Along(attack=UniformNoise(draws=2), paths=PATHS[:2])(trained, x, y, THREAT)
    assert THREAT.contains(noise, x).all()
    twice = Along(attack=Along(attack=plain, paths=PATHS[:1]), paths=PATHS[:2])
    spent = twice.run(trained, x, y, THREAT)
    assert (spent.gradients == 2 * 4).all()
    probabilities = trained(x).softmax(1)
    divergent = Along(attack=PGD(steps=2, loss=KullbackLeibler(), start="near"), paths=PATHS[:2])
    assert not torch.equal(divergent(trained, x, probabilities, THREAT), x)

    class Undeclared(Attack):
        """An attack that is no dataclass, and has no loss to be compared by."""

        def search(self, task: Task) -> Outcome:
            spent = torch.zeros(len(task.x), dtype=torch.long)
            return Outcome((task.x + task.threat.eps).clamp(0, 1), spent, spent)

    brighter = Along(attack=Undeclared(), paths=PATHS[:1])(trained, x, y, THREAT)
    assert torch.equal(brighter, (x + 0.1).clamp(0, 1))


def test_it_is_written_down_with_what_is_inside() -> None:
    along = Along(attack=PGD(steps=7, loss=Margin()), paths=(ATan(alpha=3.0), Triangle(width=0.25), StraightThrough()))
    again = from_config(json.loads(json.dumps(to_config(along))), Attack)
    assert again == along
    assert hash(again) == hash(along)
    assert again.paths[1] == Triangle(width=0.25)
    assert "ATan(alpha=3)" in short(along)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="at least one gradient path"):
        Along(paths=())
    with pytest.raises(UserError):
        from_config({"class_path": "Along", "init_args": {"paths": ["LIF"]}}, Attack)


def test_a_constant_network_and_one_that_is_cut_are_left_alone(batch: tuple[Tensor, Tensor]) -> None:
    """As under PGD: what has no gradient keeps its image or what noise makes of it, and nothing breaks down."""
    x, y = batch
    silent = Network(architecture=MLP(hidden=(8,)), neuron=LIF(threshold=1e6), steps=2).build((1, 8, 8), 10).eval()
    found = Along(attack=plain, paths=PATHS)(silent, x, y, THREAT)
    assert THREAT.contains(found, x).all()
