"""How is a network trained? One loop: batches, objective, step, validation, checkpoint, resume."""

import copy
import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeproof.choices import UserError
from spikeproof.configs import to_config
from spikeproof.conversion import convert
from spikeproof.conversion.conversion import refuse_impossible
from spikeproof.data import Images, augment
from spikeproof.objectives.objective import Terms
from spikeproof.progress import Report, silent
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs import Run, environment, sha256_of
from spikeproof.runs.records import RunRecord
from spikeproof.runs.weights import write_model
from spikeproof.snn import SpikingNetwork
from spikeproof.training.recipe import Recipe
from spikeproof.training.validation import Scores, validate

__all__ = ["train"]

ANN = "ann"  # the folder, inside a run's, of the ANN that it begins with
LEFT_BY_TRAINING = ("model.safetensors", "model.json", "metrics.jsonl")


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str | torch.device | None = None,
    progress: Report = silent,
) -> SpikingNetwork:
    """The network that `recipe` describes, trained, its best epoch kept in the run folder `out`.

    Killed at any time and called again it goes on after the last whole epoch, and on a CPU ends with the same
    weights, bit for bit. Called on a finished run it returns that run's network. Raises `UserError` if `out` holds
    another run, if data are missing, and where a loss stops being finite (the last good checkpoint stays).
    """
    parts = None if "run.json" in Run(Path(out)) else _parts(recipe, data_root)  # before anything is written
    run = _open(recipe, Path(out))
    if run.record.finished:
        return _trained(recipe, run)
    at = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    parts = parts or _parts(recipe, data_root)
    ann = _ann(recipe, run, data_root, at, progress)
    state = _State.fresh(recipe, at)
    state.terms = recipe.objective.prepared(ann)
    state.ann = sha256_of(run.path / ANN / "model.safetensors") if recipe.ann else None
    if "checkpoint.safetensors" in run:
        state.resume(run, recipe)
    else:
        _begin(recipe, state, ann, parts, run, progress)
    while state.epoch < recipe.training.epochs:
        _epoch(recipe, state, parts, run, progress)
    run.write(_finished(state, run))
    return _trained(recipe, run)


def _parts(recipe: Recipe, data_root: str | Path | None) -> tuple[Images, Images]:
    """What is trained on, and what chooses the epoch."""
    return recipe.data.part("train", data_root), recipe.data.part("validation", data_root)


def _ann(
    recipe: Recipe, run: Run, data_root: str | Path | None, device: torch.device, progress: Report
) -> SpikingNetwork | None:
    """The ANN that the recipe begins with, trained in a folder of its own inside the run's."""
    if recipe.ann is None:
        return None

    def report(text: str, done: float, total: float) -> None:
        progress(f"ANN: {text}", done, total)

    return train(recipe.ann, run.path / ANN, data_root=data_root, device=device, progress=report).to(device)


def _trained(recipe: Recipe, run: Run) -> SpikingNetwork:
    """The network with the weights that were kept; built from the recipe in hand, so no file's word is taken."""
    model = recipe.build()
    model.load_state_dict(run.read_tensors("model.safetensors")[0])
    return model.eval()


