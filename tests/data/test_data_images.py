"""Are the images of a part the right ones, in the right type, whichever way they are asked for?"""

import pytest
import torch

from spikeproof.choices import UserError
from spikeproof.data.images import Images, images_in_memory


@pytest.fixture
def images() -> Images:
    """Seven images of 2 x 3 pixels; each pixel of image i has the value 10 i."""
    stored = (10 * torch.arange(7, dtype=torch.uint8)).reshape(7, 1, 1, 1).expand(7, 1, 2, 3)
    return images_in_memory(stored, torch.tensor([0, 1, 2, 0, 1, 2, 0], dtype=torch.uint8), ("a", "b", "c"))


def test_a_batch(images: Images) -> None:
    x, y = images.batch([5, 0, 5])
    assert x.dtype == torch.float32
    assert y.dtype == images.labels.dtype == torch.int64
    assert x.shape == (3, 1, 2, 3)
    assert torch.equal(x[:, 0, 0, 0], torch.tensor([50, 0, 50]) / 255)
    assert y.tolist() == [2, 0, 2]


def test_indices_may_be_a_tensor_a_list_or_a_range(images: Images) -> None:
    x, y = images.batch(range(2, 5))
    for same in ([2, 3, 4], torch.tensor([2, 3, 4]), torch.tensor([2, 3, 4], dtype=torch.int32)):
        assert torch.equal(images.batch(same)[0], x)
        assert torch.equal(images.batch(same)[1], y)


def test_no_indices_give_an_empty_batch(images: Images) -> None:
    x, y = images.batch([])
    assert x.shape == (0, 1, 2, 3)
    assert y.shape == (0,)


def test_a_batch_may_be_changed_without_changing_the_part(images: Images) -> None:
    images.batch([3])[0].zero_()
    assert images.batch([3])[0].max() == pytest.approx(30 / 255)


def test_first_and_select_keep_images_with_their_labels(images: Images) -> None:
    chosen = images.select([6, 4, 2]).first(2)
    assert len(chosen) == 2
    assert chosen.classes == ("a", "b", "c")
    x, y = chosen.batch([1, 0])
    assert torch.equal(x[:, 0, 0, 0], torch.tensor([40, 60]) / 255)
    assert y.tolist() == [1, 0]
    assert len(images.first(7)) == 7


def test_the_value_that_is_white_becomes_one() -> None:
    sixteen = images_in_memory(torch.full((1, 1, 2, 2), 16, dtype=torch.uint8), torch.tensor([0]), ("a",), white=16)
    assert torch.equal(sixteen.batch([0])[0], torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("count", [0, -1, 8])
def test_first_refuses_what_is_not_there(images: Images, count: int) -> None:
    with pytest.raises(UserError, match=f"first {count} images; there are 7, so 1 to 7"):
        images.first(count)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 7], "no image 7; indices are 0 to 6"),
        ([-1], "no image -1; indices are 0 to 6"),
        (torch.tensor([0.5]), "whole numbers.*float32"),
        (torch.tensor([True]), "whole numbers.*bool"),
        (torch.tensor([[1]]), r"whole numbers.*\[1, 1\]"),
        (3, r"whole numbers.*shape \[\]"),
    ],
)
def test_bad_indices_are_refused(images: Images, indices: object, message: str) -> None:
    for take in (images.batch, images.select):
        with pytest.raises(UserError, match=message):
            take(indices)  # type: ignore[arg-type, operator]


def test_the_repr_is_short(images: Images) -> None:
    assert repr(images) == "Images(7 images, 3 classes)"
