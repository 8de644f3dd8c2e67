"""Are the steps those of PyTorch's Adam, for a part of the images too?"""

import torch

from spikeproof.attacks.adam import Moments
from spikeproof.attacks.query import taken


def test_steps_are_those_of_pytorch() -> None:
    torch.manual_seed(0)
    z = torch.randn(5, 3, requires_grad=True)
    optimiser, moments, ours = torch.optim.Adam([z], lr=0.3, maximize=True), Moments.none(z), z.detach().clone()
    for _ in range(6):
        z.grad = torch.randn(5, 3)
        optimiser.step()
        moments = moments.with_gradient(z.grad)
        ours = ours + 0.3 * moments.step
        torch.testing.assert_close(ours, z.detach())
    left = torch.tensor([True, False, True, True, False])
    assert torch.equal(taken(moments, left).step, moments.step[left])


def test_rows_begin_anew() -> None:
    """Each row has a count of gradients of its own: one that begins anew steps as at first, the others go on."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 3, 4)
    going = Moments.none(first).with_gradient(first)
    both = going.begun_anew(torch.tensor([False, True, False])).with_gradient(second).step
    assert torch.equal(both[1], Moments.none(first).with_gradient(second).step[1])
    assert torch.equal(both[[0, 2]], going.with_gradient(second).step[[0, 2]])


def test_the_first_step_is_the_sign() -> None:
    step = Moments.none(torch.zeros(3)).with_gradient(torch.tensor([2.0, 0.0, -0.01])).step
    torch.testing.assert_close(step, torch.tensor([1.0, 0.0, -1.0]), atol=1e-5, rtol=0)
