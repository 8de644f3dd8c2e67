"""Which NIR graphs become networks, what do their neurons compute, and what is refused by name?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import spikeproof as sp
from spikeproof.cli import main
from spikeproof.exchange.importing import simulation_in
from spikeproof.runs import Run
from tests.exchange.conftest import Made

Write = Callable[..., Path]
EVALUATION = ("--data", "Digits", "--suite", "quick", "--eps", "0.05", "--images", "20", "--quiet")


def affine(outputs: int = 3, inputs: int = 4) -> Any:
    return nir.Affine(np.eye(outputs, inputs, dtype=np.float32), np.zeros(outputs, np.float32))


def lif(size: int = 4, **others: Any) -> Any:
    values = {"tau": 2e-4, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | others
    return nir.LIF(**{name: np.full(size, value) if np.isscalar(value) else value for name, value in values.items()})


def euler(x: torch.Tensor, node: Any, dt: float, steps: int) -> torch.Tensor:
    """The format's own words, a step at a time."""
    v, total = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(steps):
        if hasattr(node, "tau"):
            v = v + dt / torch.tensor(node.tau) * (torch.tensor(node.v_leak) - v + torch.tensor(node.r) * x)
        else:
            v = v + dt * torch.tensor(node.r) * x
        fired = v > torch.tensor(node.v_threshold)
        v, total = torch.where(fired, torch.tensor(node.v_reset), v), total + fired
    return total / steps


@pytest.mark.parametrize(
    "node",
    [
        lif(),
        lif(tau=5e-4, r=1.0, v_threshold=0.2),
        lif(tau=1e-4, r=1.0),
        nir.IF(r=np.full(4, 3e3), v_threshold=np.full(4, 0.7)),
    ],
    ids=["LIF", "LIF, r = 1", "LIF that forgets", "IF"],
)
def test_neurons_step_as_the_format_says(node: Any, graph: Write) -> None:
    x = torch.rand(32, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.3
    file = graph(nir.Flatten({"input": np.array([1, 2, 2])}, 0, -1), node, affine(), shape=(1, 2, 2))
    model = sp.import_nir(file, sp.Simulation(steps=12)).double()
    expected = euler(x.flatten(1), node, 1e-4, 12)[:, :3]
    assert 0.05 < expected.mean() < 0.95
    torch.testing.assert_close(model(x), expected)


def test_a_flat_graph_takes_images_of_as_many_pixels(graph: Write) -> None:
    file = graph(affine(4), lif(), affine())
    x = torch.rand(5, 1, 2, 2)
    model = sp.import_nir(file, shape=(1, 2, 2), mean=(0.5,), std=(0.25,))
    flat = sp.import_nir(file)
    assert flat.shape == (1, 1, 4)
    torch.testing.assert_close(model(x), flat((x.view(5, 1, 1, 4) - 0.5) / 0.25))
    with pytest.raises(sp.UserError, match=r"it takes \[4\], and the images are \[1, 3, 3\]"):
        sp.import_nir(file, shape=(1, 3, 3))
    with pytest.raises(sp.UserError, match="mean and std have one number"):
        sp.import_nir(file, mean=(0.5, 0.5), std=(1.0, 1.0))


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (
            nir.CubaLIF(*(np.ones(4) for _ in range(5))),
            "node 'cubalif_1' is of kind CubaLIF, which spikeproof does not",
        ),
        (nir.Delay(np.ones(4)), "node 'delay_1' is of kind Delay, .* it knows Affine, AvgPool2d, Conv2d"),
        (nir.Threshold(np.ones(4)), "node 'threshold_1' is of kind Threshold"),
        (lif(v_reset=0.5), "node 'lif_1', of kind LIF: its v_reset is not 0"),
        (lif(v_leak=0.5), "its v_leak is not 0"),
        (lif(tau=np.array([1.0, 1.0, 2.0, 2.0])), "its neurons have 2 values of tau"),
        (lif(v_threshold=-1.0), "its v_threshold is -1, and must be above 0"),
        (lif(tau=1e-5), "its tau of 1e-05 s is no step of 0.0001 s or more: choose dt"),
    ],
)
def test_a_node_that_cannot_be_simulated_is_named(node: Any, says: str, graph: Write) -> None:
    with pytest.raises(sp.UserError, match=says):
        sp.import_nir(graph(affine(4), node, affine()))


