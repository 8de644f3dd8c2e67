"""Are operations counted as by hand, and as NeuroBench's own package counts them?"""

import warnings

import pytest
import torch
from torch import Tensor, nn

import spikeproof as sp
from spikeproof.evaluation.consumption import spent
from spikeproof.snn.neurons import ACTIVATIONS, GradedLayer, SpikingLayer
from spikeproof.snn.operations import Operations, operations

STEPS = 3


def network(architecture: sp.Architecture, neuron: sp.Neuron, **settings: object) -> sp.SpikingNetwork:
    steps = 1 if isinstance(neuron, sp.ReLU) else STEPS
    model = sp.Network(architecture=architecture, neuron=neuron, steps=steps, **settings).build((1, 8, 8), 10)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight[module.weight.abs() < 0.02] = 0.0  # some connections are missing
    return model.eval()


@pytest.fixture
def x() -> Tensor:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return images * (images > 0.3)


def counted(model: nn.Module, x: Tensor) -> Operations:
    with torch.no_grad():
        return operations(model, x)


def test_a_linear_network_by_hand(x: Tensor) -> None:
    model = network(sp.MLP(hidden=(12,)), sp.LIF(threshold=0.2))
    with torch.no_grad(), sp.record(model) as inside:
        model(x)
    (spikes,) = inside.spikes.values()
    first, second = (model.body[place][0].weight for place in (1, 3))
    found = list(counted(model, x).layers.values())
    assert spikes.sum() > 10
    by_pixel, by_neuron = ((weight != 0).sum(0).double() for weight in (first, second))
    assert torch.equal(found[0].macs, (x.flatten(1) != 0).double() @ by_pixel)
    assert torch.equal(found[1].acs, (spikes.double() @ by_neuron).sum(0))
    assert found[0].acs.sum() == found[1].macs.sum() == 0
    assert [layer.dense for layer in found] == [64 * 12, STEPS * 12 * 10]
    assert [layer.constant for layer in found] == [True, False]


def test_behind_a_mean_pooling_are_multiplications_or_spikes_one_by_one(x: Tensor) -> None:
    """NeuroBench's reading, and the same network with a sum in the place of the mean."""
    model = network(sp.SmallCNN(widths=(4, 6, 8)), sp.IF(threshold=0.3))
    with torch.no_grad(), sp.record(model) as inside:
        model(x)
    _, before, last = inside.spikes.values()
    found = list(counted(model, x).layers.values())
    assert [bool(layer.macs.any()) for layer in found] == [True, False, True, True]
    assert found[0].spikewise is None
    weight = model.body[7][2].weight != 0
    ones = weight.sum(0).double().view(8, 2, 2).repeat_interleave(2, 1).repeat_interleave(2, 2)
    spikes = nn.functional.interpolate(last.flatten(0, 1), size=(4, 4)).double()
    assert torch.equal(found[3].spikewise, (spikes * ones).flatten(1).sum(1).view(STEPS, -1).sum(0))
    assert found[2].spikewise.sum() >= found[2].macs.sum() > 0
    assert before.sum() > 100


def test_spikes_that_weigh_their_threshold_are_those_of_smaller_weights(x: Tensor) -> None:
    graded = network(sp.SmallCNN(widths=(4, 6, 8)), sp.GradedIF(threshold=0.3))
    plain = network(sp.SmallCNN(widths=(4, 6, 8)), sp.IF(threshold=0.3, reset="soft"))
    with torch.no_grad():
        for layer in [m for m in plain.modules() if isinstance(m, nn.Conv2d | nn.Linear)][1:]:
            layer.weight.mul_(0.3)
    torch.testing.assert_close(graded(x), plain(x))
    weighed, taken_in = (list(counted(model, x).layers.values()) for model in (graded, plain))
    assert weighed[1].macs.any()
    assert taken_in[1].acs.any()
    for one, other in zip(weighed[1:], taken_in[1:], strict=True):
        assert torch.equal(one.spikewise, other.spikewise)
        assert one.spikewise.sum() > 0


