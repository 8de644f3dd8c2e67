"""Do other libraries compute the same from an exported graph? `python -m benchmarks.hardware [--out FILE]`.

Every network is trained for two epochs on the digits, written for each reader, read by that library, and run beside
ours on test images. The table says whether every spike of every layer in every step is the same, or why not. In
float64 nearly no potential lies where two orders of a sum differ; what differs in float32 is counted beside it. What
the export refuses is written as the format says it, to see what comes of it. Readers that are not installed are left
out; docs/hardware.md has the table.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.records import write_json
from spikeproof.choices import UserError
from spikeproof.data import Digits
from spikeproof.exchange import export_nir, import_nir
from spikeproof.exchange.consumers import CONSUMERS
from spikeproof.snn import IF, LIF, MLP, VGG, Network, SmallCNN, WideResNet, record
from spikeproof.snn.neurons import neuron_layers

IMAGES, STEPS = 64, 4
NETWORKS = {
    "MLP": MLP(hidden=(64, 64)),
    "SmallCNN": SmallCNN(widths=(8, 16, 32)),
    "VGG-5": VGG(stages=((16,), (32, 32), ()), hidden=(64, 64)),
    "WRN-10": WideResNet(depth=10, widths=(8, 16, 32)),
}
NEURONS = {"IF": IF(), "LIF 0.5": LIF(threshold=0.5), "LIF 0.9": LIF(leak=0.9)}


class Seen(NamedTuple):
    """What a network did: spikes ``[T, B, *n]`` of every layer, in the order in which it was written, and outputs."""

    spikes: list[Tensor]
    outputs: Tensor


def by_spikingjelly(file: Path, x: Tensor) -> Seen:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepped(import_from_nir(file, dtype=x.dtype), x)


def by_snntorch(file: Path, x: Tensor) -> Seen:
    import nir
    from snntorch.import_nir import import_from_nir

    with redirect_stdout(StringIO()):  # it prints what it does
        return _stepped(import_from_nir(nir.read(file)).to(x.dtype), x)


def by_norse(file: Path, x: Tensor) -> Seen:
    import nir
    from norse.torch.utils.import_nir import from_nir

    network = from_nir(nir.read(file), ignore_warnings=True, dt=CONSUMERS["norse"].dt).to(x.dtype)
    for cell in network.modules():  # its constants are no buffers
        if hasattr(cell, "p"):
            constants = {name: value for name, value in cell.p._asdict().items() if isinstance(value, Tensor)}
            cell.p = cell.p._replace(**{name: value.detach().to(x.dtype) for name, value in constants.items()})
    return _stepped(network, x)


def by_sinabs(file: Path, x: Tensor) -> Seen:
    """It takes all steps at once, those of an image next to each other."""
    import nir
    from sinabs.nir import from_nir

    network = from_nir(nir.read(file), num_timesteps=len(x)).to(x.dtype)
    seen = _stepped(lambda rows, state: network(rows), x.transpose(0, 1).flatten(0, 1).unsqueeze(0), network)
    steps, images = x.shape[:2]
    parted = [each[0].unflatten(0, (images, steps)).transpose(0, 1) for each in (*seen.spikes, seen.outputs)]
    return Seen(parted[:-1], parted[-1])


def by_spikeproof(file: Path, x: Tensor) -> Seen:
    """Our own reading; its layers bear the numbers of the nodes."""
    network = import_nir(file).to(x.dtype)
    seen = by_us(network, x)
    numbers = [int(name.rpartition("_")[2].partition(".")[0]) for name in neuron_layers(network)]
    return Seen([spikes for _, spikes in sorted(zip(numbers, seen.spikes, strict=True))], seen.outputs)


READERS: dict[str, Callable[[Path, Tensor], Seen]] = {
    "spikeproof": by_spikeproof,
    "spikingjelly": by_spikingjelly,
    "snntorch": by_snntorch,
    "norse": by_norse,
    "sinabs": by_sinabs,
}


def by_us(model: nn.Module, x: Tensor) -> Seen:
    """Our network on the sequence `x` ``[T, B, C, H, W]``, or on images that are the same at every step."""
    outputs: list[Tensor] = []
    handle = model.body.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad(), record(model) as inside:
        model(x[0])
    handle.remove()
    return Seen(list(inside.spikes.values()), outputs[0])


def differing(ours: Seen, theirs: Seen) -> tuple[int, int]:
    """How many spikes are not the same, and of how many."""
    assert all(0 < float(spikes.mean()) < 1 for spikes in ours.spikes), "a layer is silent or always fires"
    pairs = list(zip(ours.spikes, theirs.spikes, strict=True))
    return sum(int((one != other).sum()) for one, other in pairs), sum(one.numel() for one, _ in pairs)


def judged(model: nn.Module, x: Tensor, reader: str) -> str:
    """What a reader makes of the network, in a cell of the table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.nir")
        try:
            export_nir(model, file, "nir" if reader == "spikeproof" else reader)
            refused = ""
        except UserError:
            export_nir(model, file)
            refused = "refused; "
        try:
            counts = [_counted(model, x.to(dtype), file, reader) for dtype in (torch.float64, torch.float32)]
        except Exception as error:  # whatever that library raises
            return f"{refused}{type(error).__name__}"
    (exact, spikes), (single, _) = counts
    if exact:
        return f"{refused}{exact / spikes:.1%} of spikes differ"
    return f"{refused}equal" if not single else f"{refused}equal; in float32 {single} of {spikes} differ"


