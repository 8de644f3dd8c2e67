"""What does a command print? Tables of results, of what can be chosen, and of an installation."""

import inspect
import re
import sys
import textwrap
import warnings
from dataclasses import MISSING, asdict
from json import dumps as json_text
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape as without_markup
from rich.table import Table

from spikeproof.attacks import Attack, AttackLoss, Threat
from spikeproof.certificates import Certificate
from spikeproof.choices import Choice, UserError, default_of, fields_of, short
from spikeproof.conversion import Conversion
from spikeproof.data import Augmentation, DataSet
from spikeproof.data.published_files import data_root as folder_of_data
from spikeproof.evaluation import SUITES
from spikeproof.evaluation.flags import rows
from spikeproof.evaluation.told import LOW
from spikeproof.exchange import Exported
from spikeproof.objectives import Objective
from spikeproof.registry import known, plug_ins
from spikeproof.reports import Estimate, Row
from spikeproof.reports.reading import consumed
from spikeproof.reports.reading.probing import HEADINGS, cells, probed
from spikeproof.reports.reading.rankings import standings
from spikeproof.runs import Run, environment
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import EnergyRecord, Epoch, ProbesRecord
from spikeproof.snn import Architecture, Encoder, Filter, GradientPath, Neuron, Readout
from spikeproof.training import Optimiser, Schedule
from spikeproof.untrusted.words import printable, short_error
from spikeproof.zoo import Card

NORMALISATION = "Images lie in [0, 1]; if the network was trained on normalised images,"

ROOM, SHARE = 45, 15  # columns of the terminal that rank, name and costs take, and those of an accuracy

console = Console(emoji=False)  # a model fnets:nine: is no nine

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
    "certificates": Certificate,
}


def escape(name: str) -> str:
    """A name that others gave, for a table."""
    return without_markup(printable(name))


def say(message: str) -> None:
    console.print(printable(message, lines=True), markup=False, highlight=False, soft_wrap=True)


def tell(result: Any) -> None:
    """`result` as one line of JSON, for a program."""
    print(json_text(result, allow_nan=False))


def show_training(run: Path, kept: Epoch, json: bool = False) -> None:
    """What training kept in a run folder."""
    if json:
        row = as_json(kept)
        return tell({"run": str(run), "training_seconds": Run(run).record.training_seconds} | row)
    say(
        f"{run}: epoch {kept.epoch} kept, validation accuracy {kept.validation_accuracy:.1%}, "
        f"under attack {kept.validation_robust_accuracy:.1%}"
    )


def show_line(rows: list[Row]) -> None:
    """One network, as soon as it is evaluated."""
    for row in rows:
        robust = [f"{label} {_percent(share)}" for label, share in row.robust.items()] or [row.status]
        say(", ".join([f"{row.name}: clean {_percent(row.clean)}", *robust]))


def show(rows: list[Row], json: bool = False, report: Path | None = None) -> None:
    """The ranking, a table for each protocol, and where its report lies.

    Names are folded and never cut, costs go where there is room.
    """
    if json:
        return tell({"networks": [asdict(row) for row in rows], "report": report and str(report)})
    protocols = list(dict.fromkeys(row.protocol for row in rows))
    for protocol in protocols:
        title = f"protocol {protocol}" if protocol else "not evaluated"
        _show_one([row for row in rows if row.protocol == protocol], title if len(protocols) > 1 else "")
    console.print("accuracy in %, in brackets its 95 % Wilson interval", style="italic", highlight=False)
    if report is not None:
        say(f"report: {report}")


