"""Does a conversion keep the ANN and its weights, answer the same twice, and refuse what it cannot convert?"""

import copy
import dataclasses
import json

import pytest
import torch
from torch import Tensor, nn

from spikeproof.choices import UserError, short
from spikeproof.configs import from_config, to_config
from spikeproof.conversion import Calibration, Conversion, LearnedBounds, Quantisation, ThresholdBalancing, convert
from spikeproof.conversion.conversion import spiking_layers
from spikeproof.data import Augmentation, Digits, HorizontalFlip, RandomCrop
from spikeproof.registry import known
from spikeproof.snn import (
    DLIF,
    IF,
    LIF,
    MLP,
    PLIF,
    QCFS,
    RSC,
    VGG,
    Architecture,
    GradedIF,
    LastPotential,
    Network,
    Neuron,
    ReLU,
    SEWResNet,
    SmallCNN,
    SpikingNetwork,
    SpikingResNet,
    WideResNet,
    record,
)

QUICK = [
    Calibration(steps=4, batches=2, batch=8),
    ThresholdBalancing(batches=2, batch=8),
    LearnedBounds(),
    Quantisation(batches=2, batch=8),
]
every_conversion = pytest.mark.parametrize("conversion", QUICK, ids=short)
TINY = SmallCNN(widths=(3, 4, 5))


def unit(conversion: Conversion) -> Neuron:
    return QCFS(bound=1.0) if isinstance(conversion, LearnedBounds) else ReLU()


def ann_of(neuron: Neuron, architecture: Architecture = TINY, seed: int = 0) -> SpikingNetwork:
    """An ANN whose batch norm has seen images, in eval mode."""
    model = Network(architecture=architecture, neuron=neuron, steps=1).build(
        (1, 8, 8), 5, mean=(0.3,), std=(0.4,), seed=seed
    )
    with torch.no_grad():
        for _ in range(20):
            model.train()(images())
    return model.eval()


def spiking(conversion: Conversion, **changes: object) -> Network:
    """What the conversion makes: a spiking network, but for one that makes an ANN."""
    steps = 1 if isinstance(conversion, Quantisation) else 3
    return dataclasses.replace(Network(architecture=TINY, neuron=conversion.neuron, steps=steps), **changes)


