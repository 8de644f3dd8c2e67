"""What does the card of a network say? Where it comes from, and what it reached under the suite ``standard``."""

from dataclasses import dataclass
from typing import Any, ClassVar

from spikeproof.choices import UserError
from spikeproof.runs import Run
from spikeproof.runs.certificate_files import read_certificates
from spikeproof.runs.folder import Folder
from spikeproof.runs.intervals import Interval
from spikeproof.runs.records import BuiltRecord, CertificatesRecord, Config, VerdictsRecord
from spikeproof.runs.ties import WEIGHTS, are_of_others
from spikeproof.runs.verdict_files import read_verdicts

SUITES = ("standard", "events_standard")  # whose numbers a card states: the others are for development


@dataclass(frozen=True, kw_only=True)
class Card:
    """A network of a zoo.

    `recipe` is what was chosen to train it, `weights_sha256` the digest that its tensors state of themselves, `steps`
    the time steps (None: as many as its frames). Accuracies are shares of the first `images` test images, with their
    95 % intervals, by the label of the threat; `status` is "ok", or why there are none. `certified` is the mean
    certified radius, by the norm, where one was proved.
    """

    FILE: ClassVar[str] = "card.json"
    name: str
    about: str
    recipe: Config
    weights_sha256: str
    bytes: int
    parameters: int | None
    steps: int | None
    suite: str
    images: int
    status: str
    clean_accuracy: Interval
    robust_accuracy: dict[str, Interval]
    certified: dict[str, float]
    versions: dict[str, str]
    commit: str
    trained: str
    evaluated: str


def card_of(run: Run) -> Card:
    """The card of a run folder; raises `UserError` for one that is not trained, or not evaluated as a card needs it."""
    if not run.record.finished:
        raise UserError(f"the training of {run.path} has not finished")
    if "model" in run.record.config:
        raise UserError(f"the network of {run.path} is built by code from outside spikeproof: no zoo can hold it")
    record, how = _standard(run), run.read(BuiltRecord)
    versions = run.record.environment.versions
    return Card(
        name=run.path.resolve().name,
        about=_about(run.record.config),
        recipe=run.record.config,
        weights_sha256=run.stated(WEIGHTS)[0],
        bytes=(run.path / WEIGHTS).stat().st_size,
        parameters=run.record.parameters,
        steps=(how.network.get("init_args") or {}).get("steps"),
        suite=record.suite.name,
        images=record.images,
        status=record.status,
        clean_accuracy=record.clean_accuracy,
        robust_accuracy={t.label: t.robust_accuracy for t in record.threats if t.robust_accuracy is not None},
        certified=_certified(run),
        versions={name: version for name, version in versions.items() if name != "commit"},
        commit=versions.get("commit", "unknown"),
        trained=run.record.finished,
        evaluated=record.finished,
    )


def _standard(run: Run) -> VerdictsRecord:
    found = [read_verdicts(folder)[0] for folder in run.evaluations if _suite_of(folder) in SUITES]
    own = [record for record in found if not are_of_others(run, record)]
    if not own:
        raise UserError(f"{run.path} was not evaluated under the suite standard, as a card needs it: evaluate it first")
    return max(own, key=lambda record: record.images)


def _suite_of(folder: Folder) -> str:
    return folder.read(VerdictsRecord).suite.name


def _certified(run: Run) -> dict[str, float]:
    if CertificatesRecord.FILE not in run:
        return {}
    record, _ = read_certificates(run)
    return {record.norm: record.mean_radius}


def _about(config: Config) -> str:
    """The classes of the choices that matter most, in one line."""
    network = (config.get("network") or {}).get("init_args") or {}
    named = [config.get("objective"), network.get("architecture"), network.get("neuron"), config.get("data")]
    return " · ".join(str(_class_of(choice)).rpartition(".")[2] for choice in named if choice)


def _class_of(choice: Any) -> Any:
    return choice.get("class_path") if isinstance(choice, dict) else choice
