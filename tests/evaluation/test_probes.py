import json
import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.attacks.attack import Whole
from spikeproof.evaluation import Probes, probe, probe_run
from spikeproof.runs import Run
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import ProbesRecord


@dataclass(frozen=True)
class Brighter(Whole):
    """Adds a tenth: a perturbation that a test can follow on paper."""

    def find(self, query):
        return (query.x + 0.1).clamp(0, 1)


@dataclass(frozen=True)
class Broken(Whole):
    def find(self, query):
        return torch.full_like(query.x, torch.nan)


class Linear(nn.Module):
    """Logits ``W x + b`` of the flattened image."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias


class Net(nn.Module):
    """Two pixels -> currents 2 x, at three steps -> LIF or DLIF -> mean over time of 3 classes."""

    def __init__(self, neuron=None):
        super().__init__()
        self.fire = (neuron or sp.DLIF(leak=0.5)).layer(3).double()
        self.out = nn.Linear(2, 3).double()

    def forward(self, x):
        return self.out(self.fire((2 * x.flatten(1)).expand(3, -1, -1))).mean(0)


class Noisy(nn.Module):
    """A net whose pixels are drawn anew in every call."""

    stochastic = True

    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return self.net(x + 0.3 * torch.randn_like(x))


X, Y = torch.tensor([[[[0.3, 0.6]]]], dtype=torch.float64), torch.tensor([1])


def noise(monkeypatch, *values):
    """Random perturbations go along `values`, the same for every image."""
    fixed = torch.tensor(values, dtype=torch.float64)
    monkeypatch.setattr(torch, "randn_like", lambda t: fixed.view(1, *t.shape[1:]).expand_as(t))


def softplus(m):
    return math.log1p(math.exp(m))


def test_the_gradient_of_a_linear_model_by_hand():
    """f = s(z_y - z_j), df/dx = s'(z_y - z_j) (w_y - w_j): which entries are zero or small does not depend on x.

    Image 1, label 0: rival 1, w_0 - w_1 = (1, 0, -1/256, 2), z_0 - z_1 = 0.3975 - 0.5.
    Image 2, label 2: rival 1, w_2 - w_1 = (0, 0, 0, 4), z_2 - z_1 = 0.4 - 1.5.
    """
    model = Linear([[1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1 / 256, 0.0], [0.0, 0.0, 1 / 256, 4.0]], [0.0, 0.5, -1.0])
    x = torch.tensor([[0.1975, 0.7, 0.0, 0.1], [0.0, 0.7, 0.5, 0.1]], dtype=torch.float64).view(2, 1, 2, 2)
    found = probe(model, x, torch.tensor([0, 2]), sp.Linf(0.0))
    one, two = (1 / (1 + math.exp(-m)) for m in (0.1975 + 0.2 - 0.5, 0.4 - 1.5))
    assert found.gradient.nonzero_share == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert found.gradient.above_1_percent_share == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found.gradient.l1 == pytest.approx((one * (1 - one) * (3 + 1 / 256) + two * (1 - two) * 4) / 2, rel=1e-9)


def test_of_equally_strong_rivals_the_first_one_counts():
    model = Linear([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], [0.0, 0.0, 0.0])
    found = probe(model, torch.zeros(1, 1, 1, 2).double(), torch.tensor([0]), sp.Linf(0.0))
    assert found.gradient == (0.5, 0.5, pytest.approx(0.25))


def test_a_model_that_cuts_the_gradient_has_none():
    class Cut(Linear):
        def forward(self, x):
            return super().forward(x.detach()).detach()

    found = probe(Cut([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), X, Y, sp.Linf(0.1))
    assert found.gradient == (0, 0, 0)


def test_the_gap_of_a_linear_model_by_hand(monkeypatch):
    """Two classes, z_0 = 0, z_1 = 2 a - b, label 1: an eps of 0.1 takes 0.3 off the margin, noise (+, +) adds 0.1."""
    noise(monkeypatch, 5.0, 0.01)
    model = Linear([[0.0, 0.0], [2.0, -1.0]], [0.0, 0.0])
    x = torch.tensor([[0.5, 0.5], [0.5, 0.8], [0.35, 0.9]], dtype=torch.float64).view(
        3, 1, 1, 2
    )  # margins 0.5, 0.2, -0.2
    found = probe(model, x, torch.ones(3, dtype=torch.long), sp.Linf(0.1))
    clean, worst, noisy = (sum(softplus(-(m + d)) for m in (0.5, 0.2, -0.2)) / 3 for d in (0, -0.3, 0.1))
    assert found.clean_loss == pytest.approx(clean)
    assert found.clean_accuracy == pytest.approx(2 / 3)
    assert found.adversarial.loss_rise == pytest.approx(worst - clean)
    assert found.adversarial.accuracy_drop == pytest.approx(1 / 3)
    assert found.random.loss_rise == pytest.approx(noisy - clean)
    assert found.random.accuracy_drop == pytest.approx(0)
    assert found.gap.loss_rise == pytest.approx(worst - noisy)
    assert found.gap.accuracy_drop == pytest.approx(1 / 3)


def test_the_random_perturbation_has_the_size_of_any_threat(monkeypatch):
    noise(monkeypatch, 3.0, -4.0)
    model = Linear([[0.0, 0.0], [1.0, 0.0]], [0.0, 0.0])
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64).view(1, 1, 1, 2)
    for threat, moved in ((sp.Linf(0.1), 0.1), (sp.L2(0.1), 0.06)):
        found = probe(model, x, Y, threat)
        assert found.random.loss_rise == pytest.approx(softplus(-0.5 - moved) - softplus(-0.5)), threat


def test_an_illegal_image_counts_as_unmoved():
    assert probe(Net(), X, Y, sp.Linf(0.1), Broken()).adversarial == (0, 0)


@pytest.mark.parametrize("neuron", [sp.DLIF(leak=0.5), sp.LIF(leak=0.5, threshold=0.1)])
def test_potentials_over_time_by_hand(monkeypatch, neuron):
    """I~ - I = 2 * 0.1 at every step, leak 0.5: Y = 0.2, 0.3, 0.35; the noise moves one neuron of the two."""
    noise(monkeypatch, 0.0, -1.0)
    found = probe(Net(neuron), X, Y, sp.Linf(0.1), Brighter())
    assert list(found.potentials) == ["fire"]
    assert found.potentials["fire"].adversarial == pytest.approx((0.2, 0.3, 0.35))
    assert found.potentials["fire"].random == pytest.approx([v / math.sqrt(2) for v in (0.2, 0.3, 0.35)])


def test_potentials_are_a_root_of_the_mean_over_images_in_any_batches(monkeypatch):
    """The second image is white already: it cannot be made brighter."""
    noise(monkeypatch, 1.0, 1.0)
    x, y = torch.cat([X, torch.ones_like(X), X]), torch.tensor([1, 1, 1])
    for batch in (1, 2, 3):
        course = probe(Net(), x, y, sp.Linf(0.1), Brighter(), batch=batch).potentials["fire"]
        assert course.adversarial == pytest.approx([v * math.sqrt(2 / 3) for v in (0.2, 0.3, 0.35)])


def test_a_networks_own_noise_does_not_count():
    found = probe(Noisy(), X, Y, sp.Linf(0.1), Brighter())
    assert found.draws == 16
    assert found.potentials["net.fire"].adversarial == pytest.approx((0.2, 0.3, 0.35))
    still = probe(Noisy(), X, Y, sp.Linf(0.0), draws=3)
    assert (still.draws, still.adversarial, still.random) == (3, (0, 0), (0, 0))
    assert set(still.potentials["net.fire"].random) == {0.0}


def test_layers_come_in_order_and_an_ann_has_none(trained, trained_ann, digits):
    x, y = digits[2][:40], digits[3][:40]
    found = probe(trained, x, y, sp.Linf(0.1), batch=16)
    with sp.record(trained) as inside:
        trained(x[:2])
    assert list(found.potentials) == list(inside.spikes)
    assert all(len(course.adversarial) == len(course.random) == 4 for course in found.potentials.values())
    assert found.clean_accuracy == pytest.approx((sp.predict(trained, x).argmax(1) == y).float().mean().item())
    assert found.gap.loss_rise > 0
    assert probe(trained_ann, x, y, sp.Linf(0.1)).potentials == {}


def test_the_model_and_the_random_state_are_left_as_they_were():
    network = sp.Network(architecture=sp.SmallCNN(widths=(3, 4, 5)), encoder=sp.Poisson(), steps=3)
    model, x, y = network.build((1, 8, 8), 10).train(), torch.rand(6, 1, 8, 8), torch.arange(6)
    model.body[0].eval()
    modes = [m.training for m in model.modules()]
    before = {n: t.clone() for n, t in model.state_dict().items()}
    images, state = x.clone(), torch.get_rng_state()
    one, two = (probe(model, x, y, sp.Linf(0.1), sp.PGD(steps=2), batch=4, draws=2) for _ in range(2))
    assert one == two
    assert probe(model, x, y, sp.Linf(0.1), sp.PGD(steps=2), batch=4, draws=2, seed=1) != one
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, images)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_summary_is_json_and_says_it_all():
    found = probe(Net(), X, Y, sp.Linf(0.1), Brighter())
    assert isinstance(found, Probes)
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["gradient"] == found.gradient._asdict()
    assert summary["loss_rise"] == {
        "adversarial": found.adversarial.loss_rise,
        "random": found.random.loss_rise,
        "gap": found.adversarial.loss_rise - found.random.loss_rise,
    }
    assert summary["potential_perturbation"] == {
        "fire": {"adversarial": list(found.potentials["fire"].adversarial), "random": list(found.potentials["fire"][1])}
    }
    assert summary["threat"]["config"] == {"class_path": "Linf", "init_args": {"eps": 0.1}}
    assert (summary["images"], summary["draws"], summary["attack"]["label"]) == (1, 1, "Brighter")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": 255 * X}, "images lie in"),
        ({"y": torch.tensor([3])}, "label 3 of image 0 is out of range"),
        ({"y": torch.tensor([1, 1])}, "1 images came with 2 labels"),
        ({"threat": [sp.Linf(0.1)]}, "one threat, for example"),
        ({"batch": 0}, "batch must be a whole number from 1 on, not 0"),
        ({"draws": 0}, "draws must be a whole number from 1 on, not 0"),
        ({"seed": -1}, "seed must be a whole number from 0 on, not -1"),
        ({"model": Linear([[math.nan, 0.0], [1.0, 0.0]], [0.0, 0.0])}, "cannot be probed: its .* is NaN or infinite"),
        ({"model": nn.Identity()}, r"a model returns logits \[B, K\]"),
    ],
)
def test_what_cannot_be_probed_is_refused(change, says):
    with pytest.raises(sp.UserError, match=says):
        probe(**{"model": Net(), "x": X, "y": Y, "threat": sp.Linf(0.1), "attack": Brighter()} | change)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    network = sp.Network(architecture=sp.MLP(hidden=(16,)), steps=2)
    training = sp.Training(epochs=1, batch=64, selection=sp.Selection(images=8))
    sp.train(sp.Recipe(name="mlp", network=network, training=training), folder)
    return Run(folder)


def test_a_run_keeps_its_probes(run):
    found = probe_run(run, sp.Linf(0.1), images=30, batch=20)
    assert found == run.read(ProbesRecord)
    assert (found.images, found.part, found.seed) == (30, "test", 0)
    assert found.threat.label == str(sp.Linf(0.1))
    assert found.attack.config["init_args"]["steps"] == 10
    assert found.data["class_path"] == "Digits"
    assert "torch" in found.environment.versions
    x, y = sp.Digits().part("test").batch(range(30))
    direct = json.loads(json.dumps(probe(sp.load_model(run.path), x, y, sp.Linf(0.1), batch=20).summary()))
    kept = as_json(found)
    courses = direct.pop("potential_perturbation")
    assert direct == {name: kept[name] for name in direct}
    assert kept["potential_perturbation"] == {"linear 1": courses["body.2"]}  # by a name that a person knows


def test_the_same_probe_is_not_done_twice_and_another_is(run, monkeypatch):
    kept = probe_run(run, sp.Linf(0.1), images=30)
    monkeypatch.setattr("spikeproof.evaluation.probed_runs.probe", lambda *a, **k: 1 / 0)
    assert probe_run(run, sp.Linf(0.1), images=30) == kept
    for change in ({"images": 29}, {"seed": 1}, {"part": "validation"}, {"attack": sp.PGD(steps=11)}):
        with pytest.raises(ZeroDivisionError):
            probe_run(run, sp.Linf(0.1), **{"images": 30} | change)
    with pytest.raises(ZeroDivisionError):
        probe_run(run, sp.Linf(0.2), images=30)
    assert run.read(ProbesRecord) == kept


def test_other_weights_are_probed_again(run):
    kept = probe_run(run, sp.Linf(0.1), images=30)
    tensors, facts = run.read_tensors("model.safetensors")
    run.write_tensors("model.safetensors", {n: t.flip(0) if t.ndim > 1 else t for n, t in tensors.items()}, facts)
    changed = probe_run(run, sp.Linf(0.1), images=30)
    assert changed.fingerprint != kept.fingerprint
    assert changed.gradient != kept.gradient
    run.write_tensors("model.safetensors", tensors, facts)


def test_impossible_runs_are_refused(run):
    with pytest.raises(sp.UserError, match="take 1 to 360, not 361"):
        probe_run(run, sp.Linf(0.1), images=361)
    whole = run.record
    run.write(replace(whole, finished=None))
    with pytest.raises(sp.UserError, match="has not finished: start its command again, then probe"):
        probe_run(Run(run.path), sp.Linf(0.1), images=30)
    run.write(whole)
