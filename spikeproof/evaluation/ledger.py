"""What has an evaluation found so far, and how does it go on after a stop?"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.calling import device_of, is_stochastic, predict, width_for
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation.diagnosis import Diagnosis, judged
from spikeproof.evaluation.flags import Flag
from spikeproof.evaluation.judging import Judgement
from spikeproof.evaluation.predictions import Pool
from spikeproof.evaluation.protocol import Protocol
from spikeproof.evaluation.verdicts import NEVER, Verdicts
from spikeproof.runs.folder import Folder
from spikeproof.runs.weights import load_model, tensors_of

STATES = "verdicts.partial*.npz"
HASHED = 256  # images at once
ANSWERED = 64  # images whose logits tell networks apart that share their weights


class Way(Interface):
    """How something is measured: a `Protocol`, or what else numbers depend on."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def sources(self) -> list[Path]: ...


class Kept(NamedTuple):
    """The folder that keeps what was found so far, and the fingerprint of what it is about."""

    folder: Folder
    fingerprint: str


class Ledger:
    """The verdicts while they are being made; kept on disk after every batch where there is a run folder.

    A stage is one attack at one eps. Each image knows how many stages it has behind it, so it does not matter which
    rank attacked it, in which batch, or how many ranks there were when the work was stopped.
    """

    def __init__(self, verdicts: Verdicts, kept: "Kept | None", ranks: Ranks) -> None:
        self.verdicts, self.kept, self.ranks = verdicts, kept, ranks
        self.diagnosis = verdicts.diagnosis
        self.stages = np.zeros(len(verdicts.label), dtype=np.int64)
        self.undefined = np.zeros(len(verdicts.label), dtype=bool)  # whose logits an attack has shown to be no numbers
        self.stage = self.started = self.left = 0
        self.mine = np.zeros(0, dtype=np.int64)  # the images of this rank at this stage

    @staticmethod
    def opened(
        model: nn.Module,
        pool: Pool,
        protocol: Protocol,
        draws: int,
        draws_if_stochastic: int,
        kept: "Kept | None",
        logits: Tensor,
        flags: Sequence[Flag],
        found: Sequence[Diagnosis],
        ranks: Ranks = ALONE,
    ) -> "Ledger":
        """A ledger of the images that are classified right; `found` are diagnoses, the first that is not ok counts."""
        threats, suite = protocol.threats, protocol.suite
        diagnosis = next((each for each in found if each.status != "ok"), judged(flags))
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
            broken_as=np.full(len(pool), NEVER),
            gradients=np.zeros(len(pool), dtype=np.int64),
            forwards=np.full(len(pool), draws, dtype=np.int64),
            flags=tuple(flags),
        )
        ledger = Ledger(verdicts, kept, ranks)
        if kept is not None:
            ledger._resume(kept)
        return ledger

    def _rows(self) -> dict[str, np.ndarray]:
        """What is found image by image, and changes."""
        names = ("broken_at", "broken_by", "broken_as", "gradients", "forwards")
        changing = {name: getattr(self.verdicts, name) for name in names}
        return changing | {"stages": self.stages, "undefined": self.undefined}

    def _resume(self, kept: "Kept") -> None:
        """Take from all that was kept, by however many ranks, what is known of each image at its latest stage."""
        for file in sorted(kept.folder.path.glob(STATES)):
            found = kept.folder.read_arrays(file.name)
            if str(found.get("settings")) == kept.fingerprint and self._is_alike(found):  # else it is of another
                self._take(np.arange(len(self.stages)), found)
        for theirs in self.ranks.gather(self._rows()):  # who may see other disks
            self._take(np.arange(len(self.stages)), theirs)
        self._judge_undefined()

    def _is_alike(self, found: dict[str, np.ndarray]) -> bool:
        """Whether these are rows as they are kept here, of as many images."""
        return all(
            name in found and found[name].shape == rows.shape and found[name].dtype == rows.dtype
            for name, rows in self._rows().items()
        )

    def _take(self, index: np.ndarray, found: dict[str, np.ndarray]) -> None:
        """What somebody found for the images `index`, where it is more than is known here."""
        newer = found["stages"] > self.stages[index]
        for name, rows in self._rows().items():
            rows[index[newer]] = found[name][newer]

    def begin(self, eps: int, attack: int, size: int, *, whole: bool) -> list[Tensor]:
        """The images of this rank that wait at this stage, in batches; whole batches are dealt if `whole`."""
        self.stage = eps * len(self.verdicts.suite.members) + attack
        unbroken = self.verdicts.broken_at == len(self.verdicts.threats)
        waiting = torch.from_numpy(np.flatnonzero(unbroken & (self.stages <= self.stage)))
        batches = self.ranks.dealt(waiting, size, whole=whole)
        self.mine = torch.cat([waiting[:0], *batches]).numpy()
        self.started = self.left = len(self.mine)
        return batches

    def note(self, index: Tensor, found: Judgement) -> None:
        v, places = self.verdicts, index.numpy()
        eps, attack = divmod(self.stage, len(v.suite.members))
        broken = found.broken.numpy()
        v.broken_at[places[broken]] = eps
        v.broken_by[places[broken]] = attack
        v.broken_as[places[broken]] = found.named.numpy()[broken]
        v.gradients[places] += found.gradients.numpy()
        v.forwards[places] += found.forwards.numpy()
        self.undefined[places] = found.undefined.numpy()
        self.stages[places] = self.stage + 1
        self.left -= len(places)
        if self.kept is not None:
            file = STATES.replace("*", f"-{self.ranks.rank}" if self.ranks.size > 1 else "")
            self.kept.folder.write_arrays(file, self._rows() | {"settings": np.array(self.kept.fingerprint)})

    def end(self) -> None:
        """All ranks learn what the others found at this stage."""
        mine = self.mine, {name: rows[self.mine] for name, rows in self._rows().items()}
        for index, theirs in self.ranks.gather(mine):
            self._take(index, theirs)
        self._judge_undefined()

    def _judge_undefined(self) -> None:
        """The network may turn out to be beyond measuring while it is attacked."""
        if not self.undefined.any():
            return
        eps = (int(self.stages[self.undefined].max()) - 1) // len(self.verdicts.suite.members)
        reason = f"{int(self.undefined.sum())} images under {self.verdicts.threats[eps]}"
        self.diagnosis = Diagnosis("nan", f"logits are NaN or infinite for {reason}")

    def done(self, more: float = 0.0) -> tuple[float, float]:
        """Stages done, and how many there are; `more` is what is done of images that are not noted yet."""
        left = (self.left - more) / max(1, self.started)
        return self.stage + 1 - left, len(self.verdicts.suite.members) * len(self.verdicts.threats)

    def close(self) -> Verdicts:
        return replace(self.verdicts, diagnosis=self.diagnosis)


