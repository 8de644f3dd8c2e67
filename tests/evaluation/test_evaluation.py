from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import spikeproof as sp
from spikeproof.attacks import Attack
from spikeproof.attacks.attack import Whole
from spikeproof.controls import Outside
from spikeproof.evaluation import robustness
from spikeproof.evaluation.ledger import Ledger
from spikeproof.evaluation.suites import QUICK
from spikeproof.runs import Run


@pytest.fixture(scope="module")
def images(digits):
    _, _, x, y = digits
    return x[:60], y[:60]


SMALL = sp.Suite(name="small", attacks=(sp.UniformNoise(), sp.FGSM(), sp.PGD(steps=4)))
THREATS = [sp.Linf(0.05), sp.Linf(0.15)]


def test_worst_case_equals_running_every_attack_on_every_image(trained, images, device):
    x, y = images
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL))
    clean = sp.predict(trained, x).argmax(1)
    assert np.array_equal(found.clean_prediction, clean.numpy())
    robust = [found.robust_accuracy(i).value for i in (0, 1)]
    assert robust[1] < robust[0] < found.clean_accuracy().value
    for index, threat in enumerate(THREATS):
        held = clean == y
        for attack in SMALL.attacks[1:]:
            held &= sp.predict(trained, attack(trained, x.to(device), y.to(device), threat)).argmax(1) == y
        assert abs(held.float().mean().item() - robust[index]) <= 0.05  # random starts differ


def test_what_is_recorded_per_image_is_consistent(trained, images):
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL))
    wrong = found.clean_prediction != found.label
    assert (found.broken_at[wrong] == -1).all()
    assert (found.broken_by[wrong] == -1).all()
    assert (found.gradients[wrong] == 0).all()
    survived = found.broken_at == len(THREATS)
    assert (found.broken_by[survived] == -1).all()
    assert (found.gradients[survived] == 2 * (1 + 4)).all()  # FGSM and 4 steps of PGD, at each eps
    broken = ~wrong & ~survived
    assert broken.any()
    assert (found.broken_by[broken] >= 0).all()
    by_noise = found.broken_by == 0
    assert (found.gradients[by_noise & (found.broken_at == 0)] == 0).all()
    fgsm_first = (found.broken_by == 1) & (found.broken_at == 0)
    assert fgsm_first.any()
    assert (found.gradients[fgsm_first] == 1).all()  # nothing is spent on an image after it is broken
    summary = found.summary()
    counts = summary["threats"][1]["broken_by"]
    assert sum(counts.values()) == broken.sum()
    assert summary["gradient_evaluations"] == found.gradients.sum()


def test_order_of_threats_does_not_matter_and_kinds_do(trained, images):
    there = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL))
    back = sp.evaluate(trained, images, sp.Protocol(threats=THREATS[::-1], suite=SMALL))
    assert np.array_equal(there.broken_at, back.broken_at)
    with pytest.raises(sp.UserError, match="size only"):
        sp.evaluate(trained, images, sp.Protocol(threats=[sp.Linf(0.1), sp.L2(0.1)], suite=SMALL))
    with pytest.raises(sp.UserError, match="twice"):
        sp.evaluate(trained, images, sp.Protocol(threats=[sp.Linf(0.1), sp.Linf(0.1)], suite=SMALL))
    with pytest.raises(sp.UserError, match="at least one threat"):
        sp.evaluate(trained, images, sp.Protocol(threats=[], suite=SMALL))


@dataclass(frozen=True)
class Cheat(Whole):
    """Returns an image of another class, far outside of any threat."""

    def find(self, query):
        return 1 - query.x


def test_an_illegal_success_does_not_count(trained, images):
    threat = sp.Linf(0.01)
    found = sp.evaluate(
        trained, images, sp.Protocol(threats=[threat], suite=sp.Suite(name="cheat", attacks=(Cheat(),)))
    )
    x, y = images
    legal = threat.project(1 - x, x)
    held = (sp.predict(trained, x).argmax(1) == y) & (sp.predict(trained, legal).argmax(1) == y)
    assert found.robust_accuracy(0).value == pytest.approx(held.float().mean().item())


