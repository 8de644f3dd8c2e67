"""Does --help say what every option is, may hold, and is by default?"""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import spikeproof as sp
from spikeproof.__main__ import COMMANDS as SAID
from spikeproof.__main__ import main as begin
from spikeproof.choices import fields_of
from spikeproof.cli import main
from spikeproof.cli.main import COMMANDS
from spikeproof.cli.meanings import (
    ATTACKS,
    CERTIFICATES,
    DATA,
    MEANINGS,
    NETWORKS,
    PROTOCOLS,
    TRAINING,
    meaning_of,
)
from spikeproof.cli.tables import first_line
from spikeproof.registry import own


@pytest.fixture
def help_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says of itself, its line breaks taken out."""

    def ask(*words: str) -> str:
        main([*words, "--help"])
        return " ".join(capsys.readouterr().out.split())

    return ask


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"]):
        begin(words)
        out = capsys.readouterr().out
        assert all(f"  {name} " in out for name in COMMANDS)
    assert {name: first_line(command) for name, command in COMMANDS.items()} == SAID
    begin(["--version"])
    assert capsys.readouterr().out.strip() == sp.__version__


@pytest.mark.parametrize(
    "said",
    [
        "--training.epochs passes over the training images; a whole number from 0 on (default: 30)",
        "decay of the running mean of weights that is kept in their place (0: none); a number in [0, 1) (default: 0)",
        "--training.gradient_clip the largest L2 norm of a gradient (None: any); a number above 0 or None",
        "--network.neuron.reset the potential after a spike: to 0 (hard), or less the threshold (soft); "
        "'hard' or 'soft' (default: hard)",
        "--network.neuron the neurons of all layers; one of AdaptiveLIF, DLIF, GradedIF, IF, LIF, PLIF, QCFS, ReLU, "
        "SynapticLIF (default: LIF)",
        "pixels being in [0, 1]; a number from 0 on (write 8/255 or 0.031) (default: 8/255)",
        "--training.selection.attack.steps steps of the attack; a whole number",
        "--name the row in a comparison; a text (it has to be given)",
        "--out run folder (default: runs/NAME); a path",
        "--network.neuron.learn_threshold train each layer's threshold along with the weights; true or false",
        "--training how long and by which steps it is trained --training.epochs",
        "--trust use code from outside spikeproof that the recipe names; a switch",
    ],
)
def test_ranges_words_and_defaults(said: str, help_of: Callable[..., str]) -> None:
    assert said in help_of("train")


def test_the_fields_of_the_class_that_is_chosen(help_of: Callable[..., str]) -> None:
    assert "--objective.beta" not in help_of("train")
    chosen = help_of("train", "--objective", "TRADES", "--objective.attack", "FGSM")
    assert (
        "--objective.beta the weight of the divergence beside the cross-entropy; a number from 0 on (default: 6)"
        in chosen
    )
    assert "--objective.attack.eot" in chosen
    assert "--objective.attack.momentum" not in chosen


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_every_option(name: str, help_of: Callable[..., str]) -> None:
    said = help_of(name)
    assert said.startswith(f"spikeproof {name}")
    without_data = ("demo", "export", "report", "leaderboard", "zoo", "configs", "list", "doctor")
    for option in ("--data-root", "--device") if name not in without_data else ():
        assert option in said


def test_the_package_can_be_run() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "spikeproof", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == sp.__version__


def test_what_is_said_of_an_option_on_two_lines_is_said_whole(help_of: Callable[..., str]) -> None:
    assert "quick is for development); a text" in help_of("evaluate")


def own_fields() -> list[tuple[type, str]]:
    """Every field of every choice that spikeproof names."""
    return [(kind, name) for kind in own() for name in fields_of(kind)]


def test_every_field_of_a_choice_has_its_line() -> None:
    assert [f"{kind.__name__}.{name}" for kind, name in own_fields() if not meaning_of(kind, name)] == []


def test_no_line_is_of_a_field_that_is_not_there() -> None:
    owners = {(owner.__name__, name) for kind, name in own_fields() for owner in kind.__mro__}
    keys = {name for _, name in own_fields()} | {f"{owner}.{name}" for owner, name in owners}
    assert set(MEANINGS) - keys == set()


def test_no_line_is_said_twice_and_each_is_one_line() -> None:
    parts = (NETWORKS, ATTACKS, CERTIFICATES, DATA, TRAINING, PROTOCOLS)
    assert sum(map(len, parts)) == len(MEANINGS)
    assert all(line and line.strip() == line and "\n" not in line and len(line) <= 100 for line in MEANINGS.values())


def test_the_line_of_a_class_goes_before_that_of_the_name() -> None:
    assert meaning_of(sp.Linf, "eps") != meaning_of(sp.L2, "eps")
    assert meaning_of(sp.PGD, "steps") == meaning_of(sp.APGD, "steps") != meaning_of(sp.Framing, "steps")
    assert meaning_of(sp.Digits, "nothing") == ""


def test_whoever_stops_reading_sees_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "spikeproof", "--help"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
