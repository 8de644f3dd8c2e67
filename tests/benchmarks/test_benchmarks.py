"""Does the benchmark run, compare what is the same, and write down what it found? (Not: who is faster.)"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("snntorch", reason="pip install --no-deps -r requirements-peers.txt")
# In a process of its own first: it logs and warns on import, and its presence is all that matters here.
if subprocess.run([sys.executable, "-W", "ignore", "-c", "import spikingjelly"], capture_output=True).returncode:
    pytest.skip("pip install --no-deps -r requirements-peers.txt", allow_module_level=True)

from benchmarks.agreement import ROUNDING, Disagreement, difference, in_float32, require_activity
from benchmarks.goals import COMPILED, EAGER, GOALS, OURS, SNNTORCH, Goal
from benchmarks.hotspots import REST, kind_of
from benchmarks.measure import Spread, Times, alternate, saved_bytes
from benchmarks.workloads import QUICK, workloads

ROOT = Path(__file__).parents[2]
CONTESTANTS = {EAGER, COMPILED, SNNTORCH, OURS}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, compiling_where_it_pays: None) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("benchmarks") / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


def test_every_workload_is_measured_for_every_contestant(results: dict[str, Any]) -> None:
    assert set(results["workloads"]) == {w.name for w in workloads(QUICK, vgg=True)}
    for record in results["workloads"].values():
        for quantity in ("speed", "over_ours", "seconds", "saved_bytes"):
            assert set(record[quantity]) == CONTESTANTS
        assert record["speed"][EAGER]["median"] == 1
        assert all(spread["low"] <= spread["median"] <= spread["high"] for spread in record["seconds"].values())


def test_every_goal_is_judged(results: dict[str, Any]) -> None:
    assert [(g["workload"], g["against"], g["factor"]) for g in results["goals"]] == [
        (g.workload, g.against, g.factor) for g in GOALS
    ]
    for goal in results["goals"]:
        assert goal["met"] == (round(goal["measured"]["median"], 2) >= goal["factor"])


def test_all_contestants_compute_the_same(results: dict[str, Any]) -> None:
    assert len(results["float64_differences"]) == 9
    for differences in results["float64_differences"].values():
        assert max(differences.values()) <= ROUNDING


def test_results_say_where_and_how_they_came_about(results: dict[str, Any]) -> None:
    assert {"spikingjelly", "snntorch", "torch", "spikeproof"} <= set(results["environment"]["versions"])
    assert results["environment"]["machine"]["processor"]
    assert results["settings"]["threads"] == 1
    assert set(results["warm_up"]) == {COMPILED, OURS}


def test_goals_name_workloads_that_exist() -> None:
    assert {goal.workload for goal in GOALS} <= {w.name for w in workloads(QUICK, vgg=False)}


def test_a_goal_is_met_in_the_digits_that_are_shown() -> None:
    goal = Goal(workload="LIF layer", against=EAGER, factor=3.0)
    assert goal.met(2.9999)
    assert not goal.met(2.99)


def test_what_is_compared_is_computed_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are taken with the switches as users have them; TF32 would tip spikes, and equal networks would differ."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen = in_float32({"who": lambda: {"switch": torch.tensor(torch.backends.cudnn.allow_tf32)}})
    assert not seen["who"]["switch"]
    assert torch.backends.cudnn.allow_tf32


def test_a_silent_network_is_refused() -> None:
    with pytest.raises(Disagreement, match="does not fire"):
        require_activity("a network", {"output": torch.zeros(3)})


def test_difference_is_relative_and_takes_the_worst_tensor() -> None:
    expected = {"output": torch.full((4,), 10.0), "gradient": torch.ones(2)}
    found = {"output": torch.full((4,), 11.0), "gradient": torch.full((2,), 1.5)}
    assert difference(found, expected) == pytest.approx(0.5)


def test_ratios_are_of_the_same_round() -> None:
    times = Times({"slow": [2.0, 8.0, 3.0], "fast": [1.0, 4.0, 3.0]}, had_core=1.0)
    assert times.ratio("slow", "fast") == Spread(median=2.0, low=1.5, high=2.0)


def test_contestants_take_turns_in_going_first() -> None:
    calls: list[str] = []
    alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, torch.device("cpu"))
    assert calls == ["a", "b", "b", "a"]


def test_a_saved_storage_counts_once() -> None:
    x = torch.ones(256, requires_grad=True)
    assert saved_bytes(lambda: x[:128] * x[128:]) == 256 * 4


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::mkldnn_convolution", "convolution"),
        ("## Call CompiledFxGraph abc", "neurons"),
        ("aten::native_batch_norm_backward", "normalisation"),
        ("aten::sign", REST),
    ],
)
def test_operators_are_sorted_by_kind(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind
