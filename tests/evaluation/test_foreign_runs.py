"""A network that was trained elsewhere, measured from the command line and from Python, and what is refused."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.evaluation.predictions import predictions
from spikeproof.runs import Run
from spikeproof.snn import adapt

pytest.importorskip("spikingjelly.activation_based.neuron")

NETS = """
import torch
from torch import nn
from spikingjelly.activation_based import neuron, surrogate

class Net(nn.Module):
    def __init__(self, classes=10, width=24):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, width), nn.Linear(width, classes)
        self.lif = neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), step_mode="m")

    def forward(self, x):
        return self.fc2(self.lif(3 * self.fc1(x.flatten(1)).expand(4, -1, -1))).mean(0)

class OverTime(Net):
    def forward(self, x):
        return self.fc2(self.lif(self.fc1(x.flatten(1)).expand(4, -1, -1)))

class Pair(Net):
    def forward(self, x):
        return super().forward(x), 0

class Writer(Net):
    def forward(self, x):
        x -= 0.5
        return super().forward(x)

class Counter(Net):
    def forward(self, x):
        return super().forward(x).round().long()

class Colour(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 8)

    def forward(self, x):
        return self.conv(x).flatten(1)

def build():
    torch.manual_seed(0)
    return Net()

def narrow():
    return Net(width=8)

def eleven():
    return Net(classes=11)

def fails():
    raise RuntimeError("no such checkpoint")

def needs(width):
    return Net(width=width)

def nothing():
    return {"model": Net()}

