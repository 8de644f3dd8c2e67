"""How are training recipes compared? Train all, attack all under one protocol, write one report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from spikeproof.choices import UserError
from spikeproof.evaluation import Protocol, evaluate_run
from spikeproof.progress import Report, silent
from spikeproof.runs import Run
from spikeproof.runs.weights import load_model
from spikeproof.training import Recipe, train
from spikeproof.training.beginnings import refuse_another_recipe, refuse_what_cannot_work

__all__ = ["compare"]


@contextmanager
def _silently(title: str) -> Iterator[Report]:
    yield silent


def compare(
    recipes: Sequence[Recipe],
    protocol: Protocol,
    out: str | Path,
    seeds: int = 1,
    *,
    data_root: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
    progress: Callable[[str], AbstractContextManager[Report]] = _silently,
) -> list[Run]:
    """Run folders under `out`, each trained and evaluated, and their report ``out/report.html``.

    Every recipe is trained with `seeds` seeds, counted up from its own. Called again after a stop it goes on where it
    was; what is finished is not done twice. `progress` opens a progress bar of a title, as `progress.bar` does. Raises
    `UserError` for two recipes of one name, and, before anything is trained, for what would stop the work half way.
    """
    if seeds < 1:
        raise UserError(f"seeds must be at least 1, not {seeds}")
    names = [recipe.name for recipe in recipes]
    if not names:
        raise UserError("nothing to compare: give at least one recipe")
    if len(set(names)) < len(names):
        raise UserError(f"two recipes have the same name: {', '.join(sorted(names))}")
    planned = {_folder(recipe, k, seeds, Path(out)): _seeded(recipe, k) for recipe in recipes for k in range(seeds)}
    _refuse_early(planned, protocol, data_root)
    runs = []
    for folder, recipe in planned.items():
        with progress(f"train {folder.name}") as report:
            train(recipe, folder, data_root=data_root, device=device, progress=report)
        run = Run(folder)
        with progress(f"attack {folder.name}") as report:
            evaluate_run(run, protocol, data_root=data_root, device=device, trust=trust, progress=report)
        runs.append(run)
    from spikeproof.reports import write_report  # loaded when there is something to report

    write_report(runs, Path(out) / "report.html")
    return runs


def _seeded(recipe: Recipe, k: int) -> Recipe:
    return recipe.seeded(recipe.seed + k)


def _folder(recipe: Recipe, k: int, seeds: int, out: Path) -> Path:
    return out / (recipe.name if seeds == 1 else f"{recipe.name}-seed{recipe.seed + k}")


def _refuse_early(planned: dict[Path, Recipe], protocol: Protocol, data_root: str | Path | None) -> None:
    """Find what would stop a comparison half way before hours are spent: folders, networks, data, threats, images."""
    made_here = [folder.resolve() for folder in planned]
    for source in protocol.sources:
        if not any(source.resolve().is_relative_to(folder) for folder in made_here):
            load_model(source)
    for folder, recipe in planned.items():
        refuse_another_recipe(recipe, folder)
    for recipe in {recipe.name: recipe for recipe in planned.values()}.values():
        refuse_what_cannot_work(recipe)
    for data in {recipe.data for recipe in planned.values()}:
        pool = protocol.part_of(data, data_root)
        protocol.threats[0].check(pool.batch(torch.arange(1))[0])
