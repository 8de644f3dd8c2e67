"""Projections onto hyperplane and box: by hand, against linear programs and a general solver, and against peers."""

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from spikeproof.attacks.hyperplanes import least_change
from spikeproof.attacks.threats import L1, L2, Linf, Threat
from spikeproof.choices import UserError

every_threat = pytest.mark.parametrize("threat", [Linf(1.0), L2(1.0), L1(1.0)], ids=lambda threat: threat.norm)


def change_of(threat: Threat, x: list[float], normal: list[float], gap: float) -> Tensor:
    row = least_change(threat, torch.tensor([x]).double(), torch.tensor([normal]).double(), torch.tensor([gap]))
    return row.squeeze(0)


def assert_changes(threat: Threat, x: list[float], normal: list[float], gap: float, expected: list[float]) -> None:
    torch.testing.assert_close(change_of(threat, x, normal, gap), torch.tensor(expected).double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("threat", "expected"), [(Linf(1.0), [0.1, 0.1]), (L2(1.0), [0.06, 0.12]), (L1(1.0), [0, 0.15])], ids=str
)
def test_free_pixels_by_hand(threat: Threat, expected: list[float]) -> None:
    """x + 2 y = 0.3: both the same, along the normal, or the pixel that counts most alone; and backward."""
    assert_changes(threat, [0.5, 0.5], [1, 2], 0.3, expected)
    assert_changes(threat, [0.5, 0.5], [1, 2], -0.3, [-change for change in expected])


@pytest.mark.parametrize(
    ("threat", "expected"),
    [(Linf(1.0), [1 / 6, -1 / 6, 0.1]), (L2(1.0), [0.1, -0.2, 0.1]), (L1(1.0), [0, -0.25, 0.1])],
    ids=str,
)
def test_a_pixel_at_its_bound_by_hand(threat: Threat, expected: list[float]) -> None:
    """The third pixel has 0.1 to go, which gives 0.4; the other two share the 0.5 that are left."""
    assert_changes(threat, [0.5, 0.5, 0.9], [1, -2, 4], 0.9, expected)


@every_threat
def test_out_of_reach_every_pixel_that_counts_is_at_its_bound(threat: Threat) -> None:
    assert_changes(threat, [0.5, 0.5, 0.9, 0.3], [1, -2, 4, 0], 5.0, [0.5, -0.5, 0.1, 0])


@every_threat
def test_nothing_to_do_and_nothing_that_helps(threat: Threat) -> None:
    assert_changes(threat, [0.5, 0.2], [1, 2], 0.0, [0, 0])
    assert_changes(threat, [0.5, 0.2], [0, 0], 1.0, [0, 0])
    assert_changes(threat, [1.0, 0.2], [1, 0], 1.0, [0, 0])
    x, normal = torch.tensor([[0.5, 0.5]]), torch.tensor([[1e-30, 2e-30]])
    tiny = least_change(threat, x, normal, torch.tensor([3e-31]))
    torch.testing.assert_close(tiny, least_change(threat, x, normal * 1e30, torch.tensor([0.3])))


@pytest.fixture(scope="module")
def cases() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images with many pixels at their bounds, normals with zeros, gaps within reach, and the largest that is."""
    torch.manual_seed(0)
    x = (1.6 * torch.rand(24, 6, dtype=torch.float64) - 0.3).clamp(0, 1)
    normal = torch.randn(24, 6, dtype=torch.float64) * (torch.rand(24, 6) < 0.8)
    reach = (normal * torch.where(normal > 0, 1 - x, -x)).sum(1)
    return x, normal, reach * torch.linspace(0.05, 0.98, 24, dtype=torch.float64), reach


@every_threat
def test_it_is_on_the_hyperplane_in_the_box_and_a_solver_finds_no_less(
    threat: Threat, cases: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    x, normal, gap, _ = cases
    change = least_change(threat, x, normal, gap)
    torch.testing.assert_close((normal * change).sum(1), gap, rtol=0, atol=1e-9)
    assert (x + change).min() >= -1e-12
    assert (x + change).max() <= 1 + 1e-12
    ours = threat.distance(change, torch.zeros_like(change))
    solved = [least_length(threat, *(row.numpy() for row in rows)) for rows in zip(x, normal, gap, strict=True)]
    torch.testing.assert_close(ours, torch.tensor(solved).double(), rtol=0, atol=1e-6)
    for row in range(len(x)):  # a row is what it is alone
        alone = least_change(threat, x[row : row + 1], normal[row : row + 1], gap[row : row + 1])
        torch.testing.assert_close(alone[0], change[row])


def least_length(threat: Threat, x: np.ndarray, normal: np.ndarray, gap: np.ndarray) -> float:
    """The length of the least change, by a linear program where the norm is one, else by SLSQP."""
    size, bounds = len(x), list(zip(-x, 1 - x, strict=True))
    eye, on = np.eye(size), {"type": "eq", "fun": lambda change: normal @ change - gap, "jac": lambda _: normal}
    if threat.norm == "L2":
        options = {"ftol": 1e-14, "maxiter": 500}
        found = optimize.minimize(
            lambda change: change @ change, np.zeros(size), jac=lambda change: 2 * change, bounds=bounds,
            constraints=[on], method="SLSQP", options=options,
        )  # fmt: skip
        assert found.success
        return found.fun**0.5
    slack = eye if threat.norm == "L1" else np.ones((size, 1))  # +-change <= slack, whose sum is least
    width = slack.shape[1]
    found = optimize.linprog(
        np.r_[np.zeros(size), np.ones(width)],
        A_ub=np.block([[eye, -slack], [-eye, -slack]]), b_ub=np.zeros(2 * size),
        A_eq=np.r_[normal, np.zeros(width)][None], b_eq=[gap], bounds=bounds + [(0, None)] * width,
    )  # fmt: skip
    assert found.status == 0
    return found.fun


@every_threat
def test_pyautoattack_projects_on_the_same_points(threat: Threat, cases: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    """Its points and offsets are the same problem; within the reach of the box and out of it."""
    projections = pytest.importorskip("pyautoattack.fab_projections")
    theirs = getattr(projections, f"projection_{threat.norm.lower()}")
    x, normal, gap, reach = (part.float() for part in cases)
    normal = torch.where(normal == 0, 0.01, normal)  # it divides by them
    for wanted in (0.5 * gap, 1.5 * reach):
        expected = theirs(x.clone(), normal.clone(), (normal * x).sum(1) + wanted)
        torch.testing.assert_close(least_change(threat, x, normal, wanted), expected, rtol=0, atol=2e-5)


def test_a_norm_that_is_not_known_is_refused() -> None:
    class Odd(Linf):
        norm = "L7"

    with pytest.raises(UserError, match="Linf, L2, L1, not in the norm of"):
        change_of(Odd(0.1), [0.5], [1], 0.1)
