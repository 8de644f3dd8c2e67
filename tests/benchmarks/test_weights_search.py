"""Is a weight chosen by robust accuracy, is nothing judged twice, and is another search's file left alone?"""

import json

import pytest

from benchmarks import weights

FOUND = {0.01: (20.0, 80.0), 0.1: (40.0, 75.0), 1.0: (40.0, 70.0)}


@pytest.fixture
def judged(monkeypatch):
    """The weights that were trained, in a list; what each makes stands in `FOUND`."""
    trained = []

    def judge(recipe, weight, options, seed):
        trained.append(weight)
        robust, clean = FOUND[weight]
        return {"clean": clean, "robust": robust}

    monkeypatch.setattr(weights, "judged", judge)
    return trained


def search(out, grid, config="digits/sparse_gradient"):
    weights.main(
        [f"spikeproof/shipped/{config}.yaml", "--weights", grid, "--eps", "0.1", "--images", "50", "--out", str(out)]
    )


def test_of_equals_the_one_with_the_best_clean_accuracy_is_best(judged, tmp_path, capsys):
    search(tmp_path / "a.json", "1,0.1,0.01")
    assert judged == [0.01, 0.1, 1.0]
    assert capsys.readouterr().out.splitlines()[-1] == "best: 0.1"


def test_it_goes_on_where_it_was_and_loses_nothing(judged, tmp_path, capsys):
    search(tmp_path / "a.json", "1")
    search(tmp_path / "a.json", "0.01,1")
    assert judged == [1.0, 0.01]
    assert list(json.loads((tmp_path / "a.json").read_text())["weights"]) == ["0.01", "1"]


def test_the_file_of_another_search_is_not_written_over(judged, tmp_path, capsys):
    search(tmp_path / "a.json", "1")
    before = (tmp_path / "a.json").read_bytes()
    with pytest.raises(SystemExit):
        search(tmp_path / "a.json", "1", config="digits/stable_potential")
    assert "has another search, with config digits/sparse_gradient" in capsys.readouterr().err
    assert (tmp_path / "a.json").read_bytes() == before