def test_a_stopped_evaluation_goes_on_and_ends_the_same(trained, images, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "AHEAD", 1)  # a GPU takes many batches at once, and would be done before
    whole = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL), batch=16)
    run, calls = Run(tmp_path), []
    original = Attack.run

    def stopping(self, *args, **kwargs):
        calls.append(1)
        if len(calls) % 4 == 0:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Attack, "run", stopping)
    interruptions = 0
    while True:
        try:
            found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL), batch=16, state=run)
            break
        except KeyboardInterrupt:
            interruptions += 1
            assert (tmp_path / "verdicts.partial.npz").exists()
    assert interruptions >= 3
    for name, array in whole.arrays().items():
        assert np.array_equal(array, found.arrays()[name]), name
    monkeypatch.setattr(Attack, "run", original)
    monkeypatch.setattr(Ledger, "note", lambda *a, **k: pytest.fail("attacked again"))
    again = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL), batch=16, state=run)
    assert np.array_equal(again.broken_at, whole.broken_at)


def test_kept_work_of_another_protocol_is_not_used(trained, images, tmp_path, monkeypatch):
    run, original = Run(tmp_path), Attack.run
    monkeypatch.setattr(Attack, "run", lambda self, *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    run.write_arrays("verdicts.partial.npz", {"settings": np.array("something else")})
    with pytest.raises(KeyboardInterrupt):
        sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL), state=run)
    monkeypatch.setattr(Attack, "run", original)
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL), state=run)
    assert np.array_equal(
        found.broken_at, sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL)).broken_at
    )


def network(**changes):
    return sp.Network(architecture=sp.MLP(hidden=(32,)), steps=3, **changes).build((1, 8, 8), 10)


def refused(model, images, status, says):
    found = sp.evaluate(model, images, sp.Protocol(threats=THREATS, suite=SMALL))
    assert found.diagnosis.status == status
    assert says in found.diagnosis.reason
    assert found.robust_accuracy(0) is None
    summary = found.summary()
    assert summary["status"] == status
    assert all(threat["robust_accuracy"] is None for threat in summary["threats"])
    return found


def test_a_network_that_never_fires_gets_no_robust_accuracy(images):
    refused(network(neuron=sp.LIF(threshold=1e6)), images, "silent", "never fires")


def test_a_constant_network_gets_no_robust_accuracy(images):
    model = network()
    nn.init.zeros_(model.body[-1][0].weight)
    refused(model, images, "constant", "the same for all")


def test_a_network_with_nan_gets_no_robust_accuracy(images):
    model = network()
    nn.init.constant_(model.body[-1][0].bias, float("nan"))
    refused(model, images, "nan", "NaN")


def test_a_network_without_input_gradient_gets_no_robust_accuracy(images, trained):
    narrow = sp.view(trained, gradient=sp.Rectangle(width=1e-6))
    refused(narrow, images, "zero_gradient", "exactly zero")

    refused(Outside(trained, torch.Tensor.detach), images, "zero_gradient", "exactly zero")


def test_a_model_from_outside_is_evaluated(images):
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    found = sp.evaluate(linear, images, sp.Protocol(threats=THREATS, suite=QUICK))
    assert found.diagnosis.status == "ok"
    assert all(p.requires_grad for p in linear.parameters())


def test_a_linear_two_class_model_breaks_exactly_where_its_margin_says(images):
    """For z = w.x the Linf margin is |z_0 - z_1| / ||w_0 - w_1||_1 wherever no pixel meets the border of [0, 1]."""
    torch.manual_seed(0)
    x = 0.5 + 0.05 * torch.randn(60, 1, 4, 4)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))
    nn.init.normal_(linear[1].weight)
    with torch.no_grad():
        logits = linear(x)
    y = logits.argmax(1)
    w = linear[1].weight.detach()
    distance = (logits[:, 0] - logits[:, 1]).abs() / (w[0] - w[1]).abs().sum()
    threats = [sp.Linf(e) for e in (0.002, 0.005, 0.01, 0.02)]
    found = sp.evaluate(
        linear, (x, y), sp.Protocol(threats=threats, suite=sp.Suite(name="pgd", attacks=(sp.PGD(steps=10),)))
    )
    exact = np.searchsorted([t.eps for t in threats], distance.numpy())
    assert np.array_equal(found.broken_at, exact)


