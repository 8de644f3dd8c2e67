"""What is kept of a training that may be stopped at any time, so that it ends as if it had not been?

All that changes while training. It is written after each epoch, and inside a long one every ten minutes. Random numbers
need no place in it: they follow from the seed, the epoch and the step.
"""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikeproof.choices import UserError
from spikeproof.configs import differing, to_config
from spikeproof.distributed import ALONE, Ranks
from spikeproof.runs import Run
from spikeproof.runs.json_forms import from_json
from spikeproof.runs.records import Epoch
from spikeproof.snn import SpikingNetwork
from spikeproof.training.batch_norm import synchronised
from spikeproof.training.beginnings import ANN
from spikeproof.training.recipe import Recipe
from spikeproof.training.returns import CHECKPOINT, EPOCHS

SECONDS_BETWEEN = 600.0  # as much of a long epoch may be lost


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How far an epoch has come: whole steps, what they have added to its losses, and the seconds they took."""

    steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class State:
    """All that changes while training: weights, their average, the optimiser, and what has been measured."""

    def __init__(self, model: SpikingNetwork, average: SpikingNetwork | None, optimiser: torch.optim.Optimizer) -> None:
        self.model = model
        self.average = average
        self.optimiser = optimiser
        self.ann: str | None = None  # digest of the weights of the ANN that this begins with
        self.metrics: list[dict[str, Any]] = []
        self.reached = Reached()  # in the epoch after the last whole one

    @staticmethod
    def fresh(recipe: Recipe, device: torch.device, ranks: Ranks = ALONE) -> "State":
        model = recipe.build().to(device)
        if recipe.training.synchronised_batch_norm and ranks.size > 1:
            model = synchronised(model, ranks)
        average = copy.deepcopy(model) if recipe.training.average else None
        try:
            optimiser = recipe.training.optimiser.build(model.parameters())
        except ValueError as error:
            raise UserError(f"{recipe.training.optimiser}: {error}") from error
        return State(model, average, optimiser)

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
        facts = {"metrics": self.metrics, "recipe": to_config(recipe), "ann": self.ann, "reached": asdict(self.reached)}
        run.write_tensors(CHECKPOINT, tensors, facts)
        run.write_lines("metrics.jsonl", self.metrics)

    def resume(self, run: Run, recipe: Recipe, ranks: Ranks = ALONE) -> None:
        tensors, facts = ranks.of_first(lambda: run.read_tensors(CHECKPOINT))
        if differing(facts.get("recipe"), recipe) not in ([], [EPOCHS]):  # whether it may be longer was asked before
            raise UserError(f"{run.path / CHECKPOINT} is of another recipe: delete it, or name another folder")
        if facts.get("ann") != self.ann:
            raise UserError(
                f"{run.path / ANN} is no longer the ANN that {run.path} began with: put it back, or name another folder"
            )
        try:
            self._take(tensors, facts, run, ranks)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise error if isinstance(error, UserError) else run.unexpected(CHECKPOINT, error) from error

    def _take(self, tensors: dict[str, Tensor], facts: dict[str, Any], run: Run, ranks: Ranks) -> None:
        """What a checkpoint of this recipe holds; raises whatever one raises that holds something else."""
        for row in facts["metrics"]:
            from_json(row, Epoch)
        self.metrics = facts["metrics"]
        self.reached = Reached(**facts.get("reached", {}))
        if ranks.first:
            run.write_lines("metrics.jsonl", self.metrics)  # a kill between the two files leaves one epoch too few
        self.model.load_state_dict(_below("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(_below("average", tensors))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimiser", tensors).items():
            index, _, field = name.partition(".")
            kept.setdefault(int(index), {})[field] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": kept})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
