"""Is a model asked in one shape, in eval mode and in full precision, and left as it was?"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikeproof import calling
from spikeproof.calling import (
    as_evaluated,
    check_targets,
    device_of,
    in_full_precision,
    is_stochastic,
    predict,
    votes,
    width_for,
)
from spikeproof.choices import UserError
from spikeproof.snn import SpikingNetwork
from tests.precision import FULL, NEW, kept, switches


class ByShape(nn.Module):
    """Adds noise that depends on the size of the batch, as the rounding of a matrix product does."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        noise = torch.randn(4, generator=torch.Generator().manual_seed(len(x)))
        return x.flatten(1)[:, :4] + 1e-3 * noise


class Scripted(nn.Module):
    """One pass after the other says what is given: logits ``[passes, B, K]``."""

    def __init__(self, passes: Tensor) -> None:
        super().__init__()
        self.passes, self.number = passes, 0

    def forward(self, x: Tensor) -> Tensor:
        self.number += 1
        return self.passes[self.number - 1]


def test_padding_changes_no_logits() -> None:
    """In one shape an image has the same logits alone, in any place, and beside any others: bit for bit."""
    x, model = torch.rand(13, 1, 2, 3), ByShape()
    found = predict(model, x, width=5)
    assert found.shape == (13, 4)
    assert torch.equal(predict(model, x[[3]], width=5), found[[3]])
    assert torch.equal(predict(model, x.flip(0), width=5), found.flip(0))
    assert torch.equal(predict(model, x[4:9], width=5), found[4:9])
    assert set(model.sizes) == {5}
    assert not torch.equal(predict(model, x, width=4), found)  # in another shape they differ
    assert not torch.equal(model(x), found)


def test_a_spiking_network_answers_alike_in_one_shape(trained: SpikingNetwork, digits: tuple[Tensor, ...]) -> None:
    x = digits[2][:45]
    found = predict(trained, x)
    order = torch.randperm(45)
    assert torch.equal(predict(trained, x[order]), found[order])
    assert torch.equal(torch.cat([predict(trained, each) for each in x[:6].split(1)]), found[:6])


def test_the_shape_is_that_of_the_device() -> None:
    model = ByShape()
    predict(model, torch.rand(3, 2, 2))
    assert set(model.sizes) == {width_for(torch.device("cpu"))}
    assert width_for(torch.device("cuda")) == calling.WIDTH
    assert device_of(model) == torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")


def test_logits_are_means_of_draws() -> None:
    passes = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 2.0, 5.0]]])
    found = predict(Scripted(passes), torch.rand(1, 3), draws=2, width=1)
    assert torch.equal(found, passes.mean(0))
    assert found.dtype == torch.float32
    assert predict(Scripted(passes.double()), torch.rand(1, 3), draws=2, width=1).dtype == torch.float32


def test_votes_are_counted_and_ties_go_to_the_mean_probability() -> None:
    passes = torch.tensor([[[1.0, 0.0, -9.0]], [[0.0, 5.0, 0.0]], [[9.0, 0.0, 0.0]], [[0.0, 5.0, 0.0]]])
    counts = votes(Scripted(passes), torch.rand(1, 3), 4, width=1)
    assert counts.tolist() == [[2, 2, 0]]
    assert counts.dtype == torch.int64
    shares = predict(Scripted(passes), torch.rand(1, 3), draws=4, vote=True, width=1)
    assert shares.argmax(1).item() == 1  # surer of it
    assert ((shares - counts / 4).abs() < 0.5 / 4).all()  # less than half a vote
    outvoted = torch.tensor([[[0.0, 0.1, 0.0]], [[0.0, 0.1, 0.0]], [[99.0, 0.0, 0.0]]])
    assert predict(Scripted(outvoted), torch.rand(1, 3), draws=3, vote=True, width=1).argmax(1).item() == 1
    assert votes(ByShape(), torch.rand(7, 2, 2), 3, width=2).sum(1).tolist() == [3] * 7


def test_what_a_model_draws_comes_from_the_seed() -> None:
    class Noisy(nn.Module):
        stochastic = True

        def forward(self, x: Tensor) -> Tensor:
            return torch.randn(len(x), 3)

    x, state = torch.rand(5, 2), torch.get_rng_state()
    first = predict(Noisy(), x, seed=1)
    assert torch.equal(predict(Noisy(), x, seed=1), first)
    assert not torch.equal(predict(Noisy(), x, seed=2), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert is_stochastic(Noisy()) is True
    assert is_stochastic(nn.Flatten()) is None


def mixed_modes() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4)), nn.Linear(4, 2)).train()
    model[1][0].eval()
    model[2].eval()
    return model