def test_a_stochastic_model_is_averaged(trained, images):
    noisy = sp.view(trained, encoder=sp.Poisson())
    suite = sp.Suite(name="pgd", attacks=(sp.PGD(steps=2),))
    found = sp.evaluate(noisy, images, sp.Protocol(threats=[sp.Linf(0.1)], suite=suite, draws=3))
    assert (found.suite, found.draws) == (suite, 3)  # the protocol is that of deterministic networks beside it
    held = found.broken_at == 1
    assert held.any()
    assert (found.gradients[held] == 2 * 3).all()


def test_a_lucky_draw_does_not_end_an_attack_on_a_stochastic_model(digits):
    """Stopping at the first broken draw would leave images that fresh draws judge unbroken, and report too much."""
    x, y = digits[2][:80], digits[3][:80]
    torch.manual_seed(0)
    model = sp.Network(architecture=sp.MLP(hidden=(64,)), encoder=sp.Poisson(), steps=4).build((1, 8, 8), 10)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(4):
        for part in torch.randperm(len(digits[0])).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(digits[0][part]), digits[1][part]).backward()
            optimiser.step()
    suite = sp.Suite(name="pgd", attacks=(sp.PGD(steps=6),))
    found = sp.evaluate(model, (x, y), sp.Protocol(threats=[sp.Linf(0.1)], suite=suite, draws=8))
    right = found.clean_prediction == found.label
    assert right.mean() > 0.7
    by_hand = sp.PGD(steps=6, eot=8)(model, x[right], y[right], sp.Linf(0.1))
    held = (sp.predict(model, by_hand, draws=8, seed=5).argmax(1) == y[right]).float().sum().item() / len(x)
    assert found.robust_accuracy(0).value <= held + 0.08
    assert (found.gradients[right] == 6 * 8).all()  # every image to the end


ALONG = sp.Along(attack=sp.PGD(steps=4), paths=(sp.ATan(), sp.Triangle(width=0.5)))


def test_an_attack_along_several_paths_is_one_of_a_suite(trained, images):
    """Each survivor costs one gradient of FGSM and four along each of two paths, at each eps; a broken one no more."""
    suite = sp.Suite(name="adaptive", attacks=(sp.FGSM(), ALONG))
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=suite))
    plain = sp.evaluate(
        trained, images, sp.Protocol(threats=THREATS, suite=sp.Suite(name="FGSM", attacks=(sp.FGSM(),)))
    )
    survived = found.broken_at == len(THREATS)
    assert survived.any()
    assert (found.gradients[survived] == 2 * (1 + 2 * 4)).all()
    by_along = found.broken_by >= 1
    assert by_along.any()
    assert (found.gradients[by_along & (found.broken_at == 0)] <= 1 + 2 * 4).all()
    for eps in (0, 1):
        assert found.robust_accuracy(eps).value < plain.robust_accuracy(eps).value
    counts = found.summary()["threats"][1]["broken_by"]
    assert list(counts) == ["FGSM", "PGD-4 (ATan 2)", "PGD-4 (Triangle 0.5)"]
    assert list(counts.values()) == [(found.broken_by == member).sum() for member in range(3)]


def test_a_suite_with_paths_goes_on_after_a_stop(trained, images, tmp_path, monkeypatch):
    suite = sp.Suite(name="adaptive", attacks=(sp.FGSM(), ALONG))
    whole = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=suite), batch=20)
    run, calls, original = Run(tmp_path), [], Attack.run

    def stopping(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Attack, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=suite), batch=20, state=run)
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=suite), batch=20, state=run)
    for name, array in whole.arrays().items():
        assert np.array_equal(array, found.arrays()[name]), name


def test_averaging_reaches_the_attack_along_several_paths(trained, images):
    noisy = sp.view(trained, encoder=sp.RSC(sigma=0.2))
    suite = sp.Suite(name="adaptive", attacks=(ALONG,))
    found = sp.evaluate(noisy, images, sp.Protocol(threats=[sp.Linf(0.05)], suite=suite, draws=3))
    right = found.broken_at >= 0
    assert right.any()
    spent = found.gradients[right]  # each path is followed to its end: no image stops at a lucky draw
    assert set(spent.tolist()) == {4 * 3, 2 * 4 * 3}
    assert (spent[found.broken_by[right] == 0] == 4 * 3).all()


