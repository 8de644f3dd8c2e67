"""How does a network become a NIR file, and what of it stays behind?"""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import spikeproof
from spikeproof.choices import Advice, UserError, short
from spikeproof.configs import to_config
from spikeproof.exchange.consumers import Consumer, consumer_named
from spikeproof.exchange.library import nir
from spikeproof.exchange.obstacles import obstacles
from spikeproof.exchange.sheets import Sheet, Wire
from spikeproof.exchange.simulations import Simulation
from spikeproof.exchange.writing import written
from spikeproof.snn import SpikingNetwork, attack_view
from spikeproof.snn.network import Normalise
from spikeproof.snn.wrappers import unwrapped
from spikeproof.whole_files import written_whole

SIMULATION = "simulation"  # the name, in a graph's metadata, of what NIR does not say


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote: `nodes` counted by kind, and `outside`, what a NIR graph cannot say, a sentence each."""

    file: Path
    target: str
    nodes: dict[str, int]
    outside: tuple[str, ...]


def export_nir(model: nn.Module, file: str | Path, target: str = "nir") -> Exported:
    """Write the network as a NIR graph for `target`: "spikingjelly", "snntorch", "norse", or "nir" for any other.

    Batch norms are folded, and normalisation is a node of the graph. Encoder, steps and readout stay outside it: the
    graph's metadata name them, and `import_nir` reads them there. Raises `UserError` for a network, or a layer of it,
    that cannot be said or that the target cannot take; nothing is written then. Source of the format: Pedersen et al.,
    Nature Communications 2024. A reader that is told another `dt` than the metadata's computes other neurons.
    """
    consumer, file = consumer_named(target), Path(file)
    graph, simulation = _graph_of(model, consumer)
    outside = _outside(simulation, consumer)
    graph.metadata = {
        "producer": f"spikeproof {spikeproof.__version__}",
        "target": target,
        "dt": consumer.dt,
        SIMULATION: json.dumps(to_config(simulation)),
        "outside": "\n".join(outside),
    }
    try:
        content = BytesIO()  # h5py would wait for the lock on a file that is written whole
        nir().write(content, graph)
        with written_whole(file) as temporary:
            temporary.write_bytes(content.getvalue())
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error})") from error
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    return Exported(file=file, target=target, nodes={k: kinds.count(k) for k in dict.fromkeys(kinds)}, outside=outside)


def _graph_of(model: nn.Module, consumer: Consumer) -> tuple[Any, Simulation]:
    network = unwrapped(model)
    if not isinstance(network, SpikingNetwork):
        raise UserError(
            f"a network of spikeproof can be exported, and not a {type(network).__name__}: a network of another "
            "library is exported by that library"
        )
    view = attack_view(network)
    assert isinstance(view, SpikingNetwork)
    if found := list(obstacles(view.body, consumer, "body")):
        raise _refusal(found, consumer)
    sheet = Sheet(consumer, view.shape[-3:])
    sheet.end(written(view.body, sheet, _normalised(view, sheet)))
    simulation = Simulation(
        dt=consumer.dt,
        steps=view.steps,
        fires="at" if consumer.fires_at else "above",
        encoder=network.encoder,
        readout=network.readout,
    )
    return nir().NIRGraph(sheet.nodes, sheet.edges), simulation


def _refusal(found: list[tuple[str, str]], consumer: Consumer) -> Advice:
    """One line a reason, with the layers that it holds for."""
    layers: dict[str, list[str]] = {}
    for name, why in found:
        layers.setdefault(why, []).append(name)
    lines = [f"  {', '.join(names)}: {why}" for why, names in layers.items()]
    return Advice("\n".join([f"this network cannot be written for {consumer.title}:", *lines]))


def _normalised(network: SpikingNetwork, sheet: Sheet) -> Wire:
    """The wire that leads to the body: behind (x - mean) / std, where there is such a thing."""
    norm = network.normalise
    if not network.encoder.normalised or not isinstance(norm, Normalise):
        return sheet.start
    mean, std = (values.flatten().cpu().numpy() for values in (norm.mean, norm.std))
    if (mean == 0).all() and (std == 1).all():
        return sheet.start
    return sheet.diagonal(sheet.start, (1 / std).astype(np.float32), (-mean / std).astype(np.float32))


def _outside(simulation: Simulation, consumer: Consumer) -> tuple[str, ...]:
    encoder, readout = short(simulation.encoder), short(simulation.readout)
    fires = "v >= v_threshold, as this reader takes it"
    if not consumer.fires_at:
        fires = "v > v_threshold, so thresholds are one float32 number below ours, which are reached at v >= threshold"
    return (
        f"{simulation.steps} time steps of {consumer.dt:g} s",
        f"the encoder {encoder}, from an image in [0, 1] to the graph's input at each step (Direct: the image itself)",
        f"the readout {readout}, from the graph's outputs to logits (MeanCurrent: their mean over the steps)",
        f"neurons fire at {fires}",
        "surrogate gradients, which training and attacks alone need",
    )
