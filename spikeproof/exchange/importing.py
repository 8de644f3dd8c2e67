"""How does a NIR file become a network that can be attacked?"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from spikeproof.choices import UserError
from spikeproof.configs import from_config
from spikeproof.exchange.exporting import SIMULATION
from spikeproof.exchange.graphs import Graph, ordered
from spikeproof.exchange.library import nir
from spikeproof.exchange.reading import layer_of
from spikeproof.exchange.simulations import Simulation
from spikeproof.snn import SpikingNetwork
from spikeproof.snn.layers import PerStep
from spikeproof.snn.network import Normalise
from spikeproof.untrusted.texts import Unreadable, json_in
from spikeproof.untrusted.words import brief


def import_nir(
    file: str | Path,
    simulation: Simulation | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    trust: bool = False,
) -> SpikingNetwork:
    """The network of a NIR graph, from images in [0, 1] of `shape` to logits, in eval mode.

    `simulation` says what NIR does not (default: what our export wrote into the graph, else ``Simulation()``). `shape`
    is that of an image (C, H, W), or of frames (T, P, H, W) (default: the graph's input). `mean` and `std` are what
    pixels were normalised by in its training. Raises `UserError` for a file that is no NIR graph, for nodes that are
    not known, by name, for cycles, and, unless `trust` is set, for code from outside that the graph's simulation names.
    """
    file = Path(file)
    graph = _read(file)
    how = simulation or _said(graph, file, trust)
    try:
        classes = _classes(graph)
        body, inputs = _fitted(graph, how, shape and tuple(shape))
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    channels = inputs[-3]
    numbers = [values * channels if len(values) == 1 else values for values in (mean or (0.0,), std or (1.0,))]
    if any(len(values) != channels for values in numbers):
        raise UserError(f"{file}: mean and std have one number, or one for each of the {channels} channels")
    network = SpikingNetwork(how.encoder, Normalise(*numbers), body, how.readout, how.steps, inputs, classes)
    return network.eval()


def simulation_in(file: Path) -> Simulation:
    """What a graph says in its metadata of how it is run, or the defaults."""
    return _said(_read(file), file, trust=False)


def _read(file: Path) -> Any:
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    try:
        return nir().read(file)
    except UserError:
        raise
    except Exception as error:  # h5py and nir raise kinds of their own
        raise UserError(f"{file} cannot be read as a NIR graph: {brief(' '.join(str(error).split()))}") from error


def _said(graph: Any, file: Path, trust: bool) -> Simulation:
    written = graph.metadata.get(SIMULATION)
    if written is None:
        return Simulation()
    try:
        return from_config(json_in(written), Simulation, trust=trust)
    except (Unreadable, TypeError, ValueError) as error:
        said = str(error) if isinstance(error, UserError) else "it is not as spikeproof writes it"
        raise UserError(f"{file}: the simulation in its metadata cannot be read: {said}") from error


def _body(graph: Any, how: Simulation) -> Graph:
    """The layers of the graph's nodes, under names that torch allows."""
    layers = {name: layer_of(name, node, how) for name, node in graph.nodes.items()}
    before = ordered(layers, graph.edges)  # nir itself gives whatever is loose an input and an output
    plain = {name: f"{number}_{name}".replace(".", "_") for number, name in enumerate(before)}
    named = {plain[name]: tuple(plain[source] for source in sources) for name, sources in before.items()}
    return Graph({plain[name]: layers[name] for name in before}, named)


def _only(graph: Any, kind: str) -> str:
    """The name of the one node of this kind."""
    found = [name for name, node in graph.nodes.items() if type(node).__name__ == kind]
    if len(found) != 1:
        raise UserError(f"it has {len(found)} nodes of kind {kind}, and a network has one")
    return found[0]


def _fitted(graph: Any, how: Simulation, shape: tuple[int, ...] | None) -> tuple[nn.Module, tuple[int, ...]]:
    """The body for data of `shape`, which a graph of flat inputs takes too, and that shape."""
    wanted = _axes(graph.nodes[_only(graph, "Input")].input_type["input"])
    body = _body(graph, how)
    if shape is None:
        shape = wanted if len(wanted) == 3 else (1, 1, *wanted)[-3:]
        return _flat_first(body, wanted), (how.steps, *shape) if how.encoder.framed else shape
    if shape[-3:] == wanted:
        return body, shape
    if len(wanted) != 1 or math.prod(shape[-3:]) != wanted[0]:
        raise UserError(f"it takes {list(wanted)}, and the images are {list(shape[-3:])}")
    return _flat_first(body, wanted), shape


def _flat_first(body: nn.Module, wanted: tuple[int, ...]) -> nn.Module:
    return body if len(wanted) > 1 else nn.Sequential(PerStep(nn.Flatten()), body)


def _classes(graph: Any) -> int:
    outputs = _axes(graph.nodes[_only(graph, "Output")].output_type["output"])
    if len(outputs) != 1:
        raise UserError(f"its output is {list(outputs)}, and logits are one number a class")
    return outputs[0]


def _axes(shape: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in np.atleast_1d(shape))