class _State:
    """All that changes while training: weights, their average, the optimiser, and what has been measured."""

    def __init__(self, model: SpikingNetwork, average: SpikingNetwork | None, optimiser: torch.optim.Optimizer) -> None:
        self.model = model
        self.average = average
        self.optimiser = optimiser
        self.terms: Terms  # what the objective comes down to, its teacher known
        self.ann: str | None = None  # digest of the weights of the ANN that this begins with
        self.metrics: list[dict[str, Any]] = []

    @staticmethod
    def fresh(recipe: Recipe, device: torch.device) -> "_State":
        model = recipe.build().to(device)
        average = copy.deepcopy(model) if recipe.training.average else None
        try:
            optimiser = recipe.training.optimiser.build(model.parameters())
        except ValueError as error:
            raise UserError(f"{recipe.training.optimiser}: {error}") from error
        return _State(model, average, optimiser)

    @property
    def epoch(self) -> int:
        """The last whole epoch; 0 is a network as it was converted, or read from a file."""
        return self.metrics[-1]["epoch"] if self.metrics else 0

    @property
    def validated(self) -> SpikingNetwork:
        return self.average or self.model

    def save(self, run: Run, recipe: Recipe) -> None:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        run.write_tensors(
            "checkpoint.safetensors", tensors, {"metrics": self.metrics, "recipe": to_config(recipe), "ann": self.ann}
        )
        run.write_lines("metrics.jsonl", self.metrics)

    def resume(self, run: Run, recipe: Recipe) -> None:
        tensors, facts = run.read_tensors("checkpoint.safetensors")
        if facts.get("recipe") != to_config(recipe):
            raise UserError(
                f"{run.path / 'checkpoint.safetensors'} is of another recipe: delete it, or name another folder"
            )
        if facts.get("ann") != self.ann:
            raise UserError(
                f"{run.path / ANN} is no longer the ANN that {run.path} began with: put it back, or name another folder"
            )
        self.metrics = facts["metrics"]
        run.write_lines("metrics.jsonl", self.metrics)  # a kill between the two files leaves one epoch too few
        self.model.load_state_dict(_below("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(_below("average", tensors))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimiser", tensors).items():
            index, _, field = name.partition(".")
            kept.setdefault(int(index), {})[field] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": kept})


def _begun(recipe: Recipe, ann: SpikingNetwork | None, part: Images, progress: Report) -> SpikingNetwork | None:
    """The network to begin with, where it is not a freshly initialised one."""
    if recipe.conversion is not None and ann is not None:
        progress("converting", 0, 1)
        seed, augmentation = seed_from(recipe.seed), recipe.data.augmentation
        return convert(ann, recipe.network, part, recipe.conversion, augmentation=augmentation, seed=seed)
    if recipe.weights is not None:
        model = recipe.build()
        recipe.weights.load_into(model)
        return model
    return None


def _begin(
    recipe: Recipe,
    state: _State,
    ann: SpikingNetwork | None,
    parts: tuple[Images, Images],
    run: Run,
    progress: Report,
) -> None:
    """Epoch 0, of a network that is not freshly initialised: as it was begun with, validated before any training."""
    started = time.monotonic()
    begun = _begun(recipe, ann, parts[0], progress)
    if begun is None:
        return
    for model in (state.model, state.average):
        if model is not None:
            model.load_state_dict(begun.state_dict())
    _keep(recipe, state, parts[1], run, {"epoch": 0, "learning_rate": None, "losses": {}}, started)


def _epoch(recipe: Recipe, state: _State, parts: tuple[Images, Images], run: Run, progress: Report) -> None:
    started, training, number = time.monotonic(), recipe.training, state.epoch
    order = torch.randperm(len(parts[0]), generator=torch.Generator().manual_seed(seed_from(recipe.seed, number)))
    batches = [b for b in order.split(training.batch) if len(b) > 1]  # batch norm needs more than one image
    totals: dict[str, float] = {}
    device = next(state.model.parameters()).device
    for index, batch in enumerate(batches):
        rate = training.learning_rate(number + (index + 1 if training.warm_up else index) / len(batches))
        with seeded(seed_from(recipe.seed, number, index), device):
            x, y = (t.to(device) for t in parts[0].batch(batch))
            terms = _step(recipe, state, augment(x, recipe.data.augmentation), y, rate)
        for name, value in _checked(terms, number, index).items():
            totals[name] = totals.get(name, 0.0) + value / len(batches)
        shown = ", ".join(f"{k} {v * len(batches) / (index + 1):.3f}" for k, v in totals.items())
        progress(_headline(state, shown), number + (index + 1) / len(batches), training.epochs)
    row = {"epoch": number + 1, "learning_rate": rate, "losses": totals}
    _keep(recipe, state, parts[1], run, row, started)


def _keep(recipe: Recipe, state: _State, part: Images, run: Run, row: dict[str, Any], started: float) -> None:
    """Validate, write the network if it is the best so far, and the checkpoint."""
    scores = validate(state.validated, part, recipe.training.selection, seed=recipe.seed)
    best = scores >= max((Scores.of(row) for row in state.metrics), default=Scores(-1, -1))
    state.metrics.append(row | {"best": best, "seconds": time.monotonic() - started} | scores.as_row())
    if best:
        for earlier in state.metrics[:-1]:
            earlier["best"] = False
        data = recipe.data
        write_model(
            run,
            state.validated.state_dict(),
            recipe.network,
            data.shape,
            len(data.classes),
            data.mean,
            data.std,
        )
    state.save(run, recipe)


def _step(recipe: Recipe, state: _State, x: Tensor, y: Tensor, rate: float) -> dict[str, Tensor]:
    """One step of the optimiser; returns the loss terms.

    Where a term, or the gradient's length, is not finite the weights stay as they are and it is among the terms.
    """
    training = recipe.training
    state.model.train()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=_mixed(training.mixed_precision, x.device)):
        terms = state.terms(state.model, x, y)
    loss = torch.stack([term.float() for term in terms.values()]).sum()
    if not loss.isfinite():
        return terms
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.zero_grad()
    loss.backward(inputs=[p for p in state.model.parameters() if p.requires_grad])  # and not of the images
    length = nn.utils.clip_grad_norm_(state.model.parameters(), training.gradient_clip or math.inf)
    if not length.isfinite():
        return terms | {"gradient": length}
    state.optimiser.step()
    recipe.objective.after_step(state.model)
    if state.average is not None:
        _move(state.average, state.model, training.average)
    return terms


