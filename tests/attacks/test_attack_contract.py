"""Does every public attack on images keep the promises of an attack? New ones are found by their name in `__all__`.

Those that attack recordings of event cameras are held to them in `events/test_event_contract.py`.
"""

import json
from dataclasses import replace

import pytest
import torch
from outcomes import broken, in_disorder, state_of
from torch import Tensor, nn

from spikeproof.attacks import (
    APGD,
    DLR,
    FAB,
    FGSM,
    L1,
    L2,
    PGD,
    RFGSM,
    SAPGD,
    Along,
    Annealing,
    Attack,
    CarliniWagner,
    DeepFool,
    EnergyAttack,
    HopSkipJump,
    Linf,
    Margin,
    NormalNoise,
    Square,
    Targeted,
    TargetedDLR,
    TargetedMargin,
    Threat,
    Transfer,
    TwinTransfer,
    UniformNoise,
)
from spikeproof.choices import UserError, short
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known
from spikeproof.snn import ASSG, ATan, SpikingNetwork, Triangle

Examples = tuple[Tensor, Tensor, Tensor, Tensor]

ATTACKS: list[Attack] = [
    FGSM(),
    FGSM(loss=Margin(), eot=2),
    RFGSM(),
    RFGSM(relative_start=0.0),
    PGD(steps=4),
    PGD(steps=3, restarts=2, momentum=0.75, loss=Margin()),
    PGD(steps=3, start="near", keep="last"),
    PGD(steps=3, start="clean", loss=DLR(), relative_step=0.5, eot=2),
    UniformNoise(),
    UniformNoise(draws=3),
    NormalNoise(draws=2),
    NormalNoise(relative_sigma=0.2),
    Along(attack=PGD(steps=3, restarts=2)),
    Along(attack=PGD(steps=3, start="clean", keep="last", loss=Margin()), paths=(ATan(), Triangle(width=0.5))),
    Along(attack=FGSM(), paths=(Triangle(),)),
    APGD(steps=5),
    Targeted(attack=APGD(steps=5, loss=TargetedDLR()), classes=2),
    Targeted(attack=PGD(steps=3, loss=TargetedMargin()), classes=20),
    PGD(steps=3, start="clean", momentum=1.0, nesterov=True),
    SAPGD(steps=5),
    Along(attack=Targeted(attack=SAPGD(steps=4, loss=TargetedMargin()), classes=2), paths=(ASSG(), ATan())),
    Transfer(file="another run", attack=PGD(steps=5)),
    TwinTransfer(attack=APGD(steps=5)),
    TwinTransfer(attack=PGD(steps=5, start="clean"), clipped=True),
    FAB(steps=5, classes=3),
    DeepFool(steps=5, classes=3),
    EnergyAttack(steps=5),
    EnergyAttack(steps=3, keep_class=False, gradient=None),
    CarliniWagner(steps=10, searches=3, learning_rate=0.05),
    Square(queries=60),
    Annealing(climb=SAPGD(steps=3, loss=TargetedMargin()), climbs=4, chains=3, rounds=2, proposals=3, near=1.0),
    HopSkipJump(steps=2, draws=20),
]
LISTED = {type(attack) for attack in ATTACKS}
ATTACKS += [kind() for kind in known(Attack).values() if kind.knows(Linf()) and kind not in LISTED]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=short, indirect=True)
every_threat = pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0), L1(4.0)], ids=str)
NOISE = (UniformNoise, NormalNoise)
RANDOM = (*NOISE, RFGSM, APGD, SAPGD, Square, HopSkipJump)  # and PGD, unless it has a clean start
WITHIN = (Along, Targeted, TwinTransfer)  # they hold another attack, and average where it does


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Attack:
    """A transfer comes from the run folder of the trained ANN."""
    chosen = request.param
    if isinstance(chosen, HopSkipJump) and isinstance(request.node.callspec.params.get("threat"), L1):
        pytest.skip("knows Linf and L2")
    return replace(chosen, file=request.getfixturevalue("another_run")) if isinstance(chosen, Transfer) else chosen


