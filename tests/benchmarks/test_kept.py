"""Does the table of what networks keep say what the report says, and does the figure have each of them?"""

import json
import re

import pytest

from benchmarks import kept


def row(name, suite, clean, robust, status="ok"):
    return {
        "name": name,
        "status": status,
        "protocol_facets": {"suite": suite, "data set": "CIFAR10(split_seed=0)"},
        "robust": {"Linf 4/255": {}, "Linf 8/255": {}},
        "clean_by_seed": clean,
        "robust_by_seed": {"Linf 4/255": [0.9] * len(robust), "Linf 8/255": robust},
    }


@pytest.fixture
def report(tmp_path):
    rows = [
        row("SR*", "standard", [0.5, 0.6], [0.05, 0.15]),
        row("SR*", "habit", [0.5, 0.6], [0.3, 0.4]),
        row(kept.ANN, "standard", [0.6, 0.7], [0.2, 0.3]),
        row(kept.ANN, "habit", [0.6, 0.7], [0.25, 0.35]),
        row("masked", "standard", [0.6], [0.6], status="unreliable"),
        row("masked", "habit", [0.6], [0.6]),
        row("half", "standard", [0.6], [0.1]),
    ]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(rows))
    return path


def test_the_table_has_means_and_shares_of_the_ann(report, tmp_path, capsys):
    kept.main([str(report), "--out", str(tmp_path / "kept.svg")])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| ANN, adversarial | 65.0 | 30.0 | 25.0 | 1.00 |",
        r"| SR\* | 55.0 | 35.0 | 10.0 | 0.40 |",
    ]


def test_the_figure_is_the_same_each_time(report, tmp_path):
    files = [tmp_path / "first.svg", tmp_path / "second.svg"]
    for file in files:
        kept.main([str(report), "--out", str(file)])
    first, second = (file.read_text() for file in files)
    assert first == second
    assert all(re.search(f"<!-- {re.escape(text)}", first) for text in ("SR*", "ANN, adversarial", "unbroken test"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ann", "nobody"], 'there is no network "nobody" under both suites'),
        ([], "no network was evaluated under both suites"),
    ],
)
def test_what_is_missing_is_named(report, tmp_path, capsys, arguments, said):
    if not arguments:
        report.write_text(json.dumps([row("half", "standard", [0.6], [0.1])]))
    with pytest.raises(SystemExit):
        kept.main([str(report), "--out", str(tmp_path / "kept.svg"), *arguments])
    assert said in capsys.readouterr().err
