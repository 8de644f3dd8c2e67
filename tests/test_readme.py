"""What the README shows works as it stands."""

import inspect
import json
import os
import re
import shlex
from pathlib import Path

import pytest

import spikeproof
from benchmarks import kept
from spikeproof.cli.main import command_named, options_in

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINE = r"^(?:    |srun )(?:torchrun .* -m )?spikeproof ([^#\n]+)"


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(code.splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "TRADES" in out
    assert "still right: " in out


def commands():
    pages = [README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))]
    text = "\n".join(pages).replace("\\\n", " ")
    text = text.replace("my-ann.yaml", "digits/standard")  # for a file of the reader's own
    return [line for line in re.findall(LINE, text, re.MULTILINE) if "..." not in line]


@pytest.mark.parametrize("line", commands())
def test_every_command_line_parses(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = [os.path.expanduser(a) for a in shlex.split(line)]
    for index, argument in enumerate(arguments):
        if "*" in argument:
            arguments[index : index + 1] = sorted(map(str, ROOT.glob(argument)))
    assert set(options_in(arguments)) <= set(inspect.signature(command_named(arguments[0])).parameters)


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_of_what_is_inside_keeps_up():
    names = "Poisson TRADES MART RFGSM DLR SEW-ResNet Tiny-ImageNet PLIF SynapticLIF AdaptiveLIF --trust"
    for name in names.split():
        assert name in README
    assert spikeproof.__version__ in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(("name", "networks"), [("cifar10_small", 11), ("fashion_mnist", 11)])
def test_the_results_page_has_the_tables_that_were_measured(name, networks):
    assert (ROOT / "results" / f"{name}.md").read_text().strip() in (ROOT / "docs" / "results.md").read_text()
    rows = json.loads((ROOT / "results" / f"{name}.json").read_text())
    assert len(rows) == networks
    for row in rows:
        assert len(row["clean_by_seed"]) == len(row["seeds"]) >= 2


@pytest.mark.parametrize("data", ["cifar10_small", "fashion_mnist"])
def test_the_results_page_has_the_table_of_what_is_kept(data):
    files = [ROOT / "results" / f"{data}{suite}.json" for suite in ("", "_habit")]
    found = kept.kept_in([row for file in files for row in json.loads(file.read_text())])
    ann = next(one for one in found if one.name == kept.ANN)
    assert kept.table(found, ann) in (ROOT / "docs" / "results.md").read_text()


def test_the_protocol_of_the_docs_can_be_made():
    page = (ROOT / "docs" / "evaluation.md").read_text()
    code = re.search(r"```python\n(protocol = .*?\n\))", page, re.DOTALL)[1]
    names = {"sp": spikeproof}
    exec(compile(code, "evaluation.md", "exec"), names)
    assert names["protocol"].suite == spikeproof.suite_named("standard")
    assert len(names["protocol"].threats) == 2
