"""Are the words of a command line understood, in any order, and is a mistake said as it is in Python and in YAML?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import spikeproof as sp
from spikeproof.cli.main import options_in
from spikeproof.cli.parsing import merged
from spikeproof.training import Recipe


def recipe(*words: str) -> Recipe:
    found = options_in(["train", "--name", "a", *words])["recipe"]
    assert isinstance(found, Recipe)
    return found


@pytest.fixture
def config(tmp_path: Path):
    def write(name: str = "a.yaml", **fields: Any) -> str:
        (tmp_path / name).write_text(yaml.safe_dump({"name": "a"} | fields))
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(
    "words",
    [
        ["--network.neuron", "DLIF", "--network.neuron.leak", "0.9"],
        ["--network.neuron.leak", "0.9", "--network.neuron", "DLIF"],
        ["--network.neuron.leak=0.9", "--network.neuron=DLIF"],
        ["--network.neuron", "{class_path: DLIF, init_args: {leak: 0.9}}"],
        ["--network.neuron", "{class_path: DLIF}", "--network.neuron.leak", "0.9"],
        ["--network.neuron.class_path", "DLIF", "--network.neuron.init_args.leak", "0.9"],
    ],
    ids=" ".join,
)
def test_a_class_and_its_settings_come_in_any_order(words: list[str]) -> None:
    assert recipe(*words).network.neuron == sp.DLIF(leak=0.9)


def test_fields_at_any_depth() -> None:
    found = recipe(
        "--objective.attack.steps", "3", "--objective", "TRADES", "--objective.beta", "2",
        "--network.architecture", "MLP", "--network.architecture.hidden", "[24, 12]",
        "--training.optimiser.learning-rate", "1e-3", "--training.gradient-clip", "null", "--network.steps", "7",
    )  # fmt: skip
    attack = sp.PGD(steps=3, loss=sp.KullbackLeibler(), start="near", keep="last")
    assert found.objective == sp.TRADES(beta=2, attack=attack)
    assert found.network == sp.Network(architecture=sp.MLP(hidden=(24, 12)), steps=7)
    assert found.training == sp.Training(optimiser=sp.SGD(learning_rate=0.001))


def test_a_text_stays_a_text() -> None:
    found = options_in(["train", "--name", "123", "--weights.file", "0"])["recipe"]
    assert (found.name, found.weights) == ("123", sp.Weights(file="0"))


def test_options_go_on_from_the_configuration(config) -> None:
    path = config(
        network={"neuron": {"class_path": "LIF", "init_args": {"leak": 0.7, "threshold": 2.0}}},
        objective={
            "class_path": "TRADES",
            "init_args": {"beta": 2, "attack": {"class_path": "RFGSM", "init_args": {"loss": "KullbackLeibler"}}},
        },
    )
    assert recipe("--config", path).network.neuron == sp.LIF(leak=0.7, threshold=2.0)
    assert recipe("--config", path, "--network.neuron.leak", "0.9").network.neuron == sp.LIF(leak=0.9, threshold=2.0)
    assert recipe("--config", path, "--network.neuron", "LIF").network.neuron == sp.LIF(leak=0.7, threshold=2.0)
    other = recipe("--network.neuron.leak", "0.9", "--network.neuron", "DLIF", "--config", path)
    assert other.network.neuron == sp.DLIF(leak=0.9)  # and not of threshold 2
    assert other.objective == recipe("--config", path).objective
    assert recipe("--config", path, "--objective", "MART").objective == sp.MART()


def test_a_later_configuration_changes_an_earlier_one(config) -> None:
    first = config(seed=3, training={"epochs": 4, "batch": 8}, network={"neuron": "DLIF"})
    second = config("b.yaml", training={"epochs": 5}, network={"neuron": {"leak": 0.8}})
    found = recipe("--config", first, "--config", second)
    assert (found.seed, found.training) == (3, sp.Training(epochs=5, batch=8))
    assert found.network.neuron == sp.DLIF(leak=0.8)


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        (3, 4, 4),
        ("LIF", "DLIF", "DLIF"),
        ({"leak": 1}, {"reset": "soft"}, {"init_args": {"leak": 1, "reset": "soft"}}),
        ("LIF", {"leak": 1}, {"class_path": "LIF", "init_args": {"leak": 1}}),
        (
            {"class_path": "spikeproof.LIF", "init_args": {"leak": 1}},
            {"class_path": "LIF", "init_args": {"reset": "soft"}},
            {"class_path": "LIF", "init_args": {"leak": 1, "reset": "soft"}},
        ),
        ({"class_path": "LIF", "init_args": {"leak": 1}}, {"class_path": "IF"}, {"class_path": "IF"}),
        ([1, 2], [3], [3]),
    ],
    ids=str,
)
def test_what_two_configs_say_together(base: Any, over: Any, result: Any) -> None:
    assert merged(base, over) == result


def test_other_commands_take_choices_too() -> None:
    words = ["evaluate", "run", "other", "--threat.eps", "0.5", "--threat", "L2", "--images", "40", "--trust"]
    found = options_in([*words, "--data-root", "there"])
    assert found == {
        "runs": [Path("run"), Path("other")],
        "threat": sp.L2(0.5),
        "images": 40,
        "trust": True,
        "data_root": Path("there"),
    }
    converted = options_in(["convert", "run", "--training.batch", "8", "--conversion.batches=2"])
    assert converted["conversion"] == sp.Calibration(batches=2)
    assert converted["training"].optimiser == sp.SGD(learning_rate=1e-3, weight_decay=1e-3)  # the default's


WRONG: list[tuple[dict[str, Any], list[str], Any, str]] = [
    (
        {"training": {"epochs": "many"}},
        ["--training.epochs", "many"],
        lambda: sp.Training(epochs="many"),  # type: ignore[arg-type]
        "epochs of Training must be a whole number from 0 on, not 'many'\nin training.epochs",
    ),
    (
        {"training": {"batch": 1}},
        ["--training.batch", "1"],
        lambda: sp.Training(batch=1),
        "batch of Training must be a whole number from 2 on, not 1\nin training.batch",
    ),
    (
        {"objective": {"class_path": "TRADES", "init_args": {"bta": 3}}},
        ["--objective", "TRADES", "--objective.bta", "3"],
        lambda: sp.TRADES(bta=3),  # type: ignore[call-arg]
        "TRADES has no field 'bta'; did you mean 'beta'?\nin objective.bta",
    ),
    (
        {"objective": {"class_path": "GaussianNoise", "init_args": {"sigma": "8/0"}}},
        ["--objective", "GaussianNoise", "--objective.sigma", "8/0"],
        lambda: sp.objectives.GaussianNoise(sigma="8/0"),  # type: ignore[arg-type]
        "sigma of GaussianNoise must be a number from 0 on (write 8/255 or 0.031), not '8/0'\nin objective.sigma",
    ),
    (
        {"objective": {"class_path": "StablePotential", "init_args": {"layers": "first"}}},
        ["--objective=StablePotential", "--objective.layers=first"],
        lambda: sp.StablePotential(layers="first"),  # type: ignore[arg-type]
        "layers of StablePotential must be 'last' or 'all', not 'first'\nin objective.layers",
    ),
    (
        {"objective": {"class_path": "Adversarial", "init_args": {"clean_weight": 1.5}}},
        ["--objective", "Adversarial", "--objective.clean-weight", "1.5"],
        lambda: sp.Adversarial(clean_weight=1.5),
        "clean_weight of Adversarial must be a number in [0, 1], not 1.5\nin objective.clean_weight",
    ),
    (
        {"data": {"class_path": "Digits", "init_args": {"augmentation": 3}}},
        ["--data.augmentation", "3"],
        lambda: sp.Digits(augmentation=3),  # type: ignore[arg-type]
        "augmentation of Digits must be a list, each of it an Augmentation, not 3\nin data.augmentation",
    ),
    (
        {"seed": -1},
        ["--seed", "-1"],
        lambda: sp.Recipe(name="a", seed=-1),
        "seed of Recipe must be a whole number from 0 on, not -1",
    ),
]


@pytest.mark.parametrize(("fields", "words", "call", "says"), WRONG, ids=[says for *_, says in WRONG])
def test_a_mistake_gets_the_same_lines_everywhere(fields, words, call, says, config, fails, capsys) -> None:
    with pytest.raises(sp.UserError) as in_python:
        call()
    assert str(in_python.value) == says.partition("\n")[0]
    path = config(**fields)
    for arguments in (["train", "--name", "a", *words], ["train", "--config", path]):
        with pytest.raises(sp.UserError) as error:
            options_in(arguments)
        assert str(error.value) == says
    assert fails("compare", path) == f"error: {path}: {' '.join(says.split())}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evaluate", "run", "--image=3"], "evaluate has no option --image; did you mean 'images'?"),
        (["evaluate", "run", "--data-rot=x"], "evaluate has no option --data-rot; did you mean 'data-root'?"),
        (["evaluate", "run", "--images", "few"], "--images must be a whole number from 1 on or None, not 'few'"),
        (["evaluate", "run", "--images"], "--images needs a value"),
        (["evaluate", "run", "--images.first", "3"], "--images has no fields, and --images.first names one"),
        (["evaluate", "run", "--part=tests"], "--part must be 'train' or 'validation' or 'test' or None, not 'tests'"),
        (
            ["evaluate", "run", "--threat.eps", "0.1"],
            "say by its name (class_path) which Threat is meant: DelayL1, DelayL2, EventEdits, ",
        ),
        (["convert"], "convert needs run: a path"),
        (["convert", "a", "b"], "convert does not know what to do with 'b'"),
        (["probe"], "probe needs runs: one or more paths"),
        (["train", "run"], "train does not know what to do with 'run'"),
        (["trian"], "there is no command 'trian'; did you mean 'train'?"),
    ],
    ids=str,
)
def test_mistakes_in_options(words: list[str], says: str) -> None:
    with pytest.raises(sp.UserError) as error:
        options_in(words)
    assert says in str(error.value)


MINE = """
from dataclasses import dataclass
import spikeproof as sp

