"""Do attacks on an honest network behave as they must, and is a network flagged where they do not?"""

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.controls import Outside
from spikeproof.controls.hiding import Retold, one_sided
from spikeproof.evaluation.flags import CHECKS, Credited, Flag, Trials, examine, trials
from spikeproof.evaluation.flags.suite import controls_beat_gradients
from spikeproof.evaluation.judging import Judge

THREAT = sp.Linf(0.1)


def attacked(model, images, *keys, broken=None, draws=1, threat=THREAT, most=24) -> dict[str, Flag]:
    """The flags of the checks of these keys, all without any, on `most` images that the model knows."""
    x, y = images
    right = sp.predict(model, x).argmax(1) == y.cpu()
    x, y = x[right][:most], y[right][:most]
    broken = torch.zeros(len(x), dtype=torch.bool) if broken is None else broken[: len(x)]
    checks = [check for check in CHECKS if not keys or check.key in keys]
    return {flag.key: flag for flag in examine(Trials(Judge(model, draws, False), x, y, threat, broken), checks)}


def test_attacks_on_an_honest_network_raise_nothing(trained, images):
    flags = attacked(trained, images)
    assert {key for key, flag in flags.items() if flag.raised} == set()
    assert set(flags) == {check.key for check in CHECKS if check.subject is Trials} - {
        "draws-do-not-help",
        "labels-beat-gradients",
    }
    *shares, samples, steps = flags["steps-do-not-help"].details.values()
    assert len(shares) == 4 == len(steps)
    assert samples == 24
    assert 0 < shares[0] <= shares[3] <= 1


def test_honest_noise_is_broken_by_averaged_gradients(trained, images):
    noisy = sp.view(trained, encoder=sp.RSC(sigma=0.1))
    assert not attacked(noisy, images, "draws-do-not-help", draws=2)["draws-do-not-help"].raised


class Reversed(torch.autograd.Function):
    """The images as they are; their gradient points the other way."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -grad


def reversed_off_grid(x):
    """The digits' pixels are sixteenths: the gradient is true at a digit, and leads astray beside it."""
    return x if torch.equal(16 * x, (16 * x).round()) else Reversed.apply(x)


def test_a_gradient_that_is_true_at_the_image_alone_lets_one_step_beat_many(trained, images):
    flags = attacked(Outside(trained, reversed_off_grid), images, "one-step-beats-many", threat=sp.Linf(0.2))
    assert flags["one-step-beats-many"].raised
    assert flags["one-step-beats-many"].spoils
    assert flags["one-step-beats-many"].meaning.endswith("Compared: FGSM, against APGD-CE-5.")


def test_a_gradient_that_leads_astray_loses_to_controls_that_see_none(trained, images):
    flags = attacked(Outside(trained, Reversed.apply), images, "black-box-beats-white-box", "one-step-beats-many")
    assert flags["black-box-beats-white-box"].raised
    assert flags["black-box-beats-white-box"].spoils
    assert flags["black-box-beats-white-box"].meaning.endswith("Controls: Square-60 and ANN twin.")


class Corner(nn.Module):
    """It is wrong where a corner is bright, which one random start in ten makes it, and shows no gradient."""

    def forward(self, x):
        return nn.functional.one_hot((x[:, 0, 0, 0] > 0.08).long(), 2).float()


def test_starts_alone_decide_where_no_gradient_leads():
    x = torch.rand(100, 1, 8, 8)
    x[:, 0, 0, 0] = 0
    labelled = x, torch.zeros(100, dtype=torch.long)
    flags = attacked(Corner(), labelled, "noise-beats-gradients", "restarts-not-levelled-off", most=100)
    assert flags["noise-beats-gradients"].raised
    assert flags["noise-beats-gradients"].spoils
    assert flags["restarts-not-levelled-off"].raised
    assert not flags["restarts-not-levelled-off"].spoils


class Counting(nn.Module):
    """A network that shows its gradient in the first calls only, or only after them."""

    def __init__(self, network, calls, first):
        super().__init__()
        self.network, self.calls, self.first, self.asked = network, calls, first, 0

    def forward(self, x):
        self.asked += torch.is_grad_enabled()
        return self.network(x if (self.asked <= self.calls) is self.first else x.detach())


def test_a_network_that_goes_blind_is_broken_less_by_more_steps(trained, images):
    threat = sp.Linf(0.2)
    flags = attacked(Counting(trained, 6, True), images, "steps-do-not-help", "steps-not-levelled-off", threat=threat)
    assert flags["steps-do-not-help"].raised
    assert flags["steps-do-not-help"].spoils
    assert not flags["steps-not-levelled-off"].raised
    details = flags["steps-do-not-help"].details
    assert list(details)[:4] == ["APGD-CE-5", "APGD-CE-10", "APGD-CE-20", "APGD-CE-40"]
    assert details["steps"] == [5, 10, 20, 40]


def test_a_network_that_shows_its_gradient_late_needs_still_more_steps(trained, images):
    calls = 5 + 10 + 20 + 3  # of the climbs before the longest
    late = attacked(Counting(trained, calls, False), images, "steps-not-levelled-off", threat=sp.Linf(0.2))
    assert late["steps-not-levelled-off"].raised
    assert not late["steps-not-levelled-off"].spoils


