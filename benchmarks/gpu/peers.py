"""How fast are we beside SpikingJelly and snnTorch on this device? Paired ratios, one process, the same weights.

SpikingJelly chooses its Triton kernels by itself on CUDA. Its whole network under `torch.compile` takes part too. PGD
is ours as users get it, by the public attack, and a plain loop over the peers' networks, as their tutorials write it.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.contestants import Contestant, Ours, SnnTorch, SpikingJelly
from benchmarks.gpu.scene import Scene
from benchmarks.measure import Spread, alternate, peak_bytes
from benchmarks.results import agreed
from benchmarks.workloads import STEP_SIZE, Call, Outcome, Problem, Setting, Workload, train_step
from spikeproof.attacks import PGD, Linf
from spikeproof.choices import UserError
from spikeproof.snn import VGG, SmallCNN

STEPS = 4
CLIMB = 10  # steps of PGD in one call
EPS = 8 / 255
LIBRARIES = {"spikingjelly": [SpikingJelly()], "snntorch": [SnnTorch()]}


def taking_part(*, tiny: bool) -> list[Contestant]:
    """All whose libraries can be imported here; ours is the last."""
    compiled = SpikingJelly("aot_eager" if tiny else "inductor")
    found: list[Contestant] = [*LIBRARIES["spikingjelly"], compiled] if importable("spikingjelly") else []
    found += LIBRARIES["snntorch"] if importable("snntorch") else []
    return [*found, Ours()]


def importable(library: str) -> bool:
    try:
        importlib.import_module(library)
    except ImportError:
        return False
    return True


def problems(*, tiny: bool) -> dict[str, Problem]:
    if tiny:
        return {"SmallCNN": Problem(SmallCNN(widths=(2, 2, 2)), steps=2, side=8, batch=2)}
    return {
        "VGG-11": Problem(VGG(), steps=STEPS, side=32, batch=256),
        "SmallCNN": Problem(SmallCNN(), steps=STEPS, side=32, batch=256),
    }


def workloads(*, tiny: bool) -> Iterator[Workload]:
    """Training and PGD of each network, in bfloat16 and in float32."""
    for name, problem in problems(tiny=tiny).items():
        for label, dtype in {"bfloat16": torch.bfloat16, "float32": None}.items():
            for action, prepare in {"training step": train_step, f"PGD-{CLIMB}": climb}.items():
                yield Workload(f"{name}, {action}, {label}", bound(prepare, problem), dtype)


def bound(prepare: Callable[..., Call], problem: Problem) -> Callable[[Contestant, Setting], Call]:
    return lambda who, at: prepare(who, at, problem)


def climb(who: Contestant, at: Setting, problem: Problem) -> Call:
    """`CLIMB` steps of PGD from the clean image; the outcome is the image that they lead to, less the clean one."""
    net = who.attacked(problem.model(at))
    x, y = problem.images(at), problem.labels(at)
    ours = PGD(steps=CLIMB, relative_step=STEP_SIZE / EPS, start="clean", keep="last")

    def by_the_engine() -> Outcome:
        with at.lowered():
            return {"output": ours(net, x, y, Linf(EPS)) - x}

    def by_a_loop() -> Outcome:
        z = x
        for _ in range(CLIMB):
            z = z.detach().requires_grad_()
            with at.lowered():
                logits = net(z)
            (slope,) = torch.autograd.grad(cross_entropy(logits.to(x.dtype), y, reduction="sum"), z)
            z = (z.detach() + STEP_SIZE * slope.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
        return {"output": z.detach() - x}

    return by_the_engine if isinstance(who, Ours) else by_a_loop


def rows(scene: Scene) -> Iterator[dict[str, Any]]:
    who = taking_part(tiny=scene.tiny)
    if len(who) == 1:
        raise UserError("no peer can be imported here: pip install --no-deps -r requirements-peers.txt")
    for workload in workloads(tiny=scene.tiny):
        scene.clock.check()
        yield paired(workload, who, scene)


def paired(workload: Workload, who: list[Contestant], scene: Scene) -> dict[str, Any]:
    """How many times longer each peer takes than we do, in the same round, and what each needs."""
    at = replace(Setting(scene.device), autocast=workload.autocast)
    torch.compiler.reset()
    calls = {each.name: workload.prepare(each, at) for each in who}
    differences = agreed(workload, calls, at) if "PGD" not in workload.name else {}
    for call in calls.values():
        call()
    peak = {name: peak_bytes(call, scene.device) for name, call in calls.items()}
    times = alternate(calls, 3 if scene.tiny else 11, scene.device)
    ours = who[-1].name
    return {
        "workload": workload.name,
        "differences": differences,
        "times_ours": {name: asdict(times.ratio(name, ours)) for name in calls if name != ours},
        "ms": {name: asdict(Spread.of([1e3 * each for each in took])) for name, took in times.seconds.items()},
        "peak_bytes": peak,
    }
