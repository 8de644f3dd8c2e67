"""What do ranks share in a step of training? Their means: of gradients, of losses, of running statistics.

One all-reduce of one flat tensor, after the backward. `DistributedDataParallel` would hide some of its time behind the
backward. But it wraps the network and expects one forward for one backward, while objectives here attack the network,
look at views of it and take gradients of gradients. After a step all ranks hold the same tensors, bit for bit.
"""

import torch
from torch import Tensor, nn

from spikeproof.distributed import Ranks


def averaged(
    ranks: Ranks, losses: dict[str, Tensor], weights: list[nn.Parameter], statistics: list[Tensor]
) -> dict[str, Tensor]:
    """The mean losses of all `ranks`; gradients of `weights`, and `statistics`, become the mean in place.

    All ranks have as many images, so the mean of their means is that of all. What is not finite anywhere is so in all.
    """
    gradients = [w.grad for w in weights if w.grad is not None]
    floating = [buffer for buffer in statistics if buffer.is_floating_point()]
    shared = [*gradients, *floating, *(loss.detach().clone() for loss in losses.values())]
    with torch.no_grad():
        flat = ranks.sum(torch.cat([tensor.float().flatten() for tensor in shared])).div_(ranks.size)
        means = flat.split([tensor.numel() for tensor in shared])
        torch._foreach_copy_(shared, [mean.view_as(own) for mean, own in zip(means, shared, strict=True)])
    return dict(zip(losses, shared[len(shared) - len(losses) :], strict=True))
