"""Is interval training the formula, over its ramp, and can what it trains be certified?"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import spikeproof as sp
from spikeproof.bounds import How, Range, margins, prepared

X, Y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def network(neuron=sp.LIF(gradient=sp.ATan()), architecture=sp.MLP(hidden=(12,)), **choices):
    return sp.Network(architecture=architecture, neuron=neuron, **choices).build((1, 4, 4), 3)


def test_the_ramp_by_hand():
    """Of 10 epochs: half way eps is half, and kappa 1 - (1 - 0.5) / 2."""
    objective = sp.IntervalTraining(eps=0.04, kappa=0.5, ramp=10)
    assert objective.at(0.0) == replace(objective, eps=0.0, kappa=1.0)
    assert objective.at(5.0) == replace(objective, eps=0.02, kappa=0.75)
    assert objective.at(10.0) is objective.at(12.5) is objective
    at_once = sp.IntervalTraining(ramp=0)
    assert at_once.at(0.0) is at_once
    assert sp.Standard().at(3.0) == sp.Standard()


def test_rat_passes_the_epoch_on():
    inside = sp.IntervalTraining(eps=0.04, ramp=10)
    assert sp.RAT(objective=inside).at(5.0) == sp.RAT(objective=inside.at(5.0))
    plain = sp.RAT(objective=sp.Standard())
    assert plain.at(5.0) is plain


def test_the_terms_are_the_cross_entropies_of_the_image_and_of_the_worst_logits():
    model, objective = network(), sp.IntervalTraining(eps=0.05, kappa=0.3)
    terms = objective(model, X, Y)
    around = Range((X - 0.05).clamp(0, 1).double(), (X + 0.05).clamp(0, 1).double())
    worst = -margins(prepared(model), around, Y, How(trains=False, rounding=False))
    assert terms["cross_entropy"].item() == pytest.approx(0.3 * F.cross_entropy(model(X), Y).item(), rel=1e-5)
    assert terms["worst_cross_entropy"].item() == pytest.approx(0.7 * F.cross_entropy(worst, Y).item(), rel=1e-4)
    assert set(replace(objective, kappa=1.0)(model, X, Y)) == {"cross_entropy"}
    exact = replace(objective, eps=0.0)(model, X, Y)
    assert exact["worst_cross_entropy"].item() / 0.7 == pytest.approx(exact["cross_entropy"].item() / 0.3, rel=1e-4)


def test_batch_norms_are_those_that_will_be_certified():
    model = network(architecture=sp.MLP(hidden=(12,), norm=True)).train()
    for _ in range(3):
        model(X)
    found = sp.IntervalTraining(eps=0.02).margins(model, X, Y)
    around = Range((X - 0.02).clamp(0, 1).double(), (X + 0.02).clamp(0, 1).double())
    expected = margins(prepared(model), around, Y, How(trains=False, rounding=False))
    assert torch.allclose(found.double(), expected, atol=1e-4)


def test_it_trains_what_can_be_certified(digits):
    """A few epochs leave plain training with small certified radii, and make these larger by far."""
    x, y, test, labels = digits
    certificate, reached = sp.IntervalBounds(eps=0.08, sizes=16), {}
    for objective in (sp.Standard(), sp.IntervalTraining(eps=0.04, ramp=4)):
        choices = sp.Network(architecture=sp.MLP(hidden=(24, 24)), neuron=sp.LIF(gradient=sp.ATan(alpha=1.0)), steps=2)
        model = choices.build((1, 8, 8), 10, mean=sp.Digits.mean, std=sp.Digits.std)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for epoch in range(6):
            for batch in torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(100):
                optimiser.zero_grad()
                torch.stack(list(objective.at(epoch)(model, x[batch], y[batch]).values())).sum().backward()
                optimiser.step()
        found = sp.certify(model.eval(), (test[:30], labels[:30]), certificate)
        assert found.accuracy().value > 0.7
        reached[type(objective)] = found.mean_radius()
    assert reached[sp.IntervalTraining] > 1.2 * reached[sp.Standard]


def test_a_training_run_follows_the_ramp(tmp_path):
    """The worst logits count more from epoch to epoch, over a larger radius."""
    recipe = sp.Recipe(
        name="ramp",
        data=sp.Digits(train_images=40, validation_images=20),
        network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
        objective=sp.IntervalTraining(eps=0.1, ramp=2),
        training=sp.Training(epochs=3, batch=20, selection=sp.Selection(images=10, attack=sp.FGSM())),
    )
    sp.train(recipe, tmp_path / "ramp")
    rows = [epoch.losses for epoch in sp.Run(tmp_path / "ramp").epochs]
    assert rows[0]["worst_cross_entropy"] < rows[1]["worst_cross_entropy"] < rows[2]["worst_cross_entropy"]
    assert rows[0]["cross_entropy"] > rows[2]["cross_entropy"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"eps": -0.1}, "eps of IntervalTraining must be"),
        ({"eps": 8}, "eps of IntervalTraining must be"),
        ({"kappa": 1.5}, "kappa of IntervalTraining must be"),
        ({"ramp": -1}, "ramp of IntervalTraining must be"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_fields_are_refused(fields, said):
    with pytest.raises(sp.UserError, match=said):
        sp.IntervalTraining(**fields)


def test_networks_from_elsewhere_are_sequences_of_known_layers():
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    found = sp.IntervalTraining(eps=0.1).margins(plain, X, Y)
    for _ in range(50):
        z = plain((X + 0.1 * (2 * torch.rand_like(X) - 1).sign()).clamp(0, 1))
        assert (found <= z.gather(1, Y.unsqueeze(1)) - z + 1e-6).all()
    with pytest.raises(sp.UserError, match="no rule says what a Tanh makes of bounds"):
        sp.IntervalTraining()(plain.append(torch.nn.Tanh()), X, Y)


@pytest.mark.parametrize(
    "objective", [sp.IntervalTraining(), sp.RAT(objective=sp.IntervalTraining())], ids=["", "in RAT"]
)
def test_networks_that_draw_are_refused_before_anything_is_written(objective, tmp_path):
    noisy = sp.Network(architecture=sp.MLP(hidden=(8,)), encoder=sp.RSC())
    with pytest.raises(sp.UserError, match="no rule says what RSC makes of bounds"):
        sp.train(sp.Recipe(name="noisy", network=noisy, objective=objective), tmp_path / "noisy")
    assert not (tmp_path / "noisy").exists()
