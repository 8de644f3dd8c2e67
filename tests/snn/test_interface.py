"""Does a network from elsewhere get the images it was trained on, and are its logits found in what it returns?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.evaluation.flags.inspection import Inspection
from spikeproof.evaluation.flags.network import probabilities
from spikeproof.runs import Run

X = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)


class Returns(nn.Module):
    """What `answer` makes of logits ``[B, 10]`` over four steps ``[T, B, 10]``."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda outputs: outputs.mean(0)) -> None:
        super().__init__()
        self.inner, self.answer = nn.Linear(48, 10), answer

    def forward(self, x: Tensor) -> Any:
        steps = torch.arange(1, 5).view(-1, 1, 1)
        return self.answer(self.inner(x.flatten(1)) * steps)


class Hand(nn.Module):
    """Keeps a potential by hand, and forgets it when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.potential = nn.Linear(48, 10), 0.0

    def reset(self) -> None:
        self.potential = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.potential = self.potential + self.inner(x.flatten(1))
        return self.potential


class Renewed(Hand):
    """Its `reset` makes a new network."""

    def reset(self) -> None:
        super().reset()
        nn.init.zeros_(self.inner.weight)


def spikes(outputs: Tensor) -> Tensor:
    return (outputs > 0).float()


def test_images_are_normalised_a_channel_at_a_time() -> None:
    model = Returns()
    plain = (X - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    assert torch.equal(sp.adapt(model, mean=MEAN, std=STD)(X), model(plain))
    assert torch.equal(sp.adapt(model, mean=0.5, std=0.25)(X), model((X - 0.5) / 0.25))
    assert sp.adapt(model) is model


def test_frames_are_normalised_too() -> None:
    frames = torch.rand(2, 3, 2, 2, 2)
    whole = sp.adapt(nn.Flatten(), mean=(0.5, 0.0), std=(1.0, 2.0))(frames).view_as(frames)
    assert torch.equal(whole[:, :, 1], frames[:, :, 1] / 2)


@pytest.mark.parametrize("reduce", ["mean", "sum", "last"])
def test_outputs_over_time_are_reduced(reduce: Any) -> None:
    model = Returns(lambda outputs: outputs)
    outputs = model(X)
    expected = {"mean": outputs.mean(0), "sum": outputs.sum(0), "last": outputs[-1]}[reduce]
    assert torch.equal(sp.adapt(model, reduce=reduce)(X), expected)


def test_spikes_and_membrane_are_told_apart() -> None:
    model = Returns(lambda outputs: (spikes(outputs), outputs))
    fired, membrane = model(X)
    with torch.no_grad():
        assert torch.equal(sp.adapt(model, reduce="sum")(X), fired.sum(0))
        assert torch.equal(sp.adapt(model, reduce="mean")(X), fired.mean(0))
        assert torch.equal(sp.adapt(model, reduce="last")(X), membrane[-1])


@pytest.mark.parametrize(
    ("answer", "settings", "says"),
    [
        (lambda o: (spikes(o), o), {"mean": 0.5, "std": 1}, "say with reduce"),
        (lambda o: (o, spikes(o)), {"reduce": "sum"}, "the first are spikes"),
        (lambda o: o.transpose(0, 1), {"reduce": "sum"}, r"looks like \[B, T, K\]"),
        (lambda o: o[0], {"mean": (0.5, 0.5), "std": (1, 1)}, "2 numbers, and the images 3 channels"),
    ],
)
def test_what_cannot_be_is_said(answer: Callable[[Tensor], Any], settings: dict[str, Any], says: str) -> None:
    with pytest.raises(sp.UserError, match=says), torch.no_grad():
        sp.adapt(Returns(answer), **settings)(X)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mean": 0.5}, "mean and std belong together"),
        ({"mean": (123.7,), "std": (58.4,)}, r"not 123.7: divide mean and std by 255"),
        ({"mean": 0.5, "std": 0}, "std is above 0, not 0"),
        ({"mean": (0.5, 0.5), "std": (1.0,)}, "mean has 2 numbers and std 1"),
        ({"reduce": "max"}, "'mean' or 'sum' or 'last'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(sp.UserError, match=says):
        sp.adapt(Returns(), **settings)


def test_a_reset_of_its_own_is_used_unless_it_makes_another_network() -> None:
    model, whole = Hand(), sp.adapt(Hand())
    assert not torch.equal(model(X), model(X))
    assert torch.equal(whole(X), whole(X))
    assert whole.network.potential == 0.0  # type: ignore[union-attr]
    renewed = Renewed()
    weight = renewed.inner.weight.clone()
    assert sp.adapt(renewed) is renewed
    assert torch.equal(renewed.inner.weight, weight)
    found = sp.evaluate(Hand(), (X, torch.arange(5)), 0.1, suite="quick")
    assert not any(flag.raised for flag in found.flags if flag.key == "stateful")


def test_views_and_attacks_keep_to_it() -> None:
    whole = sp.adapt(Hand(), mean=MEAN, std=STD)
    assert torch.equal(sp.view(whole)(X), whole(X))
    assert torch.equal(sp.attack_view(whole)(X), whole(X))
    assert sp.PGD(steps=2)(whole, X, torch.arange(5), sp.Linf(0.1)).shape == X.shape


def test_probabilities_are_noticed_and_logits_are_not() -> None:
    y = torch.arange(5)
    for answer, number in ((lambda o: o[0].softmax(1), 1.0), (lambda o: o[0].log_softmax(1), 0.0)):
        found = probabilities.flag(Inspection(Returns(answer), X, y))
        assert found is not None
        assert found.number == number
        assert not found.spoils


NETS = """
import torch
from tests.snn.test_interface import Returns, spikes

class Net(Returns):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(lambda outputs: (spikes(outputs), outputs))
        self.inner = torch.nn.Linear(64, 10)
"""


def test_from_a_terminal_it_is_kept_in_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "--model", "own_nets:Net", "--data", "Digits", "--images=20", "--suite=quick", "--eps=0.05"]
    assert "returned a tuple: of (spikes, membrane) adapt(model, reduce='sum'), or --reduce sum" in fails(*command)
    assert "--mean is one number, or one a channel" in fails(*command, "--mean", "grey", "--reduce=sum")
    main([*command, "--mean=0.3", "--std=0.5", "--reduce=last"])
    assert "trained on normalised images" not in capsys.readouterr().out  # it was said how
    config = Run(Path("runs/Net")).record.config
    assert (config["mean"], config["std"], config["reduce"]) == ([0.3], [0.5], "last")
    x, _ = sp.Digits().part("test").batch(range(4))
    model = sp.load_model("runs/Net", trust=True)
    assert torch.equal(model(x), 4 * model.network.inner((x.flatten(1) - 0.3) / 0.5))  # type: ignore
    main([*command, "--reduce=sum", "--out", "other"])
    assert "trained on normalised images" in " ".join(capsys.readouterr().out.split())
    assert "another run" in fails(*command, "--reduce=mean", "--out", "other")
