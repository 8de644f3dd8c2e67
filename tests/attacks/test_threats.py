"""Is a threat the set it says? Its projection, its start, its ascent and its `contains` must agree on that."""

import dataclasses
import json
import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from spikeproof.attacks.apgd import APGD
from spikeproof.attacks.threats import L1, L2, SPREAD, Linf, Threat
from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
ON_IMAGES = {kind for kind in known(Threat).values() if kind.kind == "images"}
THREATS = sorted({L1, *ON_IMAGES}, key=lambda kind: kind.__name__)
ORDER = {Linf: math.inf, L2: 2, L1: 1}
every_threat = pytest.mark.parametrize("kind", THREATS)
quick = settings(max_examples=80, deadline=None, derandomize=True, database=None)
SHAPE = (3, 1, 2, 3)
radii = st.sampled_from([0.0, 1 / 255, 8 / 255, 0.25, 0.5, 1.0])
images = arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)).map(torch.from_numpy)
anything = arrays.arrays(np.float32, SHAPE, elements=st.floats(-4, 4, width=32)).map(torch.from_numpy)
gradients = arrays.arrays(np.float32, SHAPE, elements=st.floats(-1000, 1000, width=32)).map(torch.from_numpy)


def norm(kind: type[Threat], delta: Tensor) -> Tensor:
    return torch.linalg.vector_norm(delta.double().flatten(1), ORDER[kind], dim=1)


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@every_threat
@given(x=images, z=anything, eps=radii)
@quick
def test_the_projection_lies_inside(kind: type[Threat], x: Tensor, z: Tensor, eps: float) -> None:
    threat = kind(eps)
    inside = threat.project(z, x)
    assert threat.contains(inside, x).all()
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert (norm(kind, inside - x) <= eps + 1e-6).all()


@every_threat
@given(x=images, z=anything, eps=radii)
@quick
def test_projecting_twice_is_projecting_once(kind: type[Threat], x: Tensor, z: Tensor, eps: float) -> None:
    once = kind(eps).project(z, x)
    torch.testing.assert_close(kind(eps).project(once, x), once, rtol=0, atol=2e-7)


@every_threat
@given(x=images, z=anything, eps=radii)
@quick
def test_what_is_allowed_stays_as_it_is(kind: type[Threat], x: Tensor, z: Tensor, eps: float) -> None:
    delta = z.clamp(0, 1) - x
    shrink = (0.999 * eps / norm(kind, delta).clamp(min=1e-9)).clamp(max=1).float()
    allowed = (x + delta * shrink.view(-1, 1, 1, 1)).clamp(0, 1)
    torch.testing.assert_close(kind(eps).project(allowed, x), allowed, rtol=0, atol=2e-7)


@every_threat
@given(x=images, z=anything, w=images, eps=radii)
@quick
def test_no_allowed_image_is_nearer(kind: type[Threat], x: Tensor, z: Tensor, w: Tensor, eps: float) -> None:
    """A projection on a convex set: <z - p, w - p> <= 0 for every allowed w."""
    threat = kind(eps)
    p, other = threat.project(z, x).double(), threat.project(w, x).double()
    assert (((z.double() - p) * (other - p)).flatten(1).sum(1) <= 1e-4).all()


@every_threat
@given(x=images, eps=radii, seed=st.integers(0, 2**20))
@quick
def test_a_start_lies_inside(kind: type[Threat], x: Tensor, eps: float, seed: int) -> None:
    torch.manual_seed(seed)
    assert kind(eps).contains(kind(eps).start(x), x).all()


@every_threat
def test_starts_differ_and_fill_the_set(kind: type[Threat]) -> None:
    x = torch.full((500, 1, 2, 2), 0.5)
    torch.manual_seed(0)
    lengths = norm(kind, kind(0.25).start(x) - x)
    assert len(lengths.unique()) > 450
    assert lengths.max() > 0.24
    # uniform in a ball of dimension 4: half of the volume lies within 2^(-1/4) of the radius
    assert 0.4 < (lengths < 0.25 * 0.5**0.25).double().mean() < 0.6


