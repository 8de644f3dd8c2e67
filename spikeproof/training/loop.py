"""How is a network trained? One loop: batches, step, losses, validation, checkpoint, resume."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.configs import to_config
from spikeproof.data import Images
from spikeproof.data.decoding import watched, workers_for
from spikeproof.data.digests import digest
from spikeproof.distributed import ALONE, Ranks
from spikeproof.objectives import Objective
from spikeproof.objectives.objective import Terms
from spikeproof.progress import Report, shown, silent
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs import Run, sha256_of
from spikeproof.runs.digests import digest_of_json
from spikeproof.runs.locks import locked
from spikeproof.runs.records import RunRecord
from spikeproof.runs.weights import write_model
from spikeproof.shortage import lacks_memory
from spikeproof.snn import SpikingNetwork
from spikeproof.training.batches import Batches, Share
from spikeproof.training.beginnings import ANN, begun, opened
from spikeproof.training.checkpoints import SECONDS_BETWEEN, Reached, State
from spikeproof.training.losses import Losses
from spikeproof.training.memory import what_fits
from spikeproof.training.recipe import Recipe, Training
from spikeproof.training.returns import CHECKPOINT
from spikeproof.training.steps import take_step
from spikeproof.training.trackers import Tracker, tracked
from spikeproof.training.validation import Scores, validate

__all__ = ["train"]


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: str | torch.device | None = None,
    workers: int | None = None,
    ranks: Ranks = ALONE,
    progress: Report | None = None,
    tracker: Tracker | None = None,
) -> SpikingNetwork:
    """The network that `recipe` describes, trained, its best epoch kept in the run folder `out`.

    Images in files are decoded by `workers` processes (None: one a core but one); that changes no number.

    Killed at any time and called again it goes on after the last checkpoint, and on a CPU ends with the same
    weights, bit for bit. Called on a finished run it returns that run's network; with more epochs it goes on, where
    the schedule gives the epochs so far the same learning rates (`Constant`). `ranks` share every batch of the
    recipe, and rank 0 alone reads and writes the folder. Another number of ranks goes on as well, to other weights.
    `progress` hears what is going on (None: it is shown on stderr; `progress.silent` shows nothing). `tracker` is
    called with a `Tracked` after each epoch, but for those of an ANN that is trained first; it changes no number.
    Raises `UserError` if `out` holds another run, if data are missing or ranks see different ones, if the ranks cannot
    share a batch evenly, where another process writes there, and where a loss stops being finite (the last good
    checkpoint stays).
    """
    workers_for(workers)  # refuses what is no number of processes
    at = ranks.device_of(device)
    _refuse_uneven(recipe, ranks)
    begins = ranks.of_first(lambda: "run.json" not in Run(Path(out)))
    parts = _parts(recipe, data_root, ranks) if begins else None  # before anything is written
    run = Run(Path(out))
    with locked(run) if ranks.first else nullcontext(), ExitStack() as stack:
        if ranks.of_first(lambda: opened(recipe, Path(out)).record.finished):
            return _trained(recipe, run, ranks)
        images, validation = parts or _parts(recipe, data_root, ranks)
        report = stack.enter_context(shown(progress if ranks.first else silent, recipe.name))
        ann = _ann(recipe, run, data_root, at, workers, report, ranks)
        terms = _terms_at(recipe.objective, ann)
        state = State.fresh(recipe, at, ranks)
        state.ann = ranks.of_first(lambda: sha256_of(run.path / ANN / "model.safetensors") if recipe.ann else None)
        if ranks.of_first(lambda: CHECKPOINT in run):
            state.resume(run, recipe, ranks)
            report(_resumed(state), state.epoch, recipe.training.epochs)
        else:
            _begin(recipe, state, ann, (images, validation), run, report, ranks)
        share = Share(ranks.rank, ranks.size)
        batches = Batches(images, size=recipe.training.batch, seed=recipe.seed, device=at, workers=workers, share=share)
        with closing(batches), watched():
            while state.epoch < recipe.training.epochs:
                _epoch(recipe, terms, state, batches, validation, run, report, ranks)
                if tracker is not None and ranks.first:
                    tracker(tracked(recipe.name, state.metrics[-1], state.validated, validation))
        if ranks.first:
            run.write(_finished(state, run))
        return _trained(recipe, run, ranks)


def _refuse_uneven(recipe: Recipe, ranks: Ranks) -> None:
    """Each rank gets as many images of a batch, and at least the two that batch norm needs."""
    batch = recipe.training.batch
    if batch % ranks.size or batch < 2 * ranks.size:
        near = max(2, round(batch / ranks.size)) * ranks.size
        raise UserError(
            f"{ranks.size} ranks cannot share a batch of {batch} evenly, two images or more each: "
            f"set training.batch to {near}, or start another number of ranks"
        )
    if recipe.ann is not None:
        _refuse_uneven(recipe.ann, ranks)


def _parts(recipe: Recipe, data_root: str | Path | None, ranks: Ranks) -> tuple[Images, Images]:
    """What is trained on, and what chooses the epoch; refused where `ranks` see different recipes or images."""
    images, validation = recipe.data.part("train", data_root), recipe.data.part("validation", data_root)
    if ranks.size > 1:
        written = digest_of_json(to_config(recipe))
        ranks.agree({"recipe": written, "training images": digest(images), "validation images": digest(validation)})
    return images, validation


def _ann(
    recipe: Recipe,
    run: Run,
    data_root: str | Path | None,
    device: torch.device,
    workers: int | None,
    progress: Report,
    ranks: Ranks,
) -> SpikingNetwork | None:
    """The ANN that the recipe begins with, trained in a folder of its own inside the run's."""
    if recipe.ann is None:
        return None

    def report(text: str, done: float, total: float) -> None:
        progress(f"ANN: {text}", done, total)

    where = run.path / ANN
    ann = train(recipe.ann, where, data_root=data_root, device=device, workers=workers, ranks=ranks, progress=report)
    return ann.to(device)


