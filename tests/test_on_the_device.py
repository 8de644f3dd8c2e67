"""What has to be true on any device? `pytest --device cuda` asks it of a GPU: kernels, random numbers, training."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.equality import CASES, TINY_SHAPE, Case, compared
from spikeproof.attacks import PGD, Linf
from spikeproof.calling import predict
from spikeproof.data import Digits, RandomCrop
from spikeproof.objectives import Adversarial
from spikeproof.randomness import Streams
from spikeproof.snn import PLIF, Network, SmallCNN
from spikeproof.training import SGD, Recipe, Selection, Training, train
from tests import trained as kept
from tests.precision import as_fast_as_users_have_it

COMPILED_SHAPE = (16, 32, 16, 16)  # large enough for a kernel of its own, where compiling takes a second

RECIPE = Recipe(
    name="small",
    data=Digits(train_images=24, validation_images=16, augmentation=(RandomCrop(padding=1),)),
    network=Network(architecture=SmallCNN(widths=(2, 2, 4)), neuron=PLIF(), steps=2),
    objective=Adversarial(threat=Linf(0.1), attack=PGD(steps=2, keep="last")),
    training=Training(
        epochs=2,
        batch=8,
        optimiser=SGD(learning_rate=0.05),
        average=0.9,
        selection=Selection(threat=Linf(0.1), attack=PGD(steps=1), images=8),
    ),
)


class Killed(Exception):
    pass


def killing(what: str, done: float, of: float) -> None:
    if done > 1.2:
        raise Killed


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_equal_the_reference(case: Case, device: torch.device) -> None:
    found = compared(case, COMPILED_SHAPE if device.type == "cuda" else TINY_SHAPE, device)
    assert found["equal"], found
    assert 0.05 < found["rate"] < 0.95


def test_random_numbers_are_those_of_the_cpu(device: torch.device) -> None:
    index = torch.tensor([0, 5, 2**40])
    here, there = Streams.of(3, index).turn(2), Streams.of(3, index.to(device)).turn(2)
    assert torch.equal(there.bits(100).cpu(), here.bits(100))
    like = torch.zeros(1)
    assert torch.equal(there.uniform(100, like=like.to(device)).cpu(), here.uniform(100, like=like))
    torch.testing.assert_close(there.normal(100, like=like.to(device)).cpu(), here.normal(100, like=like))


def test_logits_are_those_of_the_cpu_whatever_is_switched_on(device: torch.device) -> None:
    model, (x, _) = kept.trained("digits_snn"), kept.examples("digits_snn", "test")
    expected = predict(model, x[:64])
    with as_fast_as_users_have_it():
        found = predict(kept.trained("digits_snn").to(device), x[:64].to(device))
    differ = (found - expected).abs().amax(1) > 1e-4
    assert differ.sum() <= 2  # a spike at its threshold may fall the other way


def test_a_killed_run_ends_in_the_same_weights(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    expected = train(RECIPE, tmp_path / "whole", device=device)
    with pytest.raises(Killed):
        train(RECIPE, tmp_path / "killed", device=device, progress=killing)
    found = train(RECIPE, tmp_path / "killed", device=device)
    torch.testing.assert_close(found.state_dict(), expected.state_dict())


@pytest.mark.parametrize(
    ("name", "said"),
    [("cuda", "there is no CUDA device here; cpu always is"), ("gpu", "choose cpu, cuda, cuda:1 or pretended")],
)
def test_a_device_that_is_not_there_is_an_error_of_usage(name: str, said: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    command = [sys.executable, "-m", "pytest", "--device", name, "--collect-only", "-q", __file__]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"--device {name}: {said}" in done.stderr
