"""Are margins bounds? Of tiny networks every image of a box is tried, or nearly, and by hand where that is possible."""

import random

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.bounds import Box, How, Range, bounded, margins, prepared, rule
from spikeproof.bounds.rules import RULES
from spikeproof.bounds.signals import Signal
from spikeproof.choices import short
from spikeproof.snn.stateful import StatefulNeuron

NEURONS = [
    sp.IF(),
    sp.IF(reset="soft", charge=0.5),
    sp.LIF(leak=0.5),
    sp.LIF(leak=0.9, reset="soft", charge=0.3),
    sp.PLIF(learn_threshold=True),
    sp.DLIF(),
    sp.GradedIF(charge=0.5),
    sp.IF(reset="soft", charge=0.5, two_phases=True),
    sp.GradedIF(charge=0.5, two_phases=True),
    sp.SynapticLIF(two_phases=True),
    sp.SynapticLIF(charge=0.4),
    sp.AdaptiveLIF(),
    sp.AdaptiveLIF(reset="soft"),
    sp.ReLU(),
    sp.QCFS(),
]
ENCODERS = [sp.Direct(), sp.Latency()]
READOUTS = [sp.MeanCurrent(), sp.LastPotential(), sp.FirstSpike()]
WAYS = [How(trains=False), How()]


def tiny(neuron, seed, pixels, encoder=sp.Direct(), readout=sp.MeanCurrent(), architecture=None, steps=None):
    """A network with weights and thresholds that spread its potentials over both sides of the threshold."""
    ann = isinstance(neuron, sp.ReLU | sp.QCFS)
    architecture = architecture or sp.MLP(hidden=(6, 5, 4), norm=bool(seed % 2))
    shape = (1, 1, pixels) if isinstance(pixels, int) else pixels
    steps = 1 if ann else steps or 1 + seed % 6
    choices = sp.Network(architecture=architecture, neuron=neuron, encoder=encoder, readout=readout, steps=steps)
    return spread(choices.build(shape, 3, seed=seed), seed)


def spread(network, seed):
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.mul_(2)
            elif weights.ndim == 1:
                weights.add_(0.2 * torch.randn(weights.shape, generator=drawn))
        for norm in network.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.running_mean.copy_(0.3 * torch.randn(norm.running_mean.shape, generator=drawn))
                norm.running_var.copy_(0.5 + torch.rand(norm.running_var.shape, generator=drawn))
    return network.eval()


def box_around(x, eps):
    return Range(*((x + change).clamp(0, 1) for change in (-eps, eps)))


def images_in(box, pixels):
    """A grid with all corners where there are up to three pixels; else drawn, half of them corners."""
    if pixels <= 3:
        side = torch.linspace(0, 1, {1: 100, 2: 12, 3: 5}[pixels])
        part = torch.stack(torch.meshgrid(*[side] * pixels, indexing="ij"), -1).reshape(-1, *box.low.shape[1:])
    else:
        part = torch.rand(600, *box.low.shape[1:])
        part[::2] = part[::2].round()
    return torch.minimum(torch.maximum(box.low + part * (box.high - box.low), box.low), box.high)


def least_margins(network, images, y):
    with torch.no_grad():
        z = network(images)
    return (z[:, y : y + 1] - z).amin(0).double()


def in_doubles(box):
    return Range(box.low.double(), box.high.double())


@pytest.mark.parametrize("neuron", NEURONS, ids=short)
@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_no_image_of_the_box_is_below_the_bounds(neuron, pixels):
    for seed in range(2):
        draw = random.Random(f"{neuron} {pixels} {seed}")
        encoder = sp.Direct() if getattr(neuron, "two_phases", False) else draw.choice(ENCODERS)
        network = tiny(neuron, seed, pixels, encoder, draw.choice(READOUTS))
        box = box_around(torch.rand(1, 1, 1, pixels), draw.choice([0.01, 0.05, 0.2]))
        images = images_in(box, pixels)
        for y in range(3):
            true = least_margins(network, images, y)
            steps, trains = (margins(prepared(network), in_doubles(box), torch.tensor([y]), how)[0] for how in WAYS)
            assert (steps <= true + 1e-9).all()
            assert (trains <= true + 1e-9).all()
            assert (steps <= trains + 1e-5).all()  # what is known of trains is known beside


