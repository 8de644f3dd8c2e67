"""Does every public attack keep its promises on recordings, under every threat that it knows? New ones are found."""

import dataclasses
import inspect
import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import (
    L2,
    PGD,
    Along,
    Attack,
    EnergyAttack,
    EventEdits,
    EventFlips,
    FrameL2,
    FrameLinf,
    Linf,
    Retiming,
    Targeted,
    Threat,
    Transfer,
    TwinTransfer,
    UniformNoise,
)
from spikeproof.choices import UserError, short
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known
from spikeproof.snn import SpikingNetwork
from tests.attacks.outcomes import broken, in_disorder, state_of
from tests.attacks.shortened import FEWER, cheap, cheap_attacks

Bars = tuple[Tensor, Tensor]

ATTACKS = [*cheap_attacks(), cheap(Transfer(file="another run", attack=PGD()))]
THREATS: list[Threat] = [
    FrameLinf(0.5),
    FrameL2(2.0),
    EventFlips(6),
    EventFlips(6, only="insert"),
    EventFlips(6, only="delete"),
    EventEdits(6),
    EventEdits(6, add=2, remove=3, move=2),
    EventEdits(4, add=0, remove=0),
    EventEdits(6, most=1),
    Retiming(1),
    Retiming(8, by="delay"),
    Retiming(4, by="moved"),
]
LEADERS = [FrameLinf(0.5), EventFlips(6), EventEdits(6), EventEdits(4, add=0, remove=0), Retiming(1)]
IMAGES = (Linf(0.1), L2(1.0))


def knows(attack: Attack, threat: Threat) -> bool:
    try:
        attack.check(threat)
    except UserError:
        return False
    return True


def pairs(threats: list[Threat], attacks: list[Attack] = ATTACKS) -> pytest.MarkDecorator:
    known = [(attack, threat) for attack in attacks for threat in threats if knows(attack, threat)]
    return pytest.mark.parametrize(
        ("attack", "threat"), known, ids=[f"{short(a)}-{t}" for a, t in known], indirect=["attack"]
    )


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Attack:
    """A transfer comes from the run folder of the same network."""
    chosen = request.param
    return replace(chosen, file=request.getfixturevalue("bar_run")) if isinstance(chosen, Transfer) else chosen


def fitting(x: Tensor, threat: Threat) -> Tensor:
    """Frames of counts where the threat is about counts."""
    if not isinstance(threat, EventEdits) or threat.most == 1:
        return x
    return x * torch.randint(1, 4, x.shape, generator=torch.Generator().manual_seed(0))


def as_images(x: Tensor) -> Tensor:
    return x.flatten(1, 2)


def test_attacks_on_whole_events_are_found() -> None:
    kinds = {threat.kind for threat in THREATS}
    assert kinds == {"frames", "events", "retiming"}
    for kind in kinds:
        assert any(kind in attack.under for attack in ATTACKS)
    assert set(known(Attack)) == {type(attack).__name__ for attack in ATTACKS}


@pairs(THREATS)
def test_the_result_is_allowed(attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars) -> None:
    x, y = fitting(bars[0], threat)[:6], bars[1][:6]
    before = x.clone(), y.clone()
    found = attack(bar_network, x, y, threat)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert not found.requires_grad
    assert threat.contains(found, x).all()
    torch.testing.assert_close(threat.project(found, x), found, rtol=1e-6, atol=1e-6)  # as an evaluation does
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@pairs(LEADERS)
def test_the_model_and_all_randomness_stay_as_they_were(
    attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars
) -> None:
    model = in_disorder(bar_network)
    before = state_of(model)
    attack(model, fitting(bars[0], threat)[:6], bars[1][:6], threat)
    assert state_of(model) == before


