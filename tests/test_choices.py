import math
import sys
from dataclasses import dataclass

import pytest

import spikeproof as sp
from spikeproof.choices import nearest, pixels, short
from spikeproof.cli.main import options_in
from spikeproof.configs import from_config, to_config
from spikeproof.training import Recipe


def test_a_recipe_is_written_down_and_read_back_the_same():
    recipe = Recipe(
        name="all",
        data=sp.CIFAR10(train_images=100, augmentation=(sp.Cutout(size=4),)),
        network=sp.Network(architecture=sp.VGG(stages=((4,), (8, 8))), neuron=sp.PLIF(gradient=sp.ATan(alpha=3.0))),
        objective=sp.TRADES(threat=sp.L2(0.25)),
        training=sp.Training(schedule=sp.Step(milestones=(0.3, 0.6)), optimiser=sp.AdamW(), gradient_clip=0.5),
        seed=4,
    )
    config = to_config(recipe)
    assert from_config(config, Recipe) == recipe
    assert hash(from_config(config, Recipe)) == hash(recipe)
    assert config["init_args"]["objective"]["class_path"] == "TRADES"


def test_unknown_names_and_fields_are_errors():
    with pytest.raises(sp.UserError, match="bta"):
        from_config({"class_path": "TRADES", "init_args": {"bta": 1}}, sp.Objective)
    with pytest.raises(sp.UserError, match="TRADS"):
        from_config({"class_path": "TRADS"}, sp.Objective)
    with pytest.raises(sp.UserError, match="steps"):
        from_config({"class_path": "PGD", "init_args": {"steps": "many"}}, sp.Attack)


@dataclass(frozen=True)
class Foreign(sp.Linf):
    """A threat of the user's own."""


def test_code_from_outside_is_only_run_if_trusted():
    config = {"class_path": "PGD", "init_args": {"loss": {"class_path": "subprocess.Popen", "init_args": {}}}}
    with pytest.raises(sp.UserError, match=r"subprocess\.Popen.*--trust"):
        from_config(config, sp.Attack)
    for name in ("this.s", "evil2.Evil", "/some/evil.yaml", "evil.yaml", "os.system"):
        with pytest.raises(sp.UserError, match="--trust"):
            from_config({"class_path": "PGD", "init_args": {"loss": name}}, sp.Attack)
        with pytest.raises(sp.UserError, match="--trust"):
            from_config(name, sp.Attack)
    assert "this" not in sys.modules
    assert "." in to_config(Foreign())["class_path"]
    with pytest.raises(sp.UserError, match="--trust"):
        from_config(to_config(Foreign()), sp.Threat)


@pytest.mark.parametrize(("value", "length"), [("8/255", 8 / 255), ("0.1", 0.1), (0, 0.0), (0.25, 0.25)])
def test_pixels(value, length):
    assert pixels(value, "eps") == length


@pytest.mark.parametrize("value", ["eight", "1/0", -0.1, math.nan, math.inf])
def test_what_is_no_pixel_length_is_refused(value):
    with pytest.raises(sp.UserError, match="write 8/255"):
        pixels(value, "eps")


def test_nearest():
    assert nearest("cifr10", ["CIFAR10", "MNIST"]) == "did you mean 'CIFAR10'?"
    assert nearest("zzzz", ["a", "b"]) == "known are: a, b"


def test_short_names_show_what_differs():
    assert short(sp.PGD()) == "PGD"
    assert short(sp.PGD(steps=20, loss=sp.Margin())) == "PGD(steps=20, loss=Margin)"
    assert short(sp.TRADES(threat=sp.Linf(4 / 255))) == "TRADES(threat=Linf 4/255)"


@pytest.mark.parametrize("spelled", ["DLIF", {"class_path": "DLIF"}, {"class_path": "DLIF", "init_args": {}}], ids=str)
def test_another_class_begins_with_its_own_defaults(spelled):
    """LIF, the default, has a leak of 0.5; a DLIF that is chosen in its place has its own, and so has an L2 threat."""
    network = from_config({"class_path": "Network", "init_args": {"neuron": spelled}}, sp.Network)
    assert network.neuron == sp.DLIF() != sp.DLIF(leak=0.5)
    assert from_config({"class_path": "TRADES", "init_args": {"threat": "L2"}}, sp.Objective).threat == sp.L2()
    options = ["train", "--name", "a", "--network.neuron", "DLIF", "--objective", "TRADES", "--objective.threat", "L2"]
    recipe = options_in(options)["recipe"]
    assert (recipe.network.neuron, recipe.objective.threat) == (sp.DLIF(), sp.L2())
    changed = options_in([*options, "--network.neuron.threshold", "2"])["recipe"]
    assert changed.network.neuron == sp.DLIF(threshold=2.0)
