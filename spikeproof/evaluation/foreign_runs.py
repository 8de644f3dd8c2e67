"""How does a network that was trained elsewhere get a run folder, so that it is measured like any other?"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikeproof.calling import predict
from spikeproof.choices import UserError, short
from spikeproof.configs import to_config
from spikeproof.data import DataSet
from spikeproof.distributed import ALONE
from spikeproof.evaluation.predictions import check_classes
from spikeproof.runs import Run, environment, sha256_of
from spikeproof.runs.environments import version
from spikeproof.runs.foreign import built_by
from spikeproof.runs.locks import locked
from spikeproof.runs.records import FactoryRecord, RunRecord
from spikeproof.runs.weights import load_tensors, read_weights, write_foreign
from spikeproof.snn import adapt
from spikeproof.snn.foreign import libraries

__all__ = ["adopt_foreign"]


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
    _refuse_what_does_not_fit(model.to(ALONE.device_of(device or "cpu")), how, data)
    run, config = Run(out), _config(how, weights, data, out)
    with locked(run):
        if "run.json" not in run:
            run.write(_record(config, model))
        elif names := [name for name in config if run.record.config.get(name) != config[name]]:
            raise UserError(
                f"{out} holds another run: {', '.join(names)} {'differ' if len(names) > 1 else 'differs'}; "
                "name another folder with --out, or delete this one"
            )
        write_foreign(run, model, how)
    return Run(out)


def _config(how: FactoryRecord, weights: Path | None, data: DataSet, out: Path) -> dict[str, Any]:
    said = {"mean": list(how.mean), "std": list(how.std), "reduce": how.reduce}
    return {
        "name": out.resolve().name,
        "data": to_config(data),
        "model": how.factory,
        **{name: value for name, value in said.items() if value},
        "weights": weights and {"class_path": "Weights", "init_args": {"file": str(weights)}},
        "weights_sha256": weights and sha256_of(weights),
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


def _refuse_what_does_not_fit(model: nn.Module, how: FactoryRecord, data: DataSet) -> None:
    """Try it on two images of noise, before anything is written."""
    x = torch.rand(2, *data.shape, generator=torch.Generator().manual_seed(0))
    try:
        whole = adapt(model, mean=how.mean, std=how.std, reduce=how.reduce)  # type: ignore[arg-type]
        check_classes(predict(whole, x), data)
    except UserError as error:
        raise UserError(f"{how.factory}: {error}") from error
    except Exception as error:  # whatever that code raises
        raise UserError(
            f"the network of {how.factory} fails on images [B, {', '.join(map(str, data.shape))}] of {short(data)} "
            f"({type(error).__name__}: {error})"
        ) from error
