"""Does an attack ever leave its budget? 10,000 random recordings, networks and threats for each attack on events."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from spikeproof.attacks import Along, Attack, Transfer, TwinTransfer
from spikeproof.choices import short
from tests.attacks.events.test_event_contract import ATTACKS, knows
from tests.attacks.events.test_event_threats import KINDS, recordings

TRIALS, BATCH = 10_000, 500
ALONE = [  # the others run one of these
    attack
    for attack in ATTACKS
    if {"frames", "events", "retiming"} & set(attack.under) and not isinstance(attack, Along | Transfer | TwinTransfer)
]
quick = settings(max_examples=TRIALS // BATCH, deadline=None, derandomize=True, database=None)
SHAPES = [(1, 1, 1, 2), (2, 2, 2, 3), (4, 1, 3, 2), (5, 2, 3, 3)]


def kind_of(name: str) -> str:
    """Under which kind the threats are that have this name among `KINDS`."""
    return "frames" if name.startswith("frame") else "retiming" if name in ("jitter", "delay", "moved") else "events"


def test_the_attacks_are_those_on_events() -> None:
    names = {type(attack).__name__ for attack in ALONE}
    assert {"SCG", "SDA", "SpikeFool", "Gumbel", "SparseAttack", "SpikeRetiming", "SteepestRetiming"} < names
    assert {"PGD", "APGD", "FramePattern", "CornerPattern", "DashPattern"} < names


@pytest.mark.parametrize("attack", ALONE, ids=short)
@given(data=st.data(), shape=st.sampled_from(SHAPES), seed=st.integers(0, 2**30))
@quick
def test_what_an_attack_returns_is_allowed(
    attack: Attack, data: st.DataObject, shape: tuple[int, ...], seed: int
) -> None:
    threat = data.draw(st.one_of(strategy for name, strategy in KINDS.items() if kind_of(name) in attack.under))
    assume(knows(attack, threat))
    torch.manual_seed(seed)
    x, labels = recordings(threat, shape, BATCH), torch.randint(0, 3, (BATCH,))
    network = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 3))
    found = attack(network, x, labels, threat, seed=seed)
    assert threat.contains(found, x).all()