def _move(average: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for weight, new in zip(average.parameters(), model.parameters(), strict=True):
            weight.lerp_(new, 1 - decay)
        for buffer, latest in zip(average.buffers(), model.buffers(), strict=True):
            buffer.copy_(latest)


def _mixed(wanted: bool | None, device: torch.device) -> bool:
    has = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return has if wanted is None else wanted


def _checked(terms: dict[str, Tensor], epoch: int, batch: int) -> dict[str, float]:
    values = {name: float(term.detach()) for name, term in terms.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise UserError(
                f"training stopped: the loss term {name!r} is {value} in batch {batch + 1} of epoch {epoch + 1}. "
                "Try a smaller learning rate, a longer warm_up, or gradient_clip 1.0; "
                "the checkpoint of the last whole epoch is still there"
            )
    return values


def _headline(state: _State, losses: str) -> str:
    last = Scores.of(state.metrics[-1]) if state.metrics else None
    known = f"; validation {last.clean:.1%}, robust {last.robust:.1%}" if last else ""
    return f"{losses}{known}"


def refuse_another_recipe(recipe: Recipe, path: Path) -> None:
    """Raise `UserError` if the folder `path` holds a run of another recipe."""
    if "run.json" in Run(path) and Run(path).record.config != to_config(recipe)["init_args"]:
        raise UserError(f"{path} holds a run of another recipe; name another folder, or delete this one")


def _open(recipe: Recipe, path: Path) -> Run:
    run, config = Run(path), to_config(recipe)["init_args"]
    if "run.json" in run:
        refuse_another_recipe(recipe, path)
        if run.record.finished and not all(file in run for file in LEFT_BY_TRAINING):
            (path / "checkpoint.safetensors").unlink(missing_ok=True)  # a file was lost: train it all again
            run.write(replace(run.record, finished=None, training_seconds=None))
        _refuse_changed_weights(recipe, run)
        return Run(path)
    refuse_what_cannot_work(recipe)
    run.write(
        RunRecord(
            name=recipe.name,
            config=config,
            seed=recipe.seed,
            weights_sha256=recipe.weights.digest() if recipe.weights else None,
            parameters=sum(p.numel() for p in recipe.build().parameters()),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            finished=None,
            environment=environment(),
        )
    )
    return Run(path)


def refuse_what_cannot_work(recipe: Recipe) -> None:
    """Raise `UserError` for what cannot fit together, before hours are spent and before anything is written.

    What a network begins with is looked at, and where it begins with an ANN its objective is tried on two images.
    """
    model = recipe.build().eval()
    if recipe.weights is not None:
        recipe.weights.load_into(model)
    if recipe.ann is None:
        return
    refuse_what_cannot_work(recipe.ann)
    ann = recipe.ann.build()
    if recipe.conversion is not None:
        refuse_impossible(recipe.conversion, ann, recipe.network, model)
    elif not recipe.objective.needs_ann:
        raise UserError(
            f"nothing here uses the ANN: give a conversion, or an objective that learns from a teacher "
            f"({type(recipe.objective).__name__} does not), or leave ann out"
        )
    if recipe.training.epochs:
        with seeded(recipe.seed, torch.device("cpu")):
            recipe.objective.prepared(ann)(
                model, torch.rand(2, *recipe.data.shape), torch.arange(2) % len(recipe.data.classes)
            )


def _refuse_changed_weights(recipe: Recipe, run: Run) -> None:
    """A file that a run began with may be gone; one that has changed would be taken for the old one."""
    digest = recipe.weights and recipe.weights.digest()
    if recipe.weights is not None and digest not in (None, run.record.weights_sha256):
        raise UserError(f"{recipe.weights.file} has changed since {run.path} began with it: name another folder")


def _finished(state: _State, run: Run) -> RunRecord:
    before = Run(run.path / ANN)
    of_ann = before.record.training_seconds or 0.0 if "run.json" in before else 0.0
    return replace(
        run.record,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=sum(row["seconds"] for row in state.metrics) + of_ann,
    )


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
