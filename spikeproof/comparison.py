"""How are training recipes compared? Train all, attack all under one protocol, write one report."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from spikeproof.choices import UserError, short
from spikeproof.configs import to_config
from spikeproof.data.digests import digest
from spikeproof.distributed import ALONE, Ranks
from spikeproof.evaluation import Protocol, evaluate_run
from spikeproof.evaluation.protocol import as_protocol
from spikeproof.progress import Report, lines, shown, silent
from spikeproof.runs import Run
from spikeproof.runs.digests import digest_of_json
from spikeproof.runs.weights import load_model
from spikeproof.training import Recipe, train
from spikeproof.training.beginnings import refuse_what_cannot_work
from spikeproof.training.returns import refuse_another_recipe

__all__ = ["compare"]


def compare(
    recipes: Sequence[Recipe],
    protocol: Any,
    out: str | Path,
    seeds: int = 1,
    *,
    data_root: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
    ranks: Ranks = ALONE,
    progress: Report | None = None,
    each: Callable[[Run], object] = lambda run: None,
) -> list[Run]:
    """Run folders under `out`, each trained and evaluated, and their report ``out/report.html``.

    In the place of a `Protocol` stand threats or their sizes, as in `evaluate`: then by the suite `standard`.
    Every recipe is trained with `seeds` seeds, counted up from its own. Called again after a stop it goes on where it
    was; what is finished is not done twice. Where there are more runs than `ranks`, each run is dealt to one rank,
    which trains and evaluates it alone. Else all ranks work together on each run, one after the other. `progress` hears
    what is going on, counted in networks (None: it is shown on stderr; `progress.silent` shows nothing). `each` is
    called with a run as soon as it is evaluated, on the rank that did it. Raises `UserError` for two recipes of one
    name, and, before anything is trained, for what would stop the work half way.
    """
    protocol = as_protocol(protocol)
    if seeds < 1:
        raise UserError(f"seeds must be at least 1, not {seeds}")
    names = [recipe.name for recipe in recipes]
    if not names:
        raise UserError("nothing to compare: give at least one recipe")
    if len(set(names)) < len(names):
        raise UserError(f"two recipes have the same name: {', '.join(sorted(names))}")
    planned = {_folder(recipe, k, seeds, Path(out)): _seeded(recipe, k) for recipe in recipes for k in range(seeds)}
    ranks.of_first(lambda: _refuse_early(planned, protocol, data_root))
    ranks.agree(_facts(planned, protocol, data_root) if ranks.size > 1 else {})
    dealt = len(planned) > ranks.size and not _made_here(planned, protocol)
    by, folders = ranks.alone() if dealt else ranks, list(planned)
    with _shown(progress, Path(out).name, ranks, dealt) as report:
        shares = Shares(len(folders), report)
        for number in ranks.turns(len(folders), f"runs of {out}") if dealt else range(len(folders)):
            run = Run(folders[number])
            with shares.of(number, f"train {run.name}", before=True) as part:
                train(planned[run.path], run.path, data_root=data_root, device=device, ranks=by, progress=part)
            with shares.of(number, f"attack {run.name}") as part:
                evaluate_run(run, protocol, data_root=data_root, device=device, trust=trust, ranks=by, progress=part)
            if by.first:
                each(run)
    ranks.wait()
    runs = [Run(folder) for folder in planned]
    if ranks.first:
        from spikeproof.reports import write_report  # loaded when there is something to report

        write_report(runs, Path(out) / "report.html", verdicts=protocol.name)
    return runs


def _shown(progress: Report | None, title: str, ranks: Ranks, dealt: bool) -> AbstractContextManager[Report]:
    """Of all ranks where each has runs of its own, else of the first."""
    if progress is None and dealt and ranks.size > 1:
        return lines(f"{title}, rank {ranks.rank}")
    return shown(progress if dealt or ranks.first else silent, title)


class Shares:
    """Progress of a whole comparison, counted in networks: how much of one is its training is learned on the way."""

    def __init__(self, networks: int, report: Report) -> None:
        self.networks, self.report = networks, report
        self.seconds: dict[bool, list[float]] = {True: [], False: []}  # of training, and of attacks
        self.shares: dict[int, float] = {}  # of a network's work that its training is taken for, from its start on

    @contextmanager
    def of(self, number: int, what: str, *, before: bool = False) -> Iterator[Report]:
        """The progress of training network `number`, which comes `before` its evaluation, or of the latter."""
        share, started, heard = self.shares.setdefault(number, self._training()), time.monotonic(), False
        first, size = (number, share) if before else (number + share, 1 - share)

        def report(text: str, done: float, of: float) -> None:
            nonlocal heard
            heard = True
            title = f"network {number + 1} of {self.networks}: {what}"
            self.report(f"{title}, {text}", first + size * done / of, self.networks)

        yield report
        if heard:  # else it was there already
            self.seconds[before].append(time.monotonic() - started)

    def _training(self) -> float:
        """The share of training in the work on a network; half, while nothing else is known."""
        if not all(self.seconds.values()):
            return 0.5
        training, attacks = (sum(self.seconds[each]) / len(self.seconds[each]) for each in (True, False))
        return training / (training + attacks)


def _seeded(recipe: Recipe, k: int) -> Recipe:
    return recipe.seeded(recipe.seed + k)


def _folder(recipe: Recipe, k: int, seeds: int, out: Path) -> Path:
    return out / (recipe.name if seeds == 1 else f"{recipe.name}-seed{recipe.seed + k}")


def _refuse_early(planned: dict[Path, Recipe], protocol: Protocol, data_root: str | Path | None) -> None:
    """Find what would stop a comparison half way before hours are spent: folders, networks, data, threats, images."""
    made_here = _made_here(planned, protocol)
    for source in protocol.sources:
        if source not in made_here:
            load_model(source)
    for folder, recipe in planned.items():
        refuse_another_recipe(recipe, folder)
    for recipe in {recipe.name: recipe for recipe in planned.values()}.values():
        refuse_what_cannot_work(recipe)
        _refuse_another_kind(recipe, protocol)
    for data in {recipe.data for recipe in planned.values()}:
        pool = protocol.part_of(data, data_root)
        protocol.threats[0].check(pool.batch(torch.arange(1))[0])


def _refuse_another_kind(recipe: Recipe, protocol: Protocol) -> None:
    """Threats on images are none on recordings, and the other way round."""
    threat, recordings = protocol.threats[0], len(recipe.data.shape) == 4
    if recordings == (threat.kind == "images"):
        own, other = ("recordings", "images") if recordings else ("images", "recordings")
        usual = "EventFlips" if recordings else "Linf"
        raise UserError(f"{threat} is a threat on {other}, and the data of {recipe.name} are {own}: --threat {usual}")


def _made_here(planned: dict[Path, Recipe], protocol: Protocol) -> list[Path]:
    """The sources of transferred images that the comparison itself trains: so its runs have an order."""
    folders = [folder.resolve() for folder in planned]
    return [s for s in protocol.sources if any(s.resolve().is_relative_to(folder) for folder in folders)]


def _facts(planned: dict[Path, Recipe], protocol: Protocol, data_root: str | Path | None) -> dict[str, str]:
    """What all ranks have to see alike: recipes, protocol and data, as digests."""
    recipes = digest_of_json([to_config(recipe) for recipe in planned.values()])
    facts = {"recipes": recipes, "protocol": protocol.fingerprint}
    for data in {recipe.data: None for recipe in planned.values()}:
        for part in ("train", "validation", protocol.part):
            facts[f"{part} part of {short(data)}"] = digest(data.part(part, data_root))
    return facts
