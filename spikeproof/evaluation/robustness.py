"""Which images survive? The worst case over a suite of attacks, per image, for growing eps.

The measurer decides, not the measured: every image that an attack returns is projected into the threat, checked
with `contains`, and judged by the model's own forward. An image once broken is never attacked again, neither by a
later attack nor at a larger eps, and the survivors are gathered into full batches.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeproof.attacks import Attack
from spikeproof.calling import check_network, is_stochastic
from spikeproof.choices import UserError, short, whole_number
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation.diagnosis import diagnose, judged
from spikeproof.evaluation.flags import CHECKED, CHECKS, Check, Credited, Inspection, Trials, examine
from spikeproof.evaluation.fresh import Fresh
from spikeproof.evaluation.judging import Judge
from spikeproof.evaluation.ledger import Kept, Ledger, fingerprint_of_verdicts
from spikeproof.evaluation.predictions import Given, Pool, predictions, taken
from spikeproof.evaluation.protocol import Protocol, as_protocol
from spikeproof.evaluation.suites import Suite
from spikeproof.evaluation.verdicts import Verdicts
from spikeproof.progress import Report, shown, silent
from spikeproof.randomness import seed_from
from spikeproof.runs import Run
from spikeproof.snn import adapt

__all__ = ["evaluate"]

DIAGNOSED = 256  # images, whatever the batch
DRAWS = 16  # passes of a stochastic network
BATCH = 256  # images attacked at once
FEW = 16  # images that the cheap checks look at where the suite has none examined
AHEAD = 16  # batches of images that wait for a slot on an accelerator, where few images are as slow as many


def evaluate(
    model: nn.Module,
    data: Any,
    protocol: Any,
    *,
    suite: Suite | str | None = None,
    batch: int | None = None,
    state: Run | None = None,
    trust: bool = False,
    ranks: Ranks = ALONE,
    progress: Report | None = None,
    keep_images: bool = False,
) -> Verdicts:
    """Verdicts on images ``(x [N, C, H, W], y [N])``, on a part of a data set, or on the protocol's part of a data set.

    Images and labels may be tensors, arrays or lists, in a `DataLoader` or a torch data set. In the place of a
    `Protocol` stand a threat or several, or their sizes: ``evaluate(model, data, "8/255", suite="quick")`` is done
    under `Linf`, and by the suite `standard` unless a `suite` is named.
    Networks of SpikingJelly, snnTorch and Norse are adapted (`adapt`); any other model has to forget by itself. Images
    lie in [0, 1]; those of a data set are read batch by batch and never all held. A model that declares itself
    stochastic is judged by the protocol's draws (default 16), and one that declares the contrary by one. Any other is
    judged by as many as are given (default 1). Attacks with a field `eot` left at 1 average over as many, and none
    stops at a first lucky draw. `batch` images are attacked at once (default 256). With `state`, a run folder, finished
    batches are kept there and the same call, started again, goes on. `trust`: run the code from elsewhere that builds
    the network which a `Transfer` of the suite names. The images are dealt to `ranks`, and each rank
    returns all verdicts: for a deterministic network, and for one whose noise is declared, they are those of one
    process. `progress` hears what is going on (None: it is shown on stderr; `progress.silent` shows nothing). With
    `keep_images` the verdicts hold the image that broke each, as `adversarial`; that takes one process, and no `state`.
    Raises `UserError` for bad images, labels or logits, and for ranks that see different ones.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"a model is a torch.nn.Module, not {model!r}; load_model reads that of a run folder")
    if keep_images and (state or ranks.size > 1):
        raise UserError("keep_images keeps what this call alone finds: leave out state and ranks")
    protocol = as_protocol(protocol, suite)
    model, batch = adapt(model), usable(batch)
    pool = _narrowed(protocol.pool(data), model)
    check_network(model)
    fresh = Fresh(model)
    print_ = fingerprint_of_verdicts(model, pool, protocol, batch, ranks, trust) if state or ranks.size > 1 else ""
    kept = None if state is None else Kept(state, print_)
    breaking: dict[int, Tensor] = {}
    with shown(progress if ranks.first else silent, "evaluate") as report:
        found = evaluate_pool(
            model, fresh, pool, protocol, batch, kept, report, ranks, trust, breaking if keep_images else None
        )
    return replace(found, adversarial=_with(breaking, model, pool)) if keep_images else found


def _with(breaking: dict[int, Tensor], model: nn.Module, pool: Pool) -> np.ndarray:
    """All images ``[N, C, H, W]``, those that broke one in the place of that."""
    images = taken(model, pool, torch.arange(len(pool)))[0].cpu().clone()
    for index, image in breaking.items():
        images[index] = image
    return images.numpy()


