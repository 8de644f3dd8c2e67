"""How does the run of an ANN become the run of a spiking network?"""

import shutil
from dataclasses import replace
from pathlib import Path

from spikeproof.attacks import RFGSM, KullbackLeibler, Linf
from spikeproof.choices import UserError
from spikeproof.configs import from_config
from spikeproof.conversion import Conversion
from spikeproof.distributed import ALONE
from spikeproof.objectives import TRADES, Objective
from spikeproof.progress import Report
from spikeproof.runs import Run
from spikeproof.snn import Neuron, SpikingNetwork
from spikeproof.training.beginnings import ANN, refuse_what_cannot_work
from spikeproof.training.loop import train
from spikeproof.training.optimisers import SGD
from spikeproof.training.recipe import Recipe, Training
from spikeproof.training.returns import LEFT_BY_TRAINING, refuse_another_recipe

# Ozdenizci and Legenstein, TMLR 2024, arXiv 2311.09266: CE + 2 KL, one RFGSM step on the divergence at 2/255
FINE_TUNING = TRADES(beta=2.0, threat=Linf(2 / 255), attack=RFGSM(loss=KullbackLeibler()))
FINE_TUNED = Training(epochs=60, batch=64, optimiser=SGD(learning_rate=1e-3, weight_decay=1e-3))


def converted_recipe(
    run: Run,
    *,
    steps: int,
    conversion: Conversion,
    neuron: Neuron | None = None,
    objective: Objective = FINE_TUNING,
    training: Training = FINE_TUNED,
    trust: bool = False,
) -> Recipe:
    """The recipe of the spiking network that the finished run of an ANN is converted to, the rest of it kept."""
    if not run.record.finished:
        raise UserError(f"the training of {run.path} has not finished: start its command again, then convert")
    ann: Recipe = from_config({"class_path": "Recipe", "init_args": run.record.config}, Recipe, trust=trust)
    if not ann.network.is_ann:
        raise UserError(
            f"{run.path} is the run of a spiking network, and only an ANN can be converted: "
            "train one with neuron: ReLU and steps: 1"
        )
    return Recipe(
        name=f"{ann.name}, converted",
        data=ann.data,
        network=replace(ann.network, neuron=neuron or conversion.neuron, steps=steps),
        objective=objective,
        training=training,
        ann=ann,
        conversion=conversion,
        seed=ann.seed,
    )


def train_converted(
    ann: Run,
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path | None = None,
    device: str | None = None,
    progress: Report | None = None,
) -> SpikingNetwork:
    """Train the `recipe` that `converted_recipe` made, in the folder `out`, with a copy of the ANN's run inside.

    Raises `UserError`, before anything is written, for what cannot work.
    """
    ALONE.device_of(device)
    refuse_another_recipe(recipe, out)
    refuse_what_cannot_work(recipe)
    adopt(ann, out)
    return train(recipe, out, data_root=data_root, device=device, progress=progress)


def adopt(run: Run, out: Path) -> None:
    """Copy the ANN's run into the folder `out`, where training looks for it; what is there already stays."""
    target = out / ANN
    target.mkdir(parents=True, exist_ok=True)
    for file in (*LEFT_BY_TRAINING, "run.json"):  # the record last: without it nothing counts
        if (target / file).is_file():
            if (target / file).read_bytes() != (run.path / file).read_bytes():
                raise UserError(f"{out} was converted from another run: name another folder, or delete this one")
            continue
        shutil.copyfile(run.path / file, target / f"{file}.part")
        (target / f"{file}.part").replace(target / file)
