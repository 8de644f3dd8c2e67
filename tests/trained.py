"""Which trained networks do tests share? Their weights are kept: trained on the spot, another processor has others.

`python -m tests.trained` trains them and writes `tests/weights`.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spikeproof.data import Digits
from spikeproof.snn import LIF, QCFS, Network, ReLU, SmallCNN, SpikingNetwork
from tests.attacks.events.bars import NETWORK, SHAPE, moving_bars

WEIGHTS = Path(__file__).parent / "weights"
SMALL = SmallCNN(widths=(8, 16, 16))
DIGITS = {
    "digits_snn": Network(architecture=SMALL, neuron=LIF(), steps=4),
    "digits_ann": Network(architecture=SMALL, neuron=ReLU(), steps=1),
    "digits_qcfs": Network(architecture=SMALL, neuron=QCFS(levels=4, bound=4.0), steps=1),
}
BARS = "bars_snn"
BATCH = {True: 24, False: 30}  # small enough for the eager kernels: compiling takes longer than all of the training


def untrained(name: str) -> SpikingNetwork:
    if name == BARS:
        return NETWORK.build(SHAPE, 4)
    return DIGITS[name].build((1, 8, 8), 10, mean=Digits.mean, std=Digits.std, seed=0)


def trained(name: str) -> SpikingNetwork:
    """The network with the weights that are kept, in eval mode."""
    model = untrained(name)
    model.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return model.eval()


def trained_anew(name: str) -> SpikingNetwork:
    """The network, trained for two epochs here and now, in eval mode."""
    model, (x, y) = untrained(name), examples(name, "train")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02 if name == BARS else 0.01)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(2):
        for batch in torch.randperm(len(x), generator=shuffle).split(BATCH[name == BARS]):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    model.zero_grad()
    return model.eval()


def examples(name: str, part: str) -> tuple[Tensor, Tensor]:
    """Inputs and labels of the part "train" or "test"."""
    if name == BARS:
        return moving_bars(240, seed=0) if part == "train" else moving_bars(40, seed=2)
    data = Digits().part(part)
    return data.batch(range(len(data)))


def accuracy(model: SpikingNetwork, name: str) -> float:
    x, y = examples(name, "test")
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in x.split(30)])
    return (predicted == y).double().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in (*DIGITS, BARS):
        weights = trained_anew(name).state_dict()
        save_file({key: tensor.contiguous() for key, tensor in weights.items()}, WEIGHTS / f"{name}.safetensors")
