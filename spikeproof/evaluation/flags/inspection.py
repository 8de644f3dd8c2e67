"""What does a network answer, before it is attacked? What several checks share is computed once, when asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from spikeproof.attacks import Linf, Margin
from spikeproof.attacks.adaptive import followed
from spikeproof.attacks.query import Query, Task
from spikeproof.calling import as_evaluated, checked_logits, in_full_precision, is_stochastic
from spikeproof.choices import short
from spikeproof.evaluation.flags.activity import Activity, activity
from spikeproof.evaluation.flags.statistics import share
from spikeproof.evaluation.fresh import Fresh
from spikeproof.randomness import Streams, seeded
from spikeproof.snn import GradientPath, attack_view, view

CHECKED = 64  # images that are enough for these checks
OWN = "its own path"
CHANGED = 1e-3  # a relative change of logits that rounding alone does not explain


def fixed_shape_logits(model: nn.Module, x: Tensor, width: int, seed: int) -> Tensor:
    """Logits ``[N, K]`` of one pass in eval mode, always of `width` images at once.

    A batch with fewer is filled up by repeating its own images; their logits are dropped.
    """
    parts = []
    with seeded(seed, x.device), as_evaluated(model), in_full_precision():
        for part in x.split(width):
            rows = torch.arange(width, device=x.device) % len(part)
            images = part[rows].requires_grad_(torch.is_grad_enabled())
            parts.append(checked_logits(model, images, len(part)).detach()[: len(part)])
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class Inspection:
    """A network and images ``[B, C, H, W]`` with labels ``[B]`` to ask it about.

    `paths` are the gradient paths that will be attacked beside the network's own. `logits`, called with
    ``(model, x, width, seed)``, is how the network is asked: always `width` images at once. Attacks ask for up to
    `widest`. `fresh` makes copies of the network as it was before its first call (None: as it is now).
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    paths: Sequence[GradientPath] = ()
    width: int = CHECKED
    seed: int = 0
    logits: Callable[[nn.Module, Tensor, int, int], Tensor] = fixed_shape_logits
    fresh: Fresh | None = None
    widest: int = CHECKED

    def ask(
        self,
        x: Tensor,
        *,
        seed: int | None = None,
        model: nn.Module | None = None,
        width: int | None = None,
        gradients: bool = False,
    ) -> Tensor:
        """Logits for images `x`, with the inspection's random numbers unless another `seed` is given.

        With `gradients` the network is called as an attack calls it, with images that want a gradient.
        """
        seed = self.seed if seed is None else seed
        with torch.set_grad_enabled(gradients):
            return self.logits(model or self.model, x.detach(), width or self.width, seed).detach()

    @cached_property
    def copies(self) -> Fresh:
        return self.fresh or Fresh(self.model)

    @property
    def stochastic(self) -> bool:
        """Whether the network declares noise."""
        return bool(is_stochastic(self.model))

    @cached_property
    def usual(self) -> Tensor:
        """The logits of all images ``[B, K]``."""
        return self.ask(self.x)

    @cached_property
    def changed_by_seed(self) -> float:
        """The share of images whose logits change with the random numbers."""
        return share_changed(self.ask(self.x, seed=self.seed + 1), self.usual)

    @property
    def random(self) -> bool:
        """Whether two calls with other random numbers differ, be that declared or not."""
        return self.stochastic or bool(self.changed_by_seed)

    @cached_property
    def views(self) -> dict[str, nn.Module]:
        return along(self.model, self.paths)

    @cached_property
    def blind(self) -> Tensor:
        """Which images ``[B]`` have a zero gradient along every path."""
        return blind(self.views, self.x, self.y, self.width, self.seed)

    def slopes(self, x: Tensor, *, seed: int | None = None, width: int | None = None) -> Tensor:
        """The gradients of the margin ``[B, ...]`` at the first images or at others in their place, `x`, along the
        network's own path, always asked of the same view; `width` images at once, as for logits."""
        seed, width = self.seed if seed is None else seed, width or self.width
        found, seen = [], self.views[OWN]
        with seeded(seed, x.device), as_evaluated(seen):
            for part, y in zip(x.split(width), self.y[: len(x)].split(width), strict=True):
                rows = torch.arange(width, device=x.device) % len(part)
                task = Task(seen, part[rows], y[rows], Linf(0), Streams.of(seed, rows), stop=False)
                found.append(Query.over(task, eot=1).gradient(task.x, Margin())[0][: len(part)])
        return torch.cat(found)

    @cached_property
    def activity(self) -> Activity:
        return activity(self.model, self.x, self.width, self.seed)


def share_changed(logits: Tensor, usual: Tensor) -> float:
    """The share of images whose logits differ by more than rounding."""
    size = usual.abs().amax(1).clamp(min=1e-6)
    same = (logits - usual).abs().amax(1) <= CHANGED * size
    return share(~(same | ~usual.isfinite().all(1)))  # what is NaN already is told elsewhere


def share_turned(slopes: Tensor, usual: Tensor) -> float:
    """The share of images whose gradient points elsewhere than usual, of those that have one."""
    one, other = slopes.flatten(1).double(), usual.flatten(1).double()
    alike = torch.cosine_similarity(one, other, dim=1) > 0.99
    return share(~alike & (other != 0).any(1))


def along(model: nn.Module, paths: Sequence[GradientPath]) -> dict[str, nn.Module]:
    """The network as it is attacked: along its own path, and along each other that its neurons can follow."""
    attacked = attack_view(model)
    others = {short(path): view(attacked, gradient=path) for path in followed(attacked, paths)}
    return {OWN: attacked} | others


def blind(views: dict[str, nn.Module], x: Tensor, y: Tensor, batch: int, seed: int) -> Tensor:
    """Whether the margin's gradient at each image is exactly zero along every path ``[B]``.

    The gradient of cross-entropy also vanishes where a network is merely sure; the margin's does not. A path is asked
    only about the images at which the gradient is zero along all paths before it.
    """
    zero = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for seen in views.values():
        if not zero.any():
            break
        with seeded(seed, x.device), as_evaluated(seen):
            for indices in zero.nonzero().squeeze(1).split(batch):
                part, targets = x[indices], y[indices]
                task = Task(seen, part, targets, Linf(0), Streams.of(seed, indices), stop=False)
                slope, _ = Query.over(task, eot=1).gradient(part, Margin())
                zero[indices] = (slope == 0).flatten(1).all(1)
    return zero
