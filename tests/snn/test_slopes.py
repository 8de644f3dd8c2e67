"""Is a surrogate slope the curve that its docstring writes down?"""

import dataclasses
import math

import pytest
import torch
from scipy.integrate import quad

import spikeproof.snn
from spikeproof.choices import UserError
from spikeproof.snn import ATan, Exponential, Gaussian, Rectangle, Sigmoid, Slope, StraightThrough, Triangle

SLOPES = [
    kind
    for name in spikeproof.snn.__all__
    if isinstance(kind := getattr(spikeproof.snn, name), type) and issubclass(kind, Slope) and kind is not Slope
]
every_slope = pytest.mark.parametrize("kind", SLOPES)


def at(slope: Slope, u: float) -> float:
    return slope.derivative(torch.tensor(u, dtype=torch.float64)).item()


@pytest.mark.parametrize(
    ("slope", "u", "value"),
    [
        (Triangle(), 0.0, 1.0),
        (Triangle(), 0.25, 0.75),
        (Triangle(), 1.5, 0.0),
        (Triangle(width=0.5), 0.25, 1.0),  # (0.5 - 0.25) / 0.25
        (Triangle(width=2.0), 1.0, 0.25),
        (Rectangle(), 0.49, 1.0),
        (Rectangle(), 0.5, 0.0),
        (Rectangle(width=2.0), 0.9, 0.5),
        (ATan(), 0.0, 1.0),
        (ATan(), 1 / math.pi, 0.5),  # pi a u / 2 = 1
        (ATan(alpha=4.0), 0.0, 2.0),
        (Sigmoid(), 0.0, 1.0),  # 4 * 1/2 * 1/2
        (Sigmoid(alpha=1.0), math.log(3), 0.1875),  # sig = 3/4
        (Exponential(), 0.0, 1.0),
        (Exponential(height=0.3, sharpness=2.0), math.log(2), 0.075),
        (Gaussian(sigma=1.0), 0.0, 0.3989422804014327),
        (Gaussian(sigma=0.5), 0.5, 0.48394144903828673),  # 2 * exp(-1/2) / sqrt(2 pi)
        (StraightThrough(), 17.0, 1.0),
    ],
    ids=str,
)
def test_value_by_hand(slope: Slope, u: float, value: float) -> None:
    assert at(slope, u) == pytest.approx(value, rel=1e-12)


@every_slope
def test_symmetric_and_never_negative(kind: type[Slope]) -> None:
    u = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    d = kind().derivative(u)
    assert d.shape == u.shape
    assert d.dtype == u.dtype
    assert (d >= 0).all()
    assert (d > 0).any()
    torch.testing.assert_close(d, kind().derivative(-u))
    assert (d.diff()[:500] >= -1e-12).all()  # and largest at the threshold


@pytest.mark.parametrize("size", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("kind", "name"), [(Triangle, "width"), (Rectangle, "width"), (ATan, "alpha"),
                                            (Sigmoid, "alpha"), (Gaussian, "sigma")])  # fmt: skip
def test_unit_area(kind: type[Slope], name: str, size: float) -> None:
    """The slope of a step from 0 to 1, smoothed: its area is 1."""
    slope = kind(**{name: size})
    edge = size / 2 if kind is Rectangle else size  # where the curve has a kink
    area = 2 * (quad(lambda u: at(slope, u), 0, edge)[0] + quad(lambda u: at(slope, u), edge, math.inf)[0])
    assert area == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in SLOPES if dataclasses.fields(kind)])
def test_sizes_that_are_no_sizes_are_refused(kind: type[Slope]) -> None:
    for field in dataclasses.fields(kind):
        for value in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(UserError, match=field.name):
                kind(**{field.name: value})