@pytest.mark.parametrize("kind", [Linf, L2])
@given(gradient=gradients, d=anything)
@quick
def test_ascent_is_the_steepest_direction(kind: type[Threat], gradient: Tensor, d: Tensor) -> None:
    """Of all d with length at most 1, none has a larger <gradient, d>; and the largest is the dual norm."""
    assume((gradient.flatten(1).abs().amax(1) > 1e-30).all())
    ascent = kind().ascent(gradient, torch.full_like(gradient, 0.5))
    assert ascent.shape == gradient.shape
    assert (norm(kind, ascent) <= 1 + 1e-5).all()
    g = gradient.double().flatten(1)
    gain = (g * ascent.double().flatten(1)).sum(1)
    dual = torch.linalg.vector_norm(g, {Linf: 1, L2: 2}[kind], dim=1)
    torch.testing.assert_close(gain, dual, rtol=1e-5, atol=0)
    unit = d.double().flatten(1) / norm(kind, d).clamp(min=1).unsqueeze(1)
    assert ((g * unit).sum(1) <= gain * (1 + 1e-5)).all()


@given(gradient=gradients, d=anything)
@quick
def test_l1_ascent_is_the_steepest_direction_that_no_pixel_leads(gradient: Tensor, d: Tensor) -> None:
    """Of all d of length at most 1 with at most 1/k in a pixel none has a larger <gradient, d>."""
    k = math.ceil(0.6 * SPREAD)
    ascent = L1(0.6).ascent(gradient, torch.full_like(gradient, 0.5)).double().flatten(1)
    assert (norm(L1, ascent) <= 1 + 1e-6).all()
    assume(((gradient != 0).flatten(1).sum(1) >= k).all())
    g = gradient.double().flatten(1)
    gain = (g * ascent).sum(1)
    torch.testing.assert_close(gain, g.abs().topk(k).values.sum(1) / k, rtol=1e-5, atol=0)
    flat = d.double().flatten(1)
    allowed = flat / norm(L1, flat).maximum(k * flat.abs().amax(1)).clamp(min=1).unsqueeze(1)
    assert ((g * allowed).sum(1) <= gain * (1 + 1e-5)).all()


def test_l1_ascent_leaves_out_what_can_go_no_further() -> None:
    z = torch.tensor([[0.0, 1.0, 0.5, 0.0, 1.0, 0.5]])
    gradient = torch.tensor([[-9.0, 9.0, 1.0, 8.0, -7.0, 2.0]])
    assert L1(0.9).ascent(gradient, z).mul(3).tolist() == [[0, 0, 0, 1, -1, 1]]
    grey = torch.full_like(z, 0.5)
    assert L1(0.9).ascent(gradient, grey).mul(3).tolist() == [[-1, 1, 0, 1, 0, 0]]
    for kind in (Linf, L2):
        assert torch.equal(kind().ascent(gradient, z), kind().ascent(gradient, grey))


@every_threat
def test_ascent_of_no_gradient_and_of_a_tiny_one(kind: type[Threat]) -> None:
    assert (kind().ascent(torch.zeros(SHAPE), torch.zeros(SHAPE)) == 0).all()
    tiny = torch.full(SHAPE, 1e-30)  # its square underflows
    torch.testing.assert_close(
        norm(kind, kind().ascent(tiny, torch.full(SHAPE, 0.5))), torch.ones(3, dtype=torch.float64)
    )


@every_threat
def test_contains_refuses_what_is_not_allowed(kind: type[Threat]) -> None:
    threat, x = kind(0.1), torch.full((1, 1, 2, 2), 0.5)

    def allowed(image: Tensor, pixel: float) -> bool:
        changed = image.clone()
        changed[0, 0, 0, 0] = pixel
        return bool(threat.contains(changed, image))

    assert allowed(x, 0.5)
    assert allowed(x, 0.6)
    assert not allowed(x, 0.6001)
    assert not allowed(x, 0.3999)
    for value in (math.nan, math.inf, -math.inf):
        assert not allowed(x, value)
    assert allowed(torch.zeros_like(x), 0.0)
    assert not allowed(torch.zeros_like(x), -1e-4)
    assert not allowed(torch.ones_like(x), 1 + 1e-4)


@every_threat
def test_contains_judges_image_by_image(kind: type[Threat]) -> None:
    x = torch.full((3, 1, 2, 2), 0.5)
    z = x.clone()
    z[1, 0, 0, 0] = math.nan
    z[2, 0, 0, 0] = 0.9
    assert kind(0.2).contains(z, x).tolist() == [True, False, False]
    assert kind(0.2).distance(z, x)[2].item() == pytest.approx(0.4)


@every_threat
def test_a_radius_of_zero_allows_the_image_alone(kind: type[Threat]) -> None:
    threat, x = kind(0), random_images(5, 3, 4, 4)
    assert torch.equal(threat.project(x + torch.randn_like(x), x), x)
    assert torch.equal(threat.start(x), x)