def fingerprint_of_verdicts(
    model: nn.Module, pool: Pool, protocol: Protocol, batch: int, ranks: Ranks = ALONE, trust: bool = False
) -> str:
    """The `fingerprint` of an evaluation; the verdicts of a deterministic network are the same for any batch."""
    return fingerprint(model, pool, protocol, batch if is_stochastic(model) else None, ranks, trust)


def fingerprint(
    model: nn.Module, pool: Pool, protocol: Way, batch: int | None, ranks: Ranks = ALONE, trust: bool = False
) -> str:
    """A digest of all that numbers depend on: the network, its weights, what it answers to the first images, images,
    labels, the networks that images are transferred from, the protocol, and, unless None, the `batch`.

    Raises `UserError` where `ranks` do not agree on one of these, and, unless `trust` is set, where one of those
    networks is built by code from outside spikeproof.
    """
    whole = hashlib.sha256()
    parts: dict[str, Any] = defaultdict(hashlib.sha256)
    for name, piece in _seen(model, pool, protocol, batch, trust):
        whole.update(piece)
        parts[name].update(piece)
    ranks.agree({name: part.hexdigest() for name, part in parts.items()})
    return whole.hexdigest()


def _seen(model: nn.Module, pool: Pool, protocol: Way, batch: int | None, trust: bool) -> Iterator[tuple[str, bytes]]:
    """All that numbers depend on, by name, in pieces."""
    yield "protocol or network", f"{protocol.fingerprint} {batch} {is_stochastic(model)} {model}".encode()
    first, _ = pool.batch(torch.arange(min(len(pool), ANSWERED)))
    yield "answers to the first images", _bytes(predict(model, first, seed=protocol.seed))
    for network in (model, *(load_model(source, trust=trust) for source in protocol.sources)):
        for tensor in tensors_of(network).values():
            yield "weights", _bytes(tensor)
    for indices in torch.arange(len(pool)).split(HASHED):
        for name, tensor in zip(("images", "labels"), pool.batch(indices), strict=True):
            yield name, _bytes(tensor)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
