import pytest
import torch
from torch import nn

import spikeproof as sp
from spikeproof.objectives import RAT, Standard
from spikeproof.objectives.rat import onto_simplex, towards_orthonormal


def test_a_step_by_hand():
    """W = (2, 1): W W' = 5, so (1 + b) W - b 5 W = (1 - 4 b) W."""
    w = torch.tensor([[2.0, 1.0]])
    torch.testing.assert_close(towards_orthonormal(w, 0.01), 0.96 * w)


def test_steps_lead_to_orthonormal_rows():
    torch.manual_seed(0)
    w = 0.3 * torch.randn(4, 9).double()
    for _ in range(400):
        w = towards_orthonormal(w, 0.1)
    torch.testing.assert_close(w @ w.T, torch.eye(4).double())


@pytest.mark.parametrize(
    ("pair", "nearest"),
    [((0.5, 0.5), (0.5, 0.5)), ((0.8, 0.4), (0.7, 0.3)), ((3.0, 0.0), (1.0, 0.0)), ((-1.0, 0.5), (0.0, 1.0))],
)
def test_onto_the_simplex(pair, nearest):
    torch.testing.assert_close(onto_simplex(torch.tensor(pair)), torch.tensor(nearest))


def test_convolutions_are_taken_as_matrices_with_one_row_an_output():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    before = layer.weight.detach().clone()
    RAT(beta=0.01).after_step(nn.Sequential(layer))
    expected = towards_orthonormal(before.view(4, 27), 0.01).view(4, 3, 3, 3)
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_a_large_linear_layer_moves_a_random_share_of_its_rows():
    torch.manual_seed(0)
    layer = nn.Linear(20, 300)
    before = layer.weight.detach().clone()
    RAT(beta=0.01).after_step(layer)
    moved = (layer.weight.detach() != before).any(1)
    assert moved.sum() == 90
    first = moved.clone()
    RAT(beta=0.01).after_step(layer)
    assert not torch.equal(first, (layer.weight.detach() != before).any(1))


def test_shortcuts_end_on_the_simplex_and_beta_0_leaves_weights_alone():
    network = sp.Network(architecture=sp.WideResNet(depth=10, widths=(4, 4, 4)), steps=2)
    model = network.build((1, 8, 8), 10)
    joins = [m for m in model.modules() if isinstance(m, sp.ConvexCombination)]
    with torch.no_grad():
        for join in joins:
            join.weights.copy_(torch.tensor([0.9, 0.4]))
    convolutions = [m.weight.clone() for m in model.modules() if isinstance(m, nn.Conv2d)]
    RAT(beta=0.0).after_step(model)
    assert joins
    assert all(torch.allclose(join.weights, torch.tensor([0.75, 0.25])) for join in joins)
    after = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(torch.equal(a, b) for a, b in zip(convolutions, after, strict=True))


def test_training_takes_the_step(tmp_path):
    def weights(objective, name):
        recipe = sp.Recipe(
            name=name,
            data=sp.Digits(train_images=64),
            network=sp.Network(architecture=sp.MLP(hidden=(8,)), steps=2),
            objective=objective,
            training=sp.Training(epochs=1, batch=32, selection=sp.Selection(images=4, attack=sp.FGSM())),
        )
        return sp.train(recipe, tmp_path / name).body[1][0].weight.detach()

    plain, regularised = weights(Standard(), "plain"), weights(RAT(objective=Standard(), beta=0.05), "rat")
    assert not torch.allclose(plain, regularised, atol=1e-3)


def test_bad_settings_are_refused():
    with pytest.raises(sp.UserError, match="beta"):
        RAT(beta=-0.1)