def _trained(recipe: Recipe, run: Run, ranks: Ranks) -> SpikingNetwork:
    """The network with the weights that were kept; built from the recipe in hand, so no file's word is taken."""
    model = recipe.build()
    model.load_state_dict(ranks.of_first(lambda: run.read_tensors("model.safetensors")[0]))
    return model.eval()


def _begin(
    recipe: Recipe,
    state: State,
    ann: SpikingNetwork | None,
    parts: tuple[Images, Images],
    run: Run,
    progress: Report,
    ranks: Ranks,
) -> None:
    """Epoch 0, of a network that is not freshly initialised: as it was begun with, validated before any training."""
    started = time.monotonic()
    first = ranks.of_first(lambda: _tensors(begun(recipe, ann, parts[0], progress)))
    if first is None:
        return
    for model in (state.model, state.average):
        if model is not None:
            model.load_state_dict(first)
    _keep(recipe, state, parts[1], run, {"epoch": 0, "learning_rate": None, "losses": {}}, started, ranks)


def _terms_at(objective: Objective, ann: SpikingNetwork | None) -> Callable[[float], Terms]:
    """What is minimised after so many epochs; prepared once, where it is the same all the time."""
    prepared = objective.prepared(ann)

    def at(epoch: float) -> Terms:
        now = objective.at(epoch)
        return prepared if now is objective else now.prepared(ann)

    return at


