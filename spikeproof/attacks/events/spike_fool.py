"""SpikeFool: SparseFool for events, from one flat piece of the boundary to the next by the fewest cells."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor

from spikeproof.attacks.events.cell_threats import CellThreat
from spikeproof.attacks.events.edits import spent_before
from spikeproof.attacks.events.scg import on_cells
from spikeproof.attacks.losses import Margin, TargetedMargin
from spikeproof.attacks.nearest import Nearest, offer, pairs
from spikeproof.attacks.query import Query, per_image
from spikeproof.choices import AtLeast, Count, NonNegative


class State(NamedTuple):
    """The frames at hand, what each change is worth, and the pairs (label, class to reach) ``[B, classes, 2]``."""

    z: Tensor
    worth: Tensor
    goals: Tensor


@dataclass(frozen=True, kw_only=True)
class SpikeFool(Nearest):
    """Up to `steps` times DeepFool from the frames at hand, and the fewest cells that lead over the boundary it found.

    DeepFool takes up to `inner` steps, of length `least` or more, over the nearest of the boundaries to the `classes`
    likeliest wrong classes; its frames need not be whole. Where it ends, going `overreach` times as far, the boundary
    is taken for flat. Cells change by one event each, that of the largest gradient first, until they are beyond. Of
    more changes than the budget has, those of the largest gradients, added up over all rounds, are kept. It ends where
    a recording is broken, and keeps what changes least. Source: Buchel et al., Frontiers in Neuroscience 2022
    (SpikeFool), after Modas et al., CVPR 2019 (SparseFool). Ours: where DeepFool meets no boundary, that to the class
    it was nearest to is taken. The last cell, which has to change in part, changes by one event. Where events may move,
    a move is one change, by the gradients of both its cells. It costs up to ``steps (inner classes + 1)`` gradients.
    """

    under: ClassVar[tuple[str, ...]] = ("events",)
    static: ClassVar[bool] = False  # its inner rounds are for those that are not over the boundary yet

    steps: Count = 10
    inner: Count = 10
    classes: Count = 9
    overreach: Annotated[float, AtLeast(1)] = 2.0
    overshoot: NonNegative = 0.02
    least: NonNegative = 0.1
    eot: Count = 1

    def start(self, query: Query) -> State:
        return State(query.x, torch.zeros_like(query.x), pairs(query, self.classes))

    def step(self, query: Query, state: State) -> State:
        z, worth, goals = state
        cells = on_cells(query.threat)
        normal, gap = self._boundary(query, z, goals)
        further = beyond(z, query.x, normal, gap, cells)
        worth = worth + normal * (further - z)
        further = cells.of_most_worth(further, worth, query.x)
        broken = query.answer(further, Margin(), offer=False).broken
        offer(query, further, broken)
        query.finish(broken | (further == z).flatten(1).all(1))  # what does not move will not
        return State(further, worth, goals)

    def _boundary(self, query: Query, z: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """Where DeepFool from `z` ends: the boundary's normal, of length 1, and `overreach` times its distance."""
        change, goal, y = torch.zeros_like(z), goals[:, 0].clone(), query.y
        rows = torch.arange(len(z), device=z.device)
        for _ in range(self.inner):
            step, goal[rows] = self._stepped(query, (z + change)[rows], goals[rows], rows)
            change[rows] += step
            said = query.logits((z + (1 + self.overshoot) * change)[rows], rows=rows).argmax(1)
            over = said != y[rows]
            goal[rows[over], 1] = said[over]
            rows = rows[~over]
            if not len(rows):
                break
        normal, _ = query.gradient(z + change, TargetedMargin(), y=goal, offer=False)
        normal = normal / per_image(normal.flatten(1).norm(dim=1).clamp(min=1e-12), z)
        return normal, self.overreach * (normal * change).flatten(1).sum(1)

    def _stepped(self, query: Query, z: Tensor, goals: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The shortest step over the nearest boundary, were the network linear, and that boundary's (label, class)."""
        nearest = z.new_full((len(z),), torch.inf)
        step, chosen = torch.zeros_like(z), goals[:, 0].clone()
        for goal in goals.unbind(1):
            slope, answer = query.gradient(z, TargetedMargin(), y=goal, rows=rows, offer=False)
            length = slope.flatten(1).norm(dim=1).clamp(min=1e-12)
            reach = answer.loss.abs() / length
            nearer = reach < nearest
            ahead = per_image(reach.clamp(min=self.least) / length, z) * slope
            step, chosen = (
                torch.where(per_image(nearer, z), ahead, step),
                torch.where(nearer.unsqueeze(1), goal, chosen),
            )
            nearest = nearest.minimum(reach)
        return step, chosen


def beyond(z: Tensor, x: Tensor, normal: Tensor, gap: Tensor, threat: CellThreat) -> Tensor:
    """`z` with the fewest edits that lead beyond the plane where ``normal . change = gap``, or all there are."""
    up, down = threat.steps(z, x)
    way = normal.sign() * (((normal > 0) & up) | ((normal < 0) & down))
    way = threat.partnered(way, normal, z, x)
    edits = threat.edits(way, way * normal)
    gap = gap.clamp(min=torch.finfo(gap.dtype).tiny)[edits.recording]
    before = spent_before(edits.recording, edits.worth, edits.worth.double().clamp(min=0))
    return z + edits.where((edits.worth > 0) & (before < gap)).change(z)
