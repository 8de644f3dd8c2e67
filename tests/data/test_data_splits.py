"""Is every beginning of the stratified order a sample in proportion to the classes?"""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeproof.data.splits import stratified_order


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_every_beginning_has_each_class_in_proportion(labels: list[int], seed: int) -> None:
    order = stratified_order(torch.tensor(labels), seed)
    assert sorted(order.tolist()) == list(range(len(labels)))
    taken = torch.tensor(labels)[order]
    for label in set(labels):
        so_far = (taken == label).cumsum(0)
        share = torch.arange(1, len(labels) + 1) * labels.count(label) / len(labels)
        assert ((so_far - share).abs() < len(set(labels))).all()


def test_with_classes_of_one_size_no_class_is_ever_ahead_by_more_than_one() -> None:
    labels = torch.arange(10).repeat(30)
    taken = torch.nn.functional.one_hot(labels[stratified_order(labels, 3)]).cumsum(0)
    assert (taken.amax(1) - taken.amin(1) <= 1).all()


def test_the_seed_decides() -> None:
    labels = torch.arange(10).repeat(30)
    assert torch.equal(stratified_order(labels, 3), stratified_order(labels, 3))
    assert not torch.equal(stratified_order(labels, 3), stratified_order(labels, 4))


def test_the_order_never_changes_between_versions() -> None:
    """If this fails, runs resumed or compared across versions would validate on images they trained on."""
    assert stratified_order(torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]), 0).tolist() == [3, 2, 8, 1, 6, 4, 0, 7, 5]