def test_a_network_that_goes_blind_after_one_draw_gains_nothing_by_more(trained, images):
    blind = Counting(trained, 6, True)
    blind.stochastic = True
    flag = attacked(blind, images, "draws-do-not-help", draws=2, threat=sp.Linf(0.2))["draws-do-not-help"]
    assert flag.raised
    assert flag.spoils


def test_a_gap_between_the_default_path_and_the_worst_is_a_warning(trained, images):
    narrow = sp.view(trained, gradient=sp.Triangle(width=1e-3))
    key = "default-path-far-from-worst"
    found = attacked(narrow, images, key, broken=torch.arange(24) < 20)[key]
    assert found.raised
    assert not found.spoils
    assert found.number == pytest.approx(20 / 24, abs=0.1)


def test_a_path_is_not_blind_where_cross_entropy_alone_is(trained, images):
    """Of logits of 1e30 its gradient is 0; along the same path a climb on the margin finds what others do."""

    class Scaled(nn.Module):
        def forward(self, x):
            return 1e30 * trained(x)

    key = "default-path-far-from-worst"
    found = attacked(Scaled(), images, key, most=12, broken=torch.ones(12, dtype=torch.bool))[key]
    plain = attacked(trained, images, key, most=12, broken=torch.ones(12, dtype=torch.bool))[key]
    assert found.details["all paths"] == 1
    assert found.number == pytest.approx(plain.number, abs=0.1)
    assert found.number < 0.7


def test_a_network_that_no_image_changes_holds_without_a_bound(images):
    class Always(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(torch.full((len(x),), 3, device=x.device), 10) + 0 * x.sum(
                (1, 2, 3)
            ).unsqueeze(1)

    flag = attacked(Always(), images, "holds-without-a-bound")["holds-without-a-bound"]
    assert flag.number == 1
    assert flag.raised
    assert flag.spoils
    assert "under Linf 255/255" in flag.meaning


@pytest.mark.parametrize(("threat", "climb"), [(sp.EventFlips(3), "SCG"), (sp.Retiming(1), "steepest retiming")])
def test_a_sentence_names_the_climb_and_the_control_that_ran(threat, climb, monkeypatch):
    """Under threats on events neither is APGD or Square."""
    monkeypatch.setattr(trials, "STEPS", (1, 2, 3, 4))
    x = (torch.rand(4, 3, 2, 4, 4) < 0.3).float()
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 3))
    tried = Trials(Judge(model, 1, False), x, model(x).argmax(1), threat, torch.zeros(4, dtype=torch.bool))
    flags = {flag.key: flag.meaning for flag in examine(tried)}
    assert flags["black-box-beats-white-box"].endswith("Controls: uniform noise-100.")
    assert flags["one-step-beats-many"].endswith(f"Compared: {climb}-1, against {climb}-1.")
    assert not any(other in meaning for meaning in flags.values() for other in ("Square", "APGD", "FGSM", "ANN twin"))
    assert "holds-without-a-bound" not in flags


def test_what_controls_break_after_all_gradients_is_a_warning():
    """Of 100 images FGSM broke 20 and Square 12: 0.12. Noise before FGSM is no such control, and no member no flag."""
    members = (sp.UniformNoise(), sp.FGSM(), sp.Square(queries=10))
    (flag,) = examine(Credited(members, [0] * 28 + [1] * 20 + [2] * 12 + [-1] * 40))
    assert flag.number == pytest.approx(0.12)
    assert flag.raised
    assert not flag.spoils
    assert not next(examine(Credited(members, [2] * 2 + [-1] * 8))).raised  # two images are luck
    assert list(examine(Credited(members[:2], [0] * 5))) == []
    assert list(examine(Credited(members[:1], [0] * 5))) == []
    assert list(examine(Credited(members, []))) == []


def test_the_suite_s_own_controls_are_named():
    members = (sp.Square(queries=10), sp.SCG(), sp.CornerPattern(), sp.UniformNoise(draws=9))
    meaning = controls_beat_gradients.flag(Credited(members, [1, 2])).meaning
    assert meaning.endswith("Controls: corner pattern and uniform noise-9.")
    assert "Square" not in meaning


def test_a_climb_is_run_once_for_all_checks(trained, images, monkeypatch):
    """What it returns, what it believes and what it breaks are asked for by different checks."""
    ran = []
    original = Judge.attack
    monkeypatch.setattr(
        Judge,
        "attack",
        lambda self, attack, *rest, **named: ran.append(attack) or original(self, attack, *rest, **named),
    )
    attacked(trained, images)
    assert len(ran) == len(set(ran)) > 5


def test_a_gradient_of_the_winner_alone_misleads_about_its_rival(trained, images):
    (flag,) = attacked(Retold(trained, one_sided), images, "gradient-misleads").values()
    assert flag.raised
    assert flag.number == flag.details["rival's score"] > flag.threshold
    assert flag.details["own score"] < 0.1
    assert flag.details["margin"] < flag.threshold  # of which half is told: that alone shows nothing
