"""What has an evaluation found so far, and how does it go on after a stop?"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.calling import device_of, is_stochastic, predict, width_for
from spikeproof.evaluation.diagnosis import Diagnosis, diagnose, judged
from spikeproof.evaluation.flags import Flag
from spikeproof.evaluation.predictions import Pool, taken
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.verdicts import NEVER, Verdicts
from spikeproof.runs import Run
from spikeproof.runs.weights import load_model, tensors_of

STATE = "verdicts.partial.npz"
DIAGNOSED = 256  # images, whatever the batch
HASHED = 256  # images at once
ANSWERED = 64  # images whose logits tell networks apart that share their weights


class Kept(NamedTuple):
    """The run folder that keeps what was found so far, and the fingerprint of what it is about."""

    run: Run
    fingerprint: str


class Ledger:
    """The verdicts while they are being made; kept on disk after every batch where there is a run folder."""

    def __init__(self, verdicts: Verdicts, kept: "Kept | None") -> None:
        self.verdicts = verdicts
        self.kept = kept
        self.diagnosis = verdicts.diagnosis
        self.spoiled = ""  # why the network cannot be measured, where only an attack has shown it
        self.eps = self.attack = self.started = 0
        self.pending = np.zeros(0, dtype=np.int64)
        self.stage = np.array([0, -1])  # the eps and the attack that `pending` belongs to

    @staticmethod
    def opened(
        model: nn.Module,
        pool: Pool,
        protocol: Protocol,
        batch: int,
        draws: int,
        draws_if_stochastic: int,
        kept: "Kept | None",
        logits: Tensor,
        flags: Sequence[Flag],
    ) -> "Ledger":
        threats, suite, seed = protocol.threats, protocol.suite, protocol.seed
        diagnosis = judged(flags)
        if diagnosis.status == "ok" or len(flags) > 1:  # else it keeps a state, and nothing can be asked of it twice
            x, y = taken(model, pool, torch.arange(min(len(pool), DIAGNOSED)))
            found = diagnose(model, x, y, suite.paths, batch=batch, seed=seed)
            diagnosis = found if found.status != "ok" else diagnosis
        if broken := int((~logits.isfinite()).any(1).sum()):
            diagnosis = Diagnosis("nan", f"logits are NaN or infinite for {broken} of {len(pool)} images")
        prediction, label = logits.argmax(1).numpy(), pool.labels.cpu().numpy()
        verdicts = Verdicts(
            threats=threats,
            suite=suite,
            draws=draws,
            draws_if_stochastic=draws_if_stochastic,
            width=width_for(device_of(model)),
            diagnosis=diagnosis,
            label=label,
            clean_prediction=prediction,
            broken_at=np.where(prediction == label, len(threats), NEVER),
            broken_by=np.full(len(pool), NEVER),
            gradients=np.zeros(len(pool), dtype=np.int64),
            forwards=np.full(len(pool), draws, dtype=np.int64),
            flags=tuple(flags),
        )
        ledger = Ledger(verdicts, kept)
        if kept is not None and STATE in kept.run:
            ledger._resume(kept.run.read_arrays(STATE), kept.fingerprint)
        return ledger

    def _resume(self, found: dict[str, np.ndarray], fingerprint: str) -> None:
        if str(found["settings"]) != fingerprint:
            return  # another model, other images or another protocol: what was kept says nothing about this one
        for name, array in self.verdicts.arrays().items():
            array[:] = found[name]
        self.pending, self.stage = found["pending"], found["stage"]
        if reason := str(found.get("spoiled", "")):
            self.spoil(reason)

    def begin(self, eps: int, attack: int) -> None:
        self.eps, self.attack = eps, attack
        if (eps, attack) > tuple(self.stage):
            self.pending = np.flatnonzero(self.verdicts.broken_at == len(self.verdicts.threats))
            self.stage = np.array([eps, attack])
        self.started = len(self.pending)

    def next_batch(self, size: int) -> Tensor | None:
        here = (self.eps, self.attack) == tuple(self.stage)
        return torch.from_numpy(self.pending[:size]) if here and len(self.pending) else None

    def note(self, index: Tensor, broken: Tensor, gradients: Tensor, forwards: Tensor) -> None:
        v, places = self.verdicts, index.numpy()
        v.broken_at[places[broken.numpy()]] = self.eps
        v.broken_by[places[broken.numpy()]] = self.attack
        v.gradients[places] += gradients.numpy()
        v.forwards[places] += forwards.numpy()
        self.pending = self.pending[len(places) :]
        if self.kept is not None:
            about = {"settings": np.array(self.kept.fingerprint), "spoiled": np.array(self.spoiled)}
            self.kept.run.write_arrays(STATE, v.arrays() | about | {"pending": self.pending, "stage": self.stage})

    def done(self) -> tuple[float, float]:
        """Stages (one attack at one eps) done, and how many there are."""
        attacks = len(self.verdicts.suite.members)
        left = len(self.pending) / max(1, self.started)
        return self.eps * attacks + self.attack + 1 - left, attacks * len(self.verdicts.threats)

    def spoil(self, reason: str) -> None:
        """The network turned out to be beyond measuring while it was attacked."""
        self.spoiled, self.diagnosis = reason, Diagnosis("nan", reason)

    def close(self) -> Verdicts:
        return replace(self.verdicts, diagnosis=self.diagnosis)


def fingerprint_of_verdicts(model: nn.Module, pool: Pool, protocol: Protocol, batch: int) -> str:
    """The `fingerprint` of an evaluation; the verdicts of a deterministic network are the same for any batch."""
    return fingerprint(model, pool, protocol, batch if is_stochastic(model) else None)


def fingerprint(model: nn.Module, pool: Pool, protocol: Protocol, batch: int | None) -> str:
    """A digest of all that numbers depend on: the network, its weights, what it answers to the first images, images,
    labels, the networks that images are transferred from, the protocol, and, unless None, the `batch`."""
    how = f"{protocol.fingerprint} {batch} {is_stochastic(model)} {model}"
    digest = hashlib.sha256(how.encode())
    first, _ = pool.batch(torch.arange(min(len(pool), ANSWERED)))
    sources = [load_model(source) for source in protocol.sources]
    tensors = [tensor for network in (model, *sources) for tensor in tensors_of(network).values()]
    for tensor in (predict(model, first, seed=protocol.seed), *tensors):
        digest.update(_bytes(tensor))
    for indices in torch.arange(len(pool)).split(HASHED):
        for tensor in pool.batch(indices):
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