SHRUNK = {  # a change, the more shrunk the larger m >= 0 is
    L2: lambda delta, m: delta / (1 + m),
    L1: lambda delta, m: np.sign(delta) * np.maximum(np.abs(delta) - m, 0),
}
SIZES = [(L2, eps) for eps in (1e-3, 0.1, 0.5, 1.5, 5.0)] + [(L1, eps) for eps in (1e-3, 0.1, 1.5, 5.0, 20.0)]


def by_bisection(kind: type[Threat], delta: np.ndarray, x: np.ndarray, eps: float) -> np.ndarray:
    """The projected change: shrunk and clipped, with the smallest m that makes it short enough."""

    def shrunk(m: float) -> np.ndarray:
        return np.clip(SHRUNK[kind](delta, m), -x, 1 - x)

    def short(m: float) -> bool:
        return np.linalg.norm(shrunk(m).ravel(), ORDER[kind]) <= eps

    low, high = 0.0, 1e9
    if short(low):
        return shrunk(low)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if short(middle) else (middle, high)
    return shrunk(high)


@pytest.mark.parametrize(("kind", "eps"), SIZES)
@pytest.mark.parametrize("spread", [0.01, 0.3, 10.0])
def test_the_projection_equals_bisection(kind: type[Threat], eps: float, spread: float) -> None:
    x = random_images(20, 3, 4, 4).double()
    x[:4] = x[:4].round()  # half of the directions are closed from the start
    z = x + spread * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z[2:6, :2] = x[2:6, :2]  # pixels that do not change
    z[6:8] = z[6:8, :1, :1]  # and changes in which breaks fall together
    found = kind(eps).project(z, x) - x
    for image, delta, mine in zip(x, z - x, found, strict=True):
        best = by_bisection(kind, delta.numpy(), image.numpy(), eps)
        np.testing.assert_allclose(mine.numpy(), best, atol=1e-9)


