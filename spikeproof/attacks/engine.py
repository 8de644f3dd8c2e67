"""How are many images attacked at once? Each by a state machine of its own, side by side in the slots of one batch.

An iterative attack says how an image begins and how a step is taken. All else is here, once: restarts, stopping,
the best image, counting, and the batch. Whoever is done leaves its slot to the next image, as requests do in a server
of language models; when no more wait, the batch shrinks. A step never looks at the host, so its shapes are static, and
on an accelerator it runs as a graph. What is found for an image does not depend on which others there are.
"""

from abc import abstractmethod
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from spikeproof.attacks.attack import Attack, Outcome
from spikeproof.attacks.captures import WORTH_A_GRAPH, Pace, Runner, pace_on
from spikeproof.attacks.losses import AttackLoss
from spikeproof.attacks.query import EMPTY, Query, Slots, Task, joined, kept, taken
from spikeproof.calling import is_stochastic

State = Any  # a named tuple of tensors, one row an image


class Iterative(Attack):
    """An attack in like steps. States are named tuples of tensors with one row an image."""

    # whether the image itself is looked at first, for the classes that are likeliest there: `query.slots.first`
    looks_first: ClassVar[bool] = False
    # whether `step` has static shapes and never looks at the host, so that it can be captured as a graph
    static: ClassVar[bool] = True

    steps: int
    loss: AttackLoss
    eot: int

    @abstractmethod
    def begin(self, query: Query) -> State:
        """Where the search starts for each image of `query`. Asks the model nothing."""

    @abstractmethod
    def step(self, query: Query, state: State) -> State:
        """One step further, the same for all images: each knows the number of its own, ``query.count``."""

    @property
    def length(self) -> int:
        """How many steps a leg has; by default the field `steps`."""
        return self.steps

    def legs(self, classes: int) -> int:
        """How many runs, each from a start of its own, an image gets; `classes` is 0 unless it `looks_first`."""
        return getattr(self, "restarts", 1)

    def last(self, state: State) -> Tensor | None:
        """The image that the last step led to, where no step has looked at it yet."""
        return None

    def settled(self, query: Query) -> Tensor:
        """What is given back for the images of `query` once they are done; by default the best ones."""
        return query.slots.found

    @property
    def keeps_last(self) -> bool:
        """Whether the last image counts, not the best: it is never looked at, which saves a pass."""
        return False

    @final
    def search(self, task: Task) -> Outcome:
        return Climb(self, task).run()


