"""Every config that is shipped loads, says how it is run, and takes two steps of training."""

import shlex
from dataclasses import replace

import pytest
import torch

from spikeproof.cli.files import recipe_in, suite_of
from spikeproof.cli.main import options_in
from spikeproof.cli.shipped import SHIPPED
from spikeproof.configs import from_config, to_config
from spikeproof.conversion import convert
from spikeproof.objectives.objective import Terms
from spikeproof.snn import VGG, SEWResNet, SpikingNetwork, WideResNet
from spikeproof.training import Recipe

SUITES = sorted((SHIPPED / "suites").glob("*.yaml"))
CONFIGS = sorted(set(SHIPPED.rglob("*.yaml")) - set(SUITES))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_config(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the name is known anywhere
    command, source = path.read_text().splitlines()[:2]
    arguments = shlex.split(command.removeprefix("# spikeproof "))
    assert arguments == ["train", "--config", f"{path.parent.name}/{path.stem}"]
    assert source.startswith("# ")
    recipe = recipe_in(path)
    assert options_in(arguments) == {"recipe": recipe}
    assert from_config(to_config(recipe), Recipe) == recipe
    takes_two_steps(narrow(recipe))


NARROW = {  # the layers of the large architectures, and few channels in each
    VGG: {"stages": ((4, 4), (4, 4), (4, 4), (4, 4)), "hidden": (16, 16)},
    WideResNet: {"widen": 1},
    SEWResNet: {"widths": (4, 4, 8, 8)},
}


def narrow(recipe: Recipe) -> Recipe:
    """The recipe with so few channels that two steps take no time."""
    body = recipe.network.architecture
    network = replace(recipe.network, architecture=replace(body, **NARROW.get(type(body), {})))
    return replace(recipe, network=network, ann=recipe.ann and narrow(recipe.ann))


def takes_two_steps(recipe: Recipe) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, *recipe.data.shape), torch.arange(2) % len(recipe.data.classes)
    ann = recipe.ann and recipe.ann.build()
    model = recipe.build()
    if recipe.conversion is not None:
        sizes = {name: 2 for name in ("batches", "batch", "steps") if hasattr(recipe.conversion, name)}
        model = convert(ann, recipe.network, x, replace(recipe.conversion, **sizes))
    if recipe.training.epochs:
        learns(model.train(), recipe, recipe.objective.prepared(ann), x, y)
    if recipe.ann is not None:
        takes_two_steps(recipe.ann)


def learns(model: SpikingNetwork, recipe: Recipe, terms: Terms, x: torch.Tensor, y: torch.Tensor) -> None:
    optimiser = replace(recipe.training.optimiser, learning_rate=0.01).build(model.parameters())
    before = [p.clone() for p in model.parameters()]
    for _ in range(2):
        loss = sum(terms(model, x, y).values())
        assert loss.isfinite()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        recipe.objective.after_step(model)
    assert any(not torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def first(recipe: Recipe) -> Recipe:
    """What is trained first: the recipe itself, or the innermost of its ANNs."""
    return recipe if recipe.ann is None else first(recipe.ann)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suite(path):
    assert suite_of(str(path)).attacks


def test_the_demo_has_every_method():
    names = {p.stem for p in CONFIGS if p.parent.name == "digits"}
    systems = {"sparse_gradient", "sparse_gradient_adversarial", "stable_potential", "rat", "converted", "rsc"}
    assert {"standard", "gaussian_noise", "adversarial", "trades", "mart"} | systems <= names


@pytest.mark.parametrize("folder", ["fashion_mnist", "cifar10_small", "nmnist"])
def test_compared_networks_have_the_same_data_budget_and_threat(folder):
    """What docs/results.md compares may differ in its method, not in images, epochs, batch or selection."""
    recipes = [recipe_in(path) for path in CONFIGS if path.parent.name == folder]
    assert len({recipe.data for recipe in recipes}) == 1
    assert len({recipe.training.selection for recipe in recipes}) == 1
    epochs = {recipe.name: recipe.training.epochs for recipe in recipes if recipe.conversion is None}
    assert len(set(epochs.values())) == 1
    assert all(first(r).training.epochs == epochs["standard"] for r in recipes)
    objectives = [getattr(r.objective, "objective", r.objective) for r in recipes]
    threats = {objective.threat for objective in objectives if getattr(objective, "attack", None)}
    assert threats == {recipes[0].training.selection.threat}