@pytest.mark.parametrize("kind", [L2, L1])
@pytest.mark.parametrize("seed", range(4))
def test_the_projection_equals_a_general_solver(kind: type[Threat], seed: int) -> None:
    """In the parts above and below the image, so that the length is smooth in L1 too."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 1, 1, 5, generator=generator, dtype=torch.float64)
    z = x + torch.randn(x.shape, generator=generator, dtype=torch.float64)
    start, target, eps = x.flatten().numpy(), z.flatten().numpy(), 0.6
    room = {L1: lambda p: eps - p.sum(), L2: lambda p: eps**2 - ((p[:5] - p[5:]) ** 2).sum()}
    solved = minimize(
        lambda p: ((start + p[:5] - p[5:] - target) ** 2).sum(),
        np.zeros(10),
        bounds=[*zip(np.zeros(5), 1 - start, strict=True), *zip(np.zeros(5), start, strict=True)],
        constraints={"type": "ineq", "fun": room[kind]},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    ).x
    np.testing.assert_allclose(kind(eps).project(z, x).flatten().numpy(), start + solved[:5] - solved[5:], atol=1e-5)


@pytest.mark.parametrize("changed", [1, 2, 10])
@pytest.mark.parametrize("eps", [0.3, 1.0, 2.0])
def test_l2_projection_of_a_change_of_few_pixels(changed: int, eps: float) -> None:
    """As attacks on single pixels make; the pixels that do not change have room, which must not count."""
    x = random_images(6, 1, 8, 8).double()
    x[:3] = 0  # where a pixel may grow by exactly 1, the length at its bound can equal eps
    z = x.clone()
    z.flatten(1)[:, :changed] += torch.linspace(0.05, 3, 6, dtype=torch.float64).unsqueeze(1)
    found = L2(eps).project(z, x) - x
    for image, delta, mine in zip(x, z - x, found, strict=True):
        np.testing.assert_allclose(mine.numpy(), by_bisection(L2, delta.numpy(), image.numpy(), eps), atol=1e-9)


def test_l2_projection_where_the_answer_is_plain() -> None:
    grey = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    z = grey + torch.tensor([[[[0.3, 0.4]]]], dtype=torch.float64)
    torch.testing.assert_close(L2(0.25).project(z, grey), grey + (z - grey) / 2)  # the box far away: a scaling
    torch.testing.assert_close(L2(2.0).project(grey + 3, grey), torch.ones_like(grey))  # the ball far away: a clip
    white = torch.tensor([[[[1.0, 0.5]]]], dtype=torch.float64)  # the first pixel cannot grow: all goes to the other
    torch.testing.assert_close(L2(0.2).project(white + 1, white)[0, 0, 0], torch.tensor([1.0, 0.7]).double())


def test_l1_projection_where_the_answer_is_plain() -> None:
    grey = torch.full((1, 1, 1, 3), 0.5, dtype=torch.float64)
    z = grey + torch.tensor([0.4, -0.3, 0.1], dtype=torch.float64)
    expected = torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)  # each shrinks by 0.1, the last one vanishes
    torch.testing.assert_close(L1(0.5).project(z, grey), grey + expected)
    torch.testing.assert_close(L1(1.5).project(grey + 3, grey), torch.ones_like(grey))
    white = torch.tensor([[[[1.0, 0.5, 0.5]]]], dtype=torch.float64)  # what the first pixel cannot take is the others'
    torch.testing.assert_close(L1(0.4).project(white + 1, white)[0, 0, 0], torch.tensor([1.0, 0.7, 0.7]).double())


@pytest.mark.parametrize("grey", [0.3, 0.7, 0.999])
def test_l1_of_a_change_of_very_many_pixels(grey: float) -> None:
    """Each of them is rounded in the same direction, which would add up."""
    x = torch.full((1, 3, 64, 64), grey)
    for eps in (0.1, 1.0, 12.0):
        found = L1(eps).project(x + torch.linspace(-0.4, 0.4, 4096).view(64, 64), x)
        assert norm(L1, found.double() - x.double()).item() <= eps
        assert norm(L1, found - x).item() > eps * 0.99
        assert L1(eps).contains(L1(eps).start(x), x).all()


def test_apgd_under_l1_is_no_weaker_than_autoattacks(trained_ann: SpikingNetwork, digits: Examples) -> None:
    """Which adapts the number of pixels of a step, where ours follows from eps."""
    oracle = pytest.importorskip("pyautoattack.autopgd_base")
    x, y, eps = digits[2][:100], digits[3][:100], 2.0
    theirs = oracle.APGDAttack(trained_ann, n_iter=20, norm="L1", eps=eps, device="cpu").perturb(x, y)
    ours = APGD(steps=20)(trained_ann, x, y, L1(eps))
    with torch.no_grad():
        robust = [(trained_ann(z).argmax(1) == y).double().mean().item() for z in (ours, theirs)]
    assert robust[0] <= robust[1] + 0.02
    assert robust[0] < 0.35


def test_an_l1_start_spends_the_budget_on_black_and_white_images() -> None:
    x = random_images(50, 1, 8, 8).round()
    spent = norm(L1, L1(4).start(x) - x)
    assert spent.min() > 3.2
    assert spent.max() > 3.95


@every_threat
@pytest.mark.parametrize("eps", [-1, -1e-9, "-1/255", math.nan, math.inf, "8/0", "eight", ""])
def test_radii_that_are_none_are_refused_with_a_hint(kind: type[Threat], eps: object) -> None:
    with pytest.raises(UserError, match=r"eps .*8/255"):
        kind(eps)


@pytest.mark.parametrize("eps", [8, 8.0, "8", 255])
def test_the_scale_to_255_is_refused_with_what_was_meant(eps: object) -> None:
    with pytest.raises(UserError, match=rf"0-255 scale.*write {float(eps):g}/255"):
        Linf(eps)


def test_lengths_of_whole_pictures_are_refused() -> None:
    assert L2(3).eps == 3
    assert L1(255).eps == 255  # usual for 224x224
    with pytest.raises(UserError, match=r"0-255 scale.*0\.5 is usual"):
        L2(128)
    with pytest.raises(UserError, match=r"0-255 scale.*12 is usual"):
        L1(12 * 255)


def test_radii_can_be_written_as_fractions() -> None:
    assert Linf("8/255") == Linf(8 / 255) == Linf()
    assert L2("1/2").eps == 0.5
    assert isinstance(Linf("8/255").eps, float)
    assert str(Linf("8/255")) == "Linf 8/255"
    assert str(Linf(0.0123)) == "Linf 0.0123"
    assert str(L2(0.5)) == "L2 0.5"
    assert str(L1()) == "L1 12"


@every_threat
def test_a_threat_names_its_norm(kind: type[Threat]) -> None:
    assert kind.norm == kind.__name__
    assert "norm" not in to_config(kind())["init_args"]


@every_threat
def test_round_trip_and_scaling(kind: type[Threat]) -> None:
    threat = kind("1/8")
    assert from_config(json.loads(json.dumps(to_config(threat))), Threat) == threat
    assert threat.scaled(0.5) == kind(1 / 16)
    assert type(threat.scaled(2)) is kind
    with pytest.raises(dataclasses.FrozenInstanceError):
        threat.eps = 0.3
