"""Is every field of a choice checked by its type hint, and said in the same words wherever it was wrong?"""

import copy
import math
import pickle
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import pytest

import spikeproof as sp
from spikeproof.choices import (
    Above,
    AtLeast,
    Choice,
    Count,
    Pixels,
    Positive,
    Share,
    Within,
    nearest,
    pixels,
    short,
    within,
)
from spikeproof.cli.main import options_in
from spikeproof.configs import differing, from_config, to_config
from spikeproof.fitting import Word, described
from spikeproof.training import Recipe
from spikeproof.untrusted.words import told


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


@dataclass(frozen=True, kw_only=True)
class Sample(Choice):
    """One field of every sort."""

    count: Count = 1
    share: Share = 0.5
    rate: Positive = 0.1
    decay: Annotated[float, Within(0, 1, "[)")] = 0.0
    size: Pixels = 8 / 255
    step: Annotated[Pixels, Above(0)] = 0.01
    reset: Literal["hard", "soft"] = "hard"
    some: Annotated[int, AtLeast(0)] | None = None
    widths: tuple[Count, ...] = (1,)
    betas: tuple[Share, Share] = (0.9, 0.999)
    switch: bool = False
    text: str = ""
    attack: sp.Attack | None = None
    threats: tuple[sp.Threat, ...] = ()


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"share": 1}, 1.0),
        ({"size": "8/255"}, 8 / 255),
        ({"size": "0.1"}, 0.1),
        ({"step": "1/255"}, 1 / 255),
        ({"some": None}, None),
        ({"some": "None"}, None),
        ({"some": 3}, 3),
        ({"widths": [1, 2]}, (1, 2)),
        ({"betas": [0, 1]}, (0.0, 1.0)),
        ({"threats": [sp.Linf()]}, (sp.Linf(),)),
        ({"count": np.int64(3)}, 3),
        ({"share": np.float32(0.5)}, 0.5),
    ],
    ids=str,
)
def test_a_field_holds_what_its_type_hint_says(given: dict[str, Any], held: Any) -> None:
    (name,) = given
    value = getattr(Sample(**given), name)
    assert value == held
    assert type(value) is type(held)
    hash(Sample(**given))


WRONG = [
    ("count", 0, "count of Sample must be a whole number from 1 on, not 0"),
    ("count", 1.5, "count of Sample must be a whole number from 1 on, not 1.5"),
    ("count", True, "count of Sample must be a whole number from 1 on, not True"),
    ("count", "many", "count of Sample must be a whole number from 1 on, not 'many'"),
    ("count", -(10**400), f"count of Sample must be a whole number from 1 on, not {told(-(10**400))}"),
    ("share", 10**400, f"share of Sample must be a number in [0, 1], not {told(10**400)}"),
    ("size", "1e999", "size of Sample must be a number from 0 on (write 8/255 or 0.031), not '1e999'"),
    ("share", 1.01, "share of Sample must be a number in [0, 1], not 1.01"),
    ("share", math.nan, "share of Sample must be a number in [0, 1], not nan"),
    ("rate", 0, "rate of Sample must be a number above 0, not 0"),
    ("rate", math.inf, "rate of Sample must be a number above 0, not inf"),
    ("decay", 1, "decay of Sample must be a number in [0, 1), not 1"),
    ("size", "eight", "size of Sample must be a number from 0 on (write 8/255 or 0.031), not 'eight'"),
    ("size", "-1/255", "size of Sample must be a number from 0 on (write 8/255 or 0.031), not '-1/255'"),
    ("step", "0/255", "step of Sample must be a number from 0 on (write 8/255 or 0.031), above 0, not '0/255'"),
    ("reset", "hrad", "reset of Sample must be 'hard' or 'soft', not 'hrad'"),
    ("some", -1, "some of Sample must be a whole number from 0 on or None, not -1"),
    ("widths", [1, 0], "widths[1] of Sample must be a whole number from 1 on, not 0"),
    ("widths", 3, "widths of Sample must be a list, each of it a whole number from 1 on, not 3"),
    ("betas", [0.5], "betas of Sample must be a list of 2, each of it a number in [0, 1], not [0.5]"),
    ("switch", 1, "switch of Sample must be true or false, not 1"),
    ("text", 3, "text of Sample must be a text, not 3"),
    ("attack", 3, "attack of Sample must be an Attack or None, not 3"),
    ("conut", 3, "Sample has no field 'conut'; did you mean 'count'?"),
]


@pytest.mark.parametrize(("field", "value", "says"), WRONG, ids=[f"{f}={v!s:.9}" for f, v, _ in WRONG])
def test_a_mistake_is_said_in_the_same_words_in_python_and_in_a_config(field: str, value: Any, says: str) -> None:
    for make in (lambda: Sample(**{field: value}), lambda: from_config({"init_args": {field: value}}, Sample)):
        with pytest.raises(sp.UserError) as error:
            make()
        assert str(error.value) == says


def test_a_choice_of_another_kind_is_refused() -> None:
    with pytest.raises(sp.UserError, match=r"attack of Sample must be an Attack or None, not Linf 8/255"):
        Sample(attack=sp.Linf())
    with pytest.raises(sp.UserError, match=r"threats\[0\] of Sample must be a Threat, not PGD"):
        Sample(threats=(sp.PGD(),))
    with pytest.raises(sp.UserError, match="LIF is no Attack; known are: APGD"):
        from_config({"attack": "LIF"}, Sample)


def test_what_is_missing_is_named() -> None:
    for make in (lambda: sp.Recipe(seed=1), lambda: from_config({"seed": 1}, Recipe), lambda: from_config({}, Recipe)):
        with pytest.raises(sp.UserError, match="Recipe needs 'name'"):
            make()


