"""Which classes does a name find, and what is imported for it?"""

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import spikeproof as sp
from spikeproof import registry
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known, named, path_of

MINE = '''
from dataclasses import dataclass
import spikeproof as sp

@dataclass(frozen=True, kw_only=True)
class Slow(sp.PGD):
    """PGD with more steps."""

    steps: int = 70

@dataclass(frozen=True, kw_only=True)
class Flat(sp.Slope):
    """The same slope everywhere."""

    def derivative(self, u):
        return u * 0 + 1
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of a user's own that can be imported, and has not been."""
    (tmp_path / "my_choices.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_choices"
    sys.modules.pop("my_choices", None)


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch):
    """Makes it look as if packages with these entry points were installed."""

    def install(**values: str) -> None:
        points = [EntryPoint(name, value, "spikeproof") for name, value in values.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)
        registry.plug_ins.cache_clear()
        registry.plugged_in.cache_clear()

    yield install
    registry.plug_ins.cache_clear()
    registry.plugged_in.cache_clear()


def test_every_kind_has_its_own_names() -> None:
    assert {"PGD", "APGD", "NormalNoise"} <= set(known(sp.Attack))
    assert known(sp.Objective)["GaussianNoise"] is sp.GaussianNoise
    assert "Attack" not in known(sp.Attack)
    assert set(known(sp.Neuron)) == {
        "AdaptiveLIF",
        "DLIF",
        "GradedIF",
        "IF",
        "LIF",
        "PLIF",
        "QCFS",
        "ReLU",
        "SynapticLIF",
    }


@pytest.mark.parametrize("name", ["PGD", "spikeproof.PGD", "spikeproof.attacks.pgd.PGD"])
def test_a_class_of_ours_is_found_by_its_name(name: str) -> None:
    assert named(name, sp.Attack) is sp.PGD


def test_unknown_names_and_names_of_another_kind_are_refused() -> None:
    with pytest.raises(sp.UserError, match="there is no Attack 'PGGD'; did you mean 'PGD'"):
        named("PGGD", sp.Attack)
    with pytest.raises(sp.UserError, match="Linf is no Attack; known are: APGD"):
        named("Linf", sp.Attack)
    with pytest.raises(sp.UserError, match="there is no Attack 'Attack'"):
        named("Attack", sp.Attack)


@pytest.mark.parametrize("name", ["this.s", "subprocess.Popen", "/some/evil.yaml", "evil.yaml", "my_choices.Slow"])
def test_without_trust_nothing_from_outside_is_imported(name: str, mine: str) -> None:
    for config in (name, {"class_path": name}, {"class_path": "Along", "init_args": {"attack": name}}):
        with pytest.raises(sp.UserError, match=f"{name}' is code from outside spikeproof.*--trust"):
            from_config(config, sp.Attack)
    assert "this" not in sys.modules
    assert mine not in sys.modules


@pytest.mark.parametrize(
    ("name", "kind", "base"), [("my_choices.Slow", sp.Attack, sp.PGD), ("my_choices.Flat", sp.GradientPath, sp.Slope)]
)
def test_a_users_own_class_is_trusted_and_read_back(name: str, kind: type, base: type, mine: str) -> None:
    choice = from_config(name, kind, trust=True)
    assert isinstance(choice, base)
    assert to_config(choice)["class_path"] == name == path_of(type(choice))
    assert from_config(to_config(choice), kind, trust=True) == choice


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("my_choices.Fast", "my_choices holds no class 'Fast'; known are: .*Slow"),
        ("my_choices.Slwo", "my_choices holds no class 'Slwo'; did you mean 'Slow'"),
        ("not_there.Slow", "there is no module .not_there., neither in "),
        ("my_choices.Flat", "Flat is no Attack"),
        ("os.system", "system is no Attack"),
    ],
)
def test_what_trust_does_not_help(name: str, says: str, mine: str) -> None:
    with pytest.raises(sp.UserError, match=says):
        named(name, sp.Attack, trust=True)


def test_a_plug_in_names_its_choices(mine: str, plug_in) -> None:
    plug_in(mine="my_choices", again="my_choices:Slow")
    assert known(sp.Attack)["Slow"] is named("Slow", sp.Attack) is named("my_choices.Slow", sp.Attack)
    assert named("Flat", sp.GradientPath).__module__ == "my_choices"
    assert from_config(to_config(named("Slow", sp.Attack)()), sp.Attack).steps == 70


def test_a_plug_in_that_fails_is_named_and_the_others_work(mine: str, plug_in) -> None:
    plug_in(broken="not_there", mine="my_choices", wrong="my_choices:sp.train")
    with pytest.warns(UserWarning, match="cannot be imported, and is left out") as warned:
        assert "Slow" in known(sp.Attack)
    said = [str(warning.message) for warning in warned]
    assert said[0].startswith("the plug-in broken (not_there) of not_there cannot be imported, and is left out")
    assert "is neither a module nor a class that can be chosen" in said[1]


def test_a_plug_in_cannot_take_the_place_of_ours(plug_in, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class PGD(sp.PGD):
        """Another one."""

    monkeypatch.setattr(sys.modules[__name__], "PGD", PGD, raising=False)
    plug_in(other=f"{__name__}:PGD")
    assert known(sp.Attack)["PGD"] is named("PGD", sp.Attack) is sp.PGD
