"""What does each command do? One typed function for each; its parameters are the options."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from shutil import copyfile
from typing import Annotated, Any, Literal

import torch

from spikeproof.attacks import Attack, EnergyAttack, EventFlips, Threat
from spikeproof.certificates import Certificate, GaussianSmoothing, certify_run
from spikeproof.choices import AtLeast, Count, Seed, Steps, UserError
from spikeproof.cli import tables
from spikeproof.cli.files import protocol_in, recipes_of
from spikeproof.cli.given import (
    ZOO,
    FromElsewhere,
    certificate_of,
    heard,
    kept,
    one_threat,
    protocol_of,
    refuse_untrusted,
    runs_of,
)
from spikeproof.cli.shipped import SHIPPED, files_of, first_comment, names
from spikeproof.comparison import compare as compare_recipes
from spikeproof.conversion import Calibration, Conversion
from spikeproof.data import DataSet, PartName
from spikeproof.data import download as fetch
from spikeproof.distributed import ALONE, joined, speaks_first
from spikeproof.evaluation import energy_of_run, evaluate_run, probe_run
from spikeproof.exchange import Simulation, export_nir
from spikeproof.objectives import Objective
from spikeproof.progress import bar, shown, silent
from spikeproof.reports import ranking, write_report
from spikeproof.reports.forms.written import check_form
from spikeproof.reports.leaderboard import write_leaderboard
from spikeproof.runs import Run, find_runs, written_whole
from spikeproof.runs.weights import load_model
from spikeproof.snn import Neuron
from spikeproof.snn.foreign import Reduction
from spikeproof.training import Recipe, TensorBoard, Training
from spikeproof.training import train as train_recipe
from spikeproof.training.converted_runs import FINE_TUNED, FINE_TUNING, converted_recipe, train_converted
from spikeproof.zoo import cards, write_zoo
from spikeproof.zoo.taking import taken

DEMO = tuple(Path("demo", name) for name in ("standard", "gaussian_noise", "sparse_gradient", "adversarial", "trades"))


def train(
    recipe: Recipe,
    out: Path | None = None,
    data_root: Path | None = None,
    download: bool = False,
    device: str | None = None,
    workers: Annotated[int, AtLeast(0)] | None = None,
    tensorboard: Path | None = None,
    trust: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Train one network.

    Args:
        recipe: what to train
        out: run folder (default: runs/NAME)
        data_root: folder of the data sets (default: $SPIKEPROOF_DATA, else ./data)
        download: fetch the data set where it is missing
        device: cpu, cuda, cuda:1, ... (default: cuda where there is one)
        workers: processes that decode images in files (default: one a core, but for one)
        tensorboard: folder for the curves of TensorBoard
        trust: use code from outside spikeproof that the recipe names
        quiet: show no progress
        json: print the result as one line of JSON
    """
    if download and speaks_first():
        fetch(recipe.data, data_root)
    folder = out or Path("runs") / recipe.name
    tracker = None if tensorboard is None else TensorBoard(tensorboard)
    with joined(device) as ranks:
        train_recipe(
            recipe,
            folder,
            data_root=data_root,
            device=device,
            workers=workers,
            ranks=ranks,
            progress=heard(quiet),
            tracker=tracker,
        )
        if ranks.first:
            tables.show_training(folder, kept(folder), json)