def _show_one(rows: list[Row], title: str) -> None:
    table = Table(box=None, header_style="bold", title=title or None, title_justify="left", title_style="bold")
    radii = list(dict.fromkeys(label for row in rows for label in row.robust))
    costs = ("gradients", "training") if console.width >= ROOM + SHARE * (1 + len(radii)) else ()
    table.add_column("")
    table.add_column("network", overflow="fold")
    for heading in ("clean", *radii, *costs):
        table.add_column(heading, justify="right", no_wrap=heading not in radii)
    for row in rows:
        robust = [_percent(row.robust.get(label)) for label in radii]
        cost = "-" if row.gradient_evaluations is None else f"{row.gradient_evaluations:.1f}"
        seconds = "-" if row.training_seconds is None else f"{row.training_seconds:.0f} s"
        doubt = f"  ({row.status}: {textwrap.shorten(row.reason, 100, placeholder=' ...')})"
        name = row.name if row.status == "ok" else row.name + doubt
        spent = (cost, seconds) if costs else ()
        table.add_row(str(row.rank or "-"), escape(name), _percent(row.clean), *robust, *spent)
    console.print(table)


def show_where_normalisation_belongs(rows: list[Row]) -> None:
    """One line where networks from elsewhere are worse than one would train."""
    if any(row.clean and row.clean.value < LOW for row in rows):
        say(f"Clean accuracy is low. {NORMALISATION} say --mean and --std, or do it in the network's forward.")


def _percent(share: Estimate | None) -> str:
    return "-" if share is None else f"{100 * share.value:.1f} [{100 * share.low:.0f}-{100 * share.high:.0f}]"


def show_probes(runs: list[Run], json: bool = False) -> None:
    """What probes found, a line a network."""
    if json:
        return tell({"networks": [{"run": str(run.path)} | as_json(run.read(ProbesRecord)) for run in runs]})
    table = Table("network", *HEADINGS, box=None, header_style="bold")
    once = {contender.seeds[0].run.path: contender for contender in reversed(standings(runs).contenders)}
    for contender in reversed(once.values()):
        if numbers := probed(contender):
            table.add_row(escape(contender.row.name), *cells(numbers))
    console.print(table)


def show_energy(runs: list[Run], json: bool = False) -> None:
    """What a pass of each network takes, a line a network."""
    if json:
        return tell({"networks": [{"run": str(run.path)} | as_json(run.read(EnergyRecord)) for run in runs]})
    table = Table("network", *consumed.HEADINGS, box=None, header_style="bold")
    once = {contender.seeds[0].run.path: contender for contender in reversed(standings(runs).contenders)}
    for contender in reversed(once.values()):
        if records := consumed.consumed(contender):
            table.add_row(escape(contender.row.name), *consumed.cells(records))
    console.print(table)


def show_export(found: Exported, json: bool = False) -> None:
    """What was written into a NIR graph, and what stays outside it."""
    if json:
        return tell(as_json(found) | {"file": str(found.file)})
    nodes = ", ".join(f"{count} {kind}" for kind, count in found.nodes.items())
    say(f"{found.file}, for {found.target}: {nodes}")
    say("\n".join(["outside the graph:", *(f"  {line}" for line in found.outside)]))


def show_certificates(runs: list[Run]) -> None:
    """What was certified, a line a network; radii in the norm of the certificate."""
    heads = ("network", "right", "abstained", "mean radius", "median radius", "largest")
    table = Table(*heads, box=None, header_style="bold", caption_justify="left")
    for run in runs:
        record, arrays = read_certificates(run)
        right = np.where(arrays["prediction"] == arrays["label"], arrays["radius"], 0.0)
        radii = (f"{radius:.4g}" for radius in (record.mean_radius, float(np.median(right)), record.largest_radius))
        abstained = f"{record.abstained / record.images:.1%}"
        accuracy = f"{record.accuracy.value:.1%}"
        table.caption = f"{escape(record.certificate.label)}; radii in {escape(record.norm)}"
        table.add_row(escape(run.name), accuracy, abstained, *radii)
    console.print(table)


def show_choices() -> None:
    """Every name that a configuration can hold, with the first sentence about it, and the package of a plug-in's."""
    packages = {cls: one.package for one in plug_ins() for cls in one.choices}
    with warnings.catch_warnings(action="ignore"):  # of plug-ins that fail: `show_plug_ins` tells of them
        classes = {base: known(base) for base in KINDS.values()}
    rest = {name: cls for name, cls in known(Choice).items() if not issubclass(cls, tuple(classes))}
    for title, found in zip((*KINDS, "settings"), (*classes.values(), rest), strict=True):
        table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
        for name, kind in sorted(found.items()):
            origin = f" [{packages[kind]}]" if kind in packages else ""
            table.add_row(name, escape(first_line(kind) + origin))
        console.print(table, "")
    console.print("[bold]suites[/]")
    for suite in SUITES.values():
        console.print(f"{suite.name}: {', '.join(map(short, suite.attacks))}", highlight=False)
    show_flags()
    show_plug_ins()