ARCHITECTURES = [
    sp.SmallCNN(widths=(3, 4, 5)),
    sp.VGG(stages=((3,), (4,)), hidden=(5,), dropout=0.1),
    sp.SpikingResNet(widths=(3, 4), blocks=(1, 1)),
    sp.SEWResNet(widths=(3, 4), blocks=(1, 1)),
    sp.SEWResNet(depth=50, widths=(2, 3), blocks=(1, 1)),
    sp.WideResNet(widths=(3, 4, 5), blocks=(1, 1, 1)),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("neuron", [sp.LIF(), sp.IF(reset="soft"), sp.ReLU()], ids=lambda one: type(one).__name__)
def test_every_architecture(architecture, neuron):
    network = tiny(neuron, 3, (1, 8, 8), architecture=architecture, steps=3)
    box = box_around(torch.rand(1, 1, 8, 8), 0.02)
    true = least_margins(network, images_in(box, 64), 1)
    for how in WAYS:
        assert (margins(prepared(network), in_doubles(box), torch.tensor([1]), how)[0] <= true).all()


def test_a_stem_with_max_pooling():
    network = tiny(sp.LIF(), 1, (1, 66, 66), architecture=sp.SEWResNet(widths=(2, 2), blocks=(1, 1)), steps=2)
    x = torch.rand(1, 1, 66, 66)
    true = least_margins(network, x, 0)
    for how in WAYS:
        found = margins(prepared(network), in_doubles(box_around(x, 0.0)), torch.tensor([0]), how)[0]
        assert torch.allclose(found, true, atol=1e-3)


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda one: type(one).__name__)
def test_a_box_of_one_image_has_its_own_margins(neuron):
    network, x = tiny(neuron, 5, 3, steps=4), torch.rand(4, 1, 1, 3)
    with torch.no_grad():
        z = network(x)
    y = torch.tensor([0, 1, 2, 0])
    for how in WAYS:
        found = margins(prepared(network), Range(x.double(), x.double()), y, how)
        assert torch.allclose(found, (z.gather(1, y.unsqueeze(1)) - z).double(), atol=1e-3)


def test_bounds_are_looser_in_larger_boxes():
    network, x = tiny(sp.LIF(), 2, 3, steps=4), torch.rand(1, 1, 1, 3)
    for how in WAYS:
        found = torch.cat(
            [margins(prepared(network), in_doubles(box_around(x, 0.01 * k)), torch.tensor([0]), how) for k in range(8)]
        )
        assert (found.diff(dim=0) <= 1e-12).all()


class Halved(nn.Linear):
    """Computes something else than a linear layer."""

    def forward(self, x):
        return super().forward(x) / 2


class Own(nn.Module):
    def forward(self, x):
        return x.square()


def with_layer(layer):
    network = tiny(sp.LIF(), 0, 3, architecture=sp.MLP(hidden=(3,)))
    network.body.insert(1, layer)
    return network


@pytest.mark.parametrize("layer", [Halved(3, 3), Own(), nn.Tanh()], ids=lambda one: type(one).__name__)
def test_a_layer_without_a_rule_is_refused_by_its_name(layer):
    with pytest.raises(sp.UserError, match=f"no rule says what a {type(layer).__name__} makes of bounds"):
        sp.IntervalBounds().prover(with_layer(layer))


def test_a_rule_of_ones_own():
    @rule(Own)
    def of_own(layer: Own, signal: Signal, how: How) -> Signal:
        low, high = signal.each
        least = torch.where((low < 0) & (high > 0), 0.0, torch.minimum(low.abs(), high.abs()))
        return Box(Range(least.square(), torch.maximum(low.square(), high.square())))

    try:
        network, box = with_layer(Own()), box_around(torch.rand(1, 1, 1, 3), 0.1)
        true = least_margins(network, images_in(box, 3), 0)
        assert (margins(prepared(network), in_doubles(box), torch.tensor([0]), How())[0] <= true + 1e-9).all()
    finally:
        del RULES[Own]


def test_hooks_and_equations_of_ones_own_are_refused():
    class Plain(StatefulNeuron):
        def charged(self, state, current):
            return state[0] + current, state[1]

    with pytest.raises(sp.UserError, match="no rule says what neurons of the equations of Plain"):
        sp.IntervalBounds().prover(tiny(Plain(), 0, 3))
    hooked = tiny(sp.LIF(), 0, 3)
    layer = hooked.body[2]
    layer.register_forward_pre_hook(lambda module, inputs: None)
    with pytest.raises(sp.UserError, match="a LeakyLayer has hooks"):
        bounded(layer, Box(Range(torch.zeros(1, 1, 6), torch.zeros(1, 1, 6))), How())


def test_by_hand():
    """One pixel x in [0.4, 0.6], weight 2: current c in [0.8, 1.2], two steps, no leak lost, threshold 1, hard reset.

    Trains: c < 1 gives 0 1, c >= 1 gives 1 1. So the second step always spikes, and the mean is 1/2 or 1. One step at a
    time: u1 in [.8, 1.2] may spike; what is kept lies in [0, 1]; u2 in [.8, 2.2] may or may not spike: the mean is
    0 to 1. Logits are (mean, 0.4), so the margin of class 0 is 0.1 by trains, and -0.4 by steps.
    """
    network = sp.Network(architecture=sp.MLP(hidden=(1,)), neuron=sp.IF(), steps=2).build((1, 1, 1), 2).eval()
    _, first, _, last = network.body
    with torch.no_grad():
        first[0].weight.fill_(2.0)
        first[0].bias.zero_()
        last[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        last[0].bias.copy_(torch.tensor([0.0, 0.4]))
    box = Range(torch.full((1, 1, 1, 1), 0.4).double(), torch.full((1, 1, 1, 1), 0.6).double())
    steps, trains = (margins(prepared(network), box, torch.tensor([0]), how)[0] for how in WAYS)
    assert steps.tolist() == pytest.approx([0, -0.4], abs=1e-5)
    assert trains.tolist() == pytest.approx([0, 0.1], abs=1e-5)
