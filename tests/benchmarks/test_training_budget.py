"""Does the table of training budgets have its means, does the figure have all curves, and is nothing trained twice?"""

import json
import re

import pytest

from benchmarks import training_budget


def run(clean, habit, standard):
    return {"clean": clean, "habit": {"left": habit}, "standard": {"left": standard}}


@pytest.fixture
def record(tmp_path):
    """What the command wrote before: it has all that is asked for but one network."""
    networks = {name: {"10": [run(98, 80, 70)], "2": [run(90, 40, 30)]} for name in training_budget.NAMES}
    networks["LIF, hard"]["2"] = []
    path = tmp_path / "budget.json"
    path.write_text(json.dumps({"data": "digits", "images": 360, "eps": 0.15, "networks": networks}))
    return path


@pytest.fixture
def trained(monkeypatch):
    """The recipes that were trained, in a list."""
    recipes = []

    def judged(recipe, *_):
        recipes.append(recipe)
        return run(80, 30, 10)

    monkeypatch.setattr(training_budget, "judged", judged)
    return recipes


def test_only_what_is_missing_is_trained(record, trained, capsys):
    training_budget.main(["--epochs", "10,2", "--seeds", "1", "--out", str(record)])
    assert [(one.training.epochs, one.seed) for one in trained] == [(2, 0)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["| ANN | 2 | 90.0 | 40.0 | 30.0 |", "| ANN | 10 | 98.0 | 80.0 | 70.0 |"]
    assert lines[-2:] == ["| LIF, hard | 2 | 80.0 | 30.0 | 10.0 |", "| LIF, hard | 10 | 98.0 | 80.0 | 70.0 |"]
    assert json.loads(record.read_text())["networks"]["LIF, hard"]["2"] == [run(80, 30, 10)]


def test_seeds_are_averaged(record, trained, capsys):
    training_budget.main(["--epochs", "2", "--seeds", "2", "--out", str(record)])
    assert len(trained) == 4  # one more of two networks, two of the third
    assert "| ANN | 2 | 85.0 | 35.0 | 20.0 |" in capsys.readouterr().out


def test_the_figure_is_the_same_each_time(record, trained, tmp_path):
    files = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for file in files:
        training_budget.main(["--epochs", "2,10", "--seeds", "1", "--out", str(record), "--figure", str(file)])
    first, second = (file.read_text() for file in files)
    assert first == second
    assert all(re.search(f"<!-- {re.escape(name)}", first) for name in training_budget.NAMES)


def test_the_file_of_another_search_is_not_written_over(record, trained, capsys):
    before = record.read_bytes()
    with pytest.raises(SystemExit):
        training_budget.main(["--images", "50", "--out", str(record)])
    assert "has another search, with images 360 and not 50: name another file" in capsys.readouterr().err
    assert (record.read_bytes(), trained) == (before, [])
