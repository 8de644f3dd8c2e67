"""What can be done from a terminal? One typed function for each command; its parameters are the options."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonargparse
import torch
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import spikeproof
from spikeproof.attacks import Attack, AttackLoss, Linf, Threat
from spikeproof.comparison import compare as compare_recipes
from spikeproof.conversion import Calibration, Conversion
from spikeproof.data import Augmentation, DataSet, PartName
from spikeproof.data import download as fetch
from spikeproof.data.published_files import data_root as folder_of_data
from spikeproof.evaluation import SUITES, Protocol, Suite, evaluate_run, probe_run, suite_named
from spikeproof.evaluation.foreign_runs import adopt_foreign
from spikeproof.objectives import Objective
from spikeproof.progress import bar
from spikeproof.reports import Estimate, Row, ranking, write_report
from spikeproof.reports.reading.probing import HEADINGS, cells, probed
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run, environment, find_runs
from spikeproof.snn import Architecture, Encoder, Filter, GradientPath, Neuron, Readout
from spikeproof.specs import UserError, from_config, nearest, short
from spikeproof.training import Optimiser, Recipe, Schedule, Training
from spikeproof.training import train as train_recipe
from spikeproof.training.converted_runs import FINE_TUNED, FINE_TUNING, adopt, converted_recipe
from spikeproof.training.loop import refuse_another_recipe, refuse_what_cannot_work

console = Console()

KINDS: dict[str, type] = {
    "data sets": DataSet,
    "augmentations": Augmentation,
    "architectures": Architecture,
    "neurons": Neuron,
    "gradient paths": GradientPath,
    "encoders": Encoder,
    "event filters": Filter,
    "readouts": Readout,
    "objectives": Objective,
    "conversions": Conversion,
    "optimisers": Optimiser,
    "schedules": Schedule,
    "threats": Threat,
    "attacks": Attack,
    "attack losses": AttackLoss,
}


def train(
    recipe: Recipe,
    out: Path | None = None,
    data_root: Path | None = None,
    download: bool = False,
    device: str | None = None,
) -> None:
    """Train one network.

    Args:
        recipe: what to train
        out: run folder (default: runs/NAME)
        data_root: folder of the data sets (default: $SPIKEPROOF_DATA, else ./data)
        download: fetch the data set where it is missing
        device: cpu, cuda, cuda:1, ... (default: cuda where there is one)
    """
    if download:
        fetch(recipe.data, data_root)
    folder = out or Path("runs") / recipe.name
    device = _device(device)
    with bar(recipe.name) as progress:
        train_recipe(recipe, folder, data_root=data_root, device=device, progress=progress)
    _say(_kept(folder))


def _kept(folder: Path) -> str:
    best = next((row for row in Run(folder).epochs if row.best), None)
    if best is None:
        raise UserError(f"{folder / 'metrics.jsonl'} names no best epoch: it is damaged; delete it and train again")
    return (
        f"{folder}: epoch {best.epoch} kept, validation accuracy {best.validation_accuracy:.1%}, "
        f"under attack {best.validation_robust_accuracy:.1%}"
    )


def evaluate(
    runs: list[Path] | None = None,
    model: str | None = None,
    weights: Path | None = None,
    data: DataSet | None = None,
    out: Path | None = None,
    threat: Threat | None = None,
    eps: str | None = None,
    suite: str = "quick",
    images: int | None = None,
    part: PartName = "test",
    batch: int = 256,
    draws: int | None = None,
    seed: int = 0,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
) -> None:
    """Attack trained networks, and write the verdicts into their run folders.

    A network from elsewhere is named by --model, and gets a run folder: evaluate --model mynets:build --data CIFAR10

    Args:
        runs: run folders, or folders of run folders
        model: package.module:function that builds a network trained elsewhere, and takes no arguments
        weights: its state dict, safetensors or what torch.save wrote (default: the weights that it is built with)
        data: the data set that it is tested on
        out: its run folder (default: runs/FUNCTION)
        threat: what the adversary may do (default: Linf)
        eps: radii in pixel units, separated by commas (default: the threat's own, or 2/255,4/255,8/255)
        suite: name of a suite, or a YAML file with a name and attacks; quick is for development, standard for a claim
        images: how many images, from the first on (default: all)
        part: which part of the data
        batch: images attacked at once
        draws: passes that a stochastic network's logits and gradients are averaged over
        seed: for random starts
        data_root: folder of the data sets
        device: cpu, cuda, cuda:1, ...
        trust: run code from outside spikeproof that a model file names
    """
    protocol = Protocol(
        threats=_threats(threat, eps), suite=_suite(suite), part=part, images=images, draws=draws, seed=seed
    )
    device = _device(device)
    found = _chosen(runs or [], model, weights, data, out, device)
    for run in found:
        with bar(run.name) as progress:
            evaluate_run(
                run,
                protocol,
                batch=batch,
                data_root=data_root,
                device=device,
                trust=trust or model is not None,
                progress=progress,
            )
    _show(ranking([Run(run.path) for run in found]))


def _chosen(
    runs: list[Path],
    model: str | None,
    weights: Path | None,
    data: DataSet | None,
    out: Path | None,
    device: str | None,
) -> list[Run]:
    """The run folders that are named, or the one that a network from elsewhere gets."""
    if model is None:
        if weights or data or out:
            raise UserError("--weights, --data and --out go with --model; a run folder has its own")
        if not runs:
            raise UserError("name run folders, or a network from elsewhere: --model package.module:function")
        return find_runs(runs)
    if runs:
        raise UserError(f"--model names a network from elsewhere, and {runs[0]} has its own: give one or the other")
    if data is None:
        raise UserError("say with --data what the network is tested on, for example --data CIFAR10")
    return [adopt_foreign(model, weights, data, out or Path("runs") / model.rpartition(":")[2], device=device)]


def convert(
    run: Path,
    out: Path | None = None,
    steps: int = 8,
    conversion: Conversion = Calibration(),
    neuron: Neuron | None = None,
    finetune: int = 0,
    objective: Objective = FINE_TUNING,
    training: Training = FINE_TUNED,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
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
        trust: run code from outside spikeproof that the run names
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
    refuse_another_recipe(recipe, out)
    refuse_what_cannot_work(recipe)
    adopt(Run(run), out)
    device = _device(device)
    with bar(out.name) as progress:
        train_recipe(recipe, out, data_root=data_root, device=device, progress=progress)
    rows = Run(out).epochs
    _say(f"right after conversion: validation accuracy {rows[0].validation_accuracy:.1%}")
    _say(_kept(out))


def probe(
    runs: list[Path],
    threat: Threat | None = None,
    eps: str | None = None,
    images: int = 256,
    part: PartName = "test",
    batch: int = 256,
    seed: int = 0,
    data_root: Path | None = None,
    device: str | None = None,
    trust: bool = False,
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
        trust: run code from outside spikeproof that a model file names
    """
    threats, device = _threats(threat or Linf(), eps), _device(device)
    if len(threats) > 1:
        raise UserError(f"a probe takes one eps, not {eps}")
    found = find_runs(runs)
    for run in found:
        probe_run(
            run,
            threats[0],
            images=images,
            part=part,
            batch=batch,
            seed=seed,
            data_root=data_root,
            device=device,
            trust=trust,
        )
    table = Table("network", *HEADINGS, box=None, header_style="bold")
    for contender in standings([Run(run.path) for run in found]).contenders:
        if numbers := probed(contender):
            table.add_row(escape(contender.row.name), *cells(numbers))
    console.print(table)


def compare(
    configs: list[Path],
    out: Path = Path("runs/comparison"),
    threat: Threat | None = None,
    eps: str | None = None,
    suite: str = "quick",
    images: int | None = None,
    draws: int | None = None,
    seeds: int = 1,
    data_root: Path | None = None,
    download: bool = False,
    device: str | None = None,
    trust: bool = False,
) -> None:
    """Train every configuration, attack all in the same way, and write one report.

    Started again after a stop it goes on where it was; what is finished is not done twice.

    Args:
        configs: YAML files, one a network
        out: folder for the run folders and report.html
        threat: what the adversary may do (default: Linf)
        eps: radii in pixel units, separated by commas (default: the threat's own, or 2/255,4/255,8/255)
        suite: name of a suite, or a YAML file with a name and attacks
        images: how many test images, from the first on (default: all)
        draws: passes that a stochastic network's logits and gradients are averaged over (default: 16)
        seeds: how many training seeds, counted up from each configuration's own
        data_root: folder of the data sets
        download: fetch data sets where they are missing
        device: cpu, cuda, cuda:1, ...
        trust: run code from outside spikeproof that a configuration names
    """
    protocol = Protocol(threats=_threats(threat, eps), suite=_suite(suite), images=images, draws=draws)
    device = _device(device)
    recipes = [_recipe(path) for path in configs]
    if download:
        for data in {recipe.data for recipe in recipes}:
            fetch(data, data_root)
    found = compare_recipes(
        recipes, protocol, out, seeds, data_root=data_root, device=device, trust=trust, progress=bar
    )
    _show(ranking(found))
    _say(f"report: {out / 'report.html'}")


def report(runs: list[Path], out: Path = Path("report.html")) -> None:
    """Write a report from run folders: a page (.html), a table (.md) or data (.json), by the name of its file.

    Args:
        runs: run folders, or folders of run folders
        out: the report
    """
    found = find_runs(runs)
    _show(ranking(found))
    if out.is_dir():
        raise UserError(f"{out} is a folder: name a file, such as {out / 'report.html'}")
    _say(f"report: {write_report(found, out)}")


def list_names() -> None:
    """Everything that a configuration can name."""
    for title, base in KINDS.items():
        table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
        for name, kind in sorted(choices(base).items()):
            table.add_row(name, escape(_first_line(kind)))
        console.print(table, "")
    console.print("[bold]suites[/]")
    for suite in SUITES.values():
        console.print(f"{suite.name}: {', '.join(map(short, suite.attacks))}", highlight=False)


def doctor(data_root: Path | None = None, controls: bool = False) -> None:
    """Check this installation: versions, compiler, accelerator, data.

    Args:
        data_root: folder of the data sets
        controls: train networks that hide from attacks and honest ones, and see that the evaluation tells them apart
    """
    if controls:
        return _controls()
    from spikeproof.snn.kernels import can_compile

    facts = environment()
    for name, version in facts.versions.items():
        console.print(f"{name:14} {version}", highlight=False)
    accelerator = facts.machine["accelerator"] or "none"
    console.print(f"processor      {facts.machine['processor']}, {torch.get_num_threads()} threads")
    console.print(f"accelerator    {accelerator}")
    compiles = can_compile("cuda" if torch.cuda.is_available() else "cpu")
    console.print(f"fused kernels  {'compiled' if compiles else 'eager: install g++ for several times the speed'}")
    root = folder_of_data(data_root)
    console.print(f"data root      {root.absolute()}")
    for name, kind in sorted(choices(DataSet).items()):
        try:
            kind().part("test", data_root)
            state = "ready"
        except UserError as error:
            state = str(error).splitlines()[0]
        console.print(f"  {name:12} {state}", highlight=False, soft_wrap=True)


def _controls() -> None:
    from spikeproof.controls import judged

    with bar("controls") as progress:
        found = judged(progress=progress)
    table = Table("", "network", "", "verdict", "raised", box=None, header_style="bold")
    for one in found:
        flags = [flag.name for flag in one.verdicts.flags if flag.raised]
        robust = one.verdicts.robust_accuracy(0)
        verdict = f"{robust.value:.0%} robust" if robust else one.verdicts.diagnosis.status
        kind = "honest" if one.control.honest else "hides"
        table.add_row("ok" if one.right else "WRONG", one.control.name, kind, verdict, ", ".join(flags) or "-")
    console.print(table)
    if wrong := [one.control.name for one in found if not one.right]:
        raise UserError(f"the evaluation was wrong about {len(wrong)} of {len(found)} controls: {', '.join(wrong)}")
    _say(f"all {len(found)} controls are told apart")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "convert": convert,
    "evaluate": evaluate,
    "probe": probe,
    "compare": compare,
    "report": report,
    "list": list_names,
    "doctor": doctor,
}


