"""Does the proof for a GPU run, every part of it, and does a part that fails lose nothing? (Not: is it fast.)"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.agreement import Disagreement
from benchmarks.gpu import costs, equality, record, robust_training, seeds, verdict
from benchmarks.gpu.__main__ import card, main
from benchmarks.gpu.ceilings import Ceilings
from benchmarks.gpu.clock import Clock, OutOfTime
from benchmarks.gpu.floors import Work, floor, work_of
from benchmarks.gpu.parts import PARTS, Part, plain, run
from benchmarks.gpu.scene import Scene
from spikeproof.choices import UserError
from spikeproof.cli.files import recipe_in
from spikeproof.data import Digits
from spikeproof.runs import Run
from spikeproof.runs.weights import write_model
from spikeproof.snn import LIF, Network, SmallCNN, SpikingNetwork
from tests.trained import DIGITS

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, trained: SpikingNetwork) -> Path:
    """The weights of a small network, and its description beside them."""
    run = Run(tmp_path_factory.mktemp("network"))
    write_model(run, trained.state_dict(), DIGITS["digits_snn"], (1, 8, 8), 10, Digits.mean, Digits.std)
    return run.path / "model.safetensors"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, network: Path) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("gpu") / "results.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny"]
    command += ["--network", str(network), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


def test_every_part_runs(results: dict[str, Any]) -> None:
    parts = results["parts"]
    assert list(parts) == [part.name for part in PARTS if part.usual]
    assert {name: part["status"] for name, part in parts.items() if part["status"] != "done"} in (
        {},
        {"peers": "skipped"},  # where no peer is installed
    )


def test_what_is_written_names_the_hardware_and_no_folder(results: dict[str, Any], network: Path) -> None:
    assert results["hardware"]["processor"]
    assert {"torch", "triton", "spikingjelly", "snntorch", "commit"} <= set(results["versions"])
    text = json.dumps(results)
    assert str(network.parent) not in text
    assert "--network" not in text
    assert str(Path.home()) not in text


def test_steps_come_with_their_floor(results: dict[str, Any]) -> None:
    rows = results["parts"]["steps"]["rows"]
    assert [row["network"] for row in rows] == ["WRN-16-4", "VGG-11", "SEW-ResNet-18", "SmallCNN"]
    for row in rows:
        for what in ("training", "pgd", "inference"):
            found = row[what]
            assert found["floor_ms"] == max(found["arithmetic_ms"], found["bytes_ms"]) > 0
            assert found["share_of_floor"] == pytest.approx(found["floor_ms"] / found["ms"]["median"])


def test_the_other_parts_say_what_they_measured(results: dict[str, Any]) -> None:
    parts = results["parts"]
    assert all(row["equal"] for row in parts["kernels"]["rows"])
    assert {"WRN-16-4", "VGG-11", "SEW-ResNet-18"} <= {row["what"] for row in parts["kernels"]["rows"]}
    assert {row["dtype"] for row in parts["kernels"]["rows"]} == {"float32", "bfloat16", "float64"}
    (judged,) = parts["verdict"]["rows"]
    assert judged["status"] == "ok"
    assert judged["images"] == verdict.TINY_IMAGES
    assert 0 <= judged["robust_accuracy"] <= judged["clean_accuracy"]
    (trained,) = parts["training"]["rows"]
    assert trained["images_a_second"] > 0
    assert {row["batch"] for row in parts["controls"]["rows"] if row["honest"]} == {1, 7, 64, 512}
    assert {row["honest"] for row in parts["controls"]["rows"]} == {True, False}
    if parts["peers"]["status"] == "done":
        assert all(row["times_ours"] for row in parts["peers"]["rows"])


# How parts are run.


def scene(seconds: float = 100.0, tiny: bool = True) -> Scene:
    return Scene(CPU, Clock(seconds), tiny)


def one_row(_: Scene) -> Iterator[dict[str, Any]]:
    yield {"number": 1}


def test_a_part_that_fails_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def failing(_: Scene) -> Iterator[dict[str, Any]]:
        yield {"number": 1}
        raise FileNotFoundError("nothing at /some/where/else.bin\nsecond line")

    kept: list[list[str]] = []
    parts = (Part("first", failing, 0.5, 1), Part("second", one_row, 0.5, 1))
    found = run(parts, scene(), lambda record: kept.append([f"{n} {r['status']}" for n, r in record.items()]))
    assert found["first"]["rows"] == [{"number": 1}]
    assert found["first"]["status"] == "failed"
    assert found["first"]["reason"] == "FileNotFoundError: nothing at else.bin"
    assert found["second"]["status"] == "done"
    assert kept[0] == ["first running"]  # after the first row already
    assert kept[-1] == ["first failed", "second done"]
    assert "FileNotFoundError" in capsys.readouterr().err


def test_a_part_ends_with_its_time_and_keeps_its_rows() -> None:
    ticking = iter(range(1000))
    clock = Clock(40.0, now=lambda: float(next(ticking)))

    def endless(_: Scene) -> Iterator[dict[str, Any]]:
        while True:
            yield {"number": 1}

    found = run((Part("endless", endless, 1.0, 1),), Scene(CPU, clock, True), lambda record: None)
    assert found["endless"]["status"] == "out of time"
    assert 5 < len(found["endless"]["rows"]) < 40
    assert clock.passed < 45


def test_what_one_part_leaves_the_next_may_use() -> None:
    left: list[float] = []

    def noting(at: Scene) -> Iterator[dict[str, Any]]:
        left.append(at.clock.left)
        yield {}

    run((Part("a", noting, 0.25, 1), Part("b", noting, 0.75, 1)), scene(1000), lambda record: None)
    assert left == pytest.approx([237.5, 950], abs=1)


def test_a_part_that_does_not_fit_is_skipped_and_says_so() -> None:
    found = run((Part("long", one_row, 1.0, 60),), scene(20, tiny=False), lambda record: None)
    assert found["long"] == {"status": "skipped", "reason": "needs 60 s, and 19 s were left"}


def test_no_folder_is_named() -> None:
    assert plain(UserError("no file /a/b/c.txt: put it there")) == "no file c.txt: put it there"
    assert plain(UserError("")) == ""


def test_shares_of_the_time_are_all_of_it() -> None:
    assert sum(part.share for part in PARTS if part.usual) == pytest.approx(1)


def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit) as stop:
        main(["--part", "ceilings"])
    assert stop.value.code == 2
    assert "there is no CUDA device here" in capsys.readouterr().err
    assert card(CPU) == "cpu"


def test_parts_are_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    parts = ("--part", "ceilings", "--part", "verdict")
    assert main(["--device", "cpu", "--tiny", *parts, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["parts"]
    assert list(found) == ["ceilings", "verdict"]
    assert found["verdict"]["status"] == "skipped"  # no network was named
    assert "--network weights.safetensors" in capsys.readouterr().out


# Networks that are trained only where it is asked for.


@pytest.mark.parametrize("part", ["record", "seeds"])
def test_networks_are_trained_and_attacked(part: str, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    where = ("--runs", str(tmp_path / "runs"), "--out", str(out))
    assert main(["--device", "cpu", "--tiny", "--part", part, *where]) == 0
    rows = json.loads(out.read_text())["parts"][part]["rows"]
    names = {"record": ["record", "record_ann"], "seeds": ["tiny"]}[part]
    assert [row["network"] for row in rows if "training_seconds" in row] == names
    judged = [row for row in rows if "suite" in row]
    assert [row["network"] for row in judged] == names
    assert all(0 <= row["clean_accuracy"] <= 1 and row["seconds"] > 0 for row in judged)


def test_the_record_without_a_gpu_says_how_long_it_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    days = 86400 / (20 + 20)  # seconds an epoch that make it one day
    monkeypatch.setattr(record, "seconds_an_epoch", lambda recipe, device, batch: days)
    with pytest.raises(UserError, match="wants a GPU: here it would take about 1 days"):
        next(record.rows(scene(tiny=False)))


def test_the_systems_are_trained_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "seconds_an_epoch", lambda recipe, device: 10.0)
    for system in seeds.SYSTEMS:
        recipe = seeds.within(60, seeds.alike(recipe_in(Path("cifar10", f"wrn16_{system}"))), scene())
        assert recipe.network.steps == 4
        assert recipe.training.batch == 256
        assert (recipe.training.epochs, recipe.ann and recipe.ann.training.epochs) in ((6, None), (4, 2))
        threat = getattr(recipe.objective, "threat", None) or seeds.RADIUS
        assert threat == seeds.RADIUS
        if recipe.ann:
            assert recipe.ann.network.steps == 1


def test_the_seconds_of_an_epoch_are_those_of_its_steps() -> None:
    data = Digits(train_images=40)
    network = Network(architecture=SmallCNN(widths=(2, 2, 2)), neuron=LIF(), steps=2)
    recipe = replace(record.TINY, data=data, network=network)
    assert 0 < costs.seconds_an_epoch(recipe, CPU, batch=20) < 60


# What is measured.


def test_work_is_counted_once_where_it_is_done_once() -> None:
    """The first convolution of a direct-coded network runs once; all that follows runs every step."""
    model = Network(architecture=SmallCNN(widths=(2, 3, 4)), neuron=LIF(), steps=5).build((1, 8, 8), 10)
    first, second, third = 2 * 1 * 9 * 64, 3 * 2 * 9 * 64, 4 * 3 * 9 * 16
    neurons = 2 * 64 + 3 * 64 + 4 * 16
    assert work_of(model.eval(), (1, 8, 8)) == Work(first + 5 * (second + third + 4 * 4 * 10), 5 * neurons)
    assert not any(module._forward_hooks for module in model.modules())


def test_the_floor_is_the_larger_one() -> None:
    ceilings = Ceilings(bfloat16=1e12, float32=5e11, full_float32=1e11, bytes=1e9)
    found = floor("pgd", Work(multiply_adds=1000, neuron_steps=10), 100, torch.float32, ceilings)
    assert found["arithmetic_ms"] == pytest.approx(4 * 1000 * 100 / 5e11 * 1e3)
    assert found["bytes_ms"] == pytest.approx(30 * 10 * 100 / 1e9 * 1e3)
    assert found["by"] == "bytes"
    assert found["floor_ms"] == found["bytes_ms"]


def test_kernels_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    readable = equality.readable
    monkeypatch.setattr(equality, "readable", lambda layer, x: readable(layer, 1.01 * x))
    monkeypatch.setattr(equality, "ROUNDING", -1.0)
    rows = equality.rows(scene())
    found = [next(rows) for _ in (*equality.CASES, *equality.TINY_NETWORKS)]
    assert not all(row["equal"] for row in found[: len(equality.CASES)])
    assert not any(row["equal"] for row in found[len(equality.CASES) :])
    with pytest.raises(Disagreement, match="kernels differ from the reference: LIF"):
        next(rows)


def test_a_verdict_stops_in_the_middle_of_an_attack(network: Path) -> None:
    ticking = iter(range(10**6))
    clock = Clock(30.0, now=lambda: float(next(ticking)))
    clock.deadline = 30.0
    rows = verdict.rows(Scene(CPU, clock, True, network))
    assert "stopped_after" in next(rows)
    with pytest.raises(OutOfTime):
        next(rows)


def test_the_network_has_to_be_described_beside_its_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="belong together"):
        verdict.network_in(tmp_path / "weights.safetensors")


def test_training_is_timed_once_it_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.0, 14.0, 40.0])
    monkeypatch.setattr(robust_training.time, "perf_counter", lambda: next(times))
    window = robust_training.Window(scene(), warm=0.2)
    for done in (0.1, 0.2, 0.3, 0.4):
        window("training", done, 2)
    with pytest.raises(robust_training.Enough):
        window("training", 0.8, 2)
    assert window.seconds == 30
    assert window.epochs == pytest.approx(0.6)


def test_kernels_of_any_layer_can_be_read() -> None:
    layer = LIF().layer(3)
    assert isinstance(layer, nn.Module)
    assert torch.equal(equality.readable(layer, torch.ones(3, 1, 2)), layer(torch.ones(3, 1, 2)))
