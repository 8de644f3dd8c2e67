"""How does batch norm see the whole batch, where each rank has a share of it? Its sums are added over the ranks.

Like `torch.nn.SyncBatchNorm`, which needs a GPU; this one also runs on a CPU, and can be differentiated twice.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from spikeproof.distributed import Ranks
from spikeproof.snn import SpikingNetwork

Norm = nn.modules.batchnorm._BatchNorm


class OverRanks(Norm):
    """Batch norm that takes its statistics in training over the images of all `ranks`."""

    ranks: Ranks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes, like = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        here = x.float()
        sums = [here.sum(axes, dtype=torch.float64), here.square().sum(axes, dtype=torch.float64)]
        count = here.new_full((1,), x.numel() / x.shape[1], dtype=torch.float64)
        total, squares, n = _Sum.apply(torch.cat([*sums, count]), self.ranks).split([x.shape[1], x.shape[1], 1])
        mean = total / n
        variance = squares / n - mean.square()  # in double precision, so that the difference keeps its digits
        self._keep(mean, variance * n / (n - 1))
        scale = self.weight * (variance + self.eps).rsqrt().float()
        shift = self.bias - mean.float() * scale
        return (here * scale.view(like) + shift.view(like)).to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None:  # a view without statistics
            return
        cast(Tensor, self.num_batches_tracked).add_(1)
        for kept, new in ((self.running_mean, mean), (cast(Tensor, self.running_var), variance)):
            kept.lerp_(new.to(kept.dtype), cast(float, self.momentum))


class _Sum(torch.autograd.Function):
    """The sum over ranks; the gradients of all ranks' losses add up likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(x.clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(grads[0], ctx.ranks), None


def synchronised(model: SpikingNetwork, ranks: Ranks) -> SpikingNetwork:
    """The network itself, each batch norm in it over all `ranks`; parameters and their names stay."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Norm):
                norm = OverRanks(child.num_features, eps=child.eps, momentum=child.momentum)
                norm.ranks = ranks
                norm._parameters, norm._buffers = child._parameters, child._buffers
                setattr(module, name, norm)
    return model
