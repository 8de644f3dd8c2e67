"""What is written into a NIR graph, what is refused, layer by layer, and what the command says."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import nir
import pytest
from torch import nn

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.snn.layers import PerStep
from tests.exchange.conftest import Made


@pytest.mark.parametrize(
    ("neuron", "says"),
    [
        (
            sp.LIF(reset="soft"),
            "body.1, body.3, body.6: NIR's neurons reset to a value, so a soft reset cannot be said",
        ),
        (sp.DLIF(), "body.1, body.3, body.6: the gains of DLIF, one a step, cannot be said"),
        (sp.IF(charge=0.5), "begin at rest, and these at a charge of 0.5"),
        (sp.IF(two_phases=True), "fire while currents arrive, and these after it; two_phases: false"),
        (sp.GradedIF(), "the spikes of GradedIF weigh its threshold"),
        (sp.AdaptiveLIF(gradient=sp.Triangle()), "the equations of AdaptiveLIF are none of NIR's IF and LIF"),
        (sp.ReLU(), "a unit of an ANN is no spiking neuron; spikeproof convert makes a spiking network"),
        (sp.QCFS(), "a unit of an ANN is no spiking neuron"),
    ],
)
def test_what_nir_cannot_say_is_refused_layer_by_layer(
    neuron: sp.Neuron, says: str, network: Made, tmp_path: Path
) -> None:
    with pytest.raises(sp.UserError) as refused:
        sp.export_nir(network(neuron=neuron), tmp_path / "graph.nir")
    assert says in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_all_reasons_are_told_at_once(network: Made, tmp_path: Path) -> None:
    model = network(neuron=sp.LIF(reset="soft", charge=0.5, leak=0.0))
    model.body.insert(0, PerStep(nn.MaxPool2d(1)))
    with pytest.raises(sp.UserError) as refused:
        sp.export_nir(model, tmp_path / "graph.nir", "spikingjelly")
    said = str(refused.value).splitlines()
    assert said[0] == "this network cannot be written for SpikingJelly 2.0:"
    reasons = ("no pooling by the maximum", "a soft reset cannot be said", "a charge of 0.5", "takes no leak of 0")
    assert len(said) == 5
    assert all(any(reason in line for line in said) for reason in reasons)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.AdaptiveAvgPool2d(2), "a pooling to another size than 1x1"),
        (nn.AvgPool2d(2, ceil_mode=True), "rounds sizes down"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "not by 'circular'"),
        (nn.Conv2d(2, 2, 1, groups=2), "takes no convolution in groups, and this one has 2"),
        (nn.Softmax(1), "Softmax has no node in NIR"),
    ],
)
def test_a_layer_of_one_s_own_that_cannot_be_said_is_named(
    layer: nn.Module, says: str, network: Made, tmp_path: Path
) -> None:
    model = network()
    model.body.insert(0, PerStep(layer))
    with pytest.raises(sp.UserError, match=f"body.0.0: .*{says}"):
        sp.export_nir(model, tmp_path / "graph.nir", "spikingjelly")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("sinabs", "reset softly and fire several spikes in a step"),
        ("lava", "no package for this Python"),
        ("snntoch", "did you mean 'snntorch'"),
    ],
)
def test_a_reader_that_cannot_be_served_is_told_why(target: str, says: str, network: Made, tmp_path: Path) -> None:
    with pytest.raises(sp.UserError, match=says):
        sp.export_nir(network(), tmp_path / "graph.nir", target)


def test_a_network_of_another_library_is_not_ours_to_export(tmp_path: Path) -> None:
    with pytest.raises(sp.UserError, match="exported by that library"):
        sp.export_nir(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), tmp_path / "graph.nir")


def test_the_neurons_are_the_format_s_equation(network: Made, tmp_path: Path) -> None:
    """tau v' = (v_leak - v) + r x in a step of dt is leak v + x, for every reader; a pool has the reader's form."""
    for target in ("nir", "spikingjelly", "snntorch", "norse"):
        found = sp.export_nir(network(neuron=sp.LIF(leak=0.75, threshold=2.0)), tmp_path / "graph.nir", target)
        graph = nir.read(tmp_path / "graph.nir")
        node, dt = graph.nodes["lif_1"], float(graph.metadata["dt"])
        assert node.tau.shape == node.v_threshold.shape == (4, 8, 8)
        assert 1 - dt / node.tau == pytest.approx(0.75)
        gain = node.r * dt / node.tau
        assert node.v_threshold / gain == pytest.approx(2.0, rel=1e-6)
        assert (node.v_threshold / gain).max() <= 2.0
        assert ("SumPool2d" in found.nodes) == (target == "norse")
        assert all(node.bias is not None for node in graph.nodes.values() if type(node).__name__ == "Conv2d")


def test_the_metadata_say_what_the_graph_does_not(network: Made, tmp_path: Path) -> None:
    found = sp.export_nir(network(steps=7), tmp_path / "graph.nir", "spikingjelly")
    said = nir.read(tmp_path / "graph.nir").metadata
    assert said["target"] == "spikingjelly"
    assert said["producer"] == f"spikeproof {sp.__version__}"
    assert said["outside"].splitlines() == list(found.outside)
    fields = json.loads(said["simulation"])["init_args"]
    assert (fields["steps"], fields["fires"], fields["dt"]) == (7, "at", 1e-4)
    assert found.outside[0] == "7 time steps of 0.0001 s"


def test_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["train", "--config", "demo/standard", "--training.epochs", "1", "--out", "runs/lif", "--quiet"])
    capsys.readouterr()
    main(["export", "runs/lif", "--for", "snntorch"])
    said = capsys.readouterr().out
    assert "lif.nir, for snntorch: 1 Input," in said
    assert "the readout MeanCurrent, from the graph" in said
    main(["export", "runs/lif", "--nir", "other.nir", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == "other.nir"
    assert told["nodes"]["Output"] == 1
    main(["export", "runs/lif", "--nir", "third.nir", "--quiet"])
    assert not capsys.readouterr().out
    assert "no option --four; did you mean 'for'?" in fails("export", "runs/lif", "--four", "snntorch")
    assert "there is no run folder" in fails("export", "runs/none")


def test_without_the_extra_one_line_says_what_to_install(
    network: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    module = import_module("spikeproof.exchange.library")
    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(sp.UserError, match=r"nir, which is not installed: pip install 'spikeproof\[nir\]'"):
        sp.export_nir(network(), tmp_path / "graph.nir")
    (tmp_path / "graph.nir").touch()
    with pytest.raises(sp.UserError, match=r"pip install 'spikeproof\[nir\]'"):
        sp.import_nir(tmp_path / "graph.nir")
