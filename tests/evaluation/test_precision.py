"""Is judged in full float32, whatever is switched on outside? Gradients may be as fast as a user has them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeproof import calling
from spikeproof.attacks import FGSM, PGD, Linf, Square
from spikeproof.controls import OfTheBatch, Outside, Stateful, with_layers
from spikeproof.evaluation import Protocol, Suite, evaluate
from spikeproof.evaluation.judging import Judge
from spikeproof.snn import SpikingNetwork
from tests.precision import FULL, as_fast_as_users_have_it, seen_by, switches
from tests.pretended import NAME

pytestmark = pytest.mark.usefixtures("compiling_where_it_pays")

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
SHORT = Suite(name="short", attacks=(FGSM(), PGD(steps=3), Square(queries=3)))
PROTOCOL = Protocol(threats=Linf(0.1), suite=SHORT)
LOWERED = Protocol(threats=Linf(0.1), suite=SHORT, attack_precision="bf16")


@pytest.fixture
def images(digits: Examples) -> tuple[Tensor, Tensor]:
    return digits[2][:24], digits[3][:24]


def test_judging_sees_full_precision_and_gradients_what_the_user_has(
    trained: SpikingNetwork, images: tuple[Tensor, Tensor]
) -> None:
    with as_fast_as_users_have_it():
        fast = switches()
        with seen_by(trained) as seen:
            evaluate(trained, images, PROTOCOL)
        assert switches() == fast
    assert fast["cudnn.allow_tf32"]
    assert fast["autocast.cpu"]
    assert seen.judged
    assert all(each == FULL for each in seen.judged)
    # a flag may ask in full precision for what an attack is given; attacks themselves have what the user has
    assert without_autocast(fast) in [without_autocast(each) for each in seen.attacked]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_whether_attacks_are_lowered_is_the_protocols_word(
    trained: SpikingNetwork, images: tuple[Tensor, Tensor], precision: Any
) -> None:
    if calling.device_of(trained).type == NAME:
        pytest.skip("a device that pretends has no kernels for autocast")
    judge = Judge(trained, 1, False, precision=precision)
    for outside in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=outside), seen_by(judge.attacked) as seen:
            judge(PGD(steps=2), *(each.to(judge.device) for each in images), Linf(0.1), 0)
        assert {each[f"autocast.{judge.device.type}"] for each in seen.attacked} == {precision == "bf16"}


def without_autocast(seen: dict[str, Any]) -> dict[str, Any]:
    """The protocol decides about bfloat16, the user about TF32."""
    return {name: switch for name, switch in seen.items() if not name.startswith("autocast")}


def test_switches_are_as_before_where_a_network_fails(images: tuple[Tensor, Tensor]) -> None:
    class Failing(nn.Module):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.calls, self.after = 0, after

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > self.after:
                raise ZeroDivisionError
            return x.flatten(1)[:, :10]

    before = switches()
    with as_fast_as_users_have_it():
        fast = switches()
        for after in range(0, 12, 3):  # while judged, while inspected, while attacked
            with pytest.raises(ZeroDivisionError):
                evaluate(Failing(after), images, PROTOCOL)
            assert switches() == fast
    assert switches() == before


class RoundsByShape(nn.Module):
    """Currents of a layer move by 1e-3 with the shape of the batch, as they did on a GPU in TF32: spikes flip.

    In full float32 a GPU moves them by 1e-6, which flips a spike in ten thousand: so it does here.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        full = switches() == FULL
        noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(len(x)))
        return self.network(x + (1e-6 if full else 1e-3) * noise.to(x))


def verdict(model: nn.Module, images: tuple[Tensor, Tensor], batch: int) -> tuple[str, list[str]]:
    """How an evaluation ends that attacks so many images side by side, and which flags it raises."""
    lowered = calling.device_of(model).type != NAME  # a device that pretends has no kernels for autocast
    found = evaluate(model, images, LOWERED if lowered else PROTOCOL, batch=batch)
    return found.diagnosis.status, [flag.key for flag in found.flags if flag.raised]


@pytest.mark.parametrize(
    ("batch", "width"), [*((batch, 32) for batch in (1, 7, 64, 512)), (7, 1), (64, 1), (1, 256), (7, 256)]
)
def test_an_honest_network_is_ok_in_any_batch(
    trained: SpikingNetwork, images: tuple[Tensor, Tensor], batch: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "width_for", lambda device: width)
    few = images[0][:8], images[1][:8]
    with as_fast_as_users_have_it():
        assert verdict(RoundsByShape(trained), few, batch) == ("ok", [])


def hidden(network: nn.Module) -> dict[str, Any]:
    return {
        "batch-dependence": OfTheBatch(network),
        "zero-gradients": Outside(network, Tensor.detach),
        "stateful": with_layers(network, Stateful),
        "undeclared-randomness": Outside(network, lambda x: x + 0.1 * torch.randn_like(x)),
    }


@pytest.mark.parametrize("batch", [7, 64, 512])
@pytest.mark.parametrize("key", ["batch-dependence", "zero-gradients", "stateful", "undeclared-randomness"])
def test_a_network_that_hides_is_flagged_in_any_batch(
    trained: SpikingNetwork, images: tuple[Tensor, Tensor], key: str, batch: int
) -> None:
    with as_fast_as_users_have_it():
        status, raised = verdict(RoundsByShape(hidden(trained)[key]), images, batch)
    assert status != "ok"
    assert key in raised