def test_what_is_no_graph_of_a_classifier_is_refused(graph: Write, tmp_path: Path) -> None:
    cycle = [("input", "affine_0"), ("affine_0", "lif_1"), ("lif_1", "affine_0"), ("lif_1", "output")]
    with pytest.raises(sp.UserError, match=r"its nodes form a cycle, .*affine_0"):
        sp.import_nir(graph(affine(4), lif(), out=4, edges=cycle))
    loose = [("input", "affine_0"), ("affine_0", "output"), ("lif_1", "output")]
    with pytest.raises(sp.UserError, match="it has 2 nodes of kind Input, and a network has one"):
        sp.import_nir(graph(affine(4), lif(), out=4, edges=loose, type_check=False))
    nowhere = [("input", "affine_0"), ("affine_0", "output"), ("input", "lif_1")]
    with pytest.raises(sp.UserError, match="it has 2 nodes of kind Output, and a network has one"):
        sp.import_nir(graph(affine(4), lif(), out=4, edges=nowhere, type_check=False))
    with pytest.raises(sp.UserError, match=r"its output is \[1, 2, 2\], and logits are one number a class"):
        sp.import_nir(graph(nir.Scale(np.ones((1, 2, 2), np.float32)), shape=(1, 2, 2), out=[1, 2, 2]))
    with pytest.raises(sp.UserError, match="there is no file"):
        sp.import_nir(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("no graph")
    with pytest.raises(sp.UserError, match="cannot be read as a NIR graph"):
        sp.import_nir(tmp_path / "text.nir")


def test_metadata_of_a_stranger_name_no_code(graph: Write) -> None:
    named = '{"class_path": "Simulation", "init_args": {"encoder": {"class_path": "os.path.join"}}}'
    with pytest.raises(sp.UserError, match="only used with --trust"):
        simulation_in(graph(affine(), metadata={"simulation": named}))
    with pytest.raises(sp.UserError, match="the simulation in its metadata cannot be read"):
        simulation_in(graph(affine(), metadata={"simulation": "{"}))


def test_a_graph_gets_a_run_folder_of_its_own(
    network: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = network("MLP", "LIF")
    sp.export_nir(model, "mine.nir", "snntorch")
    main(["evaluate", "--model", "mine.nir", *EVALUATION])
    run = Run(Path("runs/mine"))
    (found,) = run.evaluations
    x, y = sp.Digits().part("test").first(20).batch(range(20))
    direct = sp.evaluate(sp.import_nir("mine.nir"), (x, y), sp.Protocol(threats=0.05, suite="quick"))
    assert found.read_json("verdicts.json")["clean_accuracy"]["value"] == direct.clean_accuracy().value
    Path("mine.nir").unlink()
    torch.testing.assert_close(sp.load_model(run.path)(x), model(x), rtol=1e-4, atol=1e-5)
    main(["evaluate", "runs/mine", *EVALUATION[2:]])  # no code is run, so no --trust
    assert len(run.evaluations) == 1
    (run.path / "graph.nir").write_bytes(b"other")
    assert "is not the graph of these weights" in fails("evaluate", "runs/mine", *EVALUATION[2:])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "gone.nir"), "there is no file gone.nir"),
        (("--model", "mine.nir", "--weights", "a.pt"), "--weights: mine.nir holds its weights"),
        (("--model", "mine.nir", "--reduce", "sum"), "--simulation.readout"),
        (("--model", "mine:build", "--simulation.steps", "3"), "--simulation says how a NIR graph is run"),
        (("--model", "mine.nir", "--simulation.steps", "0"), "steps of Simulation must be"),
    ],
)
def test_mistakes_leave_nothing(
    arguments: tuple[str, ...],
    says: str,
    network: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sp.export_nir(network("MLP", "LIF"), "mine.nir")
    assert says in fails("evaluate", *arguments, *EVALUATION)
    assert not Path("runs").exists()
