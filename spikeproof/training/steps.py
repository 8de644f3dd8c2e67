"""How is one step of training taken? Augmentation, loss, gradient, optimiser; and nothing waits for the device."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from spikeproof.data import augment
from spikeproof.distributed import ALONE, Ranks
from spikeproof.objectives.objective import Terms
from spikeproof.training.averaging import averaged
from spikeproof.training.checkpoints import State
from spikeproof.training.recipe import Recipe

Taken = tuple[dict[str, Tensor], Tensor]  # the loss terms, and the length of their gradient


def take_step(
    recipe: Recipe, terms: Terms, state: State, x: Tensor, y: Tensor, rate: float, ranks: Ranks = ALONE
) -> Taken:
    """One step of the optimiser at the learning rate `rate`; what it returns has not been looked at yet.

    So a loss that is not finite spoils the weights in memory. `Losses` notices before they are written. `x` and `y` are
    this rank's share of the batch; all `ranks` take the same step.
    """
    training = recipe.training
    x = augment(x, recipe.data.augmentation)
    state.model.train()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=_mixed(training.mixed_precision, x.device)):
        losses = terms(state.model, x, y)
    weights = [p for p in state.model.parameters() if p.requires_grad]
    state.optimiser.zero_grad()
    torch.stack([loss.float() for loss in losses.values()]).sum().backward(inputs=weights)  # and not of the images
    if ranks.size > 1:
        losses = averaged(ranks, losses, weights, list(state.model.buffers()))
    length = _clipped(weights, training.gradient_clip)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    recipe.objective.after_step(state.model)
    if state.average is not None:
        _move(state.average, state.model, training.average)
    return losses, length


def _clipped(weights: list[nn.Parameter], most: float | None) -> Tensor:
    """The L2 norm of the gradient, before it is cut to `most`."""
    length = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    if most is not None:
        nn.utils.clip_grads_with_norm_(weights, most, length)
    return length


def _move(average: nn.Module, model: nn.Module, decay: float) -> None:
    """All tensors at once: one by one they would be hundreds of kernels."""
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(model.parameters()), None)
    with torch.no_grad():
        torch._foreach_copy_(list(average.buffers()), list(model.buffers()))


def _mixed(wanted: bool | None, device: torch.device) -> bool:
    has = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return has if wanted is None else wanted
