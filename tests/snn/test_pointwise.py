"""Does a convolution of ours compute what torch's does, and leave the heap alone?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spikeproof.snn.layers import Pointwise

ROOT = Path(__file__).parents[2]
ANOTHER_PROCESSOR = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
MANY_TIMES = """
import torch
from spikeproof.snn import LIF, ATan, Network, ReLU, SEWResNet, SpikingResNet, WideResNet

torch.set_num_threads(1)
x = torch.rand(6, 2, 8, 8)
for body in (WideResNet(widths=(4, 6, 8), blocks=(1, 1, 1)), SpikingResNet(widths=(4, 6), blocks=(1, 1)),
             SEWResNet(widths=(4, 6), blocks=(1, 1))):
    for neuron, steps in ((LIF(threshold=0.2, gradient=ATan()), 3), (ReLU(), 1)):
        model = Network(architecture=body, neuron=neuron, steps=steps, channels_last=True).build((2, 8, 8), 5)
        for _ in range(15):
            model(x).sum().backward()
"""


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and gradients of the input and of the weights."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    return [y, *torch.autograd.grad(y.square().sum(), [x, layer.weight])]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("side", [1, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pointwise_is_a_1x1_convolution(stride: int, side: int, layout: torch.memory_format) -> None:
    ours, theirs = Pointwise(5, 6, stride).double(), nn.Conv2d(5, 6, 1, stride, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 5, side, side + 2, dtype=torch.float64).contiguous(memory_format=layout)
    for found, expected in zip(results(ours.to(memory_format=layout), x), results(theirs, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_small_residual_networks_live_where_there_is_no_avx512() -> None:
    """oneDNN's strided 1x1 convolution of few channels damages the heap there; ours is another."""
    environment = os.environ | ANOTHER_PROCESSOR
    done = subprocess.run([sys.executable, "-c", MANY_TIMES], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
