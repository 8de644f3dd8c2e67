"""Is a network flagged that answers otherwise than an evaluation assumes, for its own reason, and an honest one not?"""

import copy

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.controls import Amplified, OfTheBatch, Outside, Stateful, with_layers
from spikeproof.evaluation.flags import Inspection, examine
from spikeproof.evaluation.flags.inspection import blind, fixed_shape_logits


def raised(model, images, paths=(), width=16) -> set[str]:
    return {flag.key for flag in examine(Inspection(model, *images, paths, width=width)) if flag.raised}


def test_an_honest_network_raises_nothing_before_it_is_attacked(trained, trained_ann, images):
    assert raised(trained, images, (sp.Triangle(width=0.5), sp.BPTR(), sp.ASSG())) == set()
    assert raised(trained_ann, images) == set()


def test_layers_of_ten_units_whose_rounding_depends_on_the_place_are_honest(images, device):
    """With MKL, rows of 10 numbers lie at other alignments from row to row, and are summed in another order."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10)).to(device)
    assert "batch-dependence" in {flag.key for flag in examine(Inspection(linear, *images, width=16))}
    assert raised(linear, images) == set()


def test_declared_noise_is_no_flag_and_undeclared_noise_is(trained, images):
    noisy = Outside(trained, lambda x: x + 0.1 * torch.randn_like(x))
    flags = list(examine(Inspection(noisy, *images)))
    assert {flag.key for flag in flags if flag.raised} == {"undeclared-randomness"}
    noisy.stochastic = True
    declared = {flag.key: flag for flag in examine(Inspection(noisy, *images))}
    assert not any(flag.raised for flag in declared.values())
    assert not {"place-dependence", "size-dependence", "jumps", "undeclared-randomness"} & set(declared)
    assert declared["batch-dependence"].threshold == 0.2


def test_what_is_left_over_from_call_to_call_is_seen_first_and_nothing_else_is_asked(trained, images):
    (flag,) = examine(Inspection(with_layers(trained, Stateful), *images, width=16))
    assert flag.key == "stateful"
    assert flag.raised
    assert flag.spoils


class RoundsByShape(nn.Module):
    """Logits with noise of 1e-3 that the shape of the batch alone decides, as the rounding of a processor may be."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        logits = self.network(x)
        drawn = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(len(x)))
        return logits + 1e-3 * drawn.to(logits)


@pytest.mark.parametrize("width", [1, 7, 16, 64])
def test_what_depends_on_the_shape_of_a_batch_alone_is_honest(trained, images, width):
    model = RoundsByShape(trained)
    assert not torch.equal(model(images[0][:8]), model(images[0])[:8])
    assert raised(model, images, width=width) == set()


class Normalised(nn.Module):
    """A network behind batch norm that normalises by the batch, in eval mode too."""

    def __init__(self, network):
        super().__init__()
        self.norm, self.network = nn.BatchNorm2d(1, affine=False, track_running_stats=False), network

    def forward(self, x):
        return self.network(x + 0.01 * self.norm(x))


@pytest.mark.parametrize("meets", [OfTheBatch, Normalised])
@pytest.mark.parametrize(("number", "width"), [(40, 16), (5, 16), (1, 16), (40, 7)])
def test_images_that_meet_are_flagged_however_little(trained, images, meets, number, width):
    model, some = meets(trained), (images[0][:number], images[1][:number])
    flags = {flag.key: flag for flag in examine(Inspection(model, *some, width=width))}
    assert flags["batch-dependence"].raised
    assert flags["batch-dependence"].threshold == 0


def test_one_bit_is_enough(images):
    class Barely(nn.Module):
        def forward(self, x):
            logits = x.flatten(1)[:, :10] + 1
            return torch.where(x.sum() > 400, logits.nextafter(torch.tensor(9.0)), logits)

    assert raised(Barely(), images) == {"batch-dependence"}


def test_noise_with_a_seed_of_its_own_is_met_by_place(trained, images):
    def noisy(x):
        return x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)

    assert raised(Outside(trained, noisy), images) == {"place-dependence", "size-dependence", "unsteady-gradients"}


def test_a_network_is_asked_about_as_many_images_each_time(trained, images):
    asked = []

    def watched(z):
        asked.append(len(z))
        return z

    found = fixed_shape_logits(Outside(trained, watched), images[0], 16, seed=0)
    assert asked == [16, 16, 16]
    torch.testing.assert_close(found, trained(images[0]))
    calls = []

    def given(model, x, width, seed):
        calls.append(len(x))
        return fixed_shape_logits(model, x, width, seed)

    list(examine(Inspection(trained, *images, width=16, logits=given)))
    assert len(calls) > 8  # the checks ask through the function that they are given


def test_gradients_that_are_zero_along_every_path(trained, images):
    assert "zero-gradients" in raised(Outside(trained, torch.Tensor.detach), images)
    narrow = sp.view(trained, gradient=sp.Triangle(width=1e-3))
    assert {"zero-gradients", "outside-window"} <= raised(narrow, images)
    assert "zero-gradients" not in raised(narrow, images, (sp.Triangle(),))  # another path sees what it hides


def test_a_further_path_is_asked_only_where_all_before_it_are_blind(trained, images):
    x, y = images
    asked = []

    def dark(z):
        return z.mean((1, 2, 3), keepdim=True) < x.mean()

    def watched(z):
        asked.append(len(z))
        return z

    bright_alone = Outside(trained, lambda z: torch.where(dark(z), z.detach(), z))
    assert torch.equal(blind({"first": bright_alone}, x, y, 16, 0), dark(x).flatten())
    assert not blind({"first": bright_alone, "second": Outside(trained, watched)}, x, y, 16, 0).any()
    assert 0 < sum(asked) == dark(x).sum() < len(x)


def test_thresholds_out_of_sight_are_the_same_network_and_flagged(trained, images):
    hidden = with_layers(trained, Amplified)
    torch.testing.assert_close(hidden(images[0]), trained(images[0]))
    assert "outside-window" in raised(hidden, images)


def test_a_dead_and_a_saturated_layer(trained, images):
    for shift, flag in ((-1e3, "dead-layer"), (1e3, "saturated-layer")):
        changed = with_layers(trained, lambda layer, shift=shift: nn.Sequential(Shifted(shift), layer))
        assert flag in raised(changed, images)


class Shifted(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x + self.by


def test_a_network_without_spiking_layers_is_not_asked_about_them(device, images):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(device)
    keys = {flag.key for flag in examine(Inspection(linear, *images))}
    assert not {"dead-layer", "saturated-layer", "outside-window"} & keys
    assert "zero-gradients" in keys


def test_another_function_behind_the_view_is_seen(trained, images, monkeypatch):
    other = copy.deepcopy(trained)
    with torch.no_grad():
        next(p for n, p in other.named_parameters() if n.endswith("weight")).mul_(-1)
    monkeypatch.setattr("spikeproof.evaluation.flags.inspection.attack_view", lambda model: other)
    assert "other-logits" in raised(trained, images)