def show_plug_ins() -> None:
    """The packages that name choices of their own, and what those that cannot be imported say."""
    if plug_ins():
        console.print("\n[bold]plug-ins[/]")
    for one in plug_ins():
        named = ", ".join(cls.__name__ for cls in one.choices) or "no choice"
        say(f"{one.package}, {one.name} ({one.value}): " + (f"left out, {one.error}" if one.error else named))


def show_configs(about: dict[str, str]) -> None:
    """The names of shipped files, and what each says about itself."""
    table = Table(show_header=False, box=None)
    for name, said in about.items():
        table.add_row(name, escape(said))
    console.print(table)


def show_zoo(found: tuple[Card, ...], json: bool = False) -> None:
    """The networks of a zoo: what they are, and what they reached."""
    if json:
        return tell({"networks": [as_json(card) for card in found]})
    table = Table(box=None, header_style="bold")
    table.add_column("network", no_wrap=True)  # it is typed again
    for heading in ("", "clean", "robust", "images", "kB"):
        table.add_column(heading)
    for card in found:
        robust = [f"{label}: {share.value:.1%}" for label, share in card.robust_accuracy.items()] or [card.status]
        size = f"{card.bytes / 1000:.0f}"
        clean = f"{card.clean_accuracy.value:.1%}"
        table.add_row(escape(card.name), escape(card.about), clean, escape(", ".join(robust)), str(card.images), size)
    console.print(table)


def show_flags() -> None:
    """Every red flag: above its threshold it spoils a robust accuracy, or warns."""
    table = Table("", "above", "", "", title="red flags", title_justify="left", title_style="bold", box=None)
    for key, meaning, threshold, consequence in rows():
        table.add_row(key, threshold, consequence, escape(meaning))
    console.print("", table)


def show_installation(data_root: Path | None) -> None:
    """Versions, compiler, accelerator, data."""
    from spikeproof.snn.compiling import can_compile

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
    for name, kind in sorted(known(DataSet).items()):
        if any(default_of(kind, field) is MISSING for field in fields_of(kind)):
            continue  # data of one's own, which is where one says
        try:
            kind().part("test", data_root)
            state = "ready"
        except UserError as error:
            state = str(error).splitlines()[0]
        console.print(f"  {name:12} {state}", highlight=False, soft_wrap=True)


def show_controls(found: list[Any]) -> None:
    """How the evaluation judged each control."""
    table = Table("", "network", "", "verdict", "raised", box=None, header_style="bold")
    for one in found:
        flags = [flag.name for flag in one.verdicts.flags if flag.raised]
        robust = one.verdicts.robust_accuracy(0)
        verdict = f"{robust.value:.0%} robust" if robust else one.verdicts.diagnosis.status
        kind = "honest" if one.control.honest else "hides"
        table.add_row("ok" if one.right else "WRONG", one.control.name, kind, verdict, ", ".join(flags) or "-")
    console.print(table)


def first_line(thing: Any) -> str:
    """The first sentence, or, where it is long, what stands before its colon or in its first line."""
    said = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    sentence = re.split(r"(?<=[.:])\s", said.replace("\n", " "))[0]
    return sentence.rstrip(":") if len(sentence) <= 150 else said.partition("\n")[0] + " ..."


def fail(message: str, whole: bool = False) -> None:
    """End with a message on stderr, of three lines at most unless `whole`, and exit status 2."""
    message = printable(message, lines=True) if whole else short_error(message)
    Console(stderr=True, emoji=False).print(
        "[bold red]error:[/]", without_markup(message), highlight=False, soft_wrap=True
    )
    sys.exit(2)