network = Net()
"""
EVALUATION = ("--data", "Digits", "--suite", "quick", "--eps", "0.05,0.1", "--images", "30", "--suite", "quick")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is not in Python's path, with a module of networks, and the current one."""
    (tmp_path / "foreign_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("foreign_nets")]:
        del sys.modules[name]


@pytest.fixture
def trained_net(folder: Path, digits: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The module's network after some training; the module is forgotten again, and so is its place."""
    with monkeypatch.context() as there:
        there.syspath_prepend(folder)
        model = importlib.import_module("foreign_nets").build()
    del sys.modules["foreign_nets"]
    x, y, *_ = digits
    optimiser, whole = torch.optim.Adam(model.parameters(), lr=0.02), adapt(model)
    torch.manual_seed(0)
    for batch in torch.randperm(len(x)).split(32):
        optimiser.zero_grad()
        nn.functional.cross_entropy(whole(x[batch]), y[batch]).backward()
        optimiser.step()
    return model.eval()


def verdicts(run: str) -> list[dict[str, Any]]:
    return [folder.read_json("verdicts.json") for folder in Run(Path(run)).evaluations]


def test_one_command_and_a_run_like_any_other(
    trained_net: nn.Module,
    digits: tuple[Tensor, ...],
    fails: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save(trained_net.state_dict(), "mine.pt")
    main(["evaluate", "--model", "foreign_nets:build", "--weights", "mine.pt", *EVALUATION, "--out", "runs/mine"])
    record, (found,) = Run(Path("runs/mine")).record, verdicts("runs/mine")
    assert record.config["model"] == "foreign_nets:build"
    assert record.config["weights"]["init_args"] == {"file": "mine.pt"}
    assert len(record.config["weights_sha256"]) == 64
    assert record.parameters == sum(p.numel() for p in trained_net.parameters())
    assert record.environment.versions["spikingjelly"]
    x, y = digits[2][:30], digits[3][:30]
    direct = sp.evaluate(adapt(trained_net), (x, y), sp.Protocol(threats=[0.05, 0.1], suite="quick"))
    assert found["status"] == direct.diagnosis.status == "ok"
    assert found["clean_accuracy"]["value"] == direct.clean_accuracy().value > 0.6
    for eps, threat in enumerate(found["threats"]):
        assert threat["robust_accuracy"]["value"] == direct.robust_accuracy(eps).value
    assert found["threats"][1]["robust_accuracy"]["value"] < found["clean_accuracy"]["value"]
    assert "examples.npz" in Run(Path("runs/mine")).evaluations[0]
    assert "--trust" in fails("evaluate", "runs/mine", "--eps", "0.05,0.1", "--images", "30", "--suite", "quick")
    assert "--trust" in fails("probe", "runs/mine", "--images", "20")
    with monkeypatch.context() as patch:
        patch.setattr(
            "spikeproof.evaluation.evaluated_runs.evaluate_pool", lambda *a, **k: pytest.fail("attacked again")
        )
        main(["evaluate", "runs/mine", "--trust", "--eps", "0.05,0.1", "--images", "30", "--suite", "quick"])
        main(["evaluate", "--model", "foreign_nets:build", "--weights", "mine.pt", *EVALUATION, "--out", "runs/mine"])
    main(["train", "--config", "demo/standard", "--training.epochs", "1", "--out", "runs/a"])
    assert "--trust" in fails("evaluate", "runs", "--eps", "0.05", "--images", "30")  # before any is attacked
    assert not Run(Path("runs/a")).evaluations
    main(["probe", "runs/mine", "--images", "20", "--eps", "0.1", "--trust"])
    main(["report", "runs", "--out", "page.html"])
    page = Path("page.html").read_text()
    assert "mine.pt" in page
    assert "foreign_nets:build" in page
    loaded = sp.load_model("runs/mine", trust=True)
    assert torch.equal(loaded(x), adapt(trained_net)(x))
    with pytest.raises(sp.UserError, match="only run with --trust"):
        sp.load_model("runs/mine")


def test_without_a_file_the_network_is_taken_as_it_was_built(folder: Path) -> None:
    command = ["evaluate", "--model", "foreign_nets:build", *EVALUATION]
    main(command)
    (before,) = verdicts("runs/build")
    assert Run(Path("runs/build")).record.config["weights"] is None
    (folder / "foreign_nets.py").write_text(NETS.replace("manual_seed(0)", "manual_seed(1234)"))
    del sys.modules["foreign_nets"]
    main(command)
    after = verdicts("runs/build")
    assert len(after) == len({found["fingerprint"] for found in after}) == 2
    assert before in after
    main(["report", "runs/build", "--out", "page.html"])  # of the weights that are there now
    assert "build [" not in Path("page.html").read_text()


@pytest.mark.parametrize("kept", ["safetensors", "wrapped", "parallel"])
def test_weights_are_read_as_they_are_usually_kept(kept: str, trained_net: nn.Module) -> None:
    tensors = trained_net.state_dict()
    if kept == "safetensors":
        save_file(tensors, "mine.safetensors")
    else:
        parallel = {f"module.{name}": tensor for name, tensor in tensors.items()}
        torch.save({"net": tensors, "epoch": 3} if kept == "wrapped" else parallel, "mine.pt")
    file = "mine.safetensors" if kept == "safetensors" else "mine.pt"
    main(["evaluate", "--model", "foreign_nets:build", "--weights", file, *EVALUATION, "--out", "kept"])
    loaded = Run(Path("kept")).read_tensors("model.safetensors")[0]
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


MODEL = ("--model", "foreign_nets:build")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name run folders, or a network from elsewhere: --model package.module:function"),
        (("runs/a", "--out", "b"), "--out: only with --model; a run folder has its own"),
        (("runs/a", *MODEL, "--data", "Digits"), "--model names a network from elsewhere, and runs/a has its own"),
        (MODEL, "say with --data what the network is tested on"),
        ((*MODEL, "--data", "Digit"), "did you mean 'Digits'"),
        (("--model", "foreign_nets", *EVALUATION), "write package.module:function"),
        (("--model", "foreign_net:build", *EVALUATION), "there is no module 'foreign_net'"),
        (("--model", "foreign_nets.vgg:build", *EVALUATION), "foreign_nets.vgg"),
        (
            ("--model", "foreign_nets:biuld", *EVALUATION),
            "no function 'biuld' that returns a network; did you mean 'build'",
        ),
        (("--model", "foreign_nets:network", *EVALUATION), "it is no function"),
        (("--model", "foreign_nets:fails", *EVALUATION), "fails: RuntimeError: no such checkpoint"),
        (("--model", "foreign_nets:needs", *EVALUATION), "called without arguments, fails: TypeError"),
        (("--model", "foreign_nets:nothing", *EVALUATION), "returned a dict, and a network is a torch.nn.Module"),
        (("--model", "foreign_nets:eleven", *EVALUATION), "tells 11 classes apart, and the data set has 10"),
        (("--model", "foreign_nets:OverTime", *EVALUATION), "returned [4, 32, 10]: outputs [T, B, K] over time"),
        (("--model", "foreign_nets:Pair", *EVALUATION), "returned a tuple"),
        (("--model", "foreign_nets:Writer", *EVALUATION), "writes into its input"),
        (("--model", "foreign_nets:Counter", *EVALUATION), "logits are floating point, not torch.int64"),
        (("--model", "foreign_nets:Colour", *EVALUATION), "fails on images torch.float32 [32, 1, 8, 8]: Runtime"),
        ((*MODEL, "--weights", "gone.pt", *EVALUATION), "there is no weights file gone.pt"),
        ((*MODEL, "--weights", "foreign_nets.py", *EVALUATION), "foreign_nets.py"),
        ((*MODEL, "--weights", "code.pt", *EVALUATION), "code.pt holds more than weights"),
        ((*MODEL, "--weights", "list.pt", *EVALUATION), "list.pt holds no state dict"),
        (
            (*MODEL, "--weights", "other.pt", *EVALUATION),
            "does not hold fc1.weight, fc1.bias, which the network has, and",
        ),
        ((*MODEL, "--weights", "other.pt", *EVALUATION), "holds conv.weight, which the network has not"),
        ((*MODEL, "--weights", "narrow.pt", *EVALUATION), "size mismatch for fc1.weight"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(
    arguments: tuple[str, ...], says: str, folder: Path, fails: Callable[..., str]
) -> None:
    torch.save([1, 2], "list.pt")
    torch.save({"fc2.weight": torch.ones(10, 24), "fc2.bias": torch.ones(10), "conv.weight": torch.ones(1)}, "other.pt")
    shapes = {"fc1.weight": (8, 64), "fc1.bias": (8,), "fc2.weight": (10, 8), "fc2.bias": (10,)}
    torch.save({name: torch.ones(shape) for name, shape in shapes.items()}, "narrow.pt")
    torch.save(nn.Linear(1, 1), "code.pt")
    assert says in fails("evaluate", *arguments)
    assert not (folder / "runs").exists()


def test_broken_code_is_the_users_to_mend(folder: Path, fails: Callable[..., str]) -> None:
    (folder / "foreign_nets_syntax.py").write_text("def build(:\n")
    assert "cannot be imported: SyntaxError" in fails("evaluate", "--model", "foreign_nets_syntax:build", *EVALUATION)
    (folder / "foreign_nets_import.py").write_text("import not_a_package_at_all\n")
    said = fails("evaluate", "--model", "foreign_nets_import:build", *EVALUATION)
    assert "foreign_nets_import cannot be imported: ModuleNotFoundError: No module named 'not_a_package_at_all'" in said


def test_a_folder_of_another_run_is_left_alone(folder: Path, fails: Callable[..., str]) -> None:
    main(["evaluate", *MODEL, *EVALUATION, "--out", "a"])
    before = {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()}
    said = fails("evaluate", "--model", "foreign_nets:narrow", *EVALUATION, "--out", "a")
    assert "a holds another run: model differs; name another folder with --out" in said
    assert {path: path.read_bytes() for path in Path("a").rglob("*") if path.is_file()} == before


def test_a_damaged_folder_is_said_to_be(folder: Path, fails: Callable[..., str]) -> None:
    main(["evaluate", *MODEL, *EVALUATION, "--out", "a"])
    (folder / "foreign_nets.py").write_text(NETS.replace("width=24", "width=16"))
    del sys.modules["foreign_nets"]
    assert "does not fit the network" in fails("evaluate", "a", "--trust", "--eps", "0.05", "--images", "30")
    Path("a/model.json").write_text('{"factory": 3}')
    assert "FactoryRecord.factory is 3, and not str" in fails(
        "evaluate", "a", "--trust", "--eps", "0.05", "--images", "30"
    )


class Written(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return x.flatten(1)[:, :10]


def test_an_attack_refuses_a_model_that_writes_into_its_input(digits: tuple[Tensor, ...]) -> None:
    x, y = digits[2][:4], digits[3][:4]
    before = x.clone()
    for attack in (sp.FGSM(), sp.PGD(steps=2), sp.UniformNoise(draws=2)):
        with pytest.raises(sp.UserError, match="writes into its input"):
            attack(Written(), x, y, sp.Linf(0.1))
    with pytest.raises(sp.UserError, match="writes into its input"):
        sp.predict(Written(), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("classes", [9, 11])
def test_another_number_of_classes_than_the_data_have_is_refused(classes: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    part = sp.Digits().part("test").first(20)
    with pytest.raises(sp.UserError, match=f"{classes} classes"):
        sp.evaluate(model, part, sp.Protocol(threats=0.1, suite="quick"))
    x, y = part.batch(range(20))
    if classes > 10:  # tensors come without a data set's word
        assert sp.evaluate(model, (x, y), sp.Protocol(threats=0.1, suite="quick")).diagnosis.status == "ok"


def test_an_empty_selection_is_refused() -> None:
    empty = sp.Digits().part("test").select([])
    with pytest.raises(sp.UserError, match="there are no images"):
        predictions(nn.Flatten(), empty, 10, 1, False, 0)
    with pytest.raises(sp.UserError, match="there are no images"):
        sp.evaluate(nn.Flatten(), empty, sp.Protocol(threats=0.1, suite="quick"))


@pytest.mark.parametrize("library", ["spikingjelly", "snntorch"])
def test_forgetting_to_adapt_cannot_hurt(library: str, digits: tuple[Tensor, ...]) -> None:
    """From Python, verdicts of a network as its library built it are those of the adapted one, and it is left alone."""
    torch.manual_seed(0)
    if library == "snntorch":
        neuron: Callable[[], nn.Module] = lambda: pytest.importorskip("snntorch").Leaky(beta=0.9, init_hidden=True)  # noqa: E731
    else:
        neuron = importlib.import_module("spikingjelly.activation_based.neuron").IFNode
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), neuron(), nn.Linear(24, 10))
    images = digits[2][:20], digits[3][:20]
    plain, adapted = (
        sp.evaluate(m, images, sp.Protocol(threats=0.05, suite="quick")).arrays() for m in (model, adapt(model))
    )
    assert all(np.array_equal(plain[name], adapted[name]) for name in plain)
    probed = [sp.probe(m, *images, sp.Linf(0.05)).summary() for m in (model, adapt(model))]
    assert probed[0] == probed[1]
