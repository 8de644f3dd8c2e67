"""What a person mistypes is told in one or two lines: what was wrong, which value, what would be right."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikeproof.cli import main

CONFIG = """
name: mine
data: Digits
network: {architecture: {class_path: SmallCNN, init_args: {widths: [4, 4, 4]}}, steps: 2}
training: {epochs: 1}
"""
EDITS = {  # of the configuration
    "data": ("Digits", "Digit"),
    "lower": ("Digits", "digits"),
    "field": ("steps: 2", "step: 2"),
    "widths": ("[4, 4, 4]", "4"),
    "negative": ("epochs: 1", "epochs: -1"),
    "half": ("epochs: 1", "epochs: 1.5"),
    "text": ("epochs: 1", "epochs: one"),
    "twice": ("steps: 2}", "steps: 2, neuron: LIFF}"),
    "yaml": ("data: Digits", "data: [Digits"),
    "tab": ("data: Digits", "\tdata: Digits"),
    "outside": ("data: Digits", "data: mydata.Mine"),
    "objective": ("training:", "objective: TRADE\ntraining:"),
    "events": ("data: Digits", "data: NMNIST"),
    "missing": ("name: mine", ""),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what people have in theirs."""
    at = tmp_path_factory.mktemp("place")
    (at / "mine.yaml").write_text(CONFIG)
    for name, (old, new) in EDITS.items():
        (at / f"{name}.yaml").write_text(CONFIG.replace(old, new))
    (at / "list.yaml").write_text("- a\n- b\n")
    (at / "empty").mkdir()
    (at / "one" / "cats").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(at / "one" / "cats" / "a.png")
    np.savez(at / "x.npz", x=np.zeros((3, 4, 4), np.uint8))
    (at / "notes.txt").write_text("hello")
    (at / "half").mkdir()
    (at / "half" / "run.json").write_text(json.dumps({"name": "half"})[:-3])
    (at / "nets.py").write_text("def build():\n    return 3\n")
    return at


