"""Can every choice that makes a network be written down, and read back the same?"""

import dataclasses
import json

import pytest
import torch

import spikeproof.snn
from spikeproof.choices import UserError, short
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known
from spikeproof.snn import (
    IF,
    LIF,
    MLP,
    PLIF,
    QCFS,
    RSC,
    VGG,
    Architecture,
    Encoder,
    Exponential,
    FirstSpike,
    GradedIF,
    GradientPath,
    LastPotential,
    Latency,
    Network,
    Neuron,
    Poisson,
    Readout,
    SEWResNet,
    Sigmoid,
    SmallCNN,
    SpikingResNet,
    Triangle,
    WideResNet,
)

KINDS = (Architecture, Encoder, GradientPath, Neuron, Readout, Network)
DEFAULTS = [kind() for kind in known(KINDS).values()]
CHANGED = [
    IF(threshold=0.5, reset="soft", gradient=Exponential(height=0.3, sharpness=2.0)),
    LIF(leak=0.75, detach_reset=True, learn_threshold=True, gradient=Sigmoid(alpha=2.0)),
    PLIF(leak=0.25),
    IF(charge=0.25, reset="soft"),
    GradedIF(threshold=2.0, charge=0.5, learn_threshold=True),
    QCFS(levels=8, bound=2.0),
    RSC(variant="II", sigma=0.25, moments="poisson"),
    FirstSpike(scale=3.0, gradient=Triangle(width=0.5)),
    LastPotential(leak=1.0),
    MLP(hidden=(7,), norm=True),
    MLP(hidden=()),
    SmallCNN(widths=(3, 4, 5)),
    VGG(depth=16, hidden=(), dropout=0.25),
    VGG(stages=((3,), (4, 5), ()), hidden=(6,)),
    SpikingResNet(depth=20),
    SpikingResNet(widths=(4, 5), blocks=(1, 2)),
    SEWResNet(depth=50, widths=(4, 5, 6, 7)),
    WideResNet(depth=10, widen=2, widths=(3, 4, 5), blocks=(1, 1, 2)),
    Network(neuron=PLIF(gradient=Sigmoid()), encoder=Poisson(), readout=FirstSpike(), steps=7, channels_last=True),
    Network(encoder=Latency(), channels_last=False),
    Network(neuron=QCFS(), steps=1),
    Network(neuron=GradedIF(charge=0.5), encoder=RSC()),
]


def family(choice: object) -> type:
    return next(kind for kind in KINDS if isinstance(choice, kind))


def test_every_public_class_is_covered() -> None:
    concrete = {type(choice) for choice in DEFAULTS}
    assert {IF, LIF, PLIF, GradedIF, QCFS, Poisson, RSC, VGG, Triangle, FirstSpike, Network} <= concrete
    assert all(dataclasses.is_dataclass(kind) for kind in concrete)


@pytest.mark.parametrize("choice", DEFAULTS + CHANGED, ids=short)
def test_round_trip_through_json(choice: object) -> None:
    config = json.loads(json.dumps(to_config(choice)))
    again = from_config(config, family(choice))
    assert again == choice
    assert type(again) is type(choice)
    assert hash(again) == hash(choice)
    assert repr(again) == repr(choice)


@pytest.mark.parametrize("choice", DEFAULTS, ids=short)
def test_choices_are_frozen_keyword_only_and_equal_by_value(choice: object) -> None:
    kind = type(choice)
    assert choice == kind()
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))


@pytest.mark.parametrize("choice", DEFAULTS, ids=short)
def test_unknown_settings_are_refused(choice: object) -> None:
    config = to_config(choice)
    config["init_args"]["colour"] = 3
    with pytest.raises(UserError, match="colour"):
        from_config(config, family(choice))


def test_a_setting_of_the_wrong_type_is_refused() -> None:
    for config in ({"leak": "much"}, {"reset": "slow"}, {"gradient": 3}):
        with pytest.raises(UserError):
            from_config({"class_path": "LIF", "init_args": config}, Neuron)
    with pytest.raises(UserError):
        from_config({"class_path": "Poisson", "init_args": {}}, Neuron)


def test_the_noise_of_a_config_may_be_a_fraction() -> None:
    config = {"class_path": "RSC", "init_args": {"sigma": "51/255"}}
    assert from_config(config, Encoder) == RSC(sigma=0.2)


def test_the_units_of_an_ann_make_an_ann() -> None:
    assert Network(neuron=spikeproof.snn.ReLU(), steps=1).is_ann
    assert Network(neuron=QCFS(), steps=1).is_ann
    assert not Network(neuron=GradedIF(), steps=1).is_ann


def test_the_same_seed_builds_the_same_network_and_leaves_the_generator_alone() -> None:
    network = Network(architecture=SmallCNN(widths=(3, 4, 5)))
    state = torch.get_rng_state()
    first, again, other = (network.build((1, 8, 8), 4, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    assert not all(torch.equal(v, other[k]) for k, v in first.items())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Network(steps=0), "steps"),
        (lambda: Network(neuron=spikeproof.snn.ReLU(), steps=4), "a ReLU network is an ANN .*set steps to 1"),
        (lambda: Network(neuron=QCFS(), steps=4), "a QCFS network is an ANN .*set steps to 1"),
        (lambda: Network(neuron=IF(two_phases=True), encoder=Latency()), "a latency code .*set two_phases to false"),
        (lambda: Network().build((1, 8, 8), 1), "at least 2 classes"),
        (lambda: Network().build((1, 8, 8), 4, std=(0.0,)), "std must be positive"),
    ],
)
def test_impossible_networks_are_refused(make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()