@pairs(LEADERS)
def test_a_budget_of_zero_returns_the_recordings(
    attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x = fitting(bars[0], threat)[:4]
    assert torch.equal(attack(bar_network, x, bars[1][:4], threat.scaled(0)), x)


class Counting(nn.Module):
    """A model that notes how many recordings it is asked about; its views note in the same list."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.asked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return self.model(x)


@pairs(LEADERS)
def test_the_same_seed_gives_the_same_and_every_question_is_counted(
    attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = fitting(bars[0], threat)[:6], bars[1][:6]
    first, again = Counting(bar_network), Counting(bar_network)
    found = attack.run(first, x, y, threat, seed=1)
    torch.rand(7)
    with torch.no_grad():
        repeated = attack.run(again, x, y, threat, seed=1)
    assert torch.equal(repeated.x, found.x)
    assert torch.equal(repeated.forwards, found.forwards)
    assert torch.equal(repeated.gradients, found.gradients)
    assert first.asked == again.asked
    if not isinstance(attack, Transfer):  # which asks another network
        assert found.forwards.sum() == sum(first.asked)
    assert (found.gradients <= found.forwards).all()
    assert not found.gradients.any() or attack.white_box or isinstance(attack, Transfer | TwinTransfer)


@pairs(LEADERS)
def test_stopping_early_spends_no_more_and_keeps_every_recording(
    attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = fitting(bars[0], threat)[:6], bars[1][:6].clone()
    y[:3] = (y[:3] + 1) % 4  # the network is wrong about these to begin with
    full = attack.run(bar_network, x, y, threat)
    model = Counting(bar_network)
    stopped = attack.run(model, x, y, threat, stop=True)
    assert stopped.x.shape == x.shape
    assert threat.contains(stopped.x, x).all()
    assert (stopped.gradients <= full.gradients).all()
    looks = len(attack.paths) if isinstance(attack, Along) else 2
    assert (stopped.forwards <= full.forwards + looks).all()
    if not isinstance(attack, Transfer):
        assert stopped.forwards.sum() == sum(model.asked)


EXTREMES = {
    "one recording": lambda x: x[:1],
    "no events": torch.zeros_like,
    "an event everywhere": torch.ones_like,
    "one of each": lambda x: torch.cat([x[:1], 0 * x[:1], 0 * x[:1] + 1, x[1:2]]),
    "one frame": lambda x: x[:, :1],
    "one pixel": lambda x: x[:, :, :, :1, :1],
    "one cell": lambda x: x[:, :1, :1, :1, :1],
    "one polarity, and wide": lambda x: x[:, :, :1, :2],
}


def from_outside(x: Tensor) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 6), nn.Tanh(), nn.Dropout(0.9), nn.Linear(6, 4)).train()


@pairs(LEADERS, [attack for attack in ATTACKS if not isinstance(attack, Transfer)])  # its network has one shape
def test_extreme_recordings(attack: Attack, threat: Threat, bars: Bars) -> None:
    for extreme, change in EXTREMES.items():
        x = change(fitting(bars[0], threat)[:3])
        found = attack(from_outside(x), x, torch.arange(len(x)), threat)
        assert threat.contains(found, x).all(), extreme


@pairs(LEADERS)
def test_any_module_from_outside(attack: Attack, threat: Threat, bars: Bars) -> None:
    x, y = fitting(bars[0], threat)[:4], bars[1][:4]
    model = from_outside(x)
    found = attack(model, x, y, threat)
    assert threat.contains(found, x).all()
    assert torch.equal(attack(model.eval(), x, y, threat), found)  # it is attacked as it is evaluated


@pytest.mark.parametrize("attack", ATTACKS, ids=short, indirect=True)
def test_a_threat_that_it_does_not_know_is_refused(attack: Attack, bar_network: SpikingNetwork, bars: Bars) -> None:
    """With an error that names what it knows, before the model is asked anything."""
    model = Counting(bar_network)
    for threat in (*THREATS, *IMAGES):
        if knows(attack, threat):
            continue
        x = as_images(bars[0]) if threat.kind == "images" else fitting(bars[0], threat)
        with pytest.raises(UserError) as refused:
            attack(model, x, bars[1], threat)
        said = str(refused.value)
        inner = attack
        while not inner.under or isinstance(inner, Along | Targeted | Transfer | TwinTransfer):
            inner = inner.attack  # type: ignore[attr-defined]
        assert all(kind in said for kind in inner.under), said
        assert str(threat) in said
    assert not model.asked


@pytest.mark.parametrize("attack", ATTACKS, ids=short, indirect=True)
def test_frames_are_refused_under_threats_on_images_and_images_under_threats_on_frames(
    attack: Attack, bar_network: SpikingNetwork, bars: Bars
) -> None:
    x, y = bars
    for threat in (*THREATS, *IMAGES):
        wrong = x if threat.kind == "images" else as_images(x)
        with pytest.raises(UserError, match="event frames"):
            attack(bar_network, wrong, y, threat)


@pairs(LEADERS)
def test_averaging_is_the_same_attack_over_more_passes(
    attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars
) -> None:
    """A network without noise answers the same each time: nothing changes but the cost."""
    averaged = attack.averaging(3)
    assert type(averaged) is type(attack)
    assert attack.averaging(1) == attack
    x, y = fitting(bars[0], threat)[:4], bars[1][:4]
    once, thrice = attack.run(bar_network, x, y, threat), averaged.run(bar_network, x, y, threat)
    assert threat.contains(thrice.x, x).all()
    times = 1 if averaged == attack else 3
    assert torch.equal(thrice.gradients, times * once.gradients)
    takes_gradients = attack.white_box and once.gradients.any()
    assert times == 3 or not takes_gradients or isinstance(attack, Transfer), "a gradient attack has a field eot"


@pytest.mark.parametrize("attack", ATTACKS, ids=short, indirect=True)
def test_round_trip_and_description(attack: Attack) -> None:
    again = from_config(json.loads(json.dumps(to_config(attack))), Attack)
    assert again == attack
    assert hash(again) == hash(attack)
    assert inspect.getdoc(type(attack))


@pytest.mark.parametrize("attack", ATTACKS, ids=short, indirect=True)
def test_settings_that_count_refuse_zero(attack: Attack) -> None:
    for field in dataclasses.fields(attack):
        if field.name in FEWER or field.name == "eot":
            with pytest.raises(UserError, match=field.name):
                replace(attack, **{field.name: 0})


@pairs(
    [FrameLinf(0.5), EventFlips(30), EventEdits(30), EventEdits(30, add=0, remove=0), Retiming(3)],
    [attack for attack in ATTACKS if attack.white_box and not isinstance(attack, EnergyAttack)],  # it wants spikes
)
def test_a_gradient_beats_noise(attack: Attack, threat: Threat, bar_network: SpikingNetwork, bars: Bars) -> None:
    """Strictly more recordings, in a few steps: an attack that does nothing would fail."""
    longer = replace(attack, steps=20) if hasattr(attack, "steps") else attack
    noise, found = (one(bar_network, *bars, threat) for one in (UniformNoise(), longer))
    assert broken(bar_network, found, bars[1]).sum() > broken(bar_network, noise, bars[1]).sum() + 3
