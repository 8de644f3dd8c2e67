"""How does a network that was trained elsewhere get a run folder, so that it is measured like any other?"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any

import torch
from torch import nn

from spikeproof.calling import predict
from spikeproof.choices import UserError, short
from spikeproof.configs import to_config
from spikeproof.data import DataSet
from spikeproof.distributed import ALONE
from spikeproof.evaluation.predictions import check_classes
from spikeproof.exchange import Simulation, import_nir
from spikeproof.exchange.importing import simulation_in
from spikeproof.runs import Run, environment, sha256_of, written_whole
from spikeproof.runs.environments import version
from spikeproof.runs.foreign import built_by
from spikeproof.runs.locks import locked
from spikeproof.runs.records import FactoryRecord, GraphRecord, RunRecord
from spikeproof.runs.weights import GRAPH, load_tensors, read_weights, write_foreign
from spikeproof.snn import adapt
from spikeproof.snn.foreign import libraries

__all__ = ["adopt_foreign", "adopt_graph"]


def adopt_foreign(
    how: FactoryRecord, weights: Path | None, data: DataSet, out: Path, *, device: str | torch.device | None = None
) -> Run:
    """The run folder `out` of the network that `how` says how to build, with `weights` from a file.

    Without a file the network keeps the weights that it was built with. Called again it takes the network as it is now.
    Runs the code that ``how.factory``, package.module:function, names. Raises `UserError` for what cannot be built or
    loaded, and for a folder that holds another run. Raises it too for a network that does not map images of `data` to
    logits of its classes.
    """
    model = built_by(how.factory)
    if weights is not None:
        load_tensors(model, read_weights(weights), str(weights))
    interface: dict[str, Any] = {"mean": how.mean, "std": how.std, "reduce": how.reduce}
    _refuse_what_does_not_fit(model.to(ALONE.device_of(device or "cpu")), how.factory, data, interface)
    said = interface | {"model": how.factory, "weights_sha256": weights and sha256_of(weights)}
    said["weights"] = weights and {"class_path": "Weights", "init_args": {"file": str(weights)}}
    run = Run(out)
    with locked(run):
        _begin(run, model, data, said)
        write_foreign(run, model, how)
    return Run(out)


def adopt_graph(
    file: Path,
    simulation: Simulation | None,
    data: DataSet,
    out: Path,
    *,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    device: str | torch.device | None = None,
) -> Run:
    """The run folder `out` of the network of a NIR graph; it holds a copy of the graph, and no code is run.

    `simulation` says what the graph does not (default: what its metadata say). Raises `UserError` as `import_nir` does,
    and as `adopt_foreign`.
    """
    simulation = simulation or simulation_in(file)
    model = import_nir(file, simulation, shape=data.shape, mean=mean, std=std)
    _refuse_what_does_not_fit(model.to(ALONE.device_of(device or "cpu")), str(file), data, {})
    digest, how = sha256_of(file), to_config(simulation)
    said = {"mean": mean, "std": std, "simulation": how, "model": str(file), "weights_sha256": digest}
    run = Run(out)
    with locked(run):
        _begin(run, model, data, said)
        with written_whole(run.path / GRAPH) as temporary:
            copyfile(file, temporary)
        record = GraphRecord(graph_sha256=digest, simulation=how, shape=tuple(data.shape), mean=mean, std=std)
        write_foreign(run, model, record)
    return Run(out)


def _begin(run: Run, model: nn.Module, data: DataSet, said: dict[str, Any]) -> None:
    """Write ``run.json``, or see that the one which is there is of the same network."""
    config = _config(said, data, run.path)
    if "run.json" not in run:
        run.write(_record(config, model))
    elif names := [name for name in config if run.record.config.get(name) != config[name]]:
        raise UserError(
            f"{run.path} holds another run: {', '.join(names)} {'differ' if len(names) > 1 else 'differs'}; "
            "name another folder with --out, or delete this one"
        )


def _config(said: dict[str, Any], data: DataSet, out: Path) -> dict[str, Any]:
    kept = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
    always = {name: kept.pop(name, None) for name in ("model", "weights", "weights_sha256")}
    return {
        "name": out.resolve().name,
        "data": to_config(data),
        **always,
        **{name: value for name, value in kept.items() if value},
    }


def _record(config: dict[str, Any], model: nn.Module) -> RunRecord:
    """What ``run.json`` says; "finished" as far as it is known here."""
    now, around = datetime.now(UTC).isoformat(timespec="seconds"), environment()
    return RunRecord(
        name=config["name"],
        config=config,
        seed=0,
        parameters=sum(p.numel() for p in model.parameters()),
        started=now,
        finished=now,
        environment=replace(around, versions=around.versions | {name: version(name) for name in libraries(model)}),
    )


def _refuse_what_does_not_fit(model: nn.Module, name: str, data: DataSet, interface: dict[str, Any]) -> None:
    """Try it on two images of noise, before anything is written; `name` is what the user called it."""
    x = torch.rand(2, *data.shape, generator=torch.Generator().manual_seed(0))
    try:
        whole = adapt(model, **interface)
        check_classes(predict(whole, x), data)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Exception as error:  # whatever that code raises
        raise UserError(
            f"the network of {name} fails on images [B, {', '.join(map(str, data.shape))}] of {short(data)} "
            f"({type(error).__name__}: {error})"
        ) from error
