"""How does a graph compute? Each node on the sum of what its edges bring, in an order in which that is there."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from torch import Tensor, nn

from spikeproof.choices import UserError


class Graph(nn.Module):
    """Layers ``[T, B, ...]`` by name, and `before`, the layers whose sum each takes, in the order of computation.

    The first takes the input, and the last gives the output.
    """

    def __init__(self, layers: Mapping[str, nn.Module], before: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.before = dict(before)

    def forward(self, x: Tensor) -> Tensor:
        found: dict[str, Tensor] = {}
        for name, sources in self.before.items():
            arrived = x
            if sources:
                arrived, *others = (found[source] for source in sources)
                for other in others:
                    arrived = arrived + other
            found[name] = self.layers[name](arrived)
        return found[name]


def ordered(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The nodes in an order of computation, each with those before it; raises `UserError` for a cycle."""
    before: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    for source, target in edges:
        if unknown := {source, target} - before.keys():
            raise UserError(f"an edge leads from or to {unknown.pop()!r}, and there is no such node")
        before[target] += (source,)
    try:
        return {name: before[name] for name in TopologicalSorter(before).static_order()}
    except CycleError as error:
        around = " -> ".join(map(str, error.args[1]))
        raise UserError(f"its nodes form a cycle, {around}, and only networks without one can be read") from error