def evaluate_pool(
    model: nn.Module,
    fresh: Fresh,
    pool: Pool,
    protocol: Protocol,
    batch: int,
    kept: Kept | None,
    progress: Report,
    ranks: Ranks = ALONE,
    trust: bool = False,
    breaking: dict[int, Tensor] | None = None,
) -> Verdicts:
    """`evaluate` on images that are chosen already, with a network that is adapted, and `fresh` copies of it.

    What breaks an image goes into `breaking`, if it is given, by the number of the image.
    """
    threats, suite, draws, seed = protocol.threats, protocol.suite, protocol.draws, protocol.seed
    if_stochastic = DRAWS if draws is None else draws
    if draws is None:
        draws = DRAWS if is_stochastic(model) else 1
    elif is_stochastic(model) is False:
        draws = 1
    progress("red flags: the network itself", 0, len(suite.members) * len(threats) + len(_asked(suite)))
    vote = suite.judged_by == "vote"
    first = taken(model, pool, torch.arange(min(len(pool), CHECKED)))
    width = min(batch, len(first[0]))
    widest = min(batch, len(pool))
    network = examine(Inspection(model, *first, suite.paths, width=width, seed=seed, fresh=fresh, widest=widest))
    # whether it keeps a state, which would make all that follows a matter of chance
    flags = [ranks.of_first(lambda: next(network))]
    logits = predictions(model, pool, batch, draws, vote, seed, ranks)
    checks: list[Callable[[], Any]] = [lambda: list(network)]
    if not flags[0].raised:  # else nothing can be asked of it twice
        x, y = taken(model, pool, torch.arange(min(len(pool), DIAGNOSED)))
        checks.append(lambda: diagnose(model, x, y, suite.paths, batch=batch, seed=seed))
    more, *found = ranks.each(*checks)
    flags += more
    ledger = Ledger.opened(model, pool, protocol, draws, if_stochastic, kept, logits, flags, found, ranks)
    judge = Judge(model, draws, vote, batch, protocol.attack_precision, fresh)
    as_run, ahead = _as_run(suite, model, trust), batch * (1 if judge.device.type == "cpu" else AHEAD)
    for eps, threat in enumerate(threats):
        for number, attack in enumerate(as_run):
            if attack is None or ledger.diagnosis.status != "ok":
                continue
            what, told = f"{threat}: {short(suite.members[number])}", partial(_told, progress, ledger)
            for index in ledger.begin(eps, number, ahead, whole=judge.by_batch(attack)):
                tell, numbers = partial(told, what, len(index)), seed_from(seed, eps, number)
                answered = judge(attack, *taken(model, pool, index), threat, numbers, index, tell=tell)
                ledger.note(index, answered)
                if breaking is not None:
                    breaking |= {int(index[row]): answered.images[row].cpu() for row in answered.broken.nonzero()[:, 0]}
                told(what)
            ledger.end()
    return _examined(judge, pool, ledger.close(), batch, seed, progress, ranks)


def _told(progress: Report, ledger: Ledger, what: str, images: int = 0, share: float = 0.0) -> None:
    """Report the stages that are done, and the `share` of the one under way for some `images`; then come the flags."""
    done, of = ledger.done(images * share)
    progress(f"{what}, {share:.0%}" if share else what, done, of + len(_asked(ledger.verdicts.suite)))


def _asked(suite: Suite) -> list[Check[Trials]]:
    """The checks that run attacks on some of the images."""
    return [each for each in CHECKS if each.subject is Trials and (suite.examined or each.cheap)]


def _narrowed(pool: Pool, model: nn.Module) -> Pool:
    """Images of float64 as float32, unless the network computes in float64 as well."""
    if not isinstance(pool, Given) or pool.x.dtype != torch.float64:
        return pool
    kinds = {tensor.dtype for tensor in (*model.parameters(), *model.buffers())}
    return Given(pool.x.float(), pool.labels) if torch.float32 in kinds else pool


def usable(batch: int | None) -> int:
    """How many images are attacked at once; raises `UserError` for none."""
    return BATCH if batch is None else whole_number("batch", batch, 1)


def _as_run(suite: Suite, model: nn.Module, trust: bool) -> list[Attack | None]:
    """What each member comes down to on this model; None for one that would only repeat another."""
    found: list[Attack | None] = []
    for member in suite.members:
        attack = member.on(model, trust=trust)
        found.append(None if attack in found else attack)
    return found


def _examined(
    judge: Judge, pool: Pool, found: Verdicts, batch: int, seed: int, progress: Report, ranks: Ranks
) -> Verdicts:
    """The verdicts with the flags that attacks raise; unreliable where one of them spoils the number."""
    if found.diagnosis.status != "ok":
        return found
    right = np.flatnonzero(found.broken_at >= 0)
    credited = Credited(found.suite.members, found.broken_by[right].tolist())
    found = replace(found, flags=(*found.flags, *examine(credited)))
    if not len(examined := right[: found.suite.examined or FEW]):
        return found
    by_gradients = np.array([attack.white_box for attack in found.suite.members] + [False])  # the last: by none
    broken = torch.from_numpy(by_gradients[found.broken_by[examined]])
    index = torch.from_numpy(examined)
    x, y = taken(judge.model, pool, index)
    drawn, flags = seed_from(seed, len(found.threats)), list(found.flags)
    made, asked, stages = 0, _asked(found.suite), len(found.suite.members) * len(found.threats)
    trials = Trials(
        judge,
        x,
        y,
        found.threats[-1],
        broken,
        batch=batch,
        seed=drawn,
        index=index,
        ranks=ranks,
        paths=found.suite.paths,
        tell=lambda what: progress(f"red flags: {what}", stages + made, stages + len(asked)),
    )
    for made, each in enumerate(asked, 1):
        progress(f"red flags: {each.name}", stages + made, stages + len(asked))
        flags += examine(trials, [each])
    cost = trials.gradients, trials.forwards
    return replace(found, flags=tuple(flags), spent_on_flags=cost, diagnosis=judged(flags))
