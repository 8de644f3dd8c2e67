"""Are thresholds the percentiles of the currents that arrive, layer by layer, and statistics those of the images?"""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.conversion import Calibration, convert
from spikeproof.conversion.conversion import spiking_layers
from spikeproof.evaluation import predict
from spikeproof.randomness import seeded
from spikeproof.snn import IF, LIF, MLP, GradedIF, Network, Neuron, ReLU, SmallCNN, SpikingNetwork
from spikeproof.snn.dynamics import Leaky, integrate
from spikeproof.snn.gradients import Triangle

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def thresholds(model: SpikingNetwork) -> list[float]:
    return [layer.threshold.item() for layer in spiking_layers(model)]


def identity() -> SpikingNetwork:
    """Two pixels are the currents of two units, as they are."""
    ann = Network(architecture=MLP(hidden=(2,)), neuron=ReLU(), steps=1).build((1, 1, 2), 2)
    with torch.no_grad():
        ann.body[1][0].weight.copy_(torch.eye(2))
    return ann.eval()


def calibrated(ann: SpikingNetwork, x: Tensor, neuron: Neuron = IF(), seed: int = 0, **fields: object) -> list[float]:
    network = Network(architecture=MLP(hidden=(2,)), neuron=neuron, steps=3)
    return thresholds(convert(ann, network, x, Calibration(**fields), seed=seed))


@pytest.mark.parametrize("neuron", [IF(), IF(learn_threshold=True), LIF(), GradedIF(threshold=5.0)], ids=str)
def test_thresholds_by_hand(neuron: Neuron) -> None:
    """100 images have the 200 currents 1/200 ... 200/200. Of n entries the k-th is taken, k = 1 + round(p (n - 1)).

    p = 0.997: k = 1 + round(198.4) = 199, 0.995, times 0.3. p = 1/2: k = 1 + round(99.5) = 101, 0.505. p = 0.01:
    k = 1 + round(1.99) = 3, 0.015, which is floored at 0.03 before the scale and after it.
    """
    x = (torch.arange(1, 201) / 200).view(100, 1, 1, 2)
    one = {"batches": 1, "batch": 100}
    assert calibrated(identity(), x, neuron, **one) == pytest.approx([0.3 * 0.995])
    assert calibrated(identity(), x, neuron, scale=1.0, **one) == pytest.approx([0.995])
    assert calibrated(identity(), x, neuron, percentile=0.5, scale=2.0, **one) == pytest.approx([1.01])
    assert calibrated(identity(), x, neuron, percentile=0.01, scale=2.0, **one) == pytest.approx([0.06])
    assert calibrated(identity(), x, neuron, percentile=0.01, scale=0.5, **one) == pytest.approx([0.03])


def test_the_largest_of_all_batches_counts() -> None:
    """Nine images of 0.2 and one of 0.9, in pairs: the lower half of a pair's currents is 0.2 in every one of them.

    k = 1 + round(p 3) is 3 for p = 2/3: in the pair of the bright image that is 0.9.
    """
    x = torch.full((10, 1, 1, 2), 0.2)
    x[4] = 0.9
    for seed in range(3):
        assert calibrated(identity(), x, seed=seed, batch=2, percentile=0.3, scale=1.0) == pytest.approx([0.2])
        assert calibrated(identity(), x, seed=seed, batch=2, percentile=2 / 3, scale=1.0) == pytest.approx([0.9])
    few = [calibrated(identity(), x, seed=s, batch=2, batches=2, percentile=2 / 3, scale=1.0)[0] for s in range(30)]
    assert {round(value, 4) for value in few} == {0.2, 0.9}  # four of the ten images were looked at


