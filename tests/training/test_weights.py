"""Weights that another program wrote: read, mapped by name, checked, and used as a beginning."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.training import Weights

ANN = sp.Network(architecture=sp.MLP(hidden=(6,)), neuron=sp.ReLU(), steps=1)


class Theirs(nn.Module):
    """The same network by another name: images in [0, 1], no normalisation."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 6)
        self.fc2 = nn.Linear(6, 10)

    def forward(self, x):
        return self.fc2(self.fc1(x.flatten(1)).relu())


KEYS = "body.1.0.weight: fc1.weight\nbody.1.0.bias: fc1.bias\nbody.3.0.weight: fc2.weight\nbody.3.0.bias: fc2.bias\n"


@pytest.fixture
def theirs(tmp_path):
    torch.manual_seed(0)
    model = Theirs()
    torch.save(model.state_dict(), tmp_path / "ann.pt")
    save_file(model.state_dict(), tmp_path / "ann.safetensors")
    (tmp_path / "keys.yaml").write_text(KEYS)
    return model


@pytest.mark.parametrize("file", ["ann.pt", "ann.safetensors"])
def test_the_same_function_of_the_image(theirs, tmp_path, file):
    model = ANN.build((1, 8, 8), 10)
    Weights(file=str(tmp_path / file), keys=str(tmp_path / "keys.yaml")).load_into(model)
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(model(x), theirs(x))


@pytest.mark.parametrize("file", ["ann.pt", "ann.safetensors"])
def test_without_a_map_the_one_that_fits_is_offered(theirs, tmp_path, file):
    with pytest.raises(sp.UserError, match="In their order the shapes agree") as told:
        Weights(file=str(tmp_path / file)).load_into(ANN.build((1, 8, 8), 10))
    offered = str(told.value).partition("fits:\n")[2]
    assert [line.strip() for line in offered.splitlines()] == KEYS.splitlines()


@pytest.mark.parametrize(
    ("network", "keys", "said"),
    [
        (sp.MLP(hidden=(7,)), KEYS, r"fc1.weight has the shape \[6, 64\]"),
        (sp.MLP(hidden=(6, 6)), KEYS, "does not hold body.5.0.weight"),
        (sp.MLP(hidden=(6,)), KEYS + "body.9.weight: fc3.weight\n", "which the network has not"),
        (sp.MLP(hidden=(6,)), KEYS.replace("fc2.bias", "fc9.bias"), "holds fc2.bias beside"),
        (sp.MLP(hidden=(6,)), "- fc1\n", "no key map"),
        (sp.MLP(hidden=(6,)), "a: [", "cannot be read as a key map"),
    ],
)
def test_what_does_not_fit_is_named(theirs, tmp_path, network, keys, said):
    (tmp_path / "keys.yaml").write_text(keys)
    model = sp.Network(architecture=network, neuron=sp.ReLU(), steps=1).build((1, 8, 8), 10)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(sp.UserError, match=said):
        Weights(file=str(tmp_path / "ann.pt"), keys=str(tmp_path / "keys.yaml")).load_into(model)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_files_that_are_no_weights_are_refused(tmp_path):
    model = ANN.build((1, 8, 8), 10)
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")  # a pickled module would run code when it is read
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for file, said in {
        "none.pt": "there is no weights file",
        "module.pt": "more than weights",
        "list.pt": "no state dict",
        "text.pt": "text.pt",
        "text.safetensors": "cannot be read as weights",
    }.items():
        with pytest.raises(sp.UserError, match=said):
            Weights(file=str(tmp_path / file)).load_into(model)


def test_a_run_may_begin_with_them_and_be_converted(theirs, tmp_path, capsys):
    (tmp_path / "ann.yaml").write_text(
        "name: theirs\n"
        "data: {class_path: Digits, init_args: {train_images: 100}}\n"
        "network: {architecture: {class_path: MLP, init_args: {hidden: [6]}}, neuron: ReLU, steps: 1}\n"
        "training: {epochs: 0, batch: 32, selection: {images: 20}}\n"
    )
    options = ["--config", str(tmp_path / "ann.yaml"), "--weights.file", str(tmp_path / "ann.pt")]
    options += ["--weights.keys", str(tmp_path / "keys.yaml"), "--out", str(tmp_path / "ann")]
    main(["train", *options])
    kept = sp.load_model(tmp_path / "ann")
    assert torch.equal(kept.state_dict()["body.1.0.weight"], theirs.fc1.weight)
    rows = [json.loads(line) for line in (tmp_path / "ann" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0]
    main(["convert", str(tmp_path / "ann"), "--steps", "4", "--finetune", "1", "--out", str(tmp_path / "snn")])
    assert "right after conversion" in capsys.readouterr().out
    snn = sp.load_model(tmp_path / "snn")
    assert snn.steps == 4


def test_a_refused_beginning_leaves_nothing_and_a_changed_file_is_noticed(theirs, tmp_path):
    recipe = sp.Recipe(
        name="theirs",
        data=sp.Digits(train_images=100),
        network=ANN,
        training=sp.Training(epochs=0, selection=sp.Selection(images=20)),
        weights=Weights(file=str(tmp_path / "ann.pt")),
    )
    with pytest.raises(sp.UserError, match="option keys"):
        sp.train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    mapped = replace(recipe, weights=replace(recipe.weights, keys=str(tmp_path / "keys.yaml")))
    sp.train(mapped, tmp_path / "run")
    sp.train(mapped, tmp_path / "run")  # the same again: nothing to do
    torch.save({name: t * 2 for name, t in theirs.state_dict().items()}, tmp_path / "ann.pt")
    with pytest.raises(sp.UserError, match="has changed since"):
        sp.train(mapped, tmp_path / "run")
    (tmp_path / "ann.pt").unlink()
    assert torch.equal(sp.train(mapped, tmp_path / "run").state_dict()["body.1.0.weight"], theirs.fc1.weight)


def test_weights_that_are_no_numbers_are_refused(theirs, tmp_path):
    torch.save({name: t * torch.nan for name, t in theirs.state_dict().items()}, tmp_path / "ann.pt")
    with pytest.raises(sp.UserError, match="NaN"):
        Weights(file=str(tmp_path / "ann.pt"), keys=str(tmp_path / "keys.yaml")).load_into(ANN.build((1, 8, 8), 10))


def test_without_a_beginning_there_is_nothing_after_no_epochs():
    with pytest.raises(sp.UserError, match="epochs must be at least 1"):
        sp.Recipe(name="a", training=sp.Training(epochs=0))
    with pytest.raises(sp.UserError, match="not both"):
        sp.Recipe(
            name="a",
            network=sp.Network(neuron=sp.IF()),
            ann=sp.Recipe(name="b", network=sp.Network(neuron=sp.ReLU(), steps=1)),
            conversion=sp.Calibration(),
            weights=Weights(file="a.pt"),
        )
