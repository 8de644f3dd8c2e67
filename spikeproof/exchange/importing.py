"""How does a NIR file become a network that can be attacked?"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
        body, inputs, classes = _body(graph, how, shape)
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


def _body(graph: Any, how: Simulation, shape: tuple[int, ...] | None) -> tuple[nn.Module, tuple[int, ...], int]:
    """The graph's layers, the shape of its images, and its number of classes."""
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    first, last = ([name for name, kind in kinds.items() if kind == wanted] for wanted in ("Input", "Output"))
    if len(first) != 1 or len(last) != 1:
        raise UserError(f"it has {len(first)} inputs and {len(last)} outputs, and a network has one of each")
    layers = {name: layer_of(name, node, how) for name, node in graph.nodes.items()}
    before = ordered(layers, graph.edges)
    if loose := [name for name, sources in before.items() if not sources and name != first[0]]:
        raise UserError(f"no edge leads to {', '.join(map(repr, loose))}")
    plain = {name: f"{number}_{name}".replace(".", "_") for number, name in enumerate(before)}
    named = {plain[name]: tuple(plain[source] for source in sources) for name, sources in before.items()}
    body: nn.Module = Graph({plain[name]: layers[name] for name in before}, named)
    wanted = tuple(int(n) for n in np.atleast_1d(graph.nodes[first[0]].input_type["input"]))
    inputs = tuple(shape or (wanted if len(wanted) == 3 else (1, 1, *wanted)[-3:]))
    if inputs[-3:] != wanted:
        if math.prod(inputs[-3:]) != math.prod(wanted) or len(wanted) != 1:
            raise UserError(f"it takes {list(wanted)}, and the images are {list(inputs[-3:])}")
        body = nn.Sequential(PerStep(nn.Flatten()), body)
    if how.encoder.framed and len(inputs) == 3:
        inputs = (how.steps, *inputs)
    outputs = graph.nodes[last[0]].output_type["output"]
    if len(outputs) != 1:
        raise UserError(f"its output is {list(map(int, outputs))}, and logits are one number a class")
    return body, inputs, int(torch.as_tensor(outputs)[0])
