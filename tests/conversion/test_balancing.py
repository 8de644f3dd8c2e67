"""Do rates stand for activations? Thresholds by hand, and logits that tend to the ANN's as steps grow."""

import pytest
import torch
from torch import Tensor

from spikeproof.choices import UserError, short
from spikeproof.conversion import LearnedBounds, Quantisation, ThresholdBalancing, convert
from spikeproof.conversion.conversion import spiking_layers
from spikeproof.evaluation import predict
from spikeproof.snn import (
    MLP,
    QCFS,
    Architecture,
    GradedIF,
    Network,
    ReLU,
    SmallCNN,
    SpikingNetwork,
    WideResNet,
    record,
)

Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def two_units(neuron: object = None) -> SpikingNetwork:
    """Two pixels -> units with the currents x_1 and 2 x_2 - 1 -> two classes, their sum and their difference."""
    model = Network(architecture=MLP(hidden=(2,)), neuron=neuron or ReLU(), steps=1).build((1, 1, 2), 2)
    with torch.no_grad():
        model.body[1][0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        model.body[1][0].bias.copy_(torch.tensor([0.0, -1.0]))
        model.body[3][0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    return model.eval()


def graded(steps: int, architecture: Architecture, charge: float = 0.0, two_phases: bool = False) -> Network:
    neuron = GradedIF(charge=charge, two_phases=two_phases)
    return Network(architecture=architecture, neuron=neuron, steps=steps)


PAIRS = torch.tensor([[0.1, 0.5], [0.3, 0.9], [0.9, 0.2], [0.6, 0.7]]).view(4, 1, 1, 2)


def threshold(conversion: ThresholdBalancing, seed: int = 0) -> float:
    snn = convert(two_units(), graded(3, MLP(hidden=(2,))), PAIRS, conversion, seed=seed)
    return snn.body[2].threshold.item()


def test_the_threshold_is_the_percentile_of_the_activations() -> None:
    """The activations of four images are (0.1, 0), (0.3, 0.8), (0.9, 0) and (0.6, 0.4).

    In order they are 0, 0, 0.1, 0.3, 0.4, 0.6, 0.8, 0.9. A share p takes the entry 1 + round(7 p): 1 the last, 0.85 the
    seventh, 0.7 the sixth, 0.4 the fourth.
    """
    for share, entry in ((1.0, 0.9), (0.999, 0.9), (0.85, 0.8), (0.7, 0.6), (0.4, 0.3)):
        assert threshold(ThresholdBalancing(percentile=share)) == pytest.approx(entry), share


def test_the_largest_percentile_of_all_batches_counts() -> None:
    """In batches of one image the lower half of two activations is the smaller: 0, 0.3, 0 and 0.4."""
    assert threshold(ThresholdBalancing(percentile=0.5, batches=4, batch=1)) == pytest.approx(0.4)
    few = ThresholdBalancing(percentile=1.0, batches=2, batch=1)  # two of the four images are looked at, once each
    found = {round(threshold(few, seed=seed), 4) for seed in range(30)}
    assert found == {0.6, 0.8, 0.9}  # the higher of the pair; that of the first image, 0.1, is always the lower


def test_converted_logits_by_hand() -> None:
    """Two images, three steps, soft reset, threshold 0.9: the highest activation.

    pixels        currents      potentials, where * fires                   means         logits
    0.7, 0.7      0.7, 0.4      0.7, 1.4*, 1.2* and 0.4, 0.8, 1.2*          0.6, 0.3      0.9, 0.3
    0.9, 0.2      0.9, -0.6     0.9*, 0.9*, 0.9* and never                  0.9, 0        0.9, 0.9

    Those of the ANN are 1.1, 0.3 and 0.9, 0.9.
    """
    snn = convert(two_units(), graded(3, MLP(hidden=(2,))), PAIRS, ThresholdBalancing(percentile=1.0))
    images = torch.tensor([[0.7, 0.7], [0.9, 0.2]]).view(2, 1, 1, 2)
    torch.testing.assert_close(snn(images), torch.tensor([[0.9, 0.3], [0.9, 0.9]]))
    torch.testing.assert_close(two_units()(images), torch.tensor([[1.1, 0.3], [0.9, 0.9]]))


@pytest.mark.parametrize(
    "architecture",
    [MLP(hidden=(20, 15)), SmallCNN(widths=(4, 6, 8)), WideResNet(depth=10, widths=(4, 5, 6))],
    ids=short,
)
def test_logits_tend_to_those_of_the_ann_as_steps_grow(architecture: Architecture) -> None:
    """With the highest activation as threshold no unit is cut off, and the error of a rate falls like 1 / T."""
    ann = Network(architecture=architecture, neuron=ReLU(), steps=1).build((1, 8, 8), 5, mean=(0.5,), std=(0.3,))
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(30):
            ann.train()(x)
        expected = ann.eval()(x)
        errors = []
        for steps in (4, 64, 512):
            snn = convert(ann, graded(steps, architecture), x, ThresholdBalancing(percentile=1.0))
            errors.append(((snn(x) - expected).square().mean() / expected.var()).sqrt().item())
    assert errors[0] > 5 * errors[1] > 25 * errors[2], errors
    assert errors[2] < 0.03


def test_a_converted_network_knows_what_its_ann_knows(trained_ann: SpikingNetwork, digits: Examples) -> None:
    x_train, _, x, y = digits
    snn = convert(trained_ann, graded(8, SmallCNN(widths=(8, 16, 16)), charge=0.5), x_train, ThresholdBalancing())
    known, kept = (accuracy(model, x, y) for model in (trained_ann, snn))
    assert kept > known - 0.02


def accuracy(model: SpikingNetwork, x: Tensor, y: Tensor) -> float:
    return (predict(model, x).argmax(1) == y).double().mean().item()


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_with_one_hidden_layer_qcfs_loses_nothing(levels: int) -> None:
    """Its currents do not change in time: after as many steps as levels the logits are the ANN's own."""
    architecture = MLP(hidden=(30,))
    ann = Network(architecture=architecture, neuron=QCFS(levels=levels, bound=1.5), steps=1).build((1, 8, 8), 5).eval()
    with torch.no_grad():
        ann.body[1][0].weight.mul_(4)
        ann.body[2].bound.fill_(1.3)  # as training would move it
    x = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    snn = convert(ann, graded(levels, architecture, charge=0.5), x, LearnedBounds())
    assert snn.body[2].threshold.item() == pytest.approx(1.3)
    with record(snn) as seen:
        torch.testing.assert_close(snn(x), ann(x), rtol=0, atol=1e-4)
    assert 0.05 < next(iter(seen.rates().values())) < 0.95
    with pytest.raises(UserError, match="set charge to"):
        convert(ann, graded(levels, architecture), x, LearnedBounds())


@pytest.mark.parametrize("architecture", [SmallCNN(widths=(4, 5, 6)), MLP(hidden=(20, 15, 10))], ids=["CNN", "MLP"])
def test_in_two_phases_qcfs_loses_nothing_at_any_depth(architecture: Architecture) -> None:
    """What reaches a layer is the mean of the spikes before it, in whatever order they come."""
    ann = Network(architecture=architecture, neuron=QCFS(bound=1.0), steps=1).build((1, 8, 8), 5, seed=3).eval()
    x = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    kept, late = (
        convert(ann, graded(4, architecture, charge=0.5, two_phases=two), x, LearnedBounds())(x)
        for two in (True, False)
    )
    torch.testing.assert_close(kept, ann(x), rtol=0, atol=1e-4)
    assert (late - ann(x)).abs().max() > 0.01


def test_levels_by_hand_and_then_spikes() -> None:
    """The highest of the activations (above), 0.9, is the bound, so three levels lie 0.3 apart.

    0.3 and 0.8 become 0.3 and 0.9, whose sum and difference are 1.2 and -0.6; 0.9 and 0 stay what they are. Three steps
    of two phases say the same.
    """
    few = Network(architecture=MLP(hidden=(2,)), neuron=QCFS(levels=3), steps=1)
    quantised = convert(two_units(), few, PAIRS, Quantisation(percentile=1.0))
    assert quantised.body[2].bound.item() == pytest.approx(0.9)
    expected = torch.tensor([[1.2, -0.6], [0.9, 0.9]])
    assert torch.allclose(quantised(PAIRS[1:3]), expected, atol=1e-6)
    spiking = graded(3, MLP(hidden=(2,)), charge=0.5, two_phases=True)
    assert torch.allclose(convert(quantised, spiking, PAIRS, LearnedBounds())(PAIRS[1:3]), expected, atol=1e-6)


def test_a_bound_below_the_floor_becomes_the_threshold_that_the_ann_uses() -> None:
    ann = two_units(QCFS())
    with torch.no_grad():
        ann.body[2].bound.fill_(-1.0)
    snn = convert(ann, graded(4, MLP(hidden=(2,)), charge=0.5), PAIRS, LearnedBounds())
    assert snn.body[2].threshold.item() == pytest.approx(0.03)
    torch.testing.assert_close(snn(PAIRS), ann(PAIRS))


def test_a_deep_qcfs_network_is_kept_within_a_few_points(trained_qcfs: SpikingNetwork, digits: Examples) -> None:
    x_train, _, x, y = digits
    snn = convert(trained_qcfs, graded(4, SmallCNN(widths=(8, 16, 16)), charge=0.5), x_train, LearnedBounds())
    known, kept = (accuracy(model, x, y) for model in (trained_qcfs, snn))
    assert known > 0.85
    assert kept > known - 0.04
    bounds = [m.learned_bound().item() for m in trained_qcfs.modules() if type(m).__name__ == "ClipFloorShift"]
    assert [layer.threshold.item() for layer in spiking_layers(snn)] == pytest.approx(bounds)
    assert len(set(bounds)) == 3  # they were learned
