"""Two small networks that know nothing of spikeproof: `python -m benchmarks.foreign_networks FOLDER` trains them.

One is SpikingJelly's, one snnTorch's; each learns the handwritten digits for eight epochs in a loop of its own, and
its weights are saved as anybody would. docs/foreign.md has the command that evaluates them.
"""

import argparse
from pathlib import Path

import snntorch
import torch
import torch.nn.functional as F
from snntorch import surrogate as slopes
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from spikeproof.data import Digits

STEPS, EPOCHS = 6, 8


class Jelly(nn.Module):
    """Two convolutions with SpikingJelly's LIF neurons, all time steps at once."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layer.Conv2d(1, 16, 3, padding=1, step_mode="m"),
            neuron.LIFNode(surrogate_function=surrogate.ATan(), step_mode="m"),
            layer.AvgPool2d(2, step_mode="m"),
            layer.Conv2d(16, 32, 3, padding=1, step_mode="m"),
            neuron.LIFNode(surrogate_function=surrogate.ATan(), step_mode="m"),
            layer.Flatten(step_mode="m"),
            layer.Linear(32 * 4 * 4, 10, step_mode="m"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(((x - 0.3) / 0.37).expand(STEPS, *x.shape)).mean(0)


class Torch(nn.Module):
    """A convolution and a hidden layer with snnTorch's leaky neurons, step by step."""

    def __init__(self) -> None:
        super().__init__()
        slope = slopes.fast_sigmoid(slope=5)
        self.conv, self.first = nn.Conv2d(1, 16, 3, padding=1), snntorch.Leaky(beta=0.8, spike_grad=slope)
        self.hidden, self.second = nn.Linear(16 * 4 * 4, 64), snntorch.Leaky(beta=0.8, spike_grad=slope)
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        currents = self.conv((x - 0.3) / 0.37)
        one, two, logits = self.first.init_leaky(), self.second.init_leaky(), x.new_zeros(len(x), 10)
        for _ in range(STEPS):
            spikes, one = self.first(currents, one)
            spikes, two = self.second(self.hidden(F.avg_pool2d(spikes, 2).flatten(1)), two)
            logits = logits + self.out(spikes) / STEPS
        return logits


def trained(model: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(50):
            functional.reset_net(model)
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    functional.reset_net(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for jelly.pt and torch.pt")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    images = Digits().part("train")
    x, y = images.batch(torch.arange(len(images)))
    for network in (Jelly, Torch):
        torch.manual_seed(0)
        torch.save(trained(network(), x, y).state_dict(), folder / f"{network.__name__.lower()}.pt")


if __name__ == "__main__":
    main()
