"""How long do our steps take, how much memory, and which share of the time is the floor? By network, steps, format.

A step of training is forward, backward and SGD. A step of PGD is taken by the public attack, as a user gets it: from
the difference of a longer and a shorter climb, so that what is done once an attack (folding, capturing) is told apart.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.floors import floor, work_of
from benchmarks.gpu.scene import Scene
from benchmarks.measure import Spread, once, peak_bytes
from spikeproof.attacks import PGD, Linf, engine
from spikeproof.snn import LIF, VGG, Architecture, Network, SEWResNet, SmallCNN, WideResNet, attack_view

CLASSES = 10
FEW, MANY = 9, 41  # steps of the two climbs: one, and as many eights as the host lets pass between two looks


@dataclass(frozen=True)
class Case:
    """A network, in training and under attack, in one number format."""

    name: str
    architecture: Architecture
    steps: int
    dtype: torch.dtype
    batch: int = 256
    side: int = 32
    calls: int = 5  # between two looks at the clock
    rounds: int = 5

    def lowered(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def model(self, device: torch.device) -> nn.Module:
        network = Network(architecture=self.architecture, neuron=LIF(), steps=self.steps)
        return network.build((3, self.side, self.side), CLASSES).to(device)

    def examples(self, device: torch.device) -> tuple[Tensor, Tensor]:
        x = torch.rand(self.batch, 3, self.side, self.side, device=device)
        return x, torch.arange(self.batch, device=device) % CLASSES


NETWORKS: tuple[tuple[str, Architecture], ...] = (
    ("WRN-16-4", WideResNet(depth=16, widen=4)),
    ("VGG-11", VGG()),
    ("SEW-ResNet-18", SEWResNet(depth=18)),
    ("SmallCNN", SmallCNN()),
)
FORMATS = (torch.bfloat16, torch.float32)
TINY: tuple[tuple[str, Architecture], ...] = (
    ("WRN-16-4", WideResNet(widths=(2, 2, 2), blocks=(1, 1, 1))),
    ("VGG-11", VGG(stages=((2,), (2,)), hidden=(4,))),
    ("SEW-ResNet-18", SEWResNet(widths=(2, 2), blocks=(1, 1))),
    ("SmallCNN", SmallCNN(widths=(2, 2, 2))),
)


def cases(scene: Scene) -> list[Case]:
    """The most telling ones first, as time may run out: four steps before eight, bfloat16 before float32."""
    if scene.tiny:
        return [Case(*each, 2, torch.float32, batch=2, side=8, calls=1, rounds=1) for each in TINY]
    return [Case(*each, steps, dtype) for steps, dtype, each in product((4, 8), FORMATS, NETWORKS)]


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    for case in cases(scene):
        yield measured(case, scene)
        release(scene.device)


def measured(case: Case, scene: Scene) -> dict[str, Any]:
    torch.compiler.reset()  # shapes of the last case must not make this one's compile as dynamic
    device, model = scene.device, case.model(scene.device)
    work = work_of(model.eval(), (3, case.side, case.side))
    found: dict[str, Any] = {
        "network": case.name,
        "steps": case.steps,
        "format": str(case.dtype).removeprefix("torch."),
        "batch": case.batch,
        "multiply_adds_an_image": work.multiply_adds,
        "neuron_steps_an_image": work.neuron_steps,
    }
    for what, timed in {"training": training, "pgd": climbing, "inference": answering}.items():
        times = timed(case, model, device)
        least = floor(what, work, case.batch, case.dtype, scene.ceilings)
        found[what] = times | least | {"share_of_floor": least["floor_ms"] / times["ms"]["median"]}
    return found


def training(case: Case, model: nn.Module, device: torch.device) -> dict[str, Any]:
    return repeated(training_step(case, model.train(), device), case, device)


def training_step(case: Case, model: nn.Module, device: torch.device) -> Callable[[], None]:
    """Forward, cross-entropy, backward, and SGD with momentum; it never waits for the device."""
    x, y = case.examples(device)
    weights = list(model.parameters())
    optimiser = torch.optim.SGD(weights, lr=1e-3, momentum=0.9)

    def call() -> None:
        optimiser.zero_grad()
        with case.lowered(device):
            logits = model(x)
        nn.functional.cross_entropy(logits.float(), y).backward(inputs=weights)
        optimiser.step()

    return call


def answering(case: Case, model: nn.Module, device: torch.device) -> dict[str, Any]:
    seen, (x, _) = attack_view(model), case.examples(device)

    def call() -> None:
        with torch.no_grad(), case.lowered(device):
            seen(x)

    return repeated(call, case, device)


def repeated(call: Callable[[], Any], case: Case, device: torch.device) -> dict[str, Any]:
    """Milliseconds of a call, several being launched one after the other, and memory at its fullest."""

    def several() -> None:
        for _ in range(case.calls):
            call()

    several()
    took = [1e3 * once(several, device) / case.calls for _ in range(case.rounds)]
    return {"ms": spread(took), "peak_mib": mib(call, device)}


def climbing(case: Case, model: nn.Module, device: torch.device) -> dict[str, Any]:
    """A step of PGD, and a whole attack of `FEW` steps with all that is done once; step by step too, where the engine
    replays it as a graph."""
    climbs = {steps: climb(case, model, steps, device) for steps in (FEW, MANY)}
    found = climbed(climbs, case, device)
    if captures(device):
        with eagerly():
            found["eager"] = climbed(climbs, case, device)
    return found


def climbed(climbs: Mapping[int, Callable[[], Any]], case: Case, device: torch.device) -> dict[str, Any]:
    for call in climbs.values():
        call()
    few, many = ([1e3 * once(call, device) for _ in range(case.rounds)] for call in climbs.values())
    steps = [(longer - shorter) / (MANY - FEW) for shorter, longer in zip(few, many, strict=True)]
    return {
        "ms": spread(steps),
        f"ms_of_an_attack_of_{FEW}": statistics.median(few),
        "peak_mib": mib(climbs[FEW], device),
    }


def captures(device: torch.device) -> bool:
    """Whether the engine runs steps as graphs on this device."""
    pace_on = getattr(engine, "pace_on", None)
    return pace_on is not None and pace_on(device).capture is not None


@contextmanager
def eagerly() -> Iterator[None]:
    """Inside the block the engine launches the kernels of each step one by one."""
    pace_on = engine.pace_on  # type: ignore[attr-defined]
    engine.pace_on = lambda device: pace_on(device)._replace(capture=None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        engine.pace_on = pace_on  # type: ignore[attr-defined]


def climb(case: Case, model: nn.Module, steps: int, device: torch.device) -> Callable[[], Tensor]:
    """PGD as training uses it: the last iterate counts, so that each step is one gradient."""
    seen, (x, y) = attack_view(model), case.examples(device)
    attack = PGD(steps=steps, relative_step=0.25, keep="last")

    def call() -> Tensor:
        with case.lowered(device):
            return attack(seen, x, y, Linf(8 / 255))

    return call


def spread(values: list[float]) -> dict[str, float]:
    found = Spread.of(values)
    return {"median": found.median, "low": found.low, "high": found.high}


def mib(call: Callable[[], Any], device: torch.device) -> float | None:
    most = peak_bytes(call, device)
    return None if most is None else most / 2**20


def release(device: torch.device) -> None:
    """Give the memory of what was measured back, so that the next peak is its own."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
