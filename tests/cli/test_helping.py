"""Does --help say what every option is, may hold, and is by default?"""

import subprocess
import sys
from collections.abc import Callable

import pytest

import spikeproof as sp
from spikeproof.__main__ import COMMANDS as SAID
from spikeproof.__main__ import main as begin
from spikeproof.cli import main
from spikeproof.cli.main import COMMANDS
from spikeproof.cli.tables import first_line


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
        "--training.epochs a whole number from 0 on (default: 30)",
        "--training.average a number in [0, 1) (default: 0)",
        "--training.gradient_clip a number above 0 or None",
        "--network.neuron.reset 'hard' or 'soft' (default: hard)",
        "--network.neuron one of AdaptiveLIF, DLIF, GradedIF, IF, LIF, PLIF, QCFS, ReLU, SynapticLIF (default: LIF)",
        "--training.selection.threat.eps a number from 0 on (write 8/255 or 0.031) (default: 8/255)",
        "--training.selection.attack.steps a whole number",
        "--name a text (it has to be given)",
        "--out run folder (default: runs/NAME); a path",
        "--network.neuron.learn_threshold true or false",
        "--training The training loop's settings.",
        "--trust use code from outside spikeproof that the recipe names; a switch",
    ],
)
def test_ranges_words_and_defaults(said: str, help_of: Callable[..., str]) -> None:
    assert said in help_of("train")


def test_the_fields_of_the_class_that_is_chosen(help_of: Callable[..., str]) -> None:
    assert "--objective.beta" not in help_of("train")
    chosen = help_of("train", "--objective", "TRADES", "--objective.attack", "FGSM")
    assert "--objective.beta a number from 0 on (default: 6)" in chosen
    assert "--objective.attack.eot" in chosen
    assert "--objective.attack.momentum" not in chosen


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_every_option(name: str, help_of: Callable[..., str]) -> None:
    said = help_of(name)
    assert said.startswith(f"spikeproof {name}")
    without_data = ("demo", "report", "leaderboard", "zoo", "configs", "list", "doctor")
    for option in ("--data-root", "--device") if name not in without_data else ():
        assert option in said


def test_the_package_can_be_run() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "spikeproof", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == sp.__version__


def test_what_is_said_of_an_option_on_two_lines_is_said_whole(help_of: Callable[..., str]) -> None:
    assert "quick is for development); a text" in help_of("evaluate")
