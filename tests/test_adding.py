"""What does it take to add something? One class in one place; all else finds it there."""

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import spikeproof as sp
from spikeproof import registry
from spikeproof.cli import main
from spikeproof.configs import from_config, to_config
from spikeproof.evaluation import flags
from spikeproof.evaluation.flags import Inspection, Measured, check
from spikeproof.registry import known
from spikeproof.reports import ranking
from spikeproof.runs.records import VerdictsRecord

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
EXAMPLES = "\n\n".join(re.findall(r"```python\n(from .*?)```", PAGE, re.DOTALL))
NAMES = {"Shrinking": sp.Attack, "Darker": sp.Threat, "Bell": sp.GradientPath, "Resonator": sp.Neuron}
MODULE = "examples_of_the_docs"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The examples of the page as an installed package with one entry point: no file of spikeproof names them."""
    (tmp_path / f"{MODULE}.py").write_text(EXAMPLES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("mine", MODULE, group)])
    registry.plug_ins.cache_clear()
    registry.plugged_in.cache_clear()
    yield __import__(MODULE)
    registry.plug_ins.cache_clear()
    registry.plugged_in.cache_clear()
    sys.modules.pop(MODULE, None)


@pytest.fixture
def suite(mine) -> sp.Suite:
    return sp.Suite(name="mine", attacks=(mine.Shrinking(), sp.Along(attack=mine.Shrinking(), paths=(mine.Bell(),))))


@pytest.mark.parametrize(("name", "kind"), NAMES.items())
def test_each_is_known_by_its_name_and_written_down(name, kind, mine) -> None:
    choice = from_config(name, kind)
    assert type(choice) is getattr(mine, name) is known(kind)[name]
    assert from_config(to_config(choice), kind) == choice


def test_the_command_line_lists_them_with_their_first_sentences(mine, capsys) -> None:
    main(["list"])
    listed = capsys.readouterr().out
    for name in NAMES:
        sentence = getattr(mine, name).__doc__.split()[0]
        assert re.search(rf"{name} +{sentence}", listed)


def test_wrong_settings_are_refused_as_ours_are(mine, fails) -> None:
    said = fails("evaluate", "run", "--threat", "Darker", "--threat.epps", "0.1")
    assert "Darker has no field 'epps'; did you mean 'eps'?" in said
    with pytest.raises(sp.UserError, match="steps of Shrinking must be a whole number from 1 on, not 0"):
        mine.Shrinking(steps=0)


def test_the_attack_breaks_what_noise_does_not(mine, trained, digits) -> None:
    x, y = digits[2][:30], digits[3][:30]
    threat = sp.Linf(0.1)

    def broken(attack: sp.Attack) -> int:
        return int((trained(attack(trained, x, y, threat)).argmax(1) != y).sum())

    assert broken(mine.Shrinking()) > broken(sp.UniformNoise(draws=10)) + 5


def test_what_the_attack_starts_from_does_not_depend_on_the_batch(mine, trained, digits) -> None:
    x, y, attack = digits[2][:5], digits[3][:5], mine.Shrinking(steps=1)
    one = torch.tensor([3])
    alone = attack.run(trained, x[one], y[one], sp.Linf(0.1), index=one).x
    torch.testing.assert_close(alone, attack(trained, x, y, sp.Linf(0.1))[one], rtol=0, atol=1e-6)


def test_the_threat_is_kept_by_all_attacks(mine, trained, digits) -> None:
    x, y = digits[2][:30], digits[3][:30]
    threat = mine.Darker(0.2)
    for attack in (sp.PGD(), sp.APGD(steps=5), mine.Shrinking()):
        found = attack(trained, x, y, threat)
        assert threat.contains(found, x).all()
        assert (found <= x).all()
        assert not torch.equal(found, x)


def test_the_neuron_has_views_and_records(mine) -> None:
    model = sp.Network(architecture=sp.MLP(hidden=(12,)), neuron=mine.Resonator(), steps=4).build((1, 8, 8), 10)
    x = torch.rand(5, 1, 8, 8)
    with sp.record(model.eval()) as inside:
        logits = model(x)
    assert len(inside.rates()) == 1
    seen = sp.view(model, gradient=mine.Bell())
    assert torch.equal(seen(x), logits)
    slopes = [torch.autograd.grad(m(z).pow(2).sum(), z)[0] for m in (model, seen) for z in [x.clone().requires_grad_()]]
    assert not torch.equal(*slopes)


def test_all_together_from_training_to_the_ranking(mine, suite, tmp_path, capsys) -> None:
    told = tmp_path / "suite.yaml"
    told.write_text(json.dumps(to_config(suite)["init_args"]))
    out = str(tmp_path / "run")
    network = ["--network.neuron", "Resonator", "--network.neuron.gradient", "Bell", "--network.steps", "2"]
    small = ["--network.architecture", "MLP", "--network.architecture.hidden", "[32]", "--data.train_images", "200"]
    main(["train", "--name", "mine", "--data", "Digits", "--out", out, "--training.epochs", "1", *network, *small])
    main(["evaluate", out, "--threat", "Darker", "--eps", "0.3", "--suite", str(told), "--images", "40"])
    found = sp.Run(out).evaluations[0].read(VerdictsRecord)
    assert found.status == "ok"
    assert [attack.name for attack in found.suite.attacks] == ["Shrinking-10 (margin)", "Shrinking-10 (margin, Bell 1)"]
    assert found.threats[0].norm == "Darker"
    assert sum(found.threats[0].broken_by.values()) > 0
    assert sp.load_model(out)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert ranking([sp.Run(out)])[0].status == "ok"


def test_a_flag_is_one_declared_function(trained, digits, monkeypatch) -> None:
    @check(
        Inspection,
        key="few-classes",
        name="few classes",
        threshold=0.5,
        spoils=True,
        number="share of the classes that no image is given",
        meaning="The network never answers most classes.",
    )
    def few_classes(network: Inspection) -> Measured:
        named, classes = network.usual.argmax(1).unique(), network.usual.shape[1]
        return Measured(number=1 - len(named) / classes)

    monkeypatch.setattr(flags, "CHECKS", (*flags.CHECKS, few_classes))
    protocol = sp.Protocol(threats=sp.Linf(0.05), suite=sp.Suite(name="one", attacks=(sp.FGSM(),)))
    several, one = digits[3] >= 0, digits[3] == digits[3][0]
    for images, raised in ((several, False), (one, True)):
        x, y = digits[2][images][:20], digits[3][images][:20]
        verdicts = sp.evaluate(trained, (x, y), protocol)
        (flag,) = [flag for flag in verdicts.summary()["flags"] if flag["key"] == "few-classes"]
        assert flag["raised"] is raised
        assert (verdicts.diagnosis.status == "unreliable") is raised
    assert few_classes.key in {row[0] for row in flags.rows()}
