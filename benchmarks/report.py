"""What came out? Tables for people, JSON for the record."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.goals import EAGER, GOALS, OURS, WARM_UP_SECONDS, Goal
from spikeproof.runs import environment, written_whole
from spikeproof.runs.environments import version
from spikeproof.runs.json_forms import as_json

PEERS = ("spikingjelly", "snntorch")
QUIET = 0.95  # below this share of a core, other programs disturbed the measurement

Record = dict[str, Any]


def collect(workloads: dict[str, Record], agreement: Record, settings: Record) -> Record:
    """Everything that is written down: where and how it was measured, every ratio, every goal."""
    where = as_json(environment())
    where["versions"] |= {name: version(name) for name in PEERS}
    where["command"] = "python -m benchmarks"
    return {
        "environment": where,
        "settings": settings,
        "float64_differences": agreement,
        "workloads": workloads,
        "goals": [judged(goal, workloads[goal.workload]) for goal in GOALS if _has(workloads, goal)],
    }


def _has(workloads: dict[str, Record], goal: Goal) -> bool:
    return goal.workload in workloads and goal.against in workloads[goal.workload]["over_ours"]


def judged(goal: Goal, record: Record) -> Record:
    """The goal, what was measured, and whether that meets it."""
    if goal.quantity == "memory":
        ratio = record["saved_bytes"][goal.against] / record["saved_bytes"][OURS]
        measured = {"median": ratio, "low": ratio, "high": ratio}
    else:
        measured = record["over_ours"][goal.against]
    return asdict(goal) | {"measured": measured, "met": goal.met(measured["median"])}


def write(results: Record, path: Path) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    Console().print(f"written to {path}")


def show_progress(name: str, record: Record) -> None:
    speeds = ", ".join(f"{who} {speed['median']:.2f}" for who, speed in record["speed"].items())
    Console().print(f"{name}: {speeds}", highlight=False, soft_wrap=True)


def show(results: Record) -> None:
    """The speeds, the goals, the warm-up, and whether the machine was quiet."""
    console = Console()
    records = results["workloads"]
    console.print(_speed_table(records))
    if results["goals"]:
        console.print(_goal_table(results["goals"]))
    if results["settings"]["sizes"] == "quick":
        console.print("[yellow]tiny sizes: this shows that all is in order, and says nothing about speed")
    for name, passes in results.get("warm_up", {}).items():
        seconds = ", ".join(f"{seconds:.1f} s with a {cache} cache" for cache, seconds in passes.items())
        verdict = f" (goal {WARM_UP_SECONDS:g} s: {_met(passes['cold'] <= WARM_UP_SECONDS)})" if name == OURS else ""
        console.print(f"warm-up of {name}: {seconds}{verdict}")
    if "attack_view" in results:
        console.print(f"attack_view, made once an attack: {results['attack_view']['median'] * 1e3:.1f} ms")
    busy = [name for name, record in records.items() if record["had_core"] < QUIET]
    if busy and results["settings"]["device"] == "cpu":
        console.print(f"[yellow]other programs took the core during: {'; '.join(busy)}")


def _speed_table(records: dict[str, Record]) -> Table:
    names = next(iter(records.values()))["speed"]
    table = Table("workload", title=f"Speed against {EAGER}: median of pairs (quartiles), MiB kept for backward")
    for who in names:
        table.add_column(who, justify="right")
    for name, record in records.items():
        cells = (f"{_cell(record['speed'][who])}, {record['saved_bytes'][who] / 2**20:.0f}" for who in names)
        table.add_row(name, *cells)
    return table


def _goal_table(goals: Iterable[Record]) -> Table:
    table = Table(
        "workload", "against", "quantity", "goal", "measured", "", title="Goals: how many times better we are"
    )
    for goal in goals:
        measured = _cell(goal["measured"])
        table.add_row(
            goal["workload"], goal["against"], goal["quantity"], f"{goal['factor']:g}", measured, _met(goal["met"])
        )
    return table


def _met(met: bool) -> str:
    return "[green]met[/green]" if met else "[red]missed[/red]"


def _cell(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['low']:.2f}-{spread['high']:.2f})"


def show_hotspots(shares: dict[str, dict[str, float]]) -> None:
    """One row a workload, one column a kind of operator, in percent of our time."""
    kinds = list(dict.fromkeys(kind for share in shares.values() for kind in share))
    table = Table("workload", title="Where our time goes, in percent")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for name, share in shares.items():
        table.add_row(name, *(f"{100 * share.get(kind, 0):.1f}" for kind in kinds))
    Console().print(table)