def choices(base: type) -> dict[str, type]:
    """The public, concrete classes of one kind, by name."""
    rooms = spikeproof._ROOMS
    known = (getattr(room, name) for room in rooms for name in room.__all__)
    return {
        kind.__name__: kind
        for kind in known
        if isinstance(kind, type) and issubclass(kind, base) and not inspect.isabstract(kind)
    }


def main(arguments: list[str] | None = None) -> None:
    """The command ``spikeproof``. A user's mistake ends it with a message and exit status 2, never a traceback."""
    try:
        command, options = _understood(sys.argv[1:] if arguments is None else arguments)
        COMMANDS[command](**options)
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except KeyboardInterrupt:
        console.print("\nstopped; the same command goes on from here")
        sys.exit(130)


def _understood(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command and its options, ready to be called; raises `UserError` for whatever is wrong in them."""
    words = [_spelled(word) for word in arguments]
    for option, path in pairwise(words):
        if option == "--config":
            _fields(Path(path), Recipe, "configuration")  # says what is wrong in words of ours
    parser = _parser()
    try:
        chosen = parser.instantiate(parser.parse_args(words))
        name = chosen.subcommand
        options = {key: value for key, value in vars(chosen[name]).items() if key != "config"}
        if name == "train":
            options["recipe"] = Recipe(**{f: options.pop(f) for f in inspect.signature(Recipe).parameters})
    except UserError:
        raise
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        within: BaseException | None = error
        while within is not None and not isinstance(within, UserError):
            within = within.__cause__ or within.__context__
        raise UserError(str(within or _suggesting(str(error)))) from error
    return name, options


def _spelled(argument: str) -> str:
    """Options may be spelled with dashes, and switches need no value: ``--data-root``, ``--download``."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    name = name.replace("-", "_")
    return f"--{name}=true" if name in ("download", "trust", "controls") and not equals else f"--{name}{equals}{value}"


def _parser() -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(
        prog="spikeproof", description=spikeproof.__doc__, exit_on_error=False, version=spikeproof.__version__
    )
    commands = parser.add_subcommands(required=True)
    for name, function in COMMANDS.items():
        sub = jsonargparse.ArgumentParser(
            exit_on_error=False, description=(inspect.getdoc(function) or "").partition("\nArgs:")[0]
        )
        if name == "train":
            _add_recipe(sub)
        many = {p: spec for p, spec in inspect.signature(function).parameters.items() if _is_paths(spec.annotation)}
        for parameter, spec in many.items():
            least = "+" if spec.default is spec.empty else "*"
            sub.add_argument(parameter, type=Path, nargs=least, help="one or more paths")
        sub.add_function_arguments(function, as_positional=True, skip={"recipe", *many}, sub_configs=True)
        commands.add_subcommand(name, sub, help=_first_line(function))
    return parser


def _is_paths(annotation: Any) -> bool:
    return annotation in (list[Path], list[Path] | None)


def _add_recipe(parser: jsonargparse.ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options")
    parser.add_class_arguments(Recipe, as_group=False, as_positional=False, sub_configs=True)


def _threats(threat: Threat | None, eps: str | None) -> tuple[Threat, ...]:
    if eps is None:
        return (threat,) if threat is not None else tuple(Linf(k / 255) for k in (2, 4, 8))
    return tuple(replace(threat or Linf(), eps=part.strip()) for part in eps.split(","))  # type: ignore[type-var]


def _suite(name: str) -> Suite:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return suite_named(name)
    return _from_yaml(path, Suite, "suite")


def _recipe(path: Path) -> Recipe:
    """The recipe in a YAML file; raises `UserError` naming the file and what is wrong in it."""
    return _from_yaml(path, Recipe, "configuration")


def _from_yaml(path: Path, kind: type, what: str) -> Any:
    fields = _fields(path, kind, what)
    try:
        return from_config({"class_path": f"spikeproof.{kind.__name__}", "init_args": fields}, kind, trust=True)
    except UserError as error:
        raise UserError(f"{path}: {_suggesting(str(error))}") from error


def _fields(path: Path, kind: type, what: str) -> dict[str, Any]:
    """What a YAML file sets, its keys checked."""
    if not path.is_file():
        raise UserError(f"there is no {what} file {path}")
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    if not isinstance(fields, dict) or not fields:
        raise UserError(f"{path} holds no settings: a {what} is a mapping such as 'name: ...'")
    known = set(inspect.signature(kind).parameters)
    for key in fields:
        if key not in known:
            raise UserError(f"{path}: unknown name {key!r}; {nearest(str(key), known)}")
    return fields


def _show(rows: list[Row]) -> None:
    table = Table(
        box=None,
        header_style="bold",
        caption="accuracy in %, in brackets its 95 % Wilson interval",
        caption_justify="left",
    )
    radii = list(dict.fromkeys(label for row in rows for label in row.robust))
    for title in ("", "network", "clean", *radii, "gradients", "training"):
        table.add_column(title, justify="left" if title in ("", "network") else "right")
    for row in rows:
        robust = [_percent(row.robust.get(label)) for label in radii]
        cost = "-" if row.gradient_evaluations is None else f"{row.gradient_evaluations:.1f}"
        seconds = "-" if row.training_seconds is None else f"{row.training_seconds:.0f} s"
        doubt = f"  ({row.status}: {textwrap.shorten(row.reason, 100, placeholder=' ...')})"
        name = row.name if row.status == "ok" else row.name + doubt
        table.add_row(str(row.rank or "-"), escape(name), _percent(row.clean), *robust, cost, seconds)
    console.print(table)


def _percent(share: Estimate | None) -> str:
    return "-" if share is None else f"{100 * share.value:.1f} [{100 * share.low:.0f}-{100 * share.high:.0f}]"


def _suggesting(message: str) -> str:
    """The parser's message, with the nearest known name where it names an unknown one."""
    names = {name for base in KINDS.values() for name in choices(base)}
    fields = {
        f for base in KINDS.values() for kind in choices(base).values() for f in inspect.signature(kind).parameters
    }
    calls: list[Callable[..., Any]] = [Recipe, *COMMANDS.values()]
    fields |= {f for call in calls for f in inspect.signature(call).parameters}
    for pattern, known in (
        (r"import path string: (\S+)", names),
        (r"[Oo]ption '([\w.]+)' is not accepted", fields),
        (r"not accept option '([\w.]+)'", fields),
        (r"invalid choice: '(\S+)'", set(COMMANDS)),
        (r"[Uu]nrecognized arguments: --(\w+)", fields),
    ):
        if match := re.search(pattern, message):
            unknown = next((word for word in match[1].split(".") if word not in known), match[1])
            if unknown in known:
                break  # known elsewhere, and not here: the parser says where
            return f"unknown name {unknown!r}; {nearest(unknown, known)}\n{message}"
    return message


def _device(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"there is no device {name!r} here ({str(error).splitlines()[0]}); cpu always is") from error
    return name


def _say(message: str) -> None:
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def _first_line(thing: Any) -> str:
    """The first sentence, or, where it is long, what stands before its colon or in its first line."""
    said = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    sentence = re.split(r"(?<=[.:])\s", said.replace("\n", " "))[0]
    return sentence.rstrip(":") if len(sentence) <= 150 else said.partition("\n")[0] + " ..."


def _fail(message: str) -> None:
    Console(stderr=True).print("[bold red]error:[/]", escape(message), highlight=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
