"""How are steps run while the host does not look? As a graph: recorded once a width, and replayed.

On an accelerator, launching the many small kernels of a step takes longer than running them, and so does waiting for
the host. So there a step is captured as a graph with tensors at fixed addresses. The host looks every few steps.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_unflatten
from torch.utils._pytree import tree_structure as structure_of

from spikeproof.shortage import lacks_memory

EVERY = 8  # steps between two looks of the host; a row that is done earlier waits
SMALLEST = 8  # rows: below, a step takes as long
WORTH_A_GRAPH = 16  # steps: a capture itself costs some seven
WARM_UPS = 3  # steps before a capture, in which libraries choose their algorithms and kernels are compiled

Rows = Any  # a (nested) tuple of tensors with one row an image
Step = Callable[[Rows], tuple[Rows, Tensor | None]]  # the rows one step further, and the losses that were seen there
Capture = Callable[[Callable[[], None]], Callable[[], None]]  # of work on fixed tensors, what does it again


class Pace(NamedTuple):
    """How often the host looks, whether widths are powers of two, and how a step is captured, if it is."""

    every: int = 1
    powers: bool = False
    capture: Capture | None = None

    def width(self, rows: int, most: int) -> int:
        """How many rows a batch has for so many images; at most `most`."""
        if not self.powers or not rows:
            return rows
        return min(most, max(SMALLEST, 1 << (rows - 1).bit_length()))

    def worth(self, leaving: int, active: int, rows: int, waiting: int) -> bool:
        """Whether the host sorts the rows anew now that `leaving` of the `active` ones are done.

        On an accelerator it waits until an eighth is done, all are, or half the rows would do.
        """
        if not leaving or self.every == 1:
            return leaving > 0
        halves = not waiting and self.width(active - leaving, rows) < rows
        return leaving == active or halves or 8 * leaving >= rows


def pace_on(device: torch.device) -> Pace:
    """One step a look on a CPU, where looking costs nothing; graphs on CUDA."""
    return Pace(EVERY, True, cuda_graph) if device.type == "cuda" else Pace()


class NotCaptured(RuntimeError):
    """The graph gives other answers than the step that was captured."""


class Captured:
    """A step on rows at fixed addresses; `rows` are where they have got to."""

    def __init__(self, step: Step, rows: Rows, capture: Capture) -> None:
        self.step = step
        self.asked: Tensor | None = None
        after, _ = step(rows)  # has all parts: what paths remember is there from the first step on
        self.leaves = [torch.empty_like(leaf) for leaf in tree_leaves(after)]
        self.rows: Rows = tree_unflatten(self.leaves, structure_of(after))
        self.load(rows)
        _, expected = step(self.rows)
        self.replay = capture(self._further)
        self.load(rows)
        self.replay()
        if not _alike(self.asked, expected):
            raise NotCaptured("its graph sees other losses than the step itself")
        self.load(rows)

    def load(self, rows: Rows) -> None:
        """Go on from `rows`; a part that they do not have yet is 0, and one that is here already stays."""
        _copy(self.rows, rows)

    def _further(self) -> None:
        after, self.asked = self.step(self.rows)
        for leaf, new in zip(self.leaves, tree_leaves(after), strict=True):
            leaf.copy_(new)


class Runner:
    """Takes rows `every` steps further, by a graph where one can be captured."""

    def __init__(self, step: Step, pace: Pace) -> None:
        self.step = step
        self.every = pace.every
        self.capture = pace.capture
        self.captured: dict[int, Captured] = {}  # by width

    def __call__(self, rows: Rows, width: int) -> Rows:
        """The rows `every` steps further. Until it is called again they are the graph's own tensors."""
        captured = self._captured(rows, width) if self.capture else None
        if captured is None:
            for _ in range(self.every):
                rows, _ = self.step(rows)
            return rows
        captured.load(rows)
        for _ in range(self.every):
            captured.replay()
        return captured.rows

    def _captured(self, rows: Rows, width: int) -> Captured | None:
        """The graph for this width; None, with a warning, where the network cannot be captured."""
        assert self.capture is not None
        if width not in self.captured:
            try:
                self.captured[width] = Captured(self.step, rows, self.capture)
            except RuntimeError as error:
                if lacks_memory(error):
                    raise
                reason = str(error).strip().splitlines()[0]
                warnings.warn(f"an attack runs without a graph, more slowly: {reason}", stacklevel=2)
                self.capture = None
                return None
        return self.captured[width]


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """`work` on fixed tensors as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _copy(to: Rows, given: Rows) -> None:
    for old, new in zip(to, given, strict=True) if given else ((part, None) for part in to):
        if isinstance(old, tuple):
            _copy(old, new or ())
        elif new is None:
            old.zero_()
        else:
            old.copy_(new)


def _alike(seen: Tensor | None, expected: Tensor | None) -> bool:
    """The same losses, but for what an algorithm that adds up in another order may change."""
    if seen is None or expected is None:
        return seen is expected
    return torch.allclose(seen, expected, rtol=1e-3, atol=1e-3, equal_nan=True)
