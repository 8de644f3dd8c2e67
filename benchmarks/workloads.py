"""What is timed? Each workload makes, for any contestant, one call that can be repeated.

A call returns what it computed (spikes or logits, and a gradient), so that the very objects that are timed can be
compared with each other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.contestants import NEURON, Contestant
from spikeproof.snn import MLP, VGG, Architecture, GradientPath, Network, SmallCNN, SpikingNetwork, Triangle, view
from spikeproof.snn.dynamics import Dynamics, integrate

CLASSES = 10
STEP_SIZE = 2 / 255
LOUDER = 4.0  # torch's linear layers start with currents too small for a threshold of 1
Outcome = dict[str, Tensor]
Call = Callable[[], Outcome]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Batches are such that one call takes a tenth of a second to a few seconds."""

    steps: int = 8
    side: int = 32
    wide: int = 64  # channels of the first convolution; the other two have 2 and 4 times as many
    narrow: int = 16
    batch_wide: int = 16
    batch_narrow: int = 64
    hidden: tuple[int, ...] = (256, 256)
    batch_mlp: int = 256
    layer: tuple[int, ...] = (16, 64, 32, 32)
    vgg: VGG = VGG()
    batch_vgg: int = 128
    rounds: int = 11


CPU = Sizes()
# The layer has 268 million elements: of 8 million, which take 0.1 ms, only launching was timed.
CUDA = Sizes(batch_wide=128, batch_narrow=512, batch_mlp=4096, layer=(256, 128, 32, 32), rounds=31)
QUICK = Sizes(
    steps=3,
    side=8,
    wide=4,
    narrow=2,
    batch_wide=2,
    batch_narrow=3,
    hidden=(8, 8),
    batch_mlp=4,
    layer=(2, 3, 4, 4),
    vgg=VGG(stages=((2,), (3, 3)), hidden=(8,)),
    batch_vgg=2,
    rounds=3,
)


@dataclass(frozen=True)
class Setting:
    """Where and in which number format a call runs; `autocast` lowers what can be lowered."""

    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None

    def lowered(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None)


@dataclass(frozen=True)
class Workload:
    """`prepare` makes the call, whose layers run in `autocast` where that is named."""

    name: str
    prepare: Callable[[Contestant, Setting], Call]
    autocast: torch.dtype | None = None


def workloads(sizes: Sizes, *, vgg: bool) -> list[Workload]:
    """The rows of the goals; with `vgg`, also a VGG-11's training step in float32 and in bfloat16."""
    found = [Workload("LIF layer", lambda who, at: layer_step(who, at, sizes))]
    widths = {"wide": (sizes.wide, sizes.batch_wide), "narrow": (sizes.narrow, sizes.batch_narrow)}
    for action, prepare in {"train": train_step, "PGD step": pgd_step, "inference": inference}.items():
        for label, (w, batch) in widths.items():
            problem = Problem(SmallCNN(widths=(w, 2 * w, 4 * w)), sizes.steps, sizes.side, batch)
            found.append(Workload(f"CNN {action}, {label}", _bind(prepare, problem)))
    mlp = Problem(MLP(hidden=sizes.hidden), sizes.steps, sizes.side, sizes.batch_mlp)
    found.append(Workload("MLP PGD step", _bind(pgd_step, mlp)))
    if vgg:
        problem = Problem(sizes.vgg, sizes.steps, sizes.side, sizes.batch_vgg)
        found.append(Workload("VGG-11 train, float32", _bind(train_step, problem)))
        found.append(Workload("VGG-11 train, bfloat16", _bind(train_step, problem), torch.bfloat16))
    return found


@dataclass(frozen=True)
class Problem:
    """A network and a batch for it, the same for everybody."""

    architecture: Architecture
    steps: int
    side: int
    batch: int

    def model(self, at: Setting) -> SpikingNetwork:
        """Fresh weights and the running statistics of one batch, so that every layer fires."""
        network = Network(architecture=self.architecture, neuron=NEURON, steps=self.steps)
        model = network.build((3, self.side, self.side), CLASSES).to(at.device, at.dtype)
        rehearsal = view(model, gradient=Readable())
        for module in rehearsal.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
            elif isinstance(module, nn.Linear):
                module.weight.data.mul_(LOUDER)
        with torch.no_grad():
            rehearsal(self.images(at, seed=1))
        return model

    def images(self, at: Setting, seed: int = 0) -> Tensor:
        shape = (self.batch, 3, self.side, self.side)
        return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(at.device, at.dtype)

    def labels(self, at: Setting) -> Tensor:
        return torch.arange(self.batch, device=at.device) % CLASSES


class Readable(GradientPath):
    """The readable neuron, which compiles nothing: making a network must warm up nobody's kernels."""

    def spikes(self, x: Tensor, dynamics: Dynamics, steps: int) -> Tensor:
        return integrate(x.expand(steps, *x.shape[1:]), dynamics, Triangle()).spikes


def layer_step(who: Contestant, at: Setting, sizes: Sizes) -> Call:
    """Forward and backward through one layer of neurons."""
    random = torch.Generator(at.device).manual_seed(0)
    shape = (sizes.steps, *sizes.layer)
    x = torch.randn(shape, generator=random, device=at.device).add(0.5).to(at.dtype).requires_grad_()
    onward = torch.randn(shape, generator=random, device=at.device).to(at.dtype)
    layer = who.layer(sizes.steps).to(at.device, at.dtype)

    def call() -> Outcome:
        spikes = layer(x)
        (gradient,) = torch.autograd.grad(spikes, x, onward)
        return {"output": spikes.detach(), "gradient": gradient}

    return call


def train_step(who: Contestant, at: Setting, problem: Problem) -> Call:
    """Forward, backward and one step of SGD with momentum; the gradient returned is the first weight's."""
    net = who.network(problem.model(at)).train()
    x, y = problem.images(at), problem.labels(at)
    weights = list(net.parameters())
    optimiser = torch.optim.SGD(weights, lr=1e-3, momentum=0.9)

    def call() -> Outcome:
        optimiser.zero_grad()
        with at.lowered():
            logits = net(x)
        cross_entropy(logits.to(x.dtype), y).backward()
        optimiser.step()
        assert weights[0].grad is not None
        return {"output": logits.detach(), "gradient": weights[0].grad}

    return call


def pgd_step(who: Contestant, at: Setting, problem: Problem) -> Call:
    """The gradient on the images of an eval-mode network with frozen weights, and one step along its sign.

    What an attack prepares once (our `attack_view`) is prepared once here too; `benchmarks.report` says what it costs.
    """
    net = who.attacked(problem.model(at))
    x, y = problem.images(at), problem.labels(at)

    def call() -> Outcome:
        image = x.detach().requires_grad_()
        with at.lowered():
            logits = net(image)
        loss = cross_entropy(logits.to(x.dtype), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, image)
        (x + STEP_SIZE * gradient.sign()).clamp_(0, 1)
        return {"output": logits.detach(), "gradient": gradient}

    return call


def inference(who: Contestant, at: Setting, problem: Problem) -> Call:
    """Logits of an eval-mode network as it was trained: nothing folded, nothing frozen."""
    net = who.network(problem.model(at)).eval()
    x = problem.images(at)

    def call() -> Outcome:
        with torch.no_grad(), at.lowered():
            return {"output": net(x)}

    return call


def _bind(
    prepare: Callable[[Contestant, Setting, Problem], Call], problem: Problem
) -> Callable[[Contestant, Setting], Call]:
    return lambda who, at: prepare(who, at, problem)
