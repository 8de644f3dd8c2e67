"""Do filters of event frames keep what they say, for the network and for the gradient, and are they written down?"""

import json
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.configs import from_config, to_config
from spikeproof.registry import known
from spikeproof.runs import Run
from spikeproof.runs.weights import load_model, write_model
from spikeproof.snn import (
    IF,
    MLP,
    BackgroundActivity,
    Encoder,
    Filter,
    FilteredNetwork,
    Frames,
    HotPixels,
    Network,
    QuantisedActivity,
    SmallCNN,
    ann_twin,
    attack_view,
    view,
)
from spikeproof.snn.filters import filtered

EVERY = [BackgroundActivity(), HotPixels(most=4), QuantisedActivity(most=4)]
EVERY += [kind() for kind in known(Filter).values() if kind not in set(map(type, EVERY))]
every_filter = pytest.mark.parametrize("filter", EVERY, ids=str)
some = settings(max_examples=40, deadline=None, derandomize=True, database=None)
seeds, shapes = st.integers(0, 2**30), st.sampled_from([(1, 1, 1, 1), (3, 2, 1, 5), (5, 1, 4, 3), (4, 2, 5, 5)])


def frames(seed: int, shape: tuple[int, ...], most: int = 2) -> Tensor:
    """Three recordings of few counts ``[3, T, P, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    here = torch.rand(3, *shape, generator=generator) < torch.tensor([0.1, 0.3, 0.7]).view(-1, 1, 1, 1, 1)
    return here * torch.randint(1, most + 1, here.shape, generator=generator).float()


def near(x: Tensor, b: int, time: range, row: int, column: int, radius: int) -> bool:
    """Whether another pixel fired at one of these times."""
    rows = range(max(row - radius, 0), min(row + radius + 1, x.shape[3]))
    columns = range(max(column - radius, 0), min(column + radius + 1, x.shape[4]))
    others = [place for place in product(rows, columns) if place != (row, column)]
    return any(x[b, t, :, r, c].sum() > 0 for t in time for r, c in others)


def of_cells(x: Tensor, keeps: object) -> Tensor:
    """What `keeps` says of every cell (b, t, p, row, column)."""
    return torch.tensor([keeps(*cell) for cell in product(*map(range, x.shape))]).view_as(x)


@some
@given(seeds, shapes, st.integers(1, 3), st.integers(0, 6))
def test_background_activity_is_the_loop_over_cells(seed: int, shape: tuple, radius: int, steps: int) -> None:
    x = frames(seed, shape)
    expected = of_cells(x, lambda b, t, p, r, c: near(x, b, range(max(t - steps, 0), t + 1), r, c, radius))
    assert torch.equal(BackgroundActivity(radius=radius, steps=steps).keep(x), expected)


@some
@given(seeds, shapes, st.integers(0, 9))
def test_hot_pixels_are_counted_with_the_event_that_would_be_there(seed: int, shape: tuple, most: int) -> None:
    x = frames(seed, shape)
    expected = of_cells(x, lambda b, t, p, r, c: x[b, :, :, r, c].sum() + (x[b, t, p, r, c] == 0) <= most)
    assert torch.equal(HotPixels(most=most).keep(x), expected)


@some
@given(seeds, shapes, st.integers(1, 3), st.integers(0, 2), st.integers(0, 9))
def test_quantised_activity_is_the_loop_over_cells(
    seed: int, shape: tuple, quantum: int, steps: int, most: int
) -> None:
    x = frames(seed, shape)

    def times(t: int) -> range:
        first = t // quantum * quantum
        return range(max(first - steps * quantum, 0), min(first + quantum, shape[0]))

    supported = of_cells(x, lambda b, t, p, r, c: near(x, b, times(t), r, c, 1))
    expected = supported & HotPixels(most=most).keep(x * supported)
    assert torch.equal(QuantisedActivity(quantum=quantum, steps=steps, most=most).keep(x), expected)


def test_a_quantum_of_one_frame_and_no_hot_pixels_is_background_activity() -> None:
    x = frames(0, (4, 2, 5, 5))
    assert torch.equal(QuantisedActivity(quantum=1, most=1000).keep(x), BackgroundActivity().keep(x))


def test_by_hand() -> None:
    """One row of five pixels, in three frames: which events stay?"""
    x = torch.tensor([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 2, 0]]).view(1, 3, 1, 1, 5).float()

    def kept(*filters: Filter) -> list[list[int]]:
        return filtered(x, filters).view(3, 5).int().tolist()

    nothing = [0, 0, 0, 0, 0]
    assert kept(BackgroundActivity()) == [nothing, [0, 1, 0, 0, 0], nothing]
    assert kept(BackgroundActivity(steps=2)) == [nothing, [0, 1, 0, 0, 0], [0, 0, 0, 2, 0]]
    assert kept(BackgroundActivity(steps=0)) == [nothing] * 3
    assert kept(QuantisedActivity()) == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 2, 0]]
    assert kept(QuantisedActivity(most=1)) == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], nothing]
    assert kept(HotPixels(most=1)) == [[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], nothing]
    assert kept() == x.view(3, 5).int().tolist()


def test_filters_come_one_after_the_other() -> None:
    """A pixel is hot by the events that the first filter left."""
    x = torch.zeros(1, 3, 1, 1, 4)
    x[0, :, 0, 0, 0] = 1
    x[0, 0, 0, 0, 1] = 1
    near, hot = BackgroundActivity(steps=0), HotPixels(most=1)
    assert filtered(x, (near, hot)).sum() == 2
    assert filtered(x, (hot, near)).sum() == 0


@every_filter
def test_events_are_removed_and_none_is_changed(filter: Filter) -> None:
    x = frames(3, (10, 2, 6, 6), most=3)
    before = x.clone()
    found = filtered(x, (filter,))
    assert torch.equal(x, before)
    assert ((found == x) | (found == 0)).all()
    assert 0 < found.sum() < x.sum()
    assert filter.keep(x).dtype == torch.bool
    for dtype in (torch.float64, torch.float16):
        assert torch.equal(filtered(x.to(dtype), (filter,)).float(), found)
    assert torch.equal(filtered(x.contiguous(memory_format=torch.channels_last_3d), (filter,)), found)
    assert torch.equal(filtered(x[1:2], (filter,)), found[1:2])  # a recording by itself


@every_filter
def test_what_keep_says_of_an_empty_cell_is_what_becomes_of_an_event_there(filter: Filter) -> None:
    x = frames(4, (5, 2, 4, 4), most=1)[1:2]
    told = filter.keep(x)
    empty = (x == 0).nonzero()
    assert told[x == 0].any()
    assert not told[x == 0].all()
    for cell in map(tuple, empty.tolist()):
        more = x.clone()
        more[cell] = 1
        assert (filtered(more, (filter,))[cell] == 1) == told[cell]


@every_filter
def test_the_gradient_is_that_of_what_is_kept_held_fixed(filter: Filter) -> None:
    x = frames(5, (4, 2, 5, 5)).requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((filtered(x, (filter,)) * weight).sum(), x)
    assert torch.equal(gradient, weight * filter.keep(x.detach()))
    assert (gradient[x == 0] != 0).any()  # an attack sees where an event more would count


@every_filter
def test_a_network_sees_what_its_filters_leave(filter: Filter) -> None:
    x = frames(6, (4, 2, 8, 8))
    plain = Network(architecture=MLP(hidden=(30,)), neuron=IF(threshold=0.2), encoder=Frames()).build((4, 2, 8, 8), 3)
    guarded = view(plain, encoder=Frames(filters=(filter,)))
    expected = plain(filtered(x, (filter,)))
    assert not torch.equal(expected, plain(x))
    assert torch.equal(guarded(x), expected)
    torch.testing.assert_close(attack_view(guarded)(x), expected)
    assert torch.equal(FilteredNetwork(plain, (filter,))(x), expected)
    twin = ann_twin(guarded)
    assert torch.equal(twin(x), ann_twin(plain)(filtered(x, (filter,))))  # it is defended too


def test_a_network_from_elsewhere_behind_filters() -> None:
    class Counts(nn.Module):
        stochastic = True

        def forward(self, x: Tensor) -> Tensor:
            return x.sum((1, 2, 4))

    x = frames(7, (3, 2, 4, 4))
    guarded = FilteredNetwork(Counts(), (BackgroundActivity(), HotPixels(most=2)))
    assert torch.equal(guarded(x), filtered(x, guarded.filters).sum((1, 2, 4)))
    assert guarded.stochastic
    assert getattr(FilteredNetwork(nn.Flatten(), ()), "stochastic", None) is None
    assert "HotPixels(most=2)" in repr(guarded)  # evaluations tell networks apart by it
    assert torch.equal(view(guarded)(x), guarded(x))
    with pytest.raises(UserError, match=r"filters take event frames \[B, T, P, H, W\], not \[3, 2, 4, 4\]"):
        guarded(x[:, 0])


def test_filters_are_written_down_with_the_network(tmp_path: object) -> None:
    chosen = (BackgroundActivity(radius=2), HotPixels(most=7), QuantisedActivity(quantum=3))
    encoder = Frames(filters=chosen)
    config = json.loads(json.dumps(to_config(encoder)))
    assert from_config(config, Encoder) == encoder
    assert from_config({"class_path": "Frames", "init_args": {"filters": ["HotPixels"]}}, Encoder).filters == (
        HotPixels(),
    )
    with pytest.raises(UserError):
        from_config({"class_path": "Frames", "init_args": {"filters": ["Poisson"]}}, Encoder)
    run = Run(tmp_path)
    network = Network(architecture=SmallCNN(widths=(3, 4, 4)), encoder=encoder)
    model = network.build((4, 2, 8, 8), 3).eval()
    write_model(run, model.state_dict(), network, (4, 2, 8, 8), 3, (0.0, 0.0), (1.0, 1.0))
    again = load_model(run.path)
    assert again.encoder == encoder
    assert torch.equal(again(frames(8, (4, 2, 8, 8))), model(frames(8, (4, 2, 8, 8))))


def test_settings_that_mean_nothing_are_refused() -> None:
    for make, said in (
        (lambda: BackgroundActivity(radius=0), "radius of BackgroundActivity must be a whole number from 1 on, not 0"),
        (lambda: BackgroundActivity(steps=-1), "steps of BackgroundActivity must be a whole number from 0 on"),
        (lambda: HotPixels(most=-1), "most of HotPixels"),
        (lambda: HotPixels(most=2.5), "must be a whole number from 0 on, not 2.5"),
        (lambda: QuantisedActivity(quantum=0), "quantum of QuantisedActivity must be a whole number from 1 on"),
        (lambda: QuantisedActivity(most=float("nan")), "most of QuantisedActivity"),
    ):
        with pytest.raises(UserError, match=said):
            make()