@dataclass(frozen=True, kw_only=True)
class Slow(sp.PGD):
    '''PGD with more steps.'''

    steps: int = 3
"""


def test_a_class_of_ones_own_is_used_with_trust_alone(tmp_path, monkeypatch, config, fails) -> None:
    """On the command line, in a configuration, in a suite, and in the run folder that comes of it."""
    from spikeproof.cli import main

    (tmp_path / "my_attacks.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    slow = "my_attacks.Slow"
    assert "is code from outside spikeproof" in fails("train", "--name=a", f"--training.selection.attack={slow}")
    objective = {"class_path": "Adversarial", "init_args": {"attack": slow}}
    architecture = {"class_path": "MLP", "init_args": {"hidden": [8]}}
    data = {"class_path": "Digits", "init_args": {"train_images": 64}}
    training = {"epochs": 1, "selection": {"images": 8, "attack": slow}}
    path = config(objective=objective, data=data, network={"architecture": architecture, "steps": 2}, training=training)
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"name: mine\nattacks: [{slow}]\n")
    assert slow in fails("train", "--config", path, "--out", "run")
    assert slow in fails("compare", path, "--suite", str(suite))
    main(["train", "--config", path, "--out", "run", "--trust"])
    assert slow in fails("evaluate", "run", "--suite", str(suite))
    main(["evaluate", "run", "--suite", str(suite), "--images", "10", "--eps", "0.1", "--trust"])
    assert slow in sp.Run(tmp_path / "run").evaluations[0].path.joinpath("verdicts.json").read_text()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--training.epochs", "1e2", "epochs of Training must be a whole number from 0 on, not 100.0: write 100"),
        ("--training.epochs", "100.0", "not 100.0: write 100"),
        ("--training.batch", "6.4e1", ": write 64"),
        ("--training.epochs", "-1e2", "a whole number from 0 on, not -100.0"),
        ("--objective.threat.eps", "-1/255", "eps of Linf must be a number from 0 on (write 8/255 or 0.031), not"),
        ("--training.optimiser.learning_rate", ".inf", "learning_rate of SGD must be a number above 0, not inf"),
    ],
)
def test_numbers_that_do_not_fit_are_said_and_how_they_are_written(
    fails: Callable[..., str], option: str, value: str, said: str
) -> None:
    assert said in fails("train", "--config", "digits/trades", option, value)
