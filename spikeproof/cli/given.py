"""What do the options mean that several commands share? Runs, threats, a protocol."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from spikeproof.attacks import Linf, Threat
from spikeproof.certificates import Certificate
from spikeproof.choices import UserError, fields_of, refuse_unknown
from spikeproof.cli.files import protocol_in, suite_of
from spikeproof.configs import from_config
from spikeproof.data import DataSet
from spikeproof.evaluation import Protocol
from spikeproof.evaluation.foreign_runs import adopt_foreign, adopt_graph
from spikeproof.exchange import Simulation
from spikeproof.progress import Report, silent
from spikeproof.reports.wording import listed
from spikeproof.runs import Run, find_runs
from spikeproof.runs.records import Epoch, FactoryRecord
from spikeproof.runs.weights import refuse_untrusted as refuse_untrusted_network
from spikeproof.untrusted.words import told
from spikeproof.zoo.taking import taken

ZOO = "zoo:"  # before the name of a network

NIR = ".nir"  # the end of a graph's name


@dataclass(frozen=True, kw_only=True)
class FromElsewhere:
    """What ``evaluate`` is told of a network that was trained elsewhere; each field is an option."""

    model: str | None
    weights: Path | None
    data: DataSet | None
    out: Path | None
    mean: str | None
    std: str | None
    reduce: str | None
    simulation: Simulation | None = None

    @property
    def how(self) -> FactoryRecord:
        """How it is built and asked."""
        assert self.model
        mean, std = (numbers_of(name, getattr(self, name)) for name in ("mean", "std"))
        return FactoryRecord(factory=self.model, mean=mean, std=std, reduce=self.reduce)


def runs_of(runs: list[Path], elsewhere: FromElsewhere, device: torch.device) -> list[Run]:
    """The run folders that are named, or the one that a network from elsewhere gets."""
    model, data = elsewhere.model, elsewhere.data
    if model is None:
        given = [f"--{each.name}" for each in fields(elsewhere) if getattr(elsewhere, each.name) is not None]
        if given:
            raise UserError(f"{listed(given)}: only with --model; a run folder has its own")
        if not runs:
            raise UserError("name run folders, or a network from elsewhere: --model package.module:function")
        return find_runs([in_runs(path) for path in runs])
    if runs:
        raise UserError(f"--model names a network from elsewhere, and {runs[0]} has its own: give one or the other")
    if data is None:
        raise UserError("say with --data what the network is tested on, for example --data CIFAR10")
    if model.endswith(NIR):
        return [_run_of_graph(Path(model), elsewhere, data, device)]
    if elsewhere.simulation is not None:
        raise UserError(f"--simulation says how a NIR graph is run, and {model} names a function that builds a network")
    out = elsewhere.out or Path("runs") / model.rpartition(":")[2]
    return [adopt_foreign(elsewhere.how, elsewhere.weights, data, out, device=device)]


def in_runs(path: Path) -> Path:
    """The run folder that is named; zoo:NAME is a network of the zoo, which gets one in ``runs``."""
    if not (text := path.as_posix()).startswith(ZOO):
        return path
    name = text.removeprefix(ZOO)
    return taken(name, Path("runs") / name).path


def _run_of_graph(file: Path, elsewhere: FromElsewhere, data: DataSet, device: torch.device) -> Run:
    """The run folder that a NIR graph gets."""
    if elsewhere.weights is not None:
        raise UserError(f"--weights: {file} holds its weights")
    if elsewhere.reduce is not None:
        raise UserError(
            "--reduce: what makes logits of a graph's outputs is --simulation.readout, MeanCurrent if not said"
        )
    out = elsewhere.out or Path("runs") / file.stem
    mean, std = (numbers_of(name, getattr(elsewhere, name)) for name in ("mean", "std"))
    return adopt_graph(file, elsewhere.simulation, data, out, mean=mean, std=std, device=device)


def numbers_of(name: str, text: str | None) -> tuple[float, ...]:
    """Numbers separated by commas, such as 0.5,0.5,0.5."""
    try:
        return tuple(float(part) for part in text.strip("[] ").split(",")) if text else ()
    except ValueError:
        raise UserError(
            f"--{name} is one number, or one a channel, of pixels in [0, 1]: 0.485,0.456,0.406; not {told(text)}"
        ) from None


def refuse_untrusted(runs: list[Run], trust: bool) -> None:
    """Raise `UserError` for the first run that needs code from outside spikeproof, before anything is done with any."""
    for run in runs if not trust else ():
        if "model.json" in run:
            refuse_untrusted_network(run)
        if "data" in run.record.config:
            from_config(run.record.config["data"], DataSet)


def threats_of(threat: Threat | None, eps: str | None) -> tuple[Threat, ...]:
    """The threats that ``--threat`` and ``--eps`` name together, in order."""
    if eps is None:
        return (threat,) if threat is not None else tuple(Linf(k / 255) for k in (2, 4, 8))
    parts = [part.strip() for part in eps.split(",")]
    if parts[0] == "0" and len(parts) > 1 and parts[1].isdigit():
        raise UserError(f"--eps {eps} is 0 and {parts[1]}: a decimal is written with a point, 0.{parts[1]}")
    return tuple(replace(threat or Linf(), eps=part) for part in parts)  # type: ignore[type-var]


def one_threat(threat: Threat | None, eps: str | None, said: str) -> Threat:
    """The one threat that they name, Linf if none; raises `UserError`, what was `said`, for several radii."""
    allowed, *others = threats_of(threat or Linf(), eps)
    if others:
        raise UserError(f"{said}, not {eps}")
    return allowed


def protocol_of(
    file: Path | None, threat: Threat | None, eps: str | None, suite: str | None, trust: bool, **others: Any
) -> Protocol:
    """The protocol in a YAML file, or the one that the options name together; raises `UserError` for both."""
    others = {name: value for name, value in others.items() if value is not None}
    if file is None:
        if suite is not None:
            others["suite"] = suite_of(suite, trust=trust)
        return Protocol(threats=threats_of(threat, eps), **others)
    named = {"threat": threat, "eps": eps, "suite": suite} | others
    if beside := [f"--{name.replace('_', '-')}" for name, value in named.items() if value is not None]:
        raise UserError(f"the protocol in {file} says all of this: leave out {', '.join(beside)}, or --protocol")
    return protocol_in(file, trust=trust)


def heard(quiet: bool) -> Report | None:
    """Who hears of progress: nobody, or whoever looks at stderr."""
    return silent if quiet else None


def certificate_of(certificate: Certificate, **said: Any) -> Certificate:
    """`certificate` with the fields that have options of their own; raises `UserError` for one that it has not."""
    said = {name: value for name, value in said.items() if value is not None}
    for name in said:
        refuse_unknown(name, fields_of(type(certificate)), type(certificate))
    return replace(certificate, **said) if said else certificate  # type: ignore[type-var]


def kept(folder: Path) -> Epoch:
    """The epoch that training kept in a run folder."""
    best = next((row for row in Run(folder).epochs if row.best), None)
    if best is None:
        raise UserError(f"{folder / 'metrics.jsonl'} names no best epoch: it is damaged; delete it and train again")
    return best
