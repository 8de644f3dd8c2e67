"""What did a workload's contestants need? Agreement, times in pairs, memory: one record a workload."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.agreement import in_float32, require_activity, same_but_for_ties
from benchmarks.contestants import Contestant, Ours
from benchmarks.goals import OURS
from benchmarks.measure import Spread, alternate, peak_bytes, saved_bytes
from benchmarks.workloads import Call, Problem, Setting, Sizes, Workload
from spikeproof.snn import SmallCNN, attack_view


def compare(workload: Workload, taking_part: list[Contestant], rounds: int, at: Setting) -> dict[str, Any]:
    """The record of one workload; `speed` is against the first contestant, `over_ours` is how much we save."""
    torch.compiler.reset()  # shapes of the last workload must not make this one's compile as dynamic
    calls = {who.name: workload.prepare(who, at) for who in taking_part}
    differences = agreed(workload, calls, at)
    saved = {name: saved_bytes(call) for name, call in calls.items()}
    peak = {name: peak_bytes(call, at.device) for name, call in calls.items()}
    times = alternate(calls, rounds, at.device)
    first = taking_part[0].name
    return {
        "differences": differences,
        "speed": {name: asdict(times.ratio(first, name)) for name in calls},
        "over_ours": {name: asdict(times.ratio(name, OURS)) for name in calls if OURS in calls},
        "seconds": {name: asdict(Spread.of(values)) for name, values in times.seconds.items()},
        "had_core": times.had_core,
        "saved_bytes": saved,
        "peak_bytes": peak,
    }


def agreed(workload: Workload, calls: Mapping[str, Call], at: Setting) -> dict[str, float]:
    """How far the contestants' outcomes are apart; raises `Disagreement` where they compute different things."""
    outcomes = in_float32(calls)
    if at.autocast is None:
        return same_but_for_ties(workload.name, outcomes)
    for outcome in outcomes.values():  # rounding to bfloat16 moves many potentials over their threshold
        require_activity(workload.name, outcome)
    return {}


def attack_view_cost(sizes: Sizes, at: Setting) -> dict[str, float]:
    """Seconds to make an `attack_view` of the wide CNN, which PGD's rows leave out: it is made once an attack."""
    problem = Problem(SmallCNN(widths=(sizes.wide, 2 * sizes.wide, 4 * sizes.wide)), sizes.steps, sizes.side, 1)
    model = Ours().network(problem.model(at))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        attack_view(model)
        seconds.append(time.perf_counter() - start)
    return asdict(Spread.of(seconds))