def innermost(attack: Attack) -> Attack:
    return innermost(attack.attack) if isinstance(attack, WITHIN) else attack


@every_attack
@every_threat
def test_the_result_is_allowed(
    attack: Attack, threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    before = x.clone()
    found = attack(trained, x, y, threat)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert not found.requires_grad
    assert threat.contains(found, x).all()
    assert torch.equal(x, before)
    assert not torch.equal(found, x)


@every_attack
def test_the_model_and_all_randomness_stay_as_they_were(
    attack: Attack, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    model = in_disorder(trained)
    before = state_of(model)
    attack(model, *batch, Linf(0.1))
    assert state_of(model) == before


@every_attack
def test_modes_come_back_after_an_error(attack: Attack, batch: tuple[Tensor, Tensor]) -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            raise ZeroDivisionError

    if isinstance(attack, Transfer):
        pytest.skip("never asks the attacked network")
    model = Fails().train()
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        attack(model, *batch, Linf(0.1))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


@every_attack
@every_threat
def test_the_same_seed_the_same_result_wherever_it_is_called(
    attack: Attack, threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    first = attack(trained, *batch, threat, seed=1)
    torch.rand(7)
    with torch.no_grad():
        assert torch.equal(attack(trained, *batch, threat, seed=1), first)
    inside = innermost(attack)
    draws_noise = isinstance(inside, RANDOM) or getattr(inside, "start", "clean") in ("random", "near")
    if draws_noise and getattr(inside, "relative_start", 1) > 0:
        assert not torch.equal(attack(trained, *batch, threat, seed=2), first)


@every_attack
@every_threat
def test_a_gradient_beats_noise(
    attack: Attack, threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """Strictly more images: an attack that does nothing would fail."""
    if isinstance(attack, (*NOISE, EnergyAttack)):
        pytest.skip("is the noise, or does not want to break anything")
    noise = broken(trained, UniformNoise()(trained, *batch, threat), batch[1]).sum()
    found = broken(trained, attack(trained, *batch, threat), batch[1]).sum()
    assert found > noise


@every_attack
@every_threat
def test_a_radius_of_zero_returns_the_image(
    attack: Attack, threat: Threat, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    assert torch.equal(attack(trained, *batch, threat.scaled(0)), batch[0])


@every_attack
def test_stopping_early_spends_no_more_and_keeps_every_image(
    attack: Attack, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    threat = Linf(0.15)
    full = attack.run(trained, x, y, threat)
    stopped = attack.run(trained, x, y, threat, stop=True)
    assert stopped.x.shape == x.shape
    assert threat.contains(stopped.x, x).all()
    assert (stopped.gradients <= full.gradients).all()
    looks = len(attack.paths) if isinstance(attack, Along) else 2  # 'last' looks at its last image only where it stops
    assert (stopped.forwards <= full.forwards + looks).all()
    if not isinstance(attack, (*NOISE, Square)):  # other draws break other images; these have tests of their own
        assert broken(trained, stopped.x, y).sum() >= 0.8 * broken(trained, full.x, y).sum()


@every_attack
def test_any_module_from_outside(attack: Attack, digits: Examples) -> None:
    x, y = digits[2][:6], digits[3][:6]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Dropout(0.9), nn.Linear(16, 10))
    found = attack(model.train(), x, y, L2(0.5))
    assert L2(0.5).contains(found, x).all()
    assert torch.equal(attack(model.eval(), x, y, L2(0.5)), found)  # it is attacked as it is evaluated


@every_attack
def test_the_ann(attack: Attack, trained_ann: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    found = attack(trained_ann, *batch, Linf(0.1))
    assert Linf(0.1).contains(found, batch[0]).all()
    assert isinstance(attack, (*NOISE, EnergyAttack)) or broken(trained_ann, found, batch[1]).sum() > 2


@every_attack
def test_one_image_and_flat_images(attack: Attack, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    assert attack(trained, x[:1], y[:1], Linf(0.1)).shape == x[:1].shape
    if not isinstance(attack, Transfer):  # its network takes pictures
        flat = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), trained)
        assert attack(flat, x.flatten(1), y, L2(0.5)).shape == (len(x), 64)


@every_attack
def test_round_trip(attack: Attack) -> None:
    again = from_config(json.loads(json.dumps(to_config(attack))), Attack)
    assert again == attack
    assert hash(again) == hash(attack)


NOT_IMAGES = [
    ((2, -0.25), "image 2 has values from -0.25"),
    ((1, 1.5), "image 1 has values from .* to 1.5"),
    ((0, float("nan")), "image 0"),
    ((2, float("inf")), "image 2"),
]


@every_attack
@pytest.mark.parametrize(("wrong", "said"), NOT_IMAGES, ids=lambda value: str(value)[:20])
def test_images_out_of_range_are_refused_by_number(attack: Attack, wrong: tuple[int, float], said: str) -> None:
    x = torch.full((4, 1, 2, 2), 0.5)
    x[wrong[0], 0, 1, 1] = wrong[1]
    x[3] = x[wrong[0]]  # the first one is named
    with pytest.raises(UserError, match=said):
        attack(nn.Flatten(), x, torch.zeros(4, dtype=torch.long), Linf(0.1))


@every_attack
def test_what_is_no_batch_is_refused(attack: Attack) -> None:
    x, y = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, dtype=torch.long)
    for images, labels, said in (
        ((255 * x).byte(), y, "float tensor"),
        (x[:0], y[:0], "batch is empty"),
        (x, y[:3], "4 images came with 3 labels"),
        (x, y[:1], "4 images came with 1 labels"),
        (x, y.float(), "labels are integers"),
        (x[0, 0, 0], y[:2], "float tensor"),
    ):
        with pytest.raises(UserError, match=said):
            attack(nn.Flatten(), images, labels, Linf(0.1))


@every_attack
def test_averaging_is_the_same_attack_over_more_passes(
    attack: Attack, trained: SpikingNetwork, batch: tuple[Tensor, Tensor]
) -> None:
    """A network without noise answers the same each time: nothing changes but the cost."""
    averaged = attack.averaging(3)
    assert type(averaged) is type(attack)
    assert attack.averaging(1) == attack
    assert averaged.averaging(5) == averaged  # the first setting holds
    times = 3 if getattr(innermost(attack), "eot", None) == 1 else 1
    assert (averaged == attack) is (times == 1)
    x, y = batch
    once, thrice = attack.run(trained, x[:6], y[:6], Linf(0.1)), averaged.run(trained, x[:6], y[:6], Linf(0.1))
    assert torch.equal(thrice.gradients, times * once.gradients)
    torch.testing.assert_close(thrice.x, once.x, rtol=0, atol=2e-2)


def test_wrong_settings_are_refused() -> None:
    for make, said in (
        (lambda: PGD(steps=0), "steps"),
        (lambda: PGD(restarts=0), "restarts"),
        (lambda: PGD(eot=0), "eot"),
        (lambda: FGSM(eot=0), "eot"),
        (lambda: RFGSM(eot=-1), "eot"),
        (lambda: PGD(relative_step=0.0), "relative_step"),
        (lambda: PGD(relative_step=float("nan")), "relative_step"),
        (lambda: PGD(momentum=-0.5), "momentum"),
        (lambda: PGD(momentum=float("nan")), "momentum"),
        (lambda: PGD(start="zero"), "start"),
        (lambda: PGD(keep="first"), "keep"),
        (lambda: PGD(keep="last", restarts=2), "best"),
        (lambda: RFGSM(relative_start=1.5), "relative_start"),
        (lambda: RFGSM(relative_start=float("nan")), "relative_start"),
        (lambda: UniformNoise(draws=0), "draw"),
        (lambda: NormalNoise(draws=0), "draw"),
        (lambda: NormalNoise(relative_sigma=0.0), "relative_sigma"),
        (lambda: Along(paths=()), "at least one gradient path"),
        (lambda: Targeted(classes=0), "classes"),
        (lambda: Targeted(attack=APGD()), "CrossEntropy cannot"),
        (lambda: Targeted(attack=UniformNoise()), "UniformNoise cannot"),
    ):
        with pytest.raises(UserError, match=said):
            make()
