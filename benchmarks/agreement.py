"""Do all contestants compute the same? A benchmark of different computations is worthless.

In float64 they must agree to rounding, in outputs and in gradients. In float32 a rounding error can tip a potential
over its threshold, and the difference then grows from layer to layer. There the very objects that are timed must agree
but for that. They are compared in full float32: TF32, which times may use as users have it, rounds a thousand times
more coarsely and tips as many more. And the network must fire: silent ones agree about everything.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from benchmarks.contestants import Contestant, Ours, SnnTorch, SpikingJelly
from benchmarks.goals import EAGER, SNNTORCH
from benchmarks.workloads import Call, Outcome, Setting, Sizes, Workload, workloads
from spikeproof.calling import in_full_precision

ROUNDING = 1e-9  # relative, in float64
TIES = 0.1  # relative, in float32: other gradients, or another reset, differ by more


class Disagreement(AssertionError):
    """Two contestants do not compute the same network."""


def same_in_float64(sizes: Sizes, device: torch.device, *, vgg: bool = False) -> dict[str, dict[str, float]]:
    """The relative difference from SpikingJelly by workload and contestant; raises `Disagreement`.

    With `vgg` that of the VGG-11 too. snnTorch detaches its reset, so its gradients are held against ours with a
    detached reset.
    """
    few = replace(sizes, batch_wide=2, batch_narrow=2, batch_mlp=4, batch_vgg=2, layer=(2, *sizes.layer[1:]))
    at = Setting(device, torch.float64)
    found: dict[str, dict[str, float]] = {}
    for workload in workloads(few, vgg=vgg):
        if workload.autocast is not None:
            continue  # the same network as the row before it
        expected = _outcome(workload, SpikingJelly(), at)
        require_activity(workload.name, expected)
        ours = _outcome(workload, Ours(), at)
        theirs = _outcome(workload, SnnTorch(), at)
        detached = _outcome(workload, Ours(detach_reset=True), at)
        pairs = {
            "spikeproof": (ours, expected),
            SNNTORCH: (theirs, detached),
            "detached": (detached, _output(expected)),
        }
        found[workload.name] = {name: difference(a, b) for name, (a, b) in pairs.items()}
        _require(found[workload.name], ROUNDING, workload.name)
    return found


def in_float32(calls: Mapping[str, Call]) -> dict[str, Outcome]:
    """What each call computes in full float32, whatever is switched on outside."""
    with in_full_precision():
        return {name: call() for name, call in calls.items()}


def same_but_for_ties(workload: str, outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """The relative difference of float32 outcomes from SpikingJelly's; raises `Disagreement`."""
    expected = outcomes[EAGER]
    require_activity(workload, expected)
    others = {name: _output(out) if name == SNNTORCH else out for name, out in outcomes.items() if name != EAGER}
    found = {name: difference(outcome, expected) for name, outcome in others.items()}
    _require(found, TIES, workload)
    return found


def require_activity(workload: str, outcome: Outcome) -> None:
    for name, tensor in outcome.items():
        if not (tensor.isfinite().all() and tensor.abs().sum() > 0):
            raise Disagreement(f"{workload}: the {name} is zero or not finite, so the network does not fire")


def difference(found: Outcome, expected: Outcome) -> float:
    """The largest relative L2 distance over the tensors that both have."""
    shared = found.keys() & expected.keys()
    return max(_distance(found[name], expected[name]) for name in shared)


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def _output(outcome: Outcome) -> Outcome:
    return {"output": outcome["output"]}


def _outcome(workload: Workload, who: Contestant, at: Setting) -> Outcome:
    call: Callable[[], Outcome] = workload.prepare(who, at)
    return call()


def _require(differences: dict[str, float], bound: float, workload: str) -> None:
    for name, value in differences.items():
        if not value <= bound:
            raise Disagreement(f"{workload}: {name} is {value:.1e} away from {EAGER}, more than {bound:.0e}")