def test_a_narrow_slope_is_seen_through(trained, images):
    """PGD finds the network robust whose slope hides its gradients; along wider paths it is as weak as without."""
    narrow = sp.view(trained, gradient=sp.Triangle(width=0.02))
    pgd = sp.PGD(steps=4)
    judged = {}
    for name, model, attack in (
        ("fooled", narrow, pgd),
        ("seen through", narrow, sp.Along(attack=pgd)),
        ("open", trained, pgd),
    ):
        found = sp.evaluate(
            model, images, sp.Protocol(threats=[sp.Linf(0.1)], suite=sp.Suite(name=name, attacks=(attack,)))
        )
        judged[name] = float((found.broken_at > 0).mean())
        assert (found.robust_accuracy(0) is None) == (name == "fooled")  # its own flags tell
    assert judged["fooled"] > judged["open"] + 0.2
    assert judged["seen through"] <= judged["open"]


def test_nan_under_attack_is_no_robustness(trained, images):
    class Brittle(Outside):
        """NaN wherever a pixel is off the sixteen grey levels of the clean images: argmax of NaN is class 0."""

        def forward(self, x):
            off = ((x * 16 - (x * 16).round()).abs() > 1e-3).flatten(1).any(1, keepdim=True)
            return self.network(x).masked_fill(off, torch.nan)

    found = sp.evaluate(Brittle(trained, nn.Identity()), images, sp.Protocol(threats=THREATS, suite=SMALL))
    assert found.diagnosis.status == "nan"
    assert "under Linf" in found.diagnosis.reason
    assert found.robust_accuracy(0) is None


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_a_diagnosis_does_not_depend_on_the_batch(images, batch):
    found = sp.evaluate(
        network(neuron=sp.LIF(threshold=1e6)), images, sp.Protocol(threats=THREATS, suite=SMALL), batch=batch
    )
    assert found.diagnosis.status == "silent"


def test_nan_weights_are_named(images):
    model = network()
    nn.init.constant_(model.body[1][0].weight, torch.nan)  # their spikes are all 0, and the logits finite
    assert "body.1.0.weight holds NaN" in refused(model, images, "nan", "NaN").diagnosis.reason


def test_a_model_that_writes_into_its_input_is_refused_and_harms_no_one(trained, images):
    writes = Outside(trained, lambda x: x.mul_(0.5) if not x.requires_grad else x * 0.5)
    x, y = images
    before = x.clone()
    for measure in (
        lambda: sp.evaluate(writes, (x, y), sp.Protocol(threats=[sp.Linf(0.05)], suite="quick")),
        lambda: sp.predict(writes, x),
    ):
        with pytest.raises(sp.UserError, match="writes into its input"):
            measure()
    assert torch.equal(x, before)


def test_intervals_are_wilsons():
    value, low, high = sp.Interval.of(37, 50)
    z = norm.ppf(0.975)
    centre = (value + z * z / 100) / (1 + z * z / 50)
    half = z / (1 + z * z / 50) * (value * (1 - value) / 50 + z * z / (4 * 50**2)) ** 0.5
    assert (low, high) == pytest.approx((centre - half, centre + half))
    assert sp.Interval.of(0, 10).low == 0
    assert sp.Interval.of(10, 10).high == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda x, y: (x * 255, y), r"image 0 has values .*divide by 255"),
        (lambda x, y: (torch.where(torch.arange(60).view(-1, 1, 1, 1) == 7, torch.nan, x), y), "image 7"),
        (lambda x, y: (x, y.float()), "integers"),
        (lambda x, y: (x, torch.where(torch.arange(60) == 5, 10, y)), "label 10 of image 5.*10 classes"),
        (lambda x, y: (x[:30], y), "30 images came with 60 labels"),
        (lambda x, y: (x[:, :, :5], y), r"takes images \[B, 1, 8, 8\]"),
        (lambda x, y: (x[:0], y[:0]), "no images"),
    ],
)
def test_bad_input_is_refused(trained, images, spoil, says):
    with pytest.raises(sp.UserError, match=says):
        sp.evaluate(trained, spoil(*images), sp.Protocol(threats=THREATS, suite=SMALL))