def _counted(model: nn.Module, x: Tensor, file: Path, reader: str) -> tuple[int, int]:
    try:
        return differing(by_us(model.to(x.dtype), x), READERS[reader](file, x))
    finally:
        model.float()


def trained(network: Network) -> nn.Module:
    """The network after two epochs on the digits: its norms have statistics, and all its layers fire."""
    part = Digits().part("train")
    x, y = part.batch(torch.arange(len(part)))
    model = network.build((1, 8, 8), 10, mean=(0.3,), std=(0.38,))
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    torch.manual_seed(0)
    for _ in range(2):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    return model.eval()


def measured() -> dict[str, dict[str, str]]:
    """The cells, by network and reader."""
    readers = [name for name in READERS if find_spec(name)]
    images = Digits().part("test").batch(torch.arange(IMAGES))[0]
    x = images.expand(STEPS, *images.shape)
    found: dict[str, dict[str, str]] = {}
    for title, architecture in NETWORKS.items():
        for kind, neuron in NEURONS.items():
            model = trained(Network(architecture=architecture, neuron=neuron, steps=STEPS))
            found[f"{title}, {kind}"] = {name: judged(model, x, name) for name in readers}
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    """The cells as Markdown."""
    heads = list(next(iter(found.values())))
    rows = [f"| {name} | {' | '.join(cells[head] for head in heads)} |" for name, cells in found.items()]
    return "\n".join([f"| network | {' | '.join(heads)} |", "|---|" + "---|" * len(heads), *rows])


def _stepped(call: Callable[..., Any], x: Tensor, network: nn.Module | None = None) -> Seen:
    """What `call` gives, a step and its state after the other; the neurons are the parts named if_1, lif_2, ..."""
    spikes: dict[int, list[Tensor]] = {}
    watched = network or call
    assert isinstance(watched, nn.Module)

    def keep(number: int) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            found = output[0] if isinstance(output, tuple) else output
            spikes.setdefault(number, []).append(found)
            return output if isinstance(output, tuple) else found.to(x.dtype)  # snnTorch's are always float32

        return hook

    for name, part in watched.named_children():
        if name.startswith(("if_", "lif_")):
            part.register_forward_hook(keep(int(name.rpartition("_")[2])))
    state, outputs = None, []
    with torch.no_grad():
        for step in x:
            output = call(step, state)
            output, state = output if isinstance(output, tuple) else (output, None)
            outputs.append(output)
    return Seen([torch.stack(spikes[number]) for number in sorted(spikes)], torch.stack(outputs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build", "hardware.json"), help="where the JSON goes")
    out = parser.parse_args().out
    warnings.filterwarnings("ignore")
    found = measured()
    write_json(out, found)
    print(table(found))


if __name__ == "__main__":
    main()