class Climb:
    """One attack on the images of one task, at most `width` side by side."""

    def __init__(self, attack: Iterative, task: Task) -> None:
        self.attack = attack
        self.task = task
        self.width = task.width or len(task.x)
        self.waiting = torch.arange(len(task.x), device=task.x.device)
        self.looks = task.stop or not attack.keeps_last
        none = torch.zeros_like(self.waiting)
        self.found = Outcome(task.x.clone(), none, none.clone(), none.bool() if self.looks else None)
        self.query = Query(task, Slots.of(task, self.waiting[:0]), attack.eot, keeps=self.looks)
        self.legs = attack.legs(0) if not attack.looks_first else 0  # known once there are logits
        pace = pace_on(task.x.device) if attack.static else Pace()
        if is_stochastic(task.model) or attack.length * attack.legs(2) < WORTH_A_GRAPH:
            pace = pace._replace(capture=None)  # what a graph draws is not what the step itself draws
        self.pace = pace._replace(every=min(pace.every, max(attack.length, 1)))
        self.further = Runner(self._further, self.pace)

    def run(self) -> Outcome:
        if not len(self.waiting):
            return self.found
        if self.together:
            return self._straight()
        state = self._refilled(None, self.waiting[:0], self.query.slots)
        while len(self.query.x):
            leaving = self._done(self.query.slots) & ~self.query.slots.empty
            state = self._left(state, leaving) if self._worth(leaving) else self._advanced(state)
            if self.task.watch is not None:
                self.task.watch(self._share)
        return self.found

    def _share(self) -> float:
        """How many of all the steps are done; those of an image that has left its slot count as done."""
        s, whole = self.query.slots, max(self.legs * self.attack.length, 1)
        own = ((self.legs - s.leg) * self.attack.length - s.number).clamp(min=0)
        left = len(self.waiting) * whole + int(own[~s.empty].sum())
        return 1 - left / (len(self.task.x) * whole)

    @property
    def together(self) -> bool:
        """Whether all images take all steps side by side, and the last one counts: so training attacks."""
        return not self.looks and not self.attack.looks_first and self.legs == 1 and self.width >= len(self.waiting)

    def _straight(self) -> Outcome:
        """All steps in a row. The host looks at nothing, and for so few steps a graph is not worth its capture."""
        self.pace = Pace()
        state = self._refilled(None, self.waiting[:0], self.query.slots)
        for _ in range(self.attack.length):
            self.query.slots = self.query.slots._replace(number=self.query.slots.number + 1)
            state = self.attack.step(self.query, state)
        s, last = self.query.slots, self.attack.last(state)
        found = self.attack.settled(self.query) if last is None else last
        return Outcome(found.to(self.found.x.dtype), s.gradients, s.forwards)

    def _done(self, s: Slots) -> Tensor:
        done = s.finished | (s.number >= self.attack.length)
        return done | s.broken if self.task.stop else done

    def _worth(self, leaving: Tensor) -> bool:
        """Whether some leave their slots now; the only look at the host."""
        if self.pace.every == 1:
            return bool(leaving.any())
        gone, empty = torch.stack([leaving.sum(), self.query.slots.empty.sum()]).tolist()
        return self.pace.worth(gone, len(leaving) - empty, len(leaving), len(self.waiting))

    def _advanced(self, state: State) -> State:
        s = self.query.slots
        if self.pace.every == 1:
            self.query.slots = s._replace(number=s.number + 1)
            return self.attack.step(self.query, state)
        if not self.query.checked:  # by itself: a check looks at the host
            (self.query.slots, state), _ = self._further((s, state))
            self.query.checked = True
            return state
        self.query.slots, state = self.further((s, state), len(s.place))
        return state

    def _further(self, rows: tuple[Slots, State]) -> tuple[tuple[Slots, State], Tensor | None]:
        """One step of those that are not done, and the losses seen in it. All others stay as they are."""
        before, state = rows
        done = self._done(before)
        begun = before._replace(
            number=before.number + ~done, gradients=before.gradients.clone(), forwards=before.forwards.clone()
        )
        query = Query(self.task, begun, self.attack.eot, keeps=self.looks)
        query.checked = self.query.checked
        after = self.attack.step(query, state)
        slots = kept(done, before._replace(memory=()), query.slots._replace(memory=()))
        return (slots._replace(memory=query.slots.memory), kept(done, state, after)), query.asked

    def _left(self, state: State, leaving: Tensor) -> State:
        """Write down what is done, and let others have its slots."""
        self._look(state, leaving)
        s = self.query.slots
        again = leaving & ~s.finished & (s.leg + 1 < self.legs)
        again = again & ~s.broken if self.task.stop else again
        gone = (leaving & ~again).nonzero().squeeze(1)
        if len(gone):
            self._write(state, gone)
        staying = (~leaving & ~s.empty).nonzero().squeeze(1)
        return self._refilled(state, staying, taken(s, again.nonzero().squeeze(1)).again())

    def _look(self, state: State, leaving: Tensor) -> None:
        """Look at the last images, those that no step has looked at."""
        last = self.attack.last(state) if self.looks else None
        if last is None:
            return
        s = self.query.slots
        ended = leaving & (s.number >= self.attack.length)
        ended = ended & ~s.broken if self.task.stop else ended
        rows = ended.nonzero().squeeze(1)
        if len(rows) == len(last):
            self.query.answer(last, self.attack.loss)
        elif len(rows):
            self.query.answer(last[rows], self.attack.loss, rows=rows)

    def _write(self, state: State, rows: Tensor) -> None:
        s = taken(self.query.slots, rows)
        part = Query(self.task, s, self.attack.eot)
        last = None if self.looks else self.attack.last(state)
        self.found.x[s.place] = self.attack.settled(part) if last is None else last[rows]
        self.found.gradients[s.place] = s.gradients
        self.found.forwards[s.place] = s.forwards
        if self.found.broken is not None:
            self.found.broken[s.place] = s.broken

    def _refilled(self, state: State, staying: Tensor, again: Slots) -> State:
        """The slots of those that stay, those that begin anew, and as many new images as there is room for."""
        room = self.width - len(staying) - len(again.place)
        new, self.waiting = self.waiting[:room], self.waiting[room:]
        begun = self._admitted(new)
        begun = joined(again, begun) if len(again.place) and len(new) else (again if len(again.place) else begun)
        if not len(begun.place):
            self.query.slots = taken(self.query.slots, staying)
            return self._filled_up(taken(state, staying))
        query = Query(self.task, begun, self.attack.eot, keeps=self.looks)
        query.checked = self.query.checked
        states = self.attack.begin(query)
        if len(staying):
            query.slots = joined(taken(self.query.slots, staying), query.slots)
            states = joined(taken(state, staying), states)
        self.query = query
        return self._filled_up(states)

    def _filled_up(self, state: State) -> State:
        """Empty rows, copies of the first one, up to the width that the pace wants."""
        rows = len(self.query.slots.place)
        if (more := self.pace.width(rows, self.width) - rows) <= 0:
            return state
        places = torch.arange(rows, device=self.waiting.device)
        places = torch.cat([places, places.new_zeros(more)])
        s = taken(self.query.slots, places)
        self.query.slots = s._replace(place=torch.cat([s.place[:rows], s.place.new_full((more,), EMPTY)]))
        self.query.slots = self.query.slots._replace(finished=s.finished | self.query.slots.empty)
        return taken(state, places)

    def _admitted(self, index: Tensor) -> Slots:
        slots = Slots.of(self.task, index)
        if not self.attack.looks_first or not len(index):
            return slots
        query = Query(self.task, slots, self.attack.eot)
        first = query.logits(slots.x)
        self.legs = self.attack.legs(first.shape[1])
        return query.slots._replace(first=first)
