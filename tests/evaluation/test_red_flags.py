"""Are networks that hide from attacks flagged, each for its own reason, and honest ones not?"""

import copy
import json

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.controls import CONTROLS, Amplified, OfTheBatch, Outside, Stateful, with_layers
from spikeproof.evaluation.judging import Judge
from spikeproof.evaluation.red_flags import TOOLS, Flag, Spent, blind, by_chance, of_attacks, of_network, of_suite

SMALL = sp.Suite(name="small", attacks=(sp.PGD(steps=5),))
THREAT = sp.Linf(0.1)


@pytest.fixture(scope="module")
def images(digits):
    return digits[2][:40], digits[3][:40]


def raised(model, images, paths=()) -> set[str]:
    return {flag.name for flag in of_network(model, *images, paths, batch=16, seed=0) if flag.raised}


def test_an_honest_network_raises_nothing_before_it_is_attacked(trained, trained_ann, images):
    assert raised(trained, images, (sp.Triangle(width=0.5), sp.BPTR(), sp.ASSG())) == set()
    assert raised(trained_ann, images) == set()


def test_declared_noise_is_no_flag_and_undeclared_noise_is(trained, images):
    noisy = Outside(trained, lambda x: x + 0.1 * torch.randn_like(x))
    assert raised(noisy, images) == {"undeclared randomness"}
    noisy.stochastic = True
    assert raised(noisy, images) == set()


def test_what_is_left_over_from_call_to_call_is_seen_first_and_nothing_else_is_asked(trained, images):
    flags = list(of_network(with_layers(trained, Stateful), *images, (), batch=16, seed=0))
    assert [flag.name for flag in flags] == ["keeps a state"]
    assert flags[0].raised
    assert flags[0].spoils


def test_a_graph_that_is_kept_from_call_to_call_ends_in_a_verdict_and_no_traceback(trained, images):
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.last = trained, 0.0

        def forward(self, x):
            logits = self.network(x)
            self.last = logits.mean(0) + 0.1 * self.last
            return logits + self.last

    found = sp.evaluate(Remembers(), images, sp.Protocol(threats=THREAT, suite=SMALL))
    assert found.diagnosis.status == "unreliable"
    assert "keeps a state" in found.diagnosis.reason
    assert found.robust_accuracy(0) is None
    assert found.gradients.sum() == 0  # nothing was attacked in vain


def test_statistics_of_the_batch(trained, images):
    assert "images of a batch meet" in raised(OfTheBatch(trained), images)


def test_gradients_that_are_zero_along_every_path(trained, images):
    assert "zero input gradients" in raised(Outside(trained, torch.Tensor.detach), images)
    narrow = sp.view(trained, gradient=sp.Triangle(width=1e-3))
    seen = raised(narrow, images)
    assert {"zero input gradients", "potentials outside the slope's window"} <= seen
    assert "zero input gradients" not in raised(narrow, images, (sp.Triangle(),))  # another path sees what it hides


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
    assert "potentials outside the slope's window" in raised(hidden, images)


def test_a_dead_and_a_saturated_layer(trained, images):
    for shift, flag in ((-1e3, "a dead layer"), (1e3, "a saturated layer")):
        changed = with_layers(trained, lambda layer, shift=shift: nn.Sequential(Shifted(shift), layer))
        assert flag in raised(changed, images)


