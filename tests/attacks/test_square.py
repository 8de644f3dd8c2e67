"""Square: its pieces by hand, its robust accuracy against pyautoattack's, and what it asks of the model."""

import pytest
import torch
from torch import Tensor, nn

from spikeproof.attacks import square
from spikeproof.attacks.square import Square, Squares, Window, bump, bump_table, bumps, halvings, plane
from spikeproof.attacks.threats import L1, L2, Linf, Threat
from spikeproof.choices import UserError
from spikeproof.randomness import Streams, scaled
from spikeproof.snn import SpikingNetwork

Examples = tuple[Tensor, Tensor, Tensor, Tensor]
every_threat = pytest.mark.parametrize("threat", [Linf(0.1), L2(0.7), L1(3)], ids=str)


def lots(images: int) -> Streams:
    return Streams(torch.arange(images))


def robust(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return (model(x).argmax(1) == y).double().mean().item()


def test_the_share_is_halved_nine_times() -> None:
    """On the schedule of the paper for 10000 queries, and on a tenth of it."""
    assert halvings(torch.tensor([1, 10, 11, 50, 51, 201, 9999]), 10000).tolist() == [0, 0, 1, 1, 2, 3, 9]
    numbers = torch.arange(1000)
    assert torch.equal(halvings(numbers, 1000), halvings(10 * numbers, 10000))
    squares = Squares(0.8, numbers, lots(1))
    assert squares.sides(50, 100) == (50, 45, 32, 22, 16, 11, 8, 6, 4, 3)  # sqrt(0.8 / 2^k 5000), at most the height
    assert squares.sides(5, 10, odd=True) == (5, 5, 3, 3, 3, 3, 3, 3, 3, 3)


def test_bumps_by_hand() -> None:
    """Terraces of 1 + 1/4, 1/4 and so on round the middle; with powers of 4 under L1."""
    expected = torch.tensor([[1 / 4, 1 / 4, 1 / 4], [1 / 4, 5 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 4]])
    torch.testing.assert_close(bump(3, 3, 2), expected)
    torch.testing.assert_close(bump(2, 3, 1)[1], torch.tensor([1 / 16, 17 / 16, 1 / 16]))
    for order in (1, 2):
        standing, lying = bumps(5, order)
        for pair in (standing, lying):
            assert pair.norm(order).item() == pytest.approx(1)
        assert torch.equal(standing.mT, lying)
        assert (standing[:2] > 0).all()
        assert (standing[2:] < 0).all()
        table = bump_table((5, 3), order, torch.device("cpu"))
        assert torch.equal(table[0], bumps(5, order))
        assert torch.equal(table[1, :, :3, :3], bumps(3, order))
        assert (table[1, :, 3:] == 0).all()


def test_windows_reach_every_pixel() -> None:
    z, side = torch.zeros(500, 2, 5, 7), torch.full((500,), 3)
    window = Window.drawn(z, side, lots(500).bits(2))
    rows, columns = window.inside(z)
    covered = rows * columns > 0
    row, column = window.places(z)
    assert (covered.sum((1, 2)) == 9).all()
    assert (covered.sum(0) > 0).all()
    place = (row * 3 + column)[covered].view(500, 9)  # from the corner on, row by row
    assert torch.equal(place, torch.arange(9).expand(500, 9))
    for side in (1, 2, 3, 5):
        rows, columns = Window.drawn(z[:1], torch.tensor([side]), lots(1).bits(2)).inside(z[:1])
        assert rows.sum() == columns.sum() == side


@every_threat
def test_the_first_image_spends_the_budget(threat: Threat) -> None:
    x = torch.full((6, 3, 10, 9), 0.5)
    start, _ = square.MOVES[threat.norm]
    z = start(x, threat.eps, lots(6))
    torch.testing.assert_close(threat.distance(z, x), torch.full((6,), threat.eps))
    if threat.norm == "Linf":
        assert (z == z[:, :, :1]).all()  # vertical stripes
    else:
        assert (z != x).flatten(1).double().mean() > 0.85
    assert len(z.unique(dim=0)) == 6


@pytest.mark.parametrize("threat", [L2(0.7), L1(3)], ids=str)
def test_a_move_keeps_the_budget(threat: Threat) -> None:
    x = torch.full((6, 3, 9, 9), 0.5)
    start, move = square.MOVES[threat.norm]
    z = start(x, threat.eps, lots(6))
    for number in range(20):
        square_ = Squares(0.1, torch.arange(6) % 2, lots(6).turn(number))
        before, z = z, threat.project(move(z, x, threat.eps, square_), x)
        torch.testing.assert_close(threat.distance(z, x), torch.full((6,), threat.eps))
        assert (z != before).any()


@every_threat
def test_autoattack_finds_no_more(
    threat: Threat, trained_ann: SpikingNetwork, digits: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of its windows reaches the last row or column, and ours do; with its windows we find no less either."""
    theirs = pytest.importorskip("pyautoattack.square")
    x, y = digits[2][:80], digits[3][:80]
    seeds, queries = range(6), 100
    attack = Square(queries=queries + 1)  # it does not count the first image

    def ours() -> list[float]:
        return [robust(trained_ann, attack(trained_ann, x, y, threat, seed=s), y) for s in seeds]

    def inner(z: Tensor, side: Tensor, lots: Tensor) -> Window:
        ends = torch.tensor(z.shape[2:]) - side.unsqueeze(1)
        return Window(scaled(lots, ends.clamp(min=1)), side)

    expected = []
    for seed in seeds:
        oracle = theirs.SquareAttack(trained_ann, threat.norm, queries, threat.eps, seed=seed, device="cpu")
        expected.append(robust(trained_ann, oracle.perturb(x, y), y))
    assert no_higher(ours(), expected)
    monkeypatch.setattr(Window, "drawn", inner)
    assert no_higher(ours(), expected)


def no_higher(values: list[float], others: list[float]) -> bool:
    """Whether the mean is at most that of the others, but for three standard errors of the difference."""
    a, b = torch.tensor(values), torch.tensor(others)
    return bool(a.mean() <= b.mean() + 3 * ((a.var() + b.var()) / len(a)).sqrt())


@every_threat
def test_it_counts_what_it_asks(threat: Threat, trained_ann: SpikingNetwork, digits: Examples) -> None:
    x, y = digits[2][:40], digits[3][:40]
    attack = Square(queries=20, restarts=2)
    whole, early = attack.run(trained_ann, x, y, threat), attack.run(trained_ann, x, y, threat, stop=True)
    assert (whole.gradients == 0).all()
    assert (early.gradients == 0).all()
    assert (whole.forwards == 40).all()
    with torch.no_grad():
        broken = trained_ann(early.x).argmax(1) != y
    assert (early.forwards[~broken] == 40).all()
    assert (early.forwards[broken] < 40).any()


@every_threat
@pytest.mark.parametrize("shape", [(3, 12, 4), (13,), (30,), (4, 6), (1, 1, 1), (1, 3, 2)], ids=str)
def test_images_of_any_shape(threat: Threat, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(4, *shape), torch.zeros(4, dtype=torch.long)
    found = Square(queries=12)(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), x, y, threat)
    assert found.shape == x.shape
    assert threat.contains(found, x).all()
    assert not torch.equal(found, x)


def test_flat_images_are_folded_into_rows() -> None:
    assert plane(torch.zeros(2, 64)) == (8, 8)
    assert plane(torch.zeros(2, 30)) == (5, 6)
    assert plane(torch.zeros(2, 13)) == (1, 13)
    assert plane(torch.zeros(2, 3, 4, 5)) == (4, 5)


def test_wrong_settings_are_refused() -> None:
    for settings, said in (
        ({"queries": 0}, "queries"),
        ({"restarts": 0}, "restarts"),
        ({"eot": 0}, "eot"),
        ({"share": 0.0}, "share"),
        ({"share": 1.5}, "share"),
    ):
        with pytest.raises(UserError, match=said):
            Square(**settings)


def test_a_norm_it_does_not_know_is_refused() -> None:
    class L3(L2):
        norm = "L3"

    with pytest.raises(UserError, match="Linf, L2, L1"):
        Square(queries=1)(nn.Flatten(), torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.long), L3(0.1))


def test_proposals_side_by_side_are_queries_one_by_one() -> None:
    """12 queries are 3 steps of 4; the first step looks at the start and at three squares."""
    sizes: list[int] = []

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return torch.stack([x.flatten(1).sum(1), 50 - x.flatten(1).sum(1)], 1)

    x, y = torch.full((5, 1, 8, 8), 0.5), torch.ones(5, dtype=torch.int64)
    outcome = Square(queries=12, proposals=4).run(Counted(), x, y, Linf(0.01))
    assert sizes == [20, 20, 20]
    assert outcome.forwards.tolist() == [12] * 5
    assert outcome.gradients.tolist() == [0] * 5


@every_threat
def test_as_many_queries_side_by_side_break_about_as_many(
    digits: Examples, trained_ann: nn.Module, threat: Threat
) -> None:
    x, y = digits[2][:80], digits[3][:80]
    one, many = (
        [robust(trained_ann, Square(queries=96, proposals=p)(trained_ann, x, y, threat, seed=s), y) for s in range(6)]
        for p in (1, 4)
    )
    assert no_higher(many, [value + 0.05 for value in one])


def test_queries_are_a_multiple_of_proposals() -> None:
    with pytest.raises(UserError, match="queries, 10, must be a multiple of proposals, 4"):
        Square(queries=10, proposals=4)