def _tensors(model: SpikingNetwork | None) -> dict[str, Tensor] | None:
    """What it takes to make another one the same, on the CPU."""
    return None if model is None else {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def _epoch(
    recipe: Recipe,
    terms: Callable[[float], Terms],
    state: State,
    batches: Batches,
    part: Images,
    run: Run,
    progress: Report,
    ranks: Ranks,
) -> None:
    """All steps of the next epoch, or those that are left of it, and what comes of them on the validation `part`."""
    number, training = state.epoch, recipe.training
    losses = Losses(number, len(batches), state.reached)
    started = time.monotonic() - state.reached.seconds
    saved = time.monotonic()
    own = (ranks.rank,) if ranks.size > 1 else ()  # each rank draws random numbers of its own
    for index, (x, y) in enumerate(batches.of(number, losses.done), losses.done):
        now = terms(number + index / len(batches))
        with seeded(seed_from(recipe.seed, number, index, *own), batches.device):
            _step(recipe, now, state, x, y, _rate(training, number, index, len(batches)), losses, ranks)
        if not losses.due(batches.device):
            continue
        losses.read()
        done = number + losses.done / (len(batches) + 1)  # validation is as long as a step, or longer
        progress(f"{losses.so_far()}{_validated(state, before=True)}", done, training.epochs)
        state.reached = Reached(steps=losses.done, losses=losses.sums, seconds=time.monotonic() - started)
        if ranks.first and losses.done < len(batches) and time.monotonic() - saved > SECONDS_BETWEEN:
            state.save(run, recipe)
            saved = time.monotonic()
    rate = _rate(training, number, len(batches) - 1, len(batches))
    row = {"epoch": number + 1, "learning_rate": rate, "losses": losses.sums}
    _keep(recipe, state, part, run, row, started, ranks)
    progress(f"{losses.so_far()}{_validated(state)}", number + 1, training.epochs)


def _rate(training: Training, epoch: int, index: int, steps: int) -> float:
    """The learning rate of step `index` of an epoch; a warm-up begins with the end of its first step, not with 0."""
    return training.learning_rate(epoch + (index + 1 if training.warm_up else index) / steps)


def _step(
    recipe: Recipe, terms: Terms, state: State, x: Tensor, y: Tensor, rate: float, losses: Losses, ranks: Ranks
) -> None:
    """One step; what stops it is told with its reason."""
    try:
        losses.add(*take_step(recipe, terms, state, x, y, rate, ranks))
        return
    except Exception as error:
        if not lacks_memory(error):
            losses.read()  # a number that is not finite may be why
            raise
    # outside of the block above, so that the memory which the error holds is free again
    if ranks.size > 1:  # nothing is tried here, for the others wait
        raise UserError(
            f"training stopped: rank {ranks.rank} was out of memory in a step of {len(x)} images, its share of one. "
            "The last checkpoint is still there: go on with more ranks, or set training.batch lower, which is another "
            "recipe, so name another folder for it"
        )
    raise what_fits(lambda images: take_step(recipe, terms, state, x[:images], y[:images], rate), len(x))


def _keep(
    recipe: Recipe, state: State, part: Images, run: Run, row: dict[str, Any], started: float, ranks: Ranks
) -> None:
    """Validate, write the network if it is the best so far, and the checkpoint."""
    scores = validate(state.validated, part, recipe.training.selection, seed=recipe.seed, ranks=ranks)
    best = scores >= max((Scores.of(row) for row in state.metrics), default=Scores(-1, -1))
    state.metrics.append(row | {"best": best, "seconds": time.monotonic() - started} | scores.as_row())
    if best:
        for earlier in state.metrics[:-1]:
            earlier["best"] = False
    if best and ranks.first:
        run.refuse_gone()
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
    state.reached = Reached()
    if ranks.first:
        state.save(run, recipe)


def _validated(state: State, *, before: bool = False) -> str:
    """What validation said of the last whole epoch, which was `before` the one that is told of."""
    if not state.metrics:
        return ""
    row, scores = state.metrics[-1], Scores.of(state.metrics[-1])
    which = f" of epoch {row['epoch']}" if before else ""
    best = " (best so far)" if row["best"] else ""
    return f"; validation{which} {scores.clean:.1%}, robust {scores.robust:.1%}{best}"


def _resumed(state: State) -> str:
    """Where a training goes on that was stopped, or that is longer now."""
    inside = f" and {state.reached.steps} steps" if state.reached.steps else ""
    return f"goes on after epoch {state.epoch}{inside}{_validated(state)}"


def _finished(state: State, run: Run) -> RunRecord:
    before = Run(run.path / ANN)
    of_ann = before.record.training_seconds or 0.0 if "run.json" in before else 0.0
    return replace(
        run.record,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        training_seconds=sum(row["seconds"] for row in state.metrics) + of_ann,
    )
