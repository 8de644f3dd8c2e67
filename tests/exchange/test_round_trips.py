"""Do SpikingJelly, snnTorch, Norse and spikeproof itself compute the same spikes from an exported graph?"""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import spikeproof as sp
from benchmarks import hardware
from spikeproof.exchange.consumers import CONSUMERS
from tests.exchange.conftest import ARCHITECTURES, NEURONS, Made

STEPS = 4
NEEDS = {
    "spikeproof": ("nir",),
    "spikingjelly": ("spikingjelly.activation_based.nir_exchange",),
    "snntorch": ("snntorch", "nirtorch"),
    "norse": ("norse.torch", "nirtorch"),
}


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("reader", NEEDS)
def test_every_spike_of_every_step_is_the_same(
    reader: str, architecture: str, neuron: str, network: Made, images: torch.Tensor, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of what is deprecated
        for package in NEEDS[reader]:
            pytest.importorskip(package)
        model, file = network(architecture, neuron), tmp_path / "graph.nir"
        target = "nir" if reader == "spikeproof" else reader
        if architecture.endswith("Net") and not CONSUMERS[target].branches:
            with pytest.raises(sp.UserError, match="networks without branches can be written"):
                sp.export_nir(model, file, target)
            assert not file.exists()
            return
        sp.export_nir(model, file, target)
        x = images.double().expand(STEPS, *images.shape)
        ours, theirs = hardware.by_us(model.double(), x), hardware.READERS[reader](file, x)
    assert sum(float(spikes.sum()) for spikes in ours.spikes) > 100
    assert len(ours.spikes) == len(theirs.spikes)
    assert all(torch.equal(one, other) for one, other in zip(ours.spikes, theirs.spikes, strict=True))
    torch.testing.assert_close(ours.outputs, theirs.outputs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", sorted(CONSUMERS))
def test_a_potential_equal_to_the_threshold_fires_on_the_other_side_too(
    target: str, network: Made, tmp_path: Path
) -> None:
    """NIR fires above the threshold, we at it: without care a current of exactly 1 would say the difference."""
    model = sp.Network(architecture=sp.MLP(hidden=(1,)), neuron=sp.IF(), steps=2).build((1, 1, 1), 2)
    with torch.no_grad():
        for linear in (model.body[1][0], model.body[3][0]):
            linear.weight.fill_(1.0)
            linear.bias.zero_()
    x = torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)
    assert torch.equal(model(x)[:, 0], torch.tensor([1.0, 0.5]))
    sp.export_nir(model, tmp_path / "edge.nir", target)
    if target == "nir":
        assert torch.equal(sp.import_nir(tmp_path / "edge.nir")(x), model(x))
        return
    pytest.importorskip("nirtorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = hardware.READERS[target](tmp_path / "edge.nir", x.expand(2, *x.shape))
    assert torch.equal(seen.outputs.mean(0), model(x))


def test_what_our_export_says_is_read_again(network: Made, images: torch.Tensor, tmp_path: Path) -> None:
    """Steps, encoder and readout come back from the metadata; a stream of noise is the same under the same seed."""
    model = network(encoder=sp.Poisson(margin=0.1), readout=sp.LastPotential(leak=0.7), steps=6)
    sp.export_nir(model, tmp_path / "graph.nir")
    other = sp.import_nir(tmp_path / "graph.nir")
    assert (other.encoder, other.readout, other.steps) == (model.encoder, model.readout, 6)
    torch.manual_seed(0)
    expected = model(images)
    torch.manual_seed(0)
    torch.testing.assert_close(other(images), expected, rtol=1e-4, atol=1e-5)


def test_event_frames_go_the_same_way(tmp_path: Path) -> None:
    chosen = sp.Network(architecture=ARCHITECTURES["SmallCNN"], neuron=NEURONS["IF"], encoder=sp.Frames())
    model = chosen.build((3, 2, 8, 8), 5).eval()
    sp.export_nir(model, tmp_path / "graph.nir")
    other = sp.import_nir(tmp_path / "graph.nir")
    frames = torch.poisson(torch.full((4, 3, 2, 8, 8), 0.4), generator=torch.Generator().manual_seed(0))
    assert other.shape == (3, 2, 8, 8)
    assert model(frames).std() > 0
    torch.testing.assert_close(other(frames), model(frames), rtol=1e-4, atol=1e-5)
    with pytest.raises(sp.UserError, match="3 time steps"):
        sp.import_nir(tmp_path / "graph.nir", shape=(5, 2, 8, 8))(frames.repeat(1, 2, 1, 1, 1)[:, :5])


def test_its_gradient_is_that_of_the_network(network: Made, images: torch.Tensor, tmp_path: Path) -> None:
    model = network("WideResNet")
    sp.export_nir(model, tmp_path / "graph.nir")
    x = images.double().requires_grad_()
    slopes = [
        torch.autograd.grad(net.double()(x)[:, 3].sum(), x)[0]
        for net in (sp.attack_view(model.double()), sp.attack_view(sp.import_nir(tmp_path / "graph.nir").double()))
    ]
    assert slopes[0].abs().sum() > 0
    torch.testing.assert_close(*slopes)


def test_the_benchmark_makes_a_table(monkeypatch: pytest.MonkeyPatch, network: Made) -> None:
    made: Callable[..., object] = lambda chosen: network("MLP", "IF")  # noqa: E731
    monkeypatch.setattr(hardware, "NETWORKS", {"MLP": ARCHITECTURES["MLP"]})
    monkeypatch.setattr(hardware, "NEURONS", {"IF": sp.IF()})
    monkeypatch.setattr(hardware, "READERS", {"spikeproof": hardware.by_spikeproof})
    monkeypatch.setattr(hardware, "trained", made)
    found = hardware.measured()
    assert found == {"MLP, IF": {"spikeproof": "equal"}}
    assert hardware.table(found).splitlines() == ["| network | spikeproof |", "|---|---|", "| MLP, IF | equal |"]
