"""Which images survive? The worst case over a suite of attacks, per image, for growing eps.

The measurer decides, not the measured: every image that an attack returns is projected into the threat, checked
with `contains`, and judged by the model's own forward. An image once broken is never attacked again, neither by a
later attack nor at a larger eps, and the survivors are gathered into full batches.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.attacks.attack import as_evaluated, check_images, check_targets
from spikeproof.evaluation.diagnosis import Diagnosis, diagnose
from spikeproof.evaluation.suites import QUICK, Suite
from spikeproof.evaluation.verdicts import NEVER, Verdicts
from spikeproof.progress import Report, silent
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs import Run
from spikeproof.snn import attack_view
from spikeproof.specs import UserError, to_config

__all__ = ["evaluate", "fingerprint", "predict"]

STATE = "verdicts.partial.npz"


def evaluate(
    model: nn.Module,
    images: tuple[Tensor, Tensor],
    threats: Sequence[Threat],
    suite: Suite = QUICK,
    *,
    batch: int = 256,
    draws: int | None = None,
    seed: int = 0,
    state: Run | None = None,
    progress: Report = silent,
) -> Verdicts:
    """Verdicts for images ``(x [N, C, H, W] in [0, 1], y [N])`` under threats of one kind, sorted by eps.

    A stochastic model is judged by the mean logits of `draws` passes (default 1, or 16 where the model declares
    itself stochastic), and attacks with a field `eot` left at 1 average over as many. With `state`, a run folder,
    finished batches are kept there and the same call, started again, goes on.
    Raises `UserError` for bad images, labels, threats or logits.
    """
    check_images(images[0])
    threats = _in_order(threats)
    draws = draws or (16 if getattr(model, "stochastic", False) else 1)
    suite = replace(suite, attacks=tuple(_averaging(attack, draws) for attack in suite.attacks))
    book = _Book.opened(model, images, threats, suite, batch, draws, seed, state)
    if book.diagnosis.status == "ok":
        attacked = attack_view(model)
        for eps, threat in enumerate(threats):
            for number, attack in enumerate(suite.attacks):
                book.begin(eps, number)
                while (who := book.next_batch(batch)) is not None:
                    _attack(model, attacked, images, who, threat, attack, book, draws, seed)
                    progress(f"{threat}: {type(attack).__name__}", *book.done())
    return book.close()


def predict(model: nn.Module, x: Tensor, *, batch: int = 256, draws: int = 1, seed: int = 0) -> Tensor:
    """Mean logits ``[N, K]`` of `draws` passes in eval mode; `x` may lie on another device than the model."""
    device = _device(model)
    with torch.no_grad(), as_evaluated(model), seeded(seed, device):
        parts = []
        for chunk in x.split(batch):
            logits = torch.stack([_logits(model, chunk.to(device)) for _ in range(draws)]).mean(0)
            parts.append(logits.float().cpu())
    return torch.cat(parts)


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    logits = model(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        seen = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"a model returns logits [B, K]; for {len(x)} images this one returned {seen}")
    return logits


def _attack(
    model: nn.Module,
    attacked: nn.Module,
    images: tuple[Tensor, Tensor],
    who: Tensor,
    threat: Threat,
    attack: Attack,
    book: "_Book",
    draws: int,
    seed: int,
) -> None:
    device = _device(model)
    x, y = images[0][who].to(device), images[1][who].to(device)
    drawn = seed_from(seed, book.eps, book.attack, int(who[0]))
    outcome = attack.run(attacked, x, y, threat, seed=drawn, stop=True)
    found = threat.project(outcome.x, x)
    wrong = predict(model, found, batch=len(found), draws=draws, seed=drawn + 1).argmax(1) != y.cpu()
    broken = wrong & threat.contains(found, x).cpu()
    book.note(who, broken, outcome.gradients.cpu(), outcome.forwards.cpu() + draws)


class _Book:
    """The verdicts while they are being made; kept on disk after every batch where there is a run folder."""

    def __init__(self, verdicts: Verdicts, settings: np.ndarray, state: Run | None) -> None:
        self.verdicts = verdicts
        self.settings = settings
        self.state = state
        self.diagnosis = verdicts.diagnosis
        self.eps = self.attack = self.started = 0
        self.pending = np.zeros(0, dtype=np.int64)
        self.stage = np.array([0, -1])  # the eps and the attack that `pending` belongs to

    @staticmethod
    def opened(
        model: nn.Module,
        images: tuple[Tensor, Tensor],
        threats: Sequence[Threat],
        suite: Suite,
        batch: int,
        draws: int,
        seed: int,
        state: Run | None,
    ) -> "_Book":
        x, y = images
        settings = np.array(fingerprint(model, images, threats, suite, batch, draws, seed))
        logits = predict(model, x, batch=batch, draws=draws, seed=seed)
        check_targets(y, x, logits.shape[1])
        first, device = min(len(x), batch), _device(model)
        diagnosis = diagnose(model, x[:first].to(device), y[:first].to(device), seed=seed)
        if not logits.isfinite().all():
            diagnosis = Diagnosis(
                "nan", f"logits are NaN or infinite for {int((~logits.isfinite()).any(1).sum())} images"
            )
        prediction, label = logits.argmax(1).numpy(), y.cpu().numpy()
        verdicts = Verdicts(
            threats=threats,
            suite=suite,
            diagnosis=diagnosis,
            label=label,
            clean_prediction=prediction,
            broken_at=np.where(prediction == label, len(threats), NEVER),
            broken_by=np.full(len(x), NEVER),
            gradients=np.zeros(len(x), dtype=np.int64),
            forwards=np.full(len(x), draws, dtype=np.int64),
        )
        book = _Book(verdicts, settings, state)
        if state is not None and STATE in state:
            book._resume(state.read_arrays(STATE))
        return book

    def _resume(self, kept: dict[str, np.ndarray]) -> None:
        if not np.array_equal(kept["settings"], self.settings):
            return  # another model, other images or another protocol: what was kept says nothing about this one
        for name, array in self.verdicts.arrays().items():
            array[:] = kept[name]
        self.pending, self.stage = kept["pending"], kept["stage"]

    def begin(self, eps: int, attack: int) -> None:
        self.eps, self.attack = eps, attack
        if (eps, attack) > tuple(self.stage):
            self.pending = np.flatnonzero(self.verdicts.broken_at == len(self.verdicts.threats))
            self.stage = np.array([eps, attack])
        self.started = len(self.pending)

    def next_batch(self, size: int) -> Tensor | None:
        here = (self.eps, self.attack) == tuple(self.stage)
        return torch.from_numpy(self.pending[:size]) if here and len(self.pending) else None

    def note(self, who: Tensor, broken: Tensor, gradients: Tensor, forwards: Tensor) -> None:
        v, places = self.verdicts, who.numpy()
        v.broken_at[places[broken.numpy()]] = self.eps
        v.broken_by[places[broken.numpy()]] = self.attack
        v.gradients[places] += gradients.numpy()
        v.forwards[places] += forwards.numpy()
        self.pending = self.pending[len(places) :]
        if self.state is not None:
            progress = {"settings": self.settings, "pending": self.pending, "stage": self.stage}
            self.state.write_arrays(STATE, v.arrays() | progress)

    def done(self) -> tuple[float, float]:
        """Stages (one attack at one eps) done, and how many there are."""
        attacks = len(self.verdicts.suite.attacks)
        left = len(self.pending) / max(1, self.started)
        return self.eps * attacks + self.attack + 1 - left, attacks * len(self.verdicts.threats)

    def close(self) -> Verdicts:
        if self.state is not None:
            (self.state.path / STATE).unlink(missing_ok=True)
        return self.verdicts


def _averaging(attack: Attack, draws: int) -> Attack:
    alone = draws > 1 and getattr(attack, "eot", None) == 1
    return replace(attack, eot=draws) if alone else attack  # type: ignore[type-var]


def _in_order(threats: Sequence[Threat]) -> list[Threat]:
    if not threats:
        raise UserError("an evaluation needs at least one threat, for example Linf(8/255)")
    kinds = {type(threat).__name__ for threat in threats}
    if len(kinds) > 1:
        raise UserError(f"the threats of one evaluation differ in size only; these are {', '.join(sorted(kinds))}")
    ordered = sorted(threats, key=lambda threat: threat.eps)
    if len({threat.eps for threat in ordered}) < len(ordered):
        raise UserError("the same eps is given twice")
    return ordered


def fingerprint(
    model: nn.Module,
    images: tuple[Tensor, Tensor],
    threats: Sequence[Threat],
    suite: Suite,
    batch: int,
    draws: int | None,
    seed: int,
) -> str:
    """A digest of all that verdicts depend on: weights, images, labels and protocol."""
    protocol = (to_config(_in_order(threats)), to_config(suite), batch, draws, seed)
    digest = hashlib.sha256(repr(protocol).encode())
    for tensor in (*images, *model.state_dict().values()):
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _device(model: nn.Module) -> torch.device:
    tensor = next((t for t in (*model.parameters(), *model.buffers())), None)
    return tensor.device if tensor is not None else torch.device("cpu")
