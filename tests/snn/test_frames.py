"""Does a network on event frames see each frame once, at its own step, forward and backward?"""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.conversion import ThresholdBalancing, convert
from spikeproof.snn import (
    IF,
    LIF,
    MLP,
    PLIF,
    VGG,
    ATan,
    Direct,
    FirstSpike,
    Frames,
    LastPotential,
    MeanCurrent,
    Network,
    Poisson,
    ReLU,
    SEWResNet,
    SmallCNN,
    SpikingNetwork,
    SpikingResNet,
    WideResNet,
    ann_twin,
    attack_view,
    record,
    view,
)

ARCHITECTURES = [
    MLP(hidden=(6,)),
    SmallCNN(widths=(3, 4, 5)),
    VGG(stages=((3,), (4,)), hidden=(6,)),
    SpikingResNet(widths=(4, 5), blocks=(1, 1)),
    SEWResNet(depth=18, widths=(4, 5, 6, 7)),
    WideResNet(depth=10, widen=1, widths=(3, 4, 5), blocks=(1, 1, 1)),
]
SHAPE = (5, 2, 9, 11)
FRAMES = Network(architecture=SmallCNN(widths=(3, 4, 5)), encoder=Frames())


def frames(batch: int = 4, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    """Counts of 0 to 3 events a cell, half of them 0."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 4, (batch, *shape), generator=generator)
    return counts * (torch.rand(batch, *shape, generator=generator) < 0.5).float()


def built(network: Network = FRAMES, shape: tuple[int, ...] = SHAPE) -> SpikingNetwork:
    """In eval mode, with statistics and thresholds at which neurons fire now and then."""
    model = network.build(shape, 3)
    model.train()
    with torch.no_grad():
        for seed in range(3):
            model(frames(8, shape, seed))
    return model.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 17, 17), (3, 2, 17, 20)])
def test_every_architecture_takes_frames(architecture: object, shape: tuple[int, ...]) -> None:
    model = built(Network(architecture=architecture, encoder=Frames()), shape)
    assert model.steps == shape[0]
    x = frames(2, shape).requires_grad_()
    logits = model(x)
    assert logits.shape == (2, 3)
    (slope,) = torch.autograd.grad(logits.sum(), x)
    assert slope.shape == x.shape
    assert slope.isfinite().all()
    torch.testing.assert_close(torch.cat([model(x[:1]), model(x[1:])]), logits)


def by_hand(model: SpikingNetwork, x: Tensor, leak: float, threshold: float) -> Tensor:
    """Two linear layers with LIF neurons between them, one frame after the other."""
    first, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    potential, logits = torch.zeros(len(x), first.out_features), []
    for frame in x.unbind(1):
        potential = leak * potential + first(frame.flatten(1))
        spikes = (potential >= threshold).float()
        slope = 1 / (1 + (torch.pi * (potential - threshold)) ** 2)
        spikes = spikes + slope.detach() * (potential - potential.detach())  # its value, and ATan's slope
        logits.append(last(spikes))
        potential = potential * (1 - spikes)
    return torch.stack(logits).mean(0)


def test_logits_and_gradient_are_those_of_a_loop_over_frames() -> None:
    neuron = LIF(leak=0.5, threshold=0.3, gradient=ATan(alpha=2.0))
    assert neuron.reset == "hard"
    model = Network(architecture=MLP(hidden=(20,)), encoder=Frames(), neuron=neuron).build((6, 2, 3, 3), 3)
    x, weight = frames(7, (6, 2, 3, 3)), torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    with record(model) as inside:
        logits = model(found)
    [spikes] = inside.spikes.values()
    assert spikes.shape == (6, 7, 20)
    assert 0.1 < spikes.mean() < 0.9
    reference = by_hand(model, expected, 0.5, 0.3)
    torch.testing.assert_close(logits, reference)
    (slope,) = torch.autograd.grad((logits * weight).sum(), found)
    (known,) = torch.autograd.grad((reference * weight).sum(), expected)
    assert (known.flatten(2).abs().amax(2) > 0).all()  # every frame counts
    torch.testing.assert_close(slope, known, rtol=1e-4, atol=1e-6)


def test_the_order_of_frames_matters_to_neurons_that_leak_and_not_to_their_mean() -> None:
    x = frames()
    backwards = x.flip(1)
    model = built(dataclasses.replace(FRAMES, neuron=LIF(threshold=0.3)))
    assert not torch.allclose(model(x), model(backwards))
    merged = view(model, encoder=Frames(merged=True))
    torch.testing.assert_close(merged(x), merged(backwards))
    torch.testing.assert_close(merged(x), model(x.mean(1, keepdim=True).expand_as(x)))


def test_what_comes_later_does_not_change_what_was_before() -> None:
    model = built()
    x, y = frames(), frames(seed=1)
    y[:, :3] = x[:, :3]
    with record(model) as one:
        model(x)
    with record(model) as other:
        model(y)
    for name, spikes in one.spikes.items():
        assert torch.equal(spikes[:3], other.spikes[name][:3])
    assert any(not torch.equal(spikes[3:], other.spikes[name][3:]) for name, spikes in one.spikes.items())


def test_recordings_of_a_batch_do_not_meet_and_nothing_is_left_over() -> None:
    model, x = built(), frames(6)
    together = model(x)
    torch.testing.assert_close(torch.cat([model(one) for one in x.split(1)]), together)
    torch.testing.assert_close(model(x.flip(0)), together.flip(0))
    assert torch.equal(model(x), together)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_layout_does_not_matter(architecture: object) -> None:
    """Neither that of the network nor that of the frames."""
    model = built(Network(architecture=architecture, encoder=Frames()), (3, 2, 17, 17))
    x = frames(4, (3, 2, 17, 17))
    plain = view(model, channels_last=False)
    logits, slopes = [], []
    for seen in (model, plain):
        for given in (x, x.transpose(0, 1).contiguous().transpose(0, 1), x.movedim(2, -1).contiguous().movedim(-1, 2)):
            asked = given.detach().requires_grad_()
            logits.append(seen(asked))
            slopes += torch.autograd.grad(logits[-1].square().sum(), asked)
            torch.testing.assert_close(logits[-1], logits[0])
            torch.testing.assert_close(slopes[-1], slopes[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("neuron", [LIF(), IF(), PLIF()], ids=str)
@pytest.mark.parametrize("readout", [MeanCurrent(), LastPotential(), FirstSpike()], ids=str)
def test_steps_are_the_datas(neuron: object, readout: object) -> None:
    network = dataclasses.replace(FRAMES, neuron=neuron, readout=readout)
    for steps in (1, 5, 40):
        model = network.build((steps, 2, 9, 11), 3)
        assert model.steps == steps
        assert model.shape == (steps, 2, 9, 11)
        assert model(frames(2, (steps, 2, 9, 11))).shape == (2, 3)
    same = dataclasses.replace(network, steps=5).build(SHAPE, 3)
    assert torch.equal(same(frames()), network.build(SHAPE, 3)(frames()))


def test_a_view_with_other_steps_takes_as_many_frames() -> None:
    model = built()
    assert torch.equal(view(model, steps=5)(frames()), model(frames()))
    shorter = view(model, steps=3)
    assert shorter.shape == (3, 2, 9, 11)
    assert model.shape == SHAPE
    fresh = FRAMES.build((3, 2, 9, 11), 3).eval()
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(shorter(frames()[:, :3]), fresh(frames()[:, :3]))
    with pytest.raises(UserError, match=r"event frames \[B, 3, 2, 9, 11\]"):
        shorter(frames())
    with pytest.raises(UserError, match=r"takes event frames, which Direct\(\) does not: choose Frames"):
        view(model, encoder=Direct())


def test_a_network_on_images_can_be_shown_frames() -> None:
    image = Network(architecture=SmallCNN(widths=(3, 4, 5)), steps=5).build((2, 9, 11), 3).eval()
    model = view(image, encoder=Frames())
    assert model.shape == SHAPE
    still = frames()[:, :1]
    torch.testing.assert_close(model(still.expand(-1, 5, -1, -1, -1)), image(still[:, 0]))
    assert image.shape == (2, 9, 11)


def test_what_an_attacker_meets_is_the_same_function() -> None:
    model = built()
    x = frames()
    attacked = attack_view(model)
    torch.testing.assert_close(attacked(x), model(x))
    assert len(list(attacked.modules())) < len(list(model.modules()))  # batch norm is folded in
    asked, slopes = x.clone().requires_grad_(), []
    for seen in (attacked, model):
        slopes += torch.autograd.grad(seen(asked).square().sum(), asked)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("clipped", [False, True])
def test_the_ann_twin_sees_the_mean_frame_once(clipped: bool) -> None:
    model, x = built(), frames()
    twin = ann_twin(model, clipped=clipped)
    assert twin.steps == 1
    assert model.steps == 5
    logits = twin(x)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(twin(x.mean(1, keepdim=True).expand_as(x)), logits)
    asked = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(twin(asked).square().sum(), asked)
    assert slope.abs().sum() > 0
    torch.testing.assert_close(slope, slope[:, :1].expand_as(slope))  # each frame has the same part in it
    with pytest.raises(UserError, match=r"event frames \[B, 5, 2, 9, 11\]"):
        twin(x[:, :1])


def test_an_ann_on_frames_is_the_mean_of_what_it_says_of_each() -> None:
    model = built(dataclasses.replace(FRAMES, neuron=ReLU()))
    x = frames()
    one = view(model, steps=1)
    torch.testing.assert_close(model(x), torch.stack([one(x[:, t : t + 1]) for t in range(5)]).mean(0))


@pytest.mark.parametrize(
    ("network", "shape", "said"),
    [
        (
            FRAMES,
            (2, 9, 11),
            r"cannot read data of shape \(2, 9, 11\): choose an encoder of images, Direct for example",
        ),
        (Network(), SHAPE, r"Direct\(\) cannot read data of shape \(5, 2, 9, 11\): choose the encoder Frames"),
        (Network(encoder=Poisson()), SHAPE, "choose the encoder Frames"),
        (dataclasses.replace(FRAMES, steps=4), SHAPE, "the data have 5 frames, one a step: leave steps out"),
        (FRAMES, (0, 2, 9, 11), r"event frames \(T, P, H, W\), not of shape \(0, 2, 9, 11\)"),
        (FRAMES, (1, 5, 2, 9, 11), "data are images"),
        (Network(), (1, 5, 2, 9, 11), "data are images"),
        (Network(), (9, 11), "data are images"),
        (FRAMES, (5, 2, 1, 1), "needs images of at least 4x4 pixels, not 1x1"),
    ],
    ids=str,
)
def test_networks_and_data_that_do_not_fit_are_refused(network: Network, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        network.build(shape, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x[:, :4],
        lambda x: x[:, :, :1],
        lambda x: x[..., :10],
        lambda x: x[:, 0],
        lambda x: x[0],
        lambda x: x.long(),
        lambda x: x > 0,
        lambda x: x.transpose(1, 2),
    ],
)
def test_frames_of_another_shape_are_refused(wrong: object) -> None:
    with pytest.raises(UserError, match=r"the network takes event frames \[B, 5, 2, 9, 11\] of floats, not torch"):
        built()(wrong(frames()))


def test_networks_on_images_are_as_before() -> None:
    assert Network().build((1, 8, 8), 3).steps == 4
    assert Network(steps=7).build((1, 8, 8), 3).steps == 7
    assert Network(neuron=ReLU()).build((1, 8, 8), 3).steps == 1
    assert Network(neuron=ReLU(), steps=1).build((1, 8, 8), 3).steps == 1
    assert torch.equal(
        Network(steps=4).build((1, 8, 8), 3)(frames(2, (1, 8, 8))), Network().build((1, 8, 8), 3)(frames(2, (1, 8, 8)))
    )
    with pytest.raises(UserError, match=r"the network takes images \[B, 1, 8, 8\] of floats in \[0, 1\]"):
        Network().build((1, 8, 8), 3)(frames(2, (4, 1, 8, 8)))
    with pytest.raises(UserError, match="a ReLU network is an ANN and sees one time step: set steps to 1, not 4"):
        Network(neuron=ReLU(), steps=4)
    with pytest.raises(UserError, match=r"steps of Network must be a whole number in \[1, 10000\] or None, not 0"):
        Network(encoder=Frames(), steps=0)


def test_a_conversion_is_refused() -> None:
    ann = dataclasses.replace(FRAMES, neuron=ReLU()).build(SHAPE, 3).eval()
    with pytest.raises(UserError, match="event frames are none: train directly"):
        convert(ann, dataclasses.replace(FRAMES, neuron=IF()), frames(), ThresholdBalancing())


def test_counts_are_not_normalised_unless_the_encoder_is_asked_to() -> None:
    """The data have mean 0 and deviation 1 a polarity; other numbers given to `build` are left aside as well."""
    plain = FRAMES.build(SHAPE, 3).eval()
    other = FRAMES.build(SHAPE, 3, mean=(0.5, 0.5), std=(2.0, 2.0)).eval()
    assert not Frames().normalised
    assert torch.equal(plain(frames()), other(frames()))


@pytest.mark.parametrize("merged", [False, True])
def test_encoding_by_hand(merged: bool) -> None:
    x = frames(3, (2, 1, 1, 2))
    coded = Frames(merged=merged)(x, 2)
    expected = (x[:, 0] + x[:, 1]).unsqueeze(0) / 2 if merged else torch.stack([x[:, 0], x[:, 1]])
    assert torch.equal(coded, expected)
    assert Frames(merged=merged).in_one_step() == Frames(merged=True)
    network = dataclasses.replace(FRAMES, encoder=Frames(merged=merged))
    assert from_config(to_config(network), Network) == network