class Shifted(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x + self.by


def test_another_function_behind_the_view_is_seen(trained, images, monkeypatch):
    other = copy.deepcopy(trained)
    with torch.no_grad():
        next(p for n, p in other.named_parameters() if n.endswith("weight")).mul_(-1)
    monkeypatch.setattr("spikeproof.evaluation.red_flags.attack_view", lambda model: other)
    assert "an attack sees other logits" in raised(trained, images)


def attacked(model, images, broken=None, draws=1) -> dict[str, Flag]:
    x, y = images
    right = sp.predict(model, x).argmax(1) == y
    x, y = x[right][:24], y[right][:24]
    broken = torch.zeros(len(x), dtype=torch.bool) if broken is None else broken[: len(x)]
    return {flag.name: flag for flag in of_attacks(Judge(model, draws, False), x, y, THREAT, broken, Spent(24, 0))}


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr("spikeproof.evaluation.red_flags.STEPS", (5, 10, 20, 40))
    monkeypatch.setitem(TOOLS, "images", TOOLS["images"]._replace(control=sp.Square(queries=60)))


def test_attacks_on_an_honest_network_raise_nothing(trained, images):
    flags = attacked(trained, images)
    assert {name for name, flag in flags.items() if flag.raised} == set()
    shares = list(flags["more steps do not help"].details.values())
    assert len(shares) == 5  # and the number of images
    assert 0 < shares[0] <= shares[3] <= 1


def test_a_gradient_that_leads_astray(trained, images):
    """The gradient of another network where the own one is expected: black boxes do better."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, grad):
            return -grad

    flags = attacked(Outside(trained, Reverse.apply), images)
    names = {name for name, flag in flags.items() if flag.raised and flag.spoils}
    assert "black box beats white box" in names


def test_a_gap_between_the_default_path_and_the_worst_is_a_warning(trained, images):
    narrow = sp.view(trained, gradient=sp.Triangle(width=1e-3))
    found = attacked(narrow, images, broken=torch.arange(24) < 20)["default path far from the worst"]
    assert found.raised
    assert not found.spoils
    assert found.number == pytest.approx(20 / 24, abs=0.1)


def test_nan_raises_a_flag_and_its_sentence_says_number_and_threshold():
    flag = Flag("a name", float("nan"), 0.1, True, "What it means.", {})
    assert flag.raised
    assert flag.said() == "a name: nan (at most 0.1 is normal). What it means."
    assert json.loads(json.dumps(flag.summary(), allow_nan=False))["number"] is None


def test_flags_are_part_of_the_verdicts_and_spoil_them(trained, images):
    suite = sp.Suite(name="looked at", attacks=(sp.PGD(steps=5),), examined=8)
    honest = sp.evaluate(trained, images, sp.Protocol(threats=THREAT, suite=suite))
    assert honest.diagnosis.status == "ok"
    names = [flag["name"] for flag in honest.summary()["flags"]]
    assert "keeps a state" in names
    assert "black box beats white box" in names
    assert not any(flag["raised"] for flag in honest.summary()["flags"] if flag["spoils"])
    spoiled = sp.evaluate(
        Outside(trained, lambda x: x + 0.05 * torch.randn_like(x)), images, sp.Protocol(threats=THREAT, suite=suite)
    )
    assert spoiled.diagnosis.status == "unreliable"
    assert "undeclared randomness" in spoiled.diagnosis.reason
    assert spoiled.summary()["threats"][0]["robust_accuracy"] is None


def test_without_images_to_examine_no_attack_is_spent_on_flags(trained, images):
    names = {flag.name for flag in sp.evaluate(trained, images, sp.Protocol(threats=THREAT, suite=SMALL)).flags}
    assert "keeps a state" in names
    assert "one step beats many" not in names


def test_the_controls_hold_honest_networks_and_others():
    assert sum(control.honest for control in CONTROLS) >= 4
    assert len({control.name for control in CONTROLS}) == len(CONTROLS) >= 11


def test_a_blind_path_of_its_own_does_not_stop_an_adaptive_suite(trained, images):
    """Its own slope sees nothing, ASSG does: a number, and a warning beside it."""
    narrow = sp.view(trained, gradient=sp.Triangle(width=1e-3))
    unseen = sp.evaluate(narrow, images, sp.Protocol(threats=THREAT, suite=SMALL))
    assert unseen.diagnosis.status == "zero_gradient"
    along = sp.Suite(name="adaptive", attacks=(sp.Along(attack=sp.PGD(steps=5), paths=(sp.ASSG(),)),))
    seen = sp.evaluate(narrow, images, sp.Protocol(threats=THREAT, suite=along))
    assert seen.robust_accuracy(0).value < seen.clean_accuracy().value
    assert {flag.name for flag in seen.flags if flag.raised} == {"potentials outside the slope's window"}


def test_what_flags_cost_is_in_the_record(trained, images):
    found = sp.evaluate(
        trained, images, sp.Protocol(threats=THREAT, suite=sp.Suite(name="looked at", attacks=(sp.FGSM(),), examined=8))
    ).summary()
    assert found["gradient_evaluations"] <= len(images[0])
    assert found["gradient_evaluations_of_flags"] > 8  # at least FGSM, and many steps beside
    assert found["forward_evaluations_of_flags"] > found["gradient_evaluations_of_flags"]
    assert (
        sp.evaluate(trained, images, sp.Protocol(threats=THREAT, suite=SMALL)).summary()[
            "gradient_evaluations_of_flags"
        ]
        == 0
    )


def test_a_model_without_spikes_is_attacked_once_where_paths_are_many(trained_ann, images):
    suite = sp.Suite(name="paths", attacks=(sp.Along(attack=sp.PGD(steps=4), paths=(sp.ATan(), sp.ASSG(), sp.BPTR())),))
    found = sp.evaluate(trained_ann, images, sp.Protocol(threats=THREAT, suite=suite))
    assert found.gradients.max() == 4
    assert set(found.broken_by) <= {-1, 0}


def test_noise_that_was_attacked_does_not_judge(trained, images):
    """FGSM on one draw of heavy noise: judged by the very same draw it would break many more."""
    noisy = sp.view(trained, encoder=sp.RSC(sigma=0.5))
    x, y = images
    judge, threat = Judge(noisy, 1, False), sp.Linf(0.2)
    broken = torch.stack([judge(sp.FGSM(), x, y, threat, seed).broken for seed in range(6)]).float().mean()
    with torch.no_grad():
        same = []
        for seed in range(6):
            found = sp.FGSM()(judge.attacked, x, y, threat, seed=seed)
            same.append(sp.predict(noisy, found, seed=seed).argmax(1) != y)
    assert broken < torch.stack(same).float().mean()


def test_what_chance_allows_is_a_sign_test():
    """Of n differing images at least k have to fall one way, with P(Bin(n, 1/2) >= k) < 1 %: all of 7, 10 of 11."""
    place, none = torch.arange(100), torch.zeros(100, dtype=torch.bool)
    assert by_chance(place < 7, none, 0.0) < 0.07  # 7 of 7: p = 1/128
    assert by_chance(place < 6, none, 0.0) > 0.06  # 6 of 6: p = 1/64
    one, other = (place > 0) & (place < 11), place == 0  # 10 and 1, which differ by 9 of 100: p = 12/2048
    assert 0.07 < by_chance(one, other, 0.0) < 0.09
    assert by_chance(one, other, 0.2) == 0.2
    assert by_chance(none, none, 0.0) > 0  # no difference is never beyond it


def test_what_controls_break_after_all_gradients_is_a_warning():
    """Of 100 images FGSM broke 20 and Square 10: 0.1. Noise before FGSM is no such control, and no member no flag."""
    members = (sp.UniformNoise(), sp.FGSM(), sp.Square(queries=10))
    (flag,) = of_suite(members, [0] * 30 + [1] * 20 + [2] * 10 + [-1] * 40)
    assert flag.number == pytest.approx(0.1)
    assert flag.raised
    assert not flag.spoils
    assert not next(of_suite(members, [2] * 2 + [-1] * 8)).raised  # two images are luck
    assert list(of_suite(members[:2], [0] * 5)) == []
    assert list(of_suite(members[:1], [0] * 5)) == []