def images(count: int = 24, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("kind", known(Conversion).values(), ids=lambda kind: kind.__name__)
def test_every_conversion_is_a_choice_that_can_be_written_down(kind: type[Conversion]) -> None:
    conversion = kind()
    assert from_config(json.loads(json.dumps(to_config(conversion))), Conversion) == conversion
    assert hash(conversion) == hash(kind())
    assert isinstance(conversion.neuron, Neuron)
    with pytest.raises(dataclasses.FrozenInstanceError):
        conversion.scale = 1.0


@every_conversion
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_ann_and_all_randomness_stay_as_they_were(conversion: Conversion, training: bool) -> None:
    """In training mode too, where a pass would move batch norm's statistics and measure with the batch's."""
    ann = ann_of(unit(conversion))
    expected = convert(ann, spiking(conversion), images(), conversion)
    ann.train(training)
    ann.body[0].eval()
    modes = [module.training for module in ann.modules()]
    before, state = copy.deepcopy(ann), torch.get_rng_state()
    snn = convert(ann, spiking(conversion), images(), conversion)
    assert same(ann, before)
    assert [module.training for module in ann.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in ann.parameters())
    assert hooks(ann) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert same(snn, expected)


@every_conversion
def test_what_comes_out_is_ready_and_can_be_trained(conversion: Conversion) -> None:
    ann, x = ann_of(unit(conversion)), images(40)
    momenta = [m.momentum for m in ann.modules() if isinstance(m, nn.BatchNorm2d)]
    snn = convert(ann, spiking(conversion), x, conversion)
    assert (snn.steps, snn.shape, snn.classes) == (spiking(conversion).steps, (1, 8, 8), 5)
    assert not any(module.training for module in snn.modules())
    assert hooks(snn) == 0
    assert [m.momentum for m in snn.modules() if isinstance(m, nn.BatchNorm2d)] == momenta
    assert all(m.track_running_stats for m in snn.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(p.requires_grad and p.grad is None for p in snn.parameters())
    with record(snn) as seen:
        logits = snn(x)
    assert logits.isfinite().all()
    assert all(rate > 0 for rate in seen.rates().values())
    snn.train()(x).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in snn.parameters())


@every_conversion
def test_weights_are_copied_and_not_shared(conversion: Conversion) -> None:
    ann = ann_of(unit(conversion))
    snn = convert(ann, spiking(conversion), images(), conversion)
    theirs, ours = ann.state_dict(), snn.state_dict()
    weights = [k for k in theirs if k.endswith(("weight", "bias")) or k.startswith("normalise")]
    assert len(weights) > 8
    for name in weights:
        assert torch.equal(theirs[name], ours[name]), name
        assert theirs[name].data_ptr() != ours[name].data_ptr(), name
    assert torch.equal(snn.normalise.mean, torch.tensor([[[0.3]]]))
    statistics = [k for k in theirs if k.endswith(("running_mean", "running_var"))]
    kept = all(torch.equal(theirs[k], ours[k]) for k in statistics)
    assert kept is not isinstance(conversion, Calibration)  # which estimates them anew, for spikes


@every_conversion
def test_the_same_seed_gives_the_same_network_wherever_it_is_called(conversion: Conversion) -> None:
    ann, x = ann_of(unit(conversion)), images(64)
    augmentation = (RandomCrop(padding=1), HorizontalFlip())

    def converted(seed: int) -> SpikingNetwork:
        return convert(ann, spiking(conversion), x, conversion, augmentation=augmentation, seed=seed)

    first = converted(1)
    torch.rand(7)
    assert same(first, converted(1))
    assert same(first, converted(2)) is isinstance(conversion, LearnedBounds)  # which looks at no image


@every_conversion
def test_a_part_of_a_data_set_is_as_good_as_its_images(conversion: Conversion) -> None:
    part = Digits(train_images=40).part("train")
    x, _ = part.batch(range(len(part)))
    model = Network(architecture=TINY, neuron=unit(conversion), steps=1).build((1, 8, 8), 10).eval()
    first, again = (convert(model, spiking(conversion), given, conversion, seed=3) for given in (part, x))
    assert same(first, again)


@dataclasses.dataclass(frozen=True)
class Black(Augmentation):
    """Every image becomes black."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros_like(x)


def test_images_are_augmented() -> None:
    ann = Network(architecture=MLP(hidden=(4,)), neuron=ReLU(), steps=1).build((1, 8, 8), 5).eval()
    with torch.no_grad():
        ann.body[1][0].bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    network = Network(architecture=MLP(hidden=(4,)), neuron=GradedIF(), steps=3)
    balancing = ThresholdBalancing(percentile=1.0)
    assert convert(ann, network, images(), balancing, augmentation=(Black(),)).body[2].threshold == 4
    assert convert(ann, network, images(), balancing).body[2].threshold != 4


@pytest.mark.parametrize(
    "architecture",
    [
        MLP(hidden=(7, 6), norm=True),
        VGG(stages=((3,), (4, 5)), hidden=(6,), dropout=0.5),
        SpikingResNet(widths=(3, 4), blocks=(1, 2)),
        SEWResNet(widths=(3, 4, 5, 6)),
        WideResNet(depth=10, widths=(3, 4, 5)),
    ],
    ids=short,
)
def test_every_architecture_is_converted_and_its_layers_are_called_as_they_stand(architecture: Architecture) -> None:
    """The order that thresholds are set in: layer by layer of the ANN, each threshold for its own layer."""
    ann = ann_of(ReLU(), architecture)
    for conversion in QUICK[:2]:
        snn = convert(ann, spiking(conversion, architecture=architecture), images(), conversion)
        with record(snn) as seen:
            assert snn(images()).isfinite().all()
        assert list(seen.layers.values()) == [m for m in snn.modules() if type(m).__name__ == "LeakyLayer"]
        thresholds = [layer.threshold.item() for layer in spiking_layers(snn)]
        assert len(set(thresholds)) > 1
        assert min(thresholds) > 0
    with record(ann) as seen:
        ann(images(24))
    highest = [currents.max().item() for currents in seen.currents.values()]
    everything = ThresholdBalancing(percentile=1.0, batches=1, batch=24)
    snn = convert(ann, spiking(everything, architecture=architecture), images(24), everything)
    found = [layer.threshold.item() for layer in spiking_layers(snn)]
    assert found == pytest.approx(highest, rel=1e-4)


def test_the_network_may_differ_in_all_but_the_architecture() -> None:
    ann, calibration = ann_of(ReLU()), QUICK[0]
    for changes in (
        {"neuron": LIF(leak=0.9)},
        {"neuron": PLIF(reset="soft", learn_threshold=True)},
        {"neuron": GradedIF(charge=0.5)},
        {"neuron": DLIF(), "steps": 4},
        {"encoder": RSC(variant="II")},
        {"readout": LastPotential()},
        {"steps": 1},
        {"channels_last": False},
    ):
        network = spiking(calibration, **changes)
        snn = convert(ann, network, images(), calibration)
        assert snn.encoder == network.encoder
        assert snn.readout == network.readout
        assert snn(images()).isfinite().all()
        assert same(snn, convert(ann, network, images(), calibration)), changes  # noise is drawn under the seed too


def linear() -> SpikingNetwork:
    return Network(architecture=MLP(hidden=()), neuron=ReLU(), steps=1).build((1, 8, 8), 5)


CALIBRATION, BALANCING, BOUNDS, LEVELS = QUICK


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: convert(ann_of(LIF()), spiking(BALANCING), images(), BALANCING), "this network spikes: .*: ReLU"),
        (lambda: convert(ann_of(GradedIF()), spiking(BALANCING), images(), BALANCING), "this network spikes"),
        (lambda: convert(nn.Flatten(), spiking(BALANCING), images(), BALANCING), "takes a network of spikeproof"),
        (lambda: convert(linear(), spiking(BALANCING), images(), BALANCING), "no layer of units"),
        (
            lambda: convert(ann_of(ReLU()), spiking(BALANCING, neuron=ReLU(), steps=1), images(), BALANCING),
            "makes a spiking network, not one of ReLU units: choose neuron: IF",
        ),
        (
            lambda: convert(ann_of(ReLU()), spiking(BALANCING, neuron=QCFS(), steps=1), images(), BALANCING),
            "not one of QCFS units",
        ),
        (
            lambda: convert(
                ann_of(ReLU()), spiking(BALANCING, architecture=MLP(hidden=(3,))), images(), BALANCING
            ),
            r"keeps the architecture: only one of the two networks has body\.0\.0\.weight",
        ),
        (
            lambda: convert(
                ann_of(ReLU()), spiking(BALANCING, architecture=SmallCNN(widths=(3, 4, 6))), images(), BALANCING
            ),
            r"keeps the architecture: body\.5\.0\.weight has the shape \[5, 4, 3, 3\] in the ANN and \[6, 4, 3, 3\]",
        ),
        (lambda: convert(ann_of(ReLU()), spiking(BALANCING), images()[:0], BALANCING), "there are none: give it"),
        (lambda: convert(ann_of(ReLU()), spiking(BALANCING), 255 * images(), BALANCING), "divide by 255"),
        (lambda: convert(ann_of(ReLU()), spiking(BALANCING), images() * torch.nan, BALANCING), "images lie in"),
        (lambda: convert(ann_of(ReLU()), spiking(BALANCING), images()[:, :, 1:], BALANCING), r"images \[B, 1, 8, 8\]"),
        (lambda: spiking(BALANCING, steps=0), r"steps of Network must be a whole number in \[1, 10000\]"),
        (lambda: convert(ann_of(ReLU()), spiking(BALANCING, neuron=IF()), images(), BALANCING), "neuron: GradedIF"),
        (
            lambda: convert(ann_of(ReLU()), spiking(BALANCING, neuron=GradedIF(reset="hard")), images(), BALANCING),
            "the reset is soft",
        ),
        (lambda: convert(ann_of(QCFS()), spiking(BOUNDS, neuron=IF()), images(), BOUNDS), "neuron: GradedIF"),
        (lambda: convert(ann_of(ReLU()), spiking(BOUNDS), images(), BOUNDS), "train the ANN with neuron: QCFS"),
        (lambda: convert(ann_of(ReLU()), spiking(LEVELS, neuron=GradedIF()), images(), LEVELS), "neuron: QCFS"),
        (lambda: convert(ann_of(QCFS()), spiking(LEVELS), images(), LEVELS), "have levels already: .* neuron: ReLU"),
        (lambda: convert(ann_of(ReLU()), spiking(CALIBRATION), images(1), CALIBRATION), "at least 2 images"),
        *((lambda kind=kind: kind(percentile=0), r"percentile of .* must be a number in \(0, 1\], not 0") for kind in
          (Calibration, ThresholdBalancing)),
        *((lambda kind=kind: kind(percentile=1.5), "percentile of .* not 1.5") for kind in
          (Calibration, ThresholdBalancing)),
        *((lambda kind=kind: kind(percentile=float("nan")), "percentile of .* not nan") for kind in
          (Calibration, ThresholdBalancing)),
        *((lambda kind=kind: kind(batches=0), "batches of .* must be a whole number from 1 on, not 0") for kind in
          (Calibration, ThresholdBalancing)),
        *((lambda kind=kind: kind(batch=0), "batch of .* must be a whole number from [12] on, not 0") for kind in
          (Calibration, ThresholdBalancing)),
        (
            lambda: convert(ann_of(ReLU()), spiking(CALIBRATION, neuron=DLIF()), images(), CALIBRATION),
            "gain for each of its 3 time steps .* over 4: set the conversion's steps to 3",
        ),
        (
            lambda: convert(ann_of(ReLU()), spiking(CALIBRATION, neuron=IF(two_phases=True)), images(), CALIBRATION),
            "set two_phases to false",
        ),
        (lambda: Calibration(batch=1), "batch of Calibration must be a whole number from 2 on, not 1"),
        (lambda: Calibration(steps=0), "steps of Calibration must be a whole number from 1 on, not 0"),
        (lambda: Calibration(scale=0), "scale of Calibration must be a number above 0, not 0"),
        (lambda: Calibration(scale=float("inf")), "above 0, not inf"),
        (lambda: Calibration(scale=float("nan")), "above 0, not nan"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused_with_what_would_be_right(make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


def test_an_ann_that_is_never_active_is_refused_by_balancing() -> None:
    ann = ann_of(ReLU(), MLP(hidden=(4,)))
    nn.init.constant_(ann.body[1][0].bias, -100.0)
    with pytest.raises(UserError, match="never active on these images"):
        convert(ann, spiking(BALANCING, architecture=MLP(hidden=(4,))), images(), BALANCING)