def normed(hidden: tuple[int, ...], seed: int = 0) -> SpikingNetwork:
    """An MLP whose batch norm has a scale, a shift and statistics of its own, all unlike those of the images."""
    ann = Network(architecture=MLP(hidden=hidden, norm=True), neuron=ReLU(), steps=1).build((1, 2, 3), 4, seed=seed)
    torch.manual_seed(seed)
    for norm in (m for m in ann.modules() if isinstance(m, nn.BatchNorm1d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, 0.0, 0.5)
        nn.init.uniform_(norm.running_mean, 5, 6)
        nn.init.uniform_(norm.running_var, 20, 30)
    return ann.eval()


def by_batch(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A linear layer and its batch norm, by formula: currents of `x` ``[T, B, n]``, mean and unbiased variance."""
    z = x @ layer[0].weight.T + layer[0].bias
    mean, variance = z.mean((0, 1)), z.var((0, 1), correction=0)
    n = z.shape[0] * z.shape[1]
    currents = (z - mean) / (variance + 1e-5).sqrt() * layer[1].weight + layer[1].bias
    return currents, mean, variance * n / (n - 1)


def entry(x: Tensor, share: float) -> Tensor:
    ordered = x.flatten().sort().values
    return ordered[round(share * (len(ordered) - 1))]


def spikes(currents: Tensor, threshold: Tensor, steps: int) -> Tensor:
    """Those of IF with a hard reset."""
    currents = currents.expand(steps, *currents.shape[1:])
    return integrate(currents, Leaky(torch.tensor(1.0), threshold), Triangle()).spikes


@torch.no_grad()
def test_two_layers_in_order_and_the_statistics_by_formula() -> None:
    """The second layer's currents are those of spikes of the first at its unscaled threshold, over 7 steps.

    15 images come in batches of 5. Every layer has a pass of its own over the data, and so have the statistics at the
    end, which are those of 3 steps and scaled thresholds: plain averages over the batches.
    """
    ann, share, scale = normed((5, 6)), 0.9, 0.3
    x = torch.rand(15, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    with seeded(4, torch.device("cpu")):
        passes = [[x[who] for who in torch.randperm(15).split(5)] for _ in range(3)]
    first, second = ann.body[1], ann.body[3]

    def currents_of(batch: Tensor) -> Tensor:
        return by_batch(first, batch.flatten(1).unsqueeze(0))[0]

    one = torch.stack([entry(currents_of(batch), share) for batch in passes[0]]).max()
    two = torch.stack(
        [entry(by_batch(second, spikes(currents_of(batch), one, 7))[0], share) for batch in passes[1]]
    ).max()
    calibration = Calibration(percentile=share, batches=3, batch=5, steps=7, scale=scale)
    network = Network(architecture=MLP(hidden=(5, 6), norm=True), neuron=IF(learn_threshold=True), steps=3)
    snn = convert(ann, network, x, calibration, seed=4)
    assert thresholds(snn) == pytest.approx([scale * one.item(), scale * two.item()], rel=1e-5)
    scaled_first = torch.stack(
        [entry(by_batch(second, spikes(currents_of(batch), scale * one, 7))[0], share) for batch in passes[1]]
    ).max()
    assert abs(scaled_first - two) > 0.02  # the order of scaling matters in this example

    expected: list[list[Tensor]] = [[], [], [], []]
    for batch in passes[2]:
        currents, *moments = by_batch(first, batch.flatten(1).unsqueeze(0))
        moments += by_batch(second, spikes(currents, scale * one, 3))[1:]
        for kept, value in zip(expected, moments, strict=True):
            kept.append(value)
    norms = [m for m in snn.modules() if isinstance(m, nn.BatchNorm1d)]
    found = [t for norm in norms for t in (norm.running_mean, norm.running_var)]
    for statistic, values in zip(found, expected, strict=True):
        torch.testing.assert_close(statistic, torch.stack(values).mean(0), rtol=1e-4, atol=1e-5)
    assert [norm.momentum for norm in norms] == [0.1, 0.1]
    assert [int(norm.num_batches_tracked) for norm in norms] == [3, 3]


def test_a_last_image_alone_is_left_out() -> None:
    """11 images in batches of 5 leave one over, which batch norm could not take its statistics from."""
    x = torch.rand(11, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    network = Network(architecture=MLP(hidden=(5,), norm=True), neuron=IF(), steps=3)
    snn = convert(normed((5,)), network, x, Calibration(batch=5, steps=4))
    assert snn.body[1][1].num_batches_tracked == 2
    assert snn(x).isfinite().all()


def test_a_converted_network_is_usable_before_any_fine_tuning(trained_ann: SpikingNetwork, digits: Examples) -> None:
    """Ten classes: chance is 10%. Without the new statistics it would fall far behind."""
    x_train, _, x, y = digits
    network = Network(architecture=SmallCNN(widths=(8, 16, 16)), neuron=IF(learn_threshold=True), steps=4)
    calibration = Calibration(steps=40, batches=5, batch=32)  # too long and too small to be compiled, which takes long
    snn = convert(trained_ann, network, x_train, calibration)

    def accuracy(model: SpikingNetwork) -> float:
        return (predict(model, x).argmax(1) == y).double().mean().item()

    assert accuracy(snn) > 0.75
    stale = convert(trained_ann, network, x_train, calibration)
    weights = {k: v for k, v in trained_ann.state_dict().items() if k.endswith(("running_mean", "running_var"))}
    stale.load_state_dict(weights, strict=False)
    assert accuracy(stale) < accuracy(snn) - 0.2