def test_a_shortcut_reads_spikes_of_the_layer_that_made_them(x: Tensor) -> None:
    """In a residual block the shortcut is called after the branch, and reads what came before it."""
    model = network(sp.SpikingResNet(widths=(3, 4), blocks=(1, 1)), sp.GradedIF(charge=0.5))
    for number, layer in enumerate(m for m in model.modules() if isinstance(m, GradedLayer)):
        layer.threshold.fill_(0.1 / 2**number)
    shortcut = next(layer for name, layer in counted(model, x).layers.items() if "shortcut" in name)
    assert shortcut.macs.sum() > 100
    assert torch.equal(shortcut.spikewise, shortcut.macs)


def test_totals_add_up(x: Tensor) -> None:
    model = network(sp.SmallCNN(widths=(4, 6, 8)), sp.IF(threshold=0.3))
    found = counted(model, x)
    total, halves = spent([found]), spent([counted(model, x[:2]), counted(model, x[2:])])
    assert total == pytest.approx(halves.__class__(**vars(halves))) or vars(total) == pytest.approx(vars(halves))
    assert total.nanojoules == pytest.approx(4.6e-3 * total.effective_macs + 0.9e-3 * total.effective_acs)
    assert total.nanojoules_spikewise < total.nanojoules
    assert total.macs_of_further_steps == pytest.approx((STEPS - 1) * total.macs_spikewise)  # the first layer's


def test_spikes_that_are_summed_stay_spikes(x: Tensor) -> None:
    model = network(sp.SEWResNet(widths=(4, 8), blocks=(1, 1)), sp.LIF(threshold=0.3))
    assert all(layer.spikewise is not None for layer in list(counted(model, x).layers.values())[1:])


def test_nothing_stays_on_the_model(x: Tensor) -> None:
    model = network(sp.SmallCNN(widths=(4, 6, 8)), sp.LIF())
    counted(model, x)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_of_another_library(x: Tensor) -> None:
    """Step by step, or all steps at once: the same as ours of the same weights."""
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    ours = network(sp.MLP(hidden=(12,)), sp.IF(threshold=0.2))
    first, second = ours.body[1][0], ours.body[3][0]

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), first, neuron.IFNode(v_threshold=0.2), second)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.layers(x) for _ in range(STEPS)]).mean(0)

    expected, found = (spent([counted(model, x)]) for model in (ours, sp.adapt(Theirs().eval())))
    assert found.effective_acs == expected.effective_acs > 0
    assert found.activation_sparsity == pytest.approx(expected.activation_sparsity)
    assert found.effective_macs == STEPS * expected.effective_macs  # the first layer at every step


@pytest.mark.parametrize(
    ("architecture", "neuron"),
    [
        (sp.MLP(hidden=(12, 12)), sp.LIF(threshold=0.2)),
        (sp.SmallCNN(widths=(4, 6, 8)), sp.IF(reset="soft", threshold=0.3)),
        (sp.SmallCNN(widths=(4, 6, 8)), sp.ReLU()),
    ],
    ids=["MLP, LIF", "SmallCNN, IF", "SmallCNN, ReLU"],
)
def test_neurobench_counts_the_same(architecture: sp.Architecture, neuron: sp.Neuron, x: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models, workload = (pytest.importorskip(f"neurobench.{name}") for name in ("models", "metrics.workload"))
        static = pytest.importorskip("neurobench.metrics.static")
    model = network(architecture, neuron)
    theirs = models.TorchModel(model)
    for kind in (SpikingLayer, *ACTIVATIONS):
        theirs.add_activation_module(kind)
    synaptic, sparsity = workload.SynapticOperations(), workload.ActivationSparsity()
    theirs.register_hooks()
    with torch.no_grad():
        said = theirs(x)
    found = synaptic(theirs, said, (x, None))
    sparse = sparsity(theirs, said, (x, None))
    theirs.cleanup_hooks()
    ours = sp.energy(model, x)
    assert ours.clean.effective_macs == pytest.approx(found["Effective_MACs"])
    assert ours.clean.effective_acs == pytest.approx(found["Effective_ACs"])
    assert ours.clean.dense == pytest.approx(found["Dense"])
    assert ours.clean.activation_sparsity == pytest.approx(sparse)
    assert ours.footprint == static.Footprint()(theirs)
    assert ours.connection_sparsity == pytest.approx(static.ConnectionSparsity()(theirs), abs=1e-3)
