"""How does a NIR graph grow while a network is written down? Nodes, edges, and wires that lead on."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from spikeproof.exchange.consumers import Consumer
from spikeproof.exchange.library import nir


class Wire(NamedTuple):
    """What leads on to the next layer: the sum of what the nodes `sources` give, times `factor`.

    `shape` is that of one image in one step. The next weights take the factor up.
    """

    sources: tuple[str, ...]
    shape: tuple[int, ...]
    factor: float = 1.0


class Sheet:
    """The nodes and edges that were written down for a `consumer` so far."""

    def __init__(self, consumer: Consumer, shape: tuple[int, ...]) -> None:
        self.consumer = consumer
        self.nodes: dict[str, Any] = {"input": nir().Input({"input": np.array(shape)})}
        self.edges: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()
        self.start = Wire(("input",), shape)

    def put(self, node: Any, wire: Wire, shape: tuple[int, ...], factor: float = 1.0) -> Wire:
        """Add `node` behind `wire`; what it gives has this `shape`, and is to be multiplied by `factor`."""
        kind = type(node).__name__.lower()
        self.counts[kind] += 1
        return self._put(f"{kind}_{self.counts[kind]}", node, wire, shape, factor)

    def end(self, wire: Wire) -> None:
        """Add the output."""
        wire = self.settled(wire)
        self._put("output", nir().Output({"output": np.array(wire.shape)}), wire, wire.shape, 1.0)

    def joined(self, one: Wire, other: Wire) -> Wire:
        """The sum of two branches: several edges into the next node."""
        one, other = self.settled(one), self.settled(other)
        return Wire(one.sources + other.sources, one.shape)

    def settled(self, wire: Wire) -> Wire:
        """The same without a factor that waits for weights."""
        return wire if wire.factor == 1 else self.scaled(wire, 1.0)

    def scaled(self, wire: Wire, by: float) -> Wire:
        """`wire` times a number."""
        if self.consumer.scales:
            scale = np.full(wire.shape, by * wire.factor, np.float32)
            return self.put(nir().Scale(scale), wire, wire.shape)
        channels = wire.shape[0]
        return self.diagonal(wire, np.full(channels, by, np.float32), np.zeros(channels, np.float32))

    def diagonal(self, wire: Wire, scale: np.ndarray, shift: np.ndarray) -> Wire:
        """`wire` times a scale a channel, plus a shift a channel: a 1x1 convolution, or a layer of weights."""
        weight = np.diag(scale * np.float32(wire.factor))
        if len(wire.shape) == 1:
            return self.put(nir().Affine(weight, shift), wire, wire.shape)
        return self.put(nir().Conv2d(wire.shape[1:], weight[:, :, None, None], 1, 0, 1, 1, shift), wire, wire.shape)

    def _put(self, name: str, node: Any, wire: Wire, shape: tuple[int, ...], factor: float) -> Wire:
        self.nodes[name] = node
        self.edges += [(source, name) for source in wire.sources]
        return Wire((name,), shape, factor)
