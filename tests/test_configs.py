"""Every config that is shipped loads, says how it is run, and takes two steps of training."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spikeproof.cli import _parser, _recipe
from spikeproof.specs import from_config, to_config
from spikeproof.training import Recipe

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_config(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, source = path.read_text().splitlines()[:2]
    arguments = shlex.split(command.removeprefix("# spikeproof "))
    assert arguments == ["train", "--config", str(path.relative_to(ROOT))]
    assert source.startswith("# ")
    recipe = _recipe(path)
    assert _parser().parse_args(arguments).train.name == recipe.name
    assert from_config(to_config(recipe), Recipe, trust=True) == recipe
    takes_two_steps(recipe)


def takes_two_steps(recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = recipe.build().train()
    optimiser = replace(recipe.training.optimiser, learning_rate=0.01).build(model.parameters())
    x, y = torch.rand(4, *recipe.data.shape), torch.arange(4) % len(recipe.data.classes)
    before = [p.clone() for p in model.parameters()]
    for _ in range(2):
        loss = sum(recipe.objective(model, x, y).values())
        assert loss.isfinite()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert any(not torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_the_demo_has_at_least_the_five_baselines():
    names = {p.stem for p in CONFIGS if p.parent.name == "digits"}
    assert {"standard", "gaussian_noise", "adversarial", "trades", "mart"} <= names