def evaluate(
    runs: list[Path] | None = None,
    model: str | None = None,
    weights: Path | None = None,
    data: DataSet | None = None,
    out: Path | None = None,
    mean: str | None = None,
    std: str | None = None,
    reduce: Reduction | None = None,
    simulation: Simulation | None = None,
    protocol: Path | None = None,
    threat: Threat | None = None,
    eps: str | None = None,
    suite: str | None = None,
    images: Count | None = None,
    part: PartName | None = None,
    batch: Count = 256,
    draws: Count | None = None,
    seed: Seed | None = None,
    attack_precision: Literal["float32", "bf16"] | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Attack trained networks, and write the verdicts into their run folders.

    A network from elsewhere is named by --model, and gets a run folder: evaluate --model mynets:build --data CIFAR10

    Args:
        runs: run folders, or folders of run folders
        model: package.module:function that builds a network trained elsewhere, and takes no arguments; or a NIR
            graph, a file that ends in .nir
        weights: its state dict, safetensors or what torch.save wrote (default: the weights that it is built with)
        data: the data set that it is tested on
        out: its run folder (default: runs/FUNCTION)
        mean: what was taken from its training images, of pixels in [0, 1]: a number, or one a channel, with commas
        std: what they were divided by after that
        reduce: how outputs [T, B, K] over time become logits; of a pair (spikes, membrane) the mean or the sum of
            the spikes, or the last membrane
        simulation: how a NIR graph is run (default: as its metadata say)
        protocol: a YAML file that says how it is done, in the place of the next options but --batch
        threat: what the adversary may do (default: Linf)
        eps: radii in pixel units, separated by commas (default: the threat's own, or 2/255,4/255,8/255)
        suite: name of a suite, or a YAML file with a name and attacks (default: standard, for a claim; quick is for
            development)
        images: how many images, from the first on (default: all)
        part: which part of the data (default: test)
        batch: images attacked at once
        draws: passes that a stochastic network's logits and gradients are averaged over
        seed: for random starts (default: 0)
        attack_precision: of the network under attack; bf16 is faster on most GPUs (default: float32). What judges is
            always float32
        data_root: folder of the data sets
        device: cpu, cuda, cuda:1, ...
        trust: use code from outside spikeproof that a run, a suite or an option names
        quiet: show no progress
        json: print the result as one line of JSON
    """
    others = {"part": part, "images": images, "draws": draws, "seed": seed, "attack_precision": attack_precision}
    done = protocol_of(protocol, threat, eps, suite, trust, **others)
    elsewhere = FromElsewhere(
        model=model, weights=weights, data=data, out=out, mean=mean, std=std, reduce=reduce, simulation=simulation
    )
    with joined(device) as ranks:
        at = ranks.device_of(device)
        found = ranks.of_first(lambda: runs_of(runs or [], elsewhere, at))
        ranks.of_first(lambda: refuse_untrusted(found, trust or model is not None))
        for run in found:
            evaluate_run(
                run,
                done,
                batch=batch,
                data_root=data_root,
                device=at,
                trust=trust or model is not None,
                ranks=ranks,
                progress=heard(quiet),
            )
        if ranks.first:
            rows = ranking([Run(run.path) for run in found], done.name)
            tables.show(rows, json)
            if model is not None and mean is None and not json:
                tables.show_where_normalisation_belongs(rows)


def certify(
    runs: list[Path] | None = None,
    certificate: Certificate = GaussianSmoothing(),
    sigma: str | None = None,
    n: Count | None = None,
    alpha: float | None = None,
    eps: str | None = None,
    threat: Threat | None = None,
    at: str | None = None,
    images: Count | None = None,
    part: PartName = "test",
    batch: Count | None = None,
    seed: Seed = 0,
    model: str | None = None,
    weights: Path | None = None,
    mean: str | None = None,
    std: str | None = None,
    reduce: Reduction | None = None,
    simulation: Simulation | None = None,
    data: DataSet | None = None,
    out: Path | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
    quiet: bool = False,
) -> None:
    """Prove radii that no attack can break, and write them into the run folders of trained networks.

    What is certified is the smoothed network: the class that most passes under the noise of the certificate name.

    Args:
        runs: run folders, or folders of run folders
        certificate: what proves a radius
        sigma: deviation of its noise in pixel units, where it has one
        n: draws that bound the probability of the class, where there are draws
        alpha: how often at most that bound may be wrong
        eps: the largest size that bounds without noise look at, 0.01 for example
        threat: what --at is a size of (default: the certificate's own)
        at: give images up that cannot be certified so far, 8/255 for example
        images: how many images, from the first on (default: all)
        part: which part of the data
        batch: passes computed at once (default: 500 or more on a CPU, else 2000)
        seed: for the draws
        model: package.module:function that builds a network trained elsewhere, and takes no arguments; or a NIR
            graph, a file that ends in .nir
        weights: its state dict, safetensors or what torch.save wrote (default: the weights that it is built with)
        mean: what was taken from its training images, of pixels in [0, 1]: a number, or one a channel, with commas
        std: what they were divided by after that
        reduce: how outputs [T, B, K] over time become logits; of a pair (spikes, membrane) the mean or the sum of
            the spikes, or the last membrane
        simulation: how a NIR graph is run (default: as its metadata say)
        data: the data set that it is tested on
        out: its run folder (default: runs/FUNCTION)
        data_root: folder of the data sets
        device: cpu, cuda, cuda:1, ...
        trust: use code from outside spikeproof that a run or an option names
        quiet: show no progress
    """
    chosen = certificate_of(certificate, sigma=sigma, n=n, alpha=alpha, eps=eps)
    elsewhere = FromElsewhere(
        model=model, weights=weights, data=data, out=out, mean=mean, std=std, reduce=reduce, simulation=simulation
    )
    if threat is not None and at is None:
        raise UserError("--threat says what --at is a size of: give both, or neither")
    size = replace(threat or chosen.threat(), eps=at) if at is not None else None  # type: ignore[type-var]
    with joined(device) as ranks:
        on = ranks.device_of(device)
        found = ranks.of_first(lambda: runs_of(runs or [], elsewhere, on))
        ranks.of_first(lambda: refuse_untrusted(found, trust or model is not None))
        for run in found:
            with shown(heard(quiet) if ranks.first else silent, run.name) as progress:
                certify_run(
                    run,
                    chosen,
                    at=size,
                    part=part,
                    images=images,
                    seed=seed,
                    batch=batch,
                    data_root=data_root,
                    device=on,
                    trust=trust or model is not None,
                    ranks=ranks,
                    progress=progress,
                )
        if ranks.first:
            tables.show_certificates([Run(run.path) for run in found])


def convert(
    run: Path,
    out: Path | None = None,
    steps: Steps = 8,
    conversion: Conversion = Calibration(),
    neuron: Neuron | None = None,
    finetune: Annotated[int, AtLeast(0)] = 0,
    objective: Objective = FINE_TUNING,
    training: Training = FINE_TUNED,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Make a spiking network from the ANN of a run, and fine-tune it.

    The new run folder holds a copy of the ANN's, and is one like any other: train goes on with it, evaluate attacks it.

    Args:
        run: run folder of an ANN (neuron ReLU, or QCFS for the conversion LearnedBounds)
        out: run folder of the spiking network (default: RUN-converted)
        steps: its time steps
        conversion: how thresholds are set
        neuron: its neurons (default: those that the conversion is meant for)
        finetune: epochs of fine-tuning
        objective: what fine-tuning minimises (default: CE + 2 KL against one RFGSM step at 2/255)
        training: the other settings of fine-tuning
        data_root: folder of the data sets
        device: cpu, cuda, cuda:1, ...
        trust: use code from outside spikeproof that the run or an option names
        quiet: show no progress
        json: print the result as one line of JSON
    """
    run = run.resolve()
    out = out or run.with_name(f"{run.name}-converted")
    if training.epochs != FINE_TUNED.epochs:
        raise UserError(f"say --finetune {training.epochs} for so many epochs of fine-tuning, not --training.epochs")
    recipe = converted_recipe(
        Run(run),
        steps=steps,
        conversion=conversion,
        neuron=neuron,
        objective=objective,
        training=replace(training, epochs=finetune),
        trust=trust,
    )
    train_converted(Run(run), recipe, out, data_root=data_root, device=device, progress=heard(quiet))
    if not json:
        tables.say(f"right after conversion: validation accuracy {Run(out).epochs[0].validation_accuracy:.1%}")
    tables.show_training(out, kept(out), json)


def probe(
    runs: list[Path],
    threat: Threat | None = None,
    eps: str | None = None,
    images: Count = 256,
    part: PartName = "test",
    batch: Count = 256,
    seed: Seed = 0,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Look inside trained networks: gradient sparsity, adversarial against random change, moved potentials.

    Args:
        runs: run folders, or folders of run folders
        threat: what the adversary may do (default: Linf)
        eps: its radius in pixel units (default: the threat's own, 8/255 for Linf)
        images: how many images, from the first on
        part: which part of the data
        batch: images looked at at once
        seed: for the random perturbation
        data_root: folder of the data sets
        device: cpu, cuda, cuda:1, ...
        trust: use code from outside spikeproof that a run, a suite or an option names
        quiet: show no progress
        json: print the result as one line of JSON
    """
    found = measured(
        "probe",
        probe_run,
        runs,
        one_threat(threat, eps, "a probe takes one eps"),
        trust,
        quiet,
        images=images,
        part=part,
        batch=batch,
        seed=seed,
        data_root=data_root,
        device=device,
    )
    tables.show_probes(found, json)


def energy(
    runs: list[Path],
    threat: Threat | None = None,
    eps: str | None = None,
    attack: Attack = EnergyAttack(),
    images: Count = 256,
    part: PartName = "test",
    batch: Count = 64,
    seed: Seed = 0,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Count the operations of trained networks, and how far an attack raises them.

    Args:
        runs: run folders, or folders of run folders
        threat: what the adversary may do (default: Linf)
        eps: its radius in pixel units (default: the threat's own, 8/255 for Linf)
        attack: what raises the operations
        images: how many images, from the first on
        part: which part of the data
        batch: images looked at at once
        seed: for the random perturbation
        data_root: folder of the data sets
        device: cpu, cuda, cuda:1, ...
        trust: use code from outside spikeproof that a run or an option names
        quiet: show no progress
        json: print the result as one line of JSON
    """
    found = measured(
        "energy",
        energy_of_run,
        runs,
        one_threat(threat, eps, "the energy is measured at one eps"),
        trust,
        quiet,
        attack=attack,
        images=images,
        part=part,
        batch=batch,
        seed=seed,
        data_root=data_root,
        device=device,
    )
    tables.show_energy(found, json)


def measured(
    title: str,
    measure: Callable[..., Any],
    runs: list[Path],
    threat: Threat,
    trust: bool,
    quiet: bool,
    **settings: Any,
) -> list[Run]:
    """The runs that are found, opened anew after `measure` has written into each."""
    found = find_runs(runs)
    refuse_untrusted(found, trust)
    with shown(heard(quiet), title) as report:
        for number, run in enumerate(found):
            report(run.name, number, len(found))
            measure(run, threat, trust=trust, **settings)
    return [Run(run.path) for run in found]


def compare(
    configs: list[Path],
    out: Path = Path("runs/comparison"),
    protocol: Path | None = None,
    threat: Threat | None = None,
    eps: str | None = None,
    suite: str | None = None,
    images: Count | None = None,
    draws: Count | None = None,
    attack_precision: Literal["float32", "bf16"] | None = None,
    seeds: Count = 1,
    size: Count | None = None,
    sensor: str | None = None,
    data_root: Path | None = None,
    download: bool = False,
    device: str | None = None,
    trust: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Train every configuration, attack all in the same way, and write one report.

    Or name a folder of pictures or recordings, a folder a class, or a .npz file of images and labels: compare photos.
    Then one network is trained on them in the usual way, and one adversarially. Started again after a stop it goes on
    where it was; what is finished is not done twice.

    Args:
        configs: YAML files, one a network, or folders of them; digits/trades and digits come with spikeproof. Or one
            folder of data, or a .npz file
        out: folder for the run folders and report.html
        protocol: a YAML file that says how networks are attacked, in the place of the options up to --attack-precision
        threat: what the adversary may do (default: Linf)
        eps: radii in pixel units, separated by commas (default: the threat's own, or 2/255,4/255,8/255)
        suite: name of a suite, or a YAML file with a name and attacks (default: standard; quick is
            for development)
        images: how many test images, from the first on (default: all)
        draws: passes that a stochastic network's logits and gradients are averaged over (default: 16)
        attack_precision: of networks under attack; bf16 is faster on most GPUs (default: float32)
        seeds: how many training seeds, counted up from each configuration's own
        size: pixels a side, of pictures in a folder (default: those of the smallest, at most 64)
        sensor: height x width in pixels, of recordings in a folder whose files do not say it: 34x34
        data_root: folder of the data sets
        download: fetch data sets where they are missing
        device: cpu, cuda, cuda:1, ...
        trust: use code from outside spikeproof that a configuration, the suite or an option names
        quiet: show no progress
        json: print the result as one line of JSON
    """
    others = {"images": images, "draws": draws, "attack_precision": attack_precision}
    recipes, data_root = recipes_of(configs, size, sensor, data_root, trust)
    if protocol is None and threat is None and recipes and len(recipes[0].data.shape) == 4:
        threat, eps = EventFlips(), eps or "10,40"
    done = protocol_of(protocol, threat, eps, suite, trust, **others)
    if download and speaks_first():
        for data in {recipe.data for recipe in recipes}:
            fetch(data, data_root)
    with joined(device) as ranks:
        found = compare_recipes(
            recipes,
            done,
            out,
            seeds,
            data_root=data_root,
            device=device,
            trust=trust,
            ranks=ranks,
            progress=heard(quiet),
            each=(lambda run: None) if json else lambda run: tables.show_line(ranking([run], done.name)),
        )
        if ranks.first:
            tables.show(ranking(found, done.name), json, out / "report.html")


def demo(out: Path = Path("runs/demo"), device: str | None = None, quiet: bool = False, json: bool = False) -> None:
    """Train five small networks on digits, attack them, and write a report: in two minutes, without any data.

    It is short for: compare demo --suite standard --images 100 --eps 0.1

    Args:
        out: folder for the run folders and report.html
        device: cpu, cuda, cuda:1, ...
        quiet: show no progress
        json: print the result as one line of JSON
    """
    torch.set_num_threads(1)  # networks this small gain nothing by a second one, and wait for it
    compare(list(DEMO), out, eps="0.1", suite="standard", images=100, device=device, quiet=quiet, json=json)


def configs(wanted: list[Path] | None = None, out: Path | None = None) -> None:
    """List the configurations and suites that come with spikeproof, or copy some.

    A name stands for its file wherever one is asked for: --config digits/trades, compare digits, --suite frames.

    Args:
        wanted: names, such as digits/trades, or digits for all of them (default: the list)
        out: folder that they are copied to (default: they are printed)
    """
    if out is not None and not wanted:
        raise UserError(f"say what is copied to {out}: digits/trades for example, or digits for all of them")
    if not wanted:
        return tables.show_configs({name: first_comment(name) for name in names()})
    files = files_of(wanted)
    for file in files:
        if out is None:
            tables.say(file.read_text(encoding="utf-8").rstrip())
            continue
        name = file.relative_to(SHIPPED) if file.is_relative_to(SHIPPED) else Path(file.name)
        if (out / name).exists():
            raise UserError(f"{out / name} is there already, and is left as it is")
        with written_whole(out / name) as temporary:
            copyfile(file, temporary)
        tables.say(str(out / name))


def zoo(
    wanted: list[Path] | None = None,
    index: str | None = None,
    sha256: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """List the trained networks that can be taken, take some, or make an index of run folders.

    zoo:NAME stands for a run folder: evaluate zoo:digits-trades

    Args:
        wanted: names of networks, or run folders that an index is made of (default: the list)
        index: the index: a file, its folder, or an address of https (default: $SPIKEPROOF_ZOO, else those installed)
        sha256: the digest that the index has to have
        out: folder that run folders are put into (default: runs), or the new folder of the index
        json: print the result as one line of JSON
    """
    if not wanted:
        return tables.show_zoo(cards(index, sha256=sha256), json)
    if all(path.is_dir() for path in wanted):
        if out is None:
            raise UserError("say with --out which new folder the index and its networks are written to")
        found = write_zoo(find_runs(wanted), out)
        return tables.say(f"{out}: {len(found.networks)} networks")
    for path in wanted:
        name = path.as_posix().removeprefix(ZOO)
        tables.say(str(taken(name, (out or Path("runs")) / name, index=index, sha256=sha256).path))


def export(
    run: Path, nir: Path | None = None, for_: str = "nir", trust: bool = False, quiet: bool = False, json: bool = False
) -> None:
    """Write the network of a run as a NIR graph, for another library or for hardware.

    What NIR cannot say of it is printed, and stands in the graph's metadata.

    Args:
        run: run folder of a spiking network
        nir: the file (default: RUN.nir, in the current folder)
        for_: who is to read it: spikingjelly, snntorch, norse, or nir for any other
        trust: use code from outside spikeproof that the run names
        quiet: print nothing
        json: print the result as one line of JSON
    """
    found = export_nir(load_model(run, trust=trust), nir or Path(f"{run.resolve().name}.nir"), for_)
    if json or not quiet:
        tables.show_export(found, json)


def report(
    runs: list[Path], out: Path = Path("report.html"), verdicts: str = "", quiet: bool = False, json: bool = False
) -> None:
    """Write a report from run folders: a page (.html), a table (.md) or data (.json), by the name of its file.

    Args:
        runs: run folders, or folders of run folders
        out: the report
        verdicts: which evaluations, by the beginning of their names in RUN/verdicts: standard, or standard-Linf
            (default: all, each protocol ranked by itself)
        quiet: print no table
        json: print the result as one line of JSON
    """
    check_form(out)
    found = find_runs(runs)
    rows, written = ranking(found, verdicts), write_report(found, out, verdicts=verdicts)
    if json or not quiet:
        tables.show(rows, json, written)


def leaderboard(
    records: list[Path], out: Path = Path("site"), protocol: Path | None = None, trust: bool = False, json: bool = False
) -> None:
    """Write leaderboards, a page a protocol, from run folders and reports in JSON.

    Records that do not fit are named with the reason, and not listed.

    Args:
        records: folders of records, at any depth, or files
        out: the folder of the pages
        protocol: a YAML file; only what was evaluated in this way is listed
        trust: use code from outside spikeproof that the protocol names
        json: print the result as one line of JSON
    """
    asked = protocol_in(protocol, trust=trust) if protocol else None
    boards, refused = write_leaderboard(records, out, protocol=asked)
    if json:
        listed = {board.name: len(board.entries) for board in boards}
        return tables.tell({"boards": listed, "refused": [asdict(one) for one in refused], "out": str(out)})
    for one in refused:
        tables.say(f"refused: {one.source}: {one.reason}")
    number = sum(len(board.entries) for board in boards)
    tables.say(f"{out / 'index.html'}: {number} networks under {len(boards)} protocols, {len(refused)} records refused")


def list_names() -> None:
    """Everything that a configuration can name."""
    tables.show_choices()


def doctor(data_root: Path | None = None, controls: bool = False, device: str | None = None) -> None:
    """Check this installation: versions, compiler, accelerator, data.

    Args:
        data_root: folder of the data sets
        controls: train networks that hide from attacks and honest ones, and see that the evaluation tells them apart
        device: cpu, cuda, cuda:1, ...
    """
    at = ALONE.device_of(device)
    if not controls:
        return tables.show_installation(data_root)
    from spikeproof.controls import judged

    with bar("controls") as progress:
        found = judged(progress=progress, device=at)
    tables.show_controls(found)
    if wrong := [one.control.name for one in found if not one.right]:
        raise UserError(f"the evaluation was wrong about {len(wrong)} of {len(found)} controls: {', '.join(wrong)}")
    tables.say(f"all {len(found)} controls are told apart")