def test_an_error_names_its_place() -> None:
    config: Any = {"objective": {"class_path": "TRADES", "init_args": {"attack": {"init_args": {"stps": 3}}}}}
    with pytest.raises(sp.UserError) as error:
        from_config({"name": "a"} | config, Recipe)
    assert str(error.value) == "PGD has no field 'stps'; did you mean 'steps'?\nin objective.attack.stps"
    config = {"class_path": "Along", "init_args": {"paths": ["ATan", "Trianggle"]}}
    with pytest.raises(sp.UserError) as error:
        from_config(config, sp.Attack)
    assert str(error.value) == "there is no GradientPath 'Trianggle'; did you mean 'Triangle'?\nin paths[1]"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (3, "the configuration must be an Attack, not 3"),
        ({"init_args": {"steps": 3}}, "say by its name (class_path) which Attack is meant: APGD, "),
        ({"class_path": "PGD", "steps": 3}, "'steps' stands beside class_path"),
        ({"class_path": "PGD", "init_args": 3}, "init_args must be a mapping from fields to values, not 3"),
    ],
    ids=str,
)
def test_what_is_no_written_choice_is_refused(config: Any, says: str) -> None:
    with pytest.raises(sp.UserError) as error:
        from_config(config, sp.Attack)
    assert says in str(error.value)


def test_a_class_that_is_asked_for_needs_no_trust() -> None:
    """What the caller names is no code that a config brings in."""
    sample = Sample(count=3, attack=sp.PGD(steps=2))
    assert from_config(to_config(sample), Sample) == sample


def test_what_is_not_said_keeps_the_default_of_its_place() -> None:
    """TRADES attacks with PGD that starts near the image; another class begins with its own defaults."""
    same = {"class_path": "TRADES", "init_args": {"attack": {"class_path": "PGD", "init_args": {"steps": 3}}}}
    assert from_config(same, sp.Objective).attack == replace(sp.TRADES().attack, steps=3)
    shorter = {"class_path": "TRADES", "init_args": {"attack": {"steps": 3}}}
    assert from_config(shorter, sp.Objective) == from_config(same, sp.Objective)


def test_a_word_means_what_its_field_holds() -> None:
    given = {"count": Word("3", 3), "text": Word("3", 3), "size": Word("8/255", "8/255"), "some": Word("null", None)}
    sample = from_config(given | {"widths": Word("[1, 2]", [1, 2]), "switch": Word("true", True)}, Sample)
    assert sample == Sample(count=3, text="3", size=8 / 255, some=None, widths=(1, 2), switch=True)
    assert type(sample.text) is str


def test_choices_are_copied_and_pickled() -> None:
    """Neither calls the constructor with fields, which `Choice` looks at."""
    choice = Sample(count=2, attack=sp.PGD(steps=3), threats=(sp.Linf(0.1),))
    assert copy.deepcopy(choice) == pickle.loads(pickle.dumps(choice)) == choice
    recipe = sp.Recipe(name="a")  # it has a field without a default
    assert copy.copy(recipe) == copy.deepcopy(recipe) == pickle.loads(pickle.dumps(recipe)) == recipe


def test_what_lies_within_a_choice_at_any_depth() -> None:
    objective = sp.RAT(objective=sp.TRADES(threat=sp.L2(0.3)))
    recipe = sp.Recipe(name="a", objective=objective)
    assert list(within(recipe, sp.Threat)) == [sp.L2(0.3), sp.Linf()]
    assert list(within(objective, sp.Objective)) == [objective, objective.objective]
    assert list(within(Sample(threats=(sp.L1(), sp.Linf())), sp.Threat)) == [sp.L1(), sp.Linf()]


@pytest.mark.parametrize(
    ("hint", "says"),
    [
        (Within(0, 1, "(]"), "in (0, 1]"),
        (Within(0, math.inf), "in [0, inf]"),
        (AtLeast(2), "from 2 on"),
        (Above(0), "above 0"),
    ],
    ids=str,
)
def test_conditions_say_what_they_allow(hint: Any, says: str) -> None:
    assert str(hint) == says
    assert described(Annotated[float, hint]) == f"a number {says}"


@pytest.mark.parametrize("ends", ["[]", "[)", "(]", "()"])
def test_round_brackets_leave_their_end_out(ends: Any) -> None:
    allowed = [Within(0, 1, ends).allows(number) for number in (-0.1, 0, 0.5, 1, 1.1)]
    assert allowed == [False, ends[0] == "[", True, ends[1] == "]", False]


def test_what_differs_from_a_written_choice_is_named() -> None:
    """A field that came later has its default in what was written before."""
    chosen = sp.PGD(steps=7, loss=sp.Margin())
    written = to_config(chosen)
    assert differing(written, chosen) == []
    assert differing(written, sp.PGD(steps=8, loss=sp.CrossEntropy())) == ["steps", "loss"]
    assert differing(written, sp.APGD(steps=7)) == ["all"]
    assert differing(None, chosen) == ["all"]
    del written["init_args"]["eot"]
    assert differing(written, chosen) == []
    assert differing(written, sp.PGD(steps=7, loss=sp.Margin(), eot=2)) == ["eot"]
    written["init_args"]["speed"] = 3
    assert differing(written, chosen) == ["speed"]
    protocol = sp.Protocol(threats=sp.Linf(0.1), suite=sp.Suite(name="one", attacks=(sp.FGSM(),)))
    assert differing(to_config(protocol), sp.Protocol(threats=sp.Linf(0.1), suite=sp.suite_named("quick"))) == [
        "suite.name",
        "suite.attacks",
    ]
