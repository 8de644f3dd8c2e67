"""Are the steps those of PyTorch's Adam, for a part of the entries too?"""

import torch

from spikeproof.attacks.adam import Moments


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
    assert torch.equal(moments.of(left).step, moments.step[left])
    assert torch.equal(moments.of((slice(None), 1)).step, moments.step[:, 1])


def test_the_first_step_is_the_sign() -> None:
    step = Moments.none(torch.zeros(3)).with_gradient(torch.tensor([2.0, 0.0, -0.01])).step
    torch.testing.assert_close(step, torch.tensor([1.0, 0.0, -1.0]), atol=1e-5, rtol=0)
