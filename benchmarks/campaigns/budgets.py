"""Does what an attack gives back lie in its threat, whatever the model, the images and the seed?"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.campaigns.journal import Journal
from spikeproof.attacks import (
    L1,
    L2,
    Attack,
    EventEdits,
    EventFlips,
    FrameL2,
    FrameLinf,
    Linf,
    Retiming,
    Threat,
    Transfer,
)
from spikeproof.choices import UserError, fields_of, short
from spikeproof.registry import known, named

AT_ONCE = 20  # trials of an attack
FEW = {"steps": 3, "queries": 12, "restarts": 2, "draws": 3, "most_draws": 6, "searches": 2, "proposals": 1}
THREATS: tuple[tuple[type, tuple[float, ...]], ...] = (
    (Linf, (0.0, 1 / 255, 8 / 255, 0.3, 1.0)),
    (L2, (0.0, 0.1, 0.5, 3.0)),
    (L1, (0.0, 0.5, 12.0, 200.0)),
    (FrameLinf, (1.0, 2.0)),
    (FrameL2, (1.0, 3.0)),
    (EventFlips, (0, 1, 7)),
    (EventEdits, (0, 1, 7)),
    (Retiming, (1, 3)),
)


def attacks() -> Iterator[Attack]:
    """All attacks that can be made without more than numbers, made short."""
    for name in sorted(known(Attack)):
        kind: Any = named(name, Attack)
        if kind is Transfer:  # it needs another network's folder
            continue
        try:
            attack = kind()
        except (UserError, TypeError):
            continue
        yield shortened(attack)


def shortened(choice: Any) -> Any:
    """The same attack, the attacks in it too, with few steps."""
    fields = fields_of(type(choice))
    changed: dict[str, Any] = {
        name: few for name, few in FEW.items() if name in fields and getattr(choice, name) is not None
    }
    changed |= {name: shortened(getattr(choice, name)) for name in fields if isinstance(getattr(choice, name), Attack)}
    return replace(choice, **changed)


def drawn(threat: Threat, number: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A model, images or event frames that the threat is on, and labels."""
    generator = torch.Generator().manual_seed(number)
    shape = (1 + number % 3, 2 + number % 4, 3 + number % 5)
    if threat.kind == "images":
        x = torch.rand(5, *shape, generator=generator).to((torch.float32, torch.float64)[number % 2])
        x = x.round() if number % 7 == 0 else x
    else:
        x = (
            torch.randint(0, 3, (5, 4, 2, *shape[1:]), generator=generator)
            .clamp(max=1 if threat.kind == "retiming" else 1 + number % 2)
            .float()
        )
    torch.manual_seed(number)
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.Tanh(), nn.Linear(8, 3)).to(x.dtype)
    return model, x, torch.randint(0, 3, (5,), generator=generator)


def campaign(journal: Journal, trials: int, out_of_time: Callable[[], bool]) -> None:
    """So many trials of each attack, over all threats that it knows, some of each in turn."""
    tried = [(attack, journal.tally(f"budget of {type(attack).__name__}", trials)) for attack in attacks()]
    while not out_of_time() and (left := [each for each in tried if each[1].trials < trials]):
        attack, tally = min(left, key=lambda each: each[1].trials)
        for _ in range(min(AT_ONCE, trials - tally.trials)):
            tally.note(*kept(attack, tally.trials))
        journal.write()


def kept(attack: Attack, number: int) -> tuple[str, str]:
    """How one trial ended: "inside", or what was wrong."""
    there = []
    for kind, sizes in THREATS:
        threat = kind(eps=sizes[number % len(sizes)])
        try:
            attack.check(threat)
            threat.check(drawn(threat, number)[1])
        except UserError:
            continue
        there.append(threat)
    if not there:
        return "no threat that it knows", short(attack)
    threat = there[number % len(there)]
    model, x, y = drawn(threat, number)
    before = [tensor.clone() for tensor in (x, *model.parameters())]
    try:
        found = attack.run(model, x, y, threat, seed=number, stop=number % 2 == 0, width=(None, 2)[number % 3 == 0])
    except UserError as error:
        return "refused", f"{short(attack)} {threat} {error}"
    except Exception as error:
        return "tracebacks", f"{short(attack)} {threat} {number} {type(error).__name__}: {error}"
    if not all(torch.equal(a, b) for a, b in zip(before, (x, *model.parameters()), strict=True)):
        return "images or network changed", f"{short(attack)} {threat} {number}"
    if found.x.shape != x.shape or found.x.dtype != x.dtype:
        return "another shape", f"{short(attack)} {threat} {number}"
    if not bool(threat.contains(threat.project(found.x, x), x).all()):
        return "projected outside", f"{short(attack)} {threat} {number}"
    if not bool(threat.contains(found.x, x).all()):
        return "outside", f"{short(attack)} {threat} {number}"
    return "inside", ""