def test_every_module_has_its_own_mode_again() -> None:
    model = mixed_modes()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    with as_evaluated(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(ZeroDivisionError), as_evaluated(model):
        _ = 1 // 0
    assert [module.training for module in model.modules()] == modes
    before = model[1][1].running_mean.clone()
    predict(model, torch.rand(6, 4))
    assert torch.equal(model[1][1].running_mean, before)
    assert [module.training for module in model.modules()] == modes


# Precision.


@pytest.fixture(autouse=True)
def switches_as_they_were() -> Iterator[None]:
    with kept():
        yield


class Recording(nn.Module):
    """Notes what the switches are in each pass, and fails where it is told to."""

    def __init__(self, failing: bool = False) -> None:
        super().__init__()
        self.failing = failing
        self.seen: list[dict[str, Any]] = []
        self.autocast: list[bool] = []
        self.linear = nn.Linear(3, 2)
        self.types: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(switches())
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        if self.failing:
            raise ZeroDivisionError
        answer = self.linear(x)
        self.types.append(answer.dtype)
        return answer


def older(matmul: str, convolutions: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolutions


def newer(matmul: str, convolutions: str) -> None:
    torch.backends.cuda.matmul.fp32_precision = matmul
    torch.backends.cudnn.conv.fp32_precision = convolutions


def both(matmul: str, convolutions: bool, precision: str) -> None:
    older(matmul, convolutions)
    newer(precision, precision)


def everywhere(precision: str) -> None:
    torch.backends.fp32_precision = precision


SETTINGS: list[tuple[Any, tuple[Any, ...]]] = [
    *((older, each) for each in itertools.product(("highest", "high", "medium"), (False, True))),
    *((newer, each) for each in itertools.product(("ieee", "tf32"), ("ieee", "tf32"))),
    *((both, each) for each in itertools.product(("highest", "high"), (False, True), ("ieee", "tf32"))),
    (everywhere, ("tf32",)),
    (everywhere, ("ieee",)),
]


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize(("switch", "values"), SETTINGS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_switch_is_off_inside_and_as_before_after(switch: Any, values: tuple[Any, ...], failing: bool) -> None:
    switch(*values)
    before, model = switches(), Recording(failing)
    if failing:
        with pytest.raises(ZeroDivisionError):
            predict(model, torch.rand(2, 3))
    else:
        predict(model, torch.rand(2, 3))
    assert model.seen == [FULL]
    after = switches()
    assert {name: after[name] for name in NEW} == {name: before[name] for name in NEW}
    assert all(after[name] == value for name, value in before.items() if value != "unreadable")


def test_what_follows_the_switch_for_all_goes_on_following_it() -> None:
    everywhere("tf32")
    assert switches()["cudnn.conv"] == "tf32"
    predict(Recording(), torch.rand(2, 3))
    everywhere("ieee")
    assert {name: switches()[name] for name in NEW} == dict.fromkeys(NEW, "ieee")


def test_a_block_in_a_block_restores_what_it_met() -> None:
    older("high", True)
    before = switches()
    with in_full_precision():
        inside = switches()
        with in_full_precision():
            assert switches() == inside
        assert switches() == inside
    assert switches() == before


def test_autocast_is_off_inside_and_on_again_after() -> None:
    model, x = Recording(), torch.rand(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        predict(model, x)
        assert torch.is_autocast_enabled("cpu")
        assert model(x).dtype == torch.bfloat16
    assert model.autocast == [True, False, True]
    assert model.types == [torch.bfloat16, torch.float32, torch.bfloat16]


# What is refused.


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: x.flatten(), "this one returned [96]"),
        (lambda x: x[:1], "returned [1, 3]"),
        (lambda x: x[None], "outputs [T, B, K] over time; adapt(model, reduce='mean')"),
        (lambda x: (x, x), "returned a tuple"),
        (lambda x: x.long(), "logits are floating point, not torch.int64"),
        (lambda x: x.mul_(2), "writes into its input"),
    ],
)
def test_no_logits_are_refused(answer: Any, said: str) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return answer(x)

    with pytest.raises(UserError) as refused:
        predict(Model(), torch.rand(4, 3) + 1)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (torch.tensor([0, 1]), "3 images came with 2 labels"),
        (torch.tensor([0.0, 1.0, 2.0]), "labels are integers"),
        (torch.tensor([0, 1, 2], dtype=torch.int32), "of type int64, not torch.int32"),
        (torch.tensor([0, 5, 4]), "label 5 of image 1 is out of range: there are 4 classes"),
        (torch.tensor([0, 1, -1]), "label -1 of image 2"),
        (torch.tensor([[0, 1], [0, 9], [1, 2]]), "label 9 of image 1"),
        (torch.zeros(3, 3, dtype=torch.long), "labels are integers"),
    ],
)
def test_no_labels_are_refused(y: Tensor, said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_targets(y, torch.rand(3, 2), classes=4)
    assert said in str(refused.value)


def test_labels_pairs_and_probabilities_are_taken() -> None:
    for y in (torch.tensor([0, 3, 1]), torch.tensor([[0, 1], [1, 2], [3, 0]]), torch.full((3, 4), 0.25)):
        check_targets(y, torch.rand(3, 2), classes=4)