MISTAKES: dict[str, tuple[str, str]] = {
    "no such command": ("evalute runs", "did you mean 'evaluate'"),
    "a command in capitals": ("Train --config mine.yaml", "did you mean 'train'"),
    "no such option": ("compare mine.yaml --image 3", "did you mean 'images'"),
    "an option of another command": ("report runs --suite quick", "report has no option --suite"),
    "an option without a value": ("compare mine.yaml --eps", "--eps needs a value"),
    "no configuration": ("compare", "needs configs: one or more paths"),
    "a configuration that is not there": ("compare gone.yaml", "there is no configuration file gone.yaml"),
    "a text for a configuration": ("compare notes.txt", "holds no settings"),
    "a list for a configuration": ("compare list.yaml", "holds no settings"),
    "broken YAML": ("compare yaml.yaml", "is no YAML"),
    "a tab in YAML": ("compare tab.yaml", "is no YAML"),
    "a misspelt data set": ("compare data.yaml", "did you mean 'Digits'"),
    "a data set in small letters": ("compare lower.yaml", "did you mean 'Digits'"),
    "a misspelt field": ("compare field.yaml", "no field 'step'; did you mean 'steps'"),
    "a number where a list is asked": ("compare widths.yaml", "a list"),
    "a negative number": ("compare negative.yaml", "a whole number from 0 on, not -1"),
    "half an epoch": ("compare half.yaml", "a whole number from 0 on, not 1.5"),
    "a word for a number": ("compare text.yaml", "a whole number from 0 on, not 'one'"),
    "a misspelt neuron": ("compare twice.yaml", "did you mean 'LIF'"),
    "a misspelt objective": ("compare objective.yaml", "did you mean 'TRADES'"),
    "code from outside": ("compare outside.yaml", "only used with --trust"),
    "no name": ("compare missing.yaml", "name"),
    "recordings where images are asked": ("compare events.yaml", "event frames"),
    "the same configuration twice": ("compare mine.yaml mine.yaml", "two recipes have the same name"),
    "eps in grey levels": ("compare mine.yaml --eps 8", "write 8/255"),
    "a negative eps": ("compare mine.yaml --eps=-0.1", "from 0 on"),
    "eps with a decimal comma": ("compare mine.yaml --eps 0,1", "a decimal is written with a point, 0.1"),
    "eps in words": ("compare mine.yaml --eps small", "must be a number from 0 on (write 8/255 or 0.031)"),
    "eps over nothing": ("compare mine.yaml --eps 8/0", "not '8/0'"),
    "the same eps twice": ("compare mine.yaml --eps 0.1,0.1", "the same eps is given twice"),
    "an empty eps": ("compare mine.yaml --eps 0.1,", "must be a number"),
    "a misspelt suite": ("compare mine.yaml --suite standart", "did you mean 'standard'"),
    "a suite that is no file": ("compare mine.yaml --suite mine_too.yaml", "there is no suite file mine_too.yaml"),
    "a misspelt threat": ("compare mine.yaml --threat Linff", "did you mean 'Linf'"),
    "a threat on recordings": ("compare mine.yaml --threat EventFlips --eps 10", "10 flips is a threat on recordings"),
    "too many images": ("compare mine.yaml --images 9999", "take 1 to 360, not 9999"),
    "no images": ("compare mine.yaml --images 0", "a whole number from 1 on"),
    "some images": ("compare mine.yaml --images many", "a whole number from 1 on"),
    "no seeds": ("compare mine.yaml --seeds 0", "a whole number from 1 on"),
    "a protocol and its parts": ("compare mine.yaml --protocol mine.yaml --eps 0.1", "leave out --eps"),
    "a configuration for a protocol": ("compare mine.yaml --protocol mine.yaml", "Protocol has no field"),
    "no such device": ("compare mine.yaml --device gpu", "no device 'gpu'"),
    "a folder without anything": ("compare empty", "there are no pictures"),
    "pictures of one class": ("compare one", "put the pictures of each class into one"),
    "images without labels": ("compare x.npz", "name them images and labels"),
    "a folder and a configuration": ("compare empty mine.yaml", "stands alone"),
    "a sensor in words": ("compare one --sensor big", "34x34 for example"),
    "no run": ("evaluate", "name run folders"),
    "a run that is not there": ("evaluate runs/gone", "no folder runs/gone"),
    "a folder without runs": ("evaluate empty", "empty"),
    "a damaged run": ("evaluate half", "run.json"),
    "a file where a run is asked": ("evaluate notes.txt", "notes.txt"),
    "data beside a run": ("evaluate half --data Digits", "only with --model"),
    "a model without a function": ("evaluate --model nets --data Digits", "write package.module:function"),
    "a model in no module": ("evaluate --model net:build --data Digits", "there is no module 'net'"),
    "a model without data": ("evaluate --model nets:build", "say with --data"),
    "a misspelt function": ("evaluate --model nets:biuld --data Digits", "did you mean 'build'"),
    "a function that returns none": ("evaluate --model nets:build --data Digits", "returned a int"),
    "weights that are not there": (
        "evaluate --model torch.nn:Flatten --data Digits --weights w",
        "no weights file",
    ),
    "a reduction that there is not": ("evaluate --model nets:build --data Digits --reduce max", "'mean' or 'sum' or"),
    "a part that there is not": ("evaluate half --part tset", "'train' or 'validation' or 'test'"),
    "a report of nothing": ("report empty", "empty"),
    "a report in another form": ("report half --out x.pdf", "not as .pdf"),
    "a folder for a report": ("report half --out empty", "is a folder: name a file"),
    "two radii for a probe": ("probe half --eps 0.1,0.2", "a probe takes one eps"),
    "no run to convert": ("convert", "convert needs run: a path"),
    "two runs to convert": ("convert half empty", "does not know what to do with"),
    "no name to train": ("train --training.epochs 1", "name"),
    "a misspelt field to train": ("train --config mine.yaml --training.epoch 1", "did you mean 'epochs'"),
    "an epoch in words": ("train --config mine.yaml --training.epochs ten", "a whole number from 0 on"),
}


def test_there_are_as_many_as_were_tried() -> None:
    assert len(MISTAKES) >= 57


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_line_or_two(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line, says = MISTAKES[name]
    monkeypatch.chdir(place)
    monkeypatch.setattr("spikeproof.training.loop._epoch", lambda *a: pytest.fail("trained"))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if "__pycache__" not in path.parts}
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    found = capsys.readouterr()
    said = found.err.strip()
    assert says in " ".join(said.split())
    assert said.startswith("error:")
    assert said.count("\n") < 2
    assert "Traceback" not in said
    after = {path: path.stat().st_mtime_ns for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert {path for path in after if after[path] != before.get(path)} <= {place}  # nothing written
