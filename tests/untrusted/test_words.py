"""Does a name that somebody else gave reach the terminal, a page or a folder only as letters?"""

import json

import pytest

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.reports import ranking, write_report
from spikeproof.runs import Run
from spikeproof.untrusted.words import LETTERS, brief, printable, short_error, told

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
BACKWARDS = "\u202egnp.exe"


def test_control_characters_are_written_out():
    assert printable(f"a{ESCAPE}") == r"a\x1b]0;owned\x07\x1b[2J"
    assert printable(BACKWARDS) == r"\u202egnp.exe"
    assert printable("ä – 日本\n") == r"ä – 日本\n"
    assert printable("a\tb\nc\r", lines=True) == "a\tb\nc\\r"


def test_a_value_is_told_in_few_letters():
    assert told("cifr") == "'cifr'"
    assert len(told("x" * 10**6)) <= LETTERS
    assert told(10**6000) == "a int that is too long to show"
    deep = []
    for _ in range(10**5):
        deep = [deep]
    assert len(told(deep)) <= LETTERS
    assert brief("a" * 1000).startswith("aaa")
    assert len(brief("a" * 1000)) <= LETTERS


def test_an_error_has_three_lines_and_no_long_word():
    said = short_error("\n".join([f"one {'x' * 5000} two", *map(str, range(100))])).splitlines()
    assert len(said) == 3
    assert len(said[0]) < 300
    assert said[0].endswith(" two")
    assert said[2] == "... and 99 more lines"


LONG = "y" * 5000


def said_by(capsys, *arguments):
    """What the command line answers, which is an error, in a few letters."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    out, said = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert said.startswith("error:")
    assert len(said.splitlines()) <= 3
    assert len(said) < 2000
    assert "y" * 210 not in said
    assert "9" * 210 not in said
    assert "\x1b" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "arguments",
    [
        [LONG],
        ["evaluate", LONG],
        ["report", ESCAPE],
        ["train", f"--{LONG}", "1"],
        ["train", "--name", LONG],
        ["train", "--name", ESCAPE],
        ["train", "--name", "a", "--data", LONG],
        ["train", "--name", "a", "--seed", LONG],
        ["train", "--name", "a", "--training.epochs", "9" * 6000],
        ["train", "--name", "a", "--training", "[" * 3000],
        ["train", "--name", "a", "--training", "{" + ESCAPE],
    ],
)
def test_the_command_line_says_it_briefly(arguments, capsys):
    said_by(capsys, *arguments)


@pytest.mark.parametrize(
    "setting",
    [f"{LONG}: 1", "a: " * 5, "[" * 900, 'seed: !!int "x"', f'network: "{LONG}"', f'seed: ["{LONG}"]', "\x1b"],
)
def test_so_it_says_what_is_wrong_with_settings(setting, tmp_path, capsys):
    (tmp_path / "settings.yaml").write_text(setting)
    assert "settings.yaml" in said_by(capsys, "compare", str(tmp_path / "settings.yaml"), "--out", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("error", [MemoryError("of 8 GB"), RecursionError()])
def test_full_memory_and_deep_nesting_are_one_line(error, monkeypatch, capsys):
    def fails(*_):
        raise error

    monkeypatch.setitem(main.__globals__, "run", fails)
    with pytest.raises(SystemExit):
        main(["list"])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_in_a_run_folder(tmp_path):
    run = Run(tmp_path / f"run{ESCAPE}")
    record = {"name": "", "config": {}, "seed": 0, "finished": None}
    run.write_json("run.json", record)
    assert ranking([run])[0].name == printable(run.name)
    page = write_report([run], tmp_path / "report.md").read_text()
    assert "\x1b" not in page
    assert "owned" in page
    with pytest.raises(sp.UserError, match="control character"):
        run.write_json("run.json", record | {"name": ESCAPE})
    (run.path / "run.json").write_text(json.dumps(record | {"name": ESCAPE}))
    with pytest.raises(sp.UserError, match=r"run\.json is damaged \(holds a control character"):
        ranking([Run(run.path)])
    (run.path / "run.json").write_text(json.dumps(record | {"name": BACKWARDS}))
    with pytest.raises(sp.UserError, match="control character"):
        ranking([Run(run.path)])
