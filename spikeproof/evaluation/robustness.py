"""Which images survive? The worst case over a suite of attacks, per image, for growing eps.

The measurer decides, not the measured: every image that an attack returns is projected into the threat, checked
with `contains`, and judged by the model's own forward. An image once broken is never attacked again, neither by a
later attack nor at a larger eps, and the survivors are gathered into full batches.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack, Threat
from spikeproof.data import Images
from spikeproof.evaluation.diagnosis import judged
from spikeproof.evaluation.flags import CHECKED, Credited, Inspection, Trials, examine
from spikeproof.evaluation.judging import Judge
from spikeproof.evaluation.ledger import Ledger, in_order
from spikeproof.evaluation.predictions import Given, Pool, predictions, taken
from spikeproof.evaluation.suites import QUICK, Suite
from spikeproof.evaluation.verdicts import Verdicts
from spikeproof.progress import Report, silent
from spikeproof.randomness import seed_from
from spikeproof.runs import Run
from spikeproof.snn import adapt
from spikeproof.specs import UserError, short

__all__ = ["evaluate"]

DRAWS = 16  # passes of a stochastic network


def evaluate(
    model: nn.Module,
    images: Images | tuple[Tensor, Tensor],
    threats: Sequence[Threat] | Threat,
    suite: Suite = QUICK,
    *,
    batch: int = 256,
    draws: int | None = None,
    seed: int = 0,
    state: Run | None = None,
    progress: Report = silent,
) -> Verdicts:
    """Verdicts under threats of one kind, sorted by eps, for a part of a data set or ``(x [N, C, H, W], y [N])``.

    Networks of SpikingJelly, snnTorch and Norse are adapted (`adapt`); any other model has to forget by itself.
    Images lie in [0, 1]; those of a data set are read batch by batch and never all held. A model that declares
    itself stochastic is judged by `draws` passes (default 16), one that declares the contrary by
    one, any other by as many as are given (default 1); attacks with a field `eot` left at 1 average over as many, and
    none stops at a first lucky draw. With `state`, a run folder, finished batches are kept there and the same call,
    started again, goes on. Raises `UserError` for bad images, labels, threats or logits.
    """
    model = adapt(model)
    threats = in_order(threats)
    for member in suite.members:
        member.check(threats[0])
    pool = images if isinstance(images, Images) else Given(*images)
    if_stochastic = DRAWS if draws is None else draws
    if draws is None:
        draws = DRAWS if getattr(model, "stochastic", False) else 1
    elif getattr(model, "stochastic", None) is False:
        draws = min(draws, 1)
    for name, value, least in (("batch", batch, 1), ("draws", draws, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")
    vote = suite.judged_by == "vote"
    first = taken(model, pool, torch.arange(min(len(pool), CHECKED)))
    network = examine(Inspection(model, *first, suite.paths, width=min(batch, len(first[0])), seed=seed))
    flags = [next(network)]  # whether it keeps a state, which would make all that follows a matter of chance
    logits = predictions(model, pool, batch, draws, vote, seed)
    flags += network
    ledger = Ledger.opened(model, pool, threats, suite, batch, draws, if_stochastic, seed, state, logits, flags)
    judge = Judge(model, draws, vote)
    as_run = _as_run(suite, model)
    for eps, threat in enumerate(threats):
        for number, attack in enumerate(as_run):
            ledger.begin(eps, number)
            while attack and ledger.diagnosis.status == "ok" and (who := ledger.next_batch(batch)) is not None:
                drawn = seed_from(seed, eps, number, int(who[0]))
                found = judge(attack, *taken(model, pool, who), threat, drawn)
                if found.undefined:
                    undefined = f"{found.undefined} of {len(who)} images under {threat}"
                    ledger.spoil(f"logits are NaN or infinite for {undefined}")
                ledger.note(who, found.broken, found.gradients, found.forwards)
                progress(f"{threat}: {short(attack)}", *ledger.done())
    return _examined(judge, pool, ledger.close(), batch, seed, progress)


def _as_run(suite: Suite, model: nn.Module) -> list[Attack | None]:
    """What each member comes down to on this model; None for one that would only repeat another."""
    found: list[Attack | None] = []
    for member in suite.members:
        attack = member.on(model)
        found.append(None if attack in found else attack)
    return found


def _examined(judge: Judge, pool: Pool, found: Verdicts, batch: int, seed: int, progress: Report) -> Verdicts:
    """The verdicts with the flags that attacks raise; unreliable where one of them spoils the number."""
    if found.diagnosis.status != "ok":
        return found
    right = np.flatnonzero(found.broken_at >= 0)
    credited = Credited(found.suite.members, found.broken_by[right].tolist())
    found = replace(found, flags=(*found.flags, *examine(credited)))
    if not len(who := right[: found.suite.examined]):
        return found
    by_gradients = np.array([attack.white_box for attack in found.suite.members] + [False])  # the last: by none
    broken = torch.from_numpy(by_gradients[found.broken_by[who]])
    x, y = taken(judge.model, pool, torch.from_numpy(who))
    drawn, flags = seed_from(seed, len(found.threats)), list(found.flags)
    trials = Trials(judge, x, y, found.threats[-1], broken, batch=batch, seed=drawn)
    for flag in examine(trials):
        flags.append(flag)
        progress(f"red flags: {flag.name}", 1, 1)
    cost = trials.gradients, trials.forwards
    return replace(found, flags=tuple(flags), spent_on_flags=cost, diagnosis=judged(flags))