def test_logits_of_a_wrong_shape_are_refused(images):
    class PerStep(nn.Module):
        def forward(self, x):
            return torch.zeros(4, len(x), 10)

    with pytest.raises(sp.UserError, match=r"returned \[4, 60, 10\]"):
        sp.evaluate(PerStep(), images, sp.Protocol(threats=THREATS, suite=SMALL))


def test_suites_by_name():
    assert sp.suite_named("quick") is QUICK
    with pytest.raises(sp.UserError, match="did you mean 'quick'"):
        sp.suite_named("quik")
    with pytest.raises(sp.UserError, match="no attacks"):
        sp.Suite(name="empty")


class OnlyNearby(nn.Module):
    """NaN for every image that is not one of 256 levels: for attacked ones alone."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        moved = (x - (x * 255).round() / 255).abs().flatten(1).amax(1, keepdim=True) > 1e-3
        logits = self.linear(x.flatten(1))
        return torch.where(moved, torch.full_like(logits, torch.nan), logits)


def test_what_only_an_attack_shows_to_be_nan_stays_so_when_the_evaluation_goes_on(images, tmp_path):
    x, model = (images[0] * 255).round() / 255, OnlyNearby()
    labelled = x, model(x).argmax(1)
    protocol = sp.Protocol(threats=sp.Linf(0.01), suite=SMALL)
    first = sp.evaluate(model, labelled, protocol, batch=16, state=Run(tmp_path))
    again = sp.evaluate(model, labelled, protocol, batch=16, state=Run(tmp_path))
    assert first.diagnosis.status == "nan"
    assert again.diagnosis == first.diagnosis
    assert again.robust_accuracy(0) is None


@pytest.mark.parametrize("threat", [-1, 2])
def test_a_threat_that_was_not_attacked_under_has_no_robust_accuracy(trained, images, threat):
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL, images=10))
    with pytest.raises(sp.UserError, match=f"threat must be from 0 to 1, in order of eps, not {threat}"):
        found.robust_accuracy(threat)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda model, x, y, protocol: ("runs/mine", (x, y), protocol),
            "a model is a torch.nn.Module, not 'runs/mine'",
        ),
        (lambda model, x, y, protocol: (model, x, protocol), r"a pair \(images, labels\), not a Tensor"),
        (lambda model, x, y, protocol: (model, (x, y, y), protocol), r"a pair \(images, labels\), not 3 things"),
        (
            lambda model, x, y, protocol: (model, (x, torch.eye(10)[y]), protocol),
            r"labels \[N\], integers, not torch.float32 \[60, 10\]",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_named(trained, images, change, message):
    with pytest.raises(sp.UserError, match=message):
        sp.evaluate(*change(trained, *images, sp.Protocol(threats=THREATS, suite=SMALL)))


def test_an_attack_needs_a_threat_and_no_number(trained, images):
    with pytest.raises(sp.UserError, match="an attack needs a threat"):
        sp.PGD()(trained, *images, 0.1)


def test_images_are_kept_on_request_and_break_the_network_as_the_verdicts_say(trained, images):
    found = sp.evaluate(trained, images, sp.Protocol(threats=THREATS, suite=SMALL), keep_images=True)
    z, (x, y) = torch.from_numpy(found.adversarial), (part.cpu() for part in images)
    broken = torch.from_numpy((found.broken_at >= 0) & (found.broken_at < len(THREATS)))
    assert broken.any()
    assert torch.equal(z[~broken], x[~broken])
    named = sp.predict(trained, z).argmax(1)
    assert torch.equal(named[broken], torch.from_numpy(found.broken_as)[broken])
    assert (named != y)[broken].all()
    for index, threat in enumerate(THREATS):
        these = torch.from_numpy(found.broken_at == index)
        assert threat.contains(z[these], x[these]).all()
    assert not THREATS[0].contains(z[broken], x[broken]).all()  # what is broken later needed more


def test_images_are_not_kept_unless_asked_for_nor_where_others_find_some(trained, images, tmp_path):
    protocol = sp.Protocol(threats=THREATS[0], suite=SMALL)
    assert sp.evaluate(trained, images, protocol).adversarial is None
    with pytest.raises(sp.UserError, match="leave out state and ranks"):
        sp.evaluate(trained, images, protocol, keep_images=True, state=Run(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
