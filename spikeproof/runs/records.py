"""What do the files of a run folder say? One declaration of each, which evaluations write and reports read."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

from spikeproof.runs.intervals import Interval

SCHEMA = 3  # of the JSON files of a run folder; 2 had no digest, and what has no number is of spikeproof 0.1.0

Config = dict[str, Any]  # a choice as it is written down: {"class_path": ..., "init_args": ...}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions of everything that can change a number, and the machine it was computed on."""

    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """``run.json``: what was chosen, and how training went; `finished` is None until it has ended.

    `config_sha256_before` are digests of what was chosen before it was trained for more epochs.
    """

    FILE: ClassVar[str] = "run.json"
    name: str
    config: Config
    seed: int
    config_sha256_before: tuple[str, ...] = ()
    weights_sha256: str | None = None
    parameters: int | None = None
    started: str | None = None
    finished: str | None
    training_seconds: float | None = None
    environment: Environment = Environment()


MOST_VALUES = 1 << 28  # of an image or a recording: as float32 it takes 1 GiB


@dataclass(frozen=True, kw_only=True)
class BuiltRecord:
    """``model.json``: the arguments of `Network.build` that make the network of the weights beside it.

    Raises `ValueError` for numbers that no network is built with.
    """

    FILE: ClassVar[str] = "model.json"
    network: Config
    shape: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.shape) not in (3, 4) or min(self.shape) < 1 or math.prod(self.shape) > MOST_VALUES:
            raise ValueError(f"shape is {list(self.shape)[:6]}, and not [C, H, W] or [T, P, H, W] from 1 on")
        if not 1 <= self.classes <= 1_000_000:
            raise ValueError(f"classes is {self.classes}, and not from 1 to a million")
        if {len(self.mean), len(self.std)} != {self.shape[-3]}:
            raise ValueError(f"mean and std hold {len(self.mean)} and {len(self.std)} numbers, not {self.shape[-3]}")
        if not all(map(math.isfinite, self.mean)) or not all(0 < s < math.inf for s in self.std):
            raise ValueError("mean must be finite, and std above 0")


@dataclass(frozen=True, kw_only=True)
class FactoryRecord:
    """``model.json`` of a network from elsewhere: the function, package.module:function, that builds it.

    The others are what `adapt` is given.
    """

    FILE: ClassVar[str] = "model.json"
    factory: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    reduce: str | None = None


@dataclass(frozen=True, kw_only=True)
class GraphRecord:
    """``model.json`` of a network that came as a NIR graph, which lies beside it in ``graph.nir``.

    `simulation` says how the graph is run; `mean` and `std` are what pixels were normalised by in its training.
    """

    FILE: ClassVar[str] = "model.json"
    graph_sha256: str
    simulation: Config
    shape: tuple[int, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A line of ``metrics.jsonl``; epoch 0 is a network that did not begin at random, before any training."""

    epoch: int
    learning_rate: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    best: bool = False
    seconds: float = 0.0
    validation_accuracy: float | None = None
    validation_robust_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """An attack of a suite: its name in the field, such as PGD-10, its name here, and every setting."""

    name: str
    label: str
    config: Config


@dataclass(frozen=True, kw_only=True)
class SuiteRecord:
    """The members of a suite, one by one."""

    name: str
    judged_by: str = "mean"
    examined: int = 0
    attacks: tuple[AttackRecord, ...]


@dataclass(frozen=True, kw_only=True)
class FlagRecord:
    """A check of whether a number can be believed. Its `key` tells it apart; `name` and `meaning` are for a reader.

    `number` is None where it is not defined, which raises the flag.
    """

    key: str
    name: str
    number: float | None
    threshold: float
    spoils: bool
    raised: bool
    meaning: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ThreatRecord:
    """A threat, and what was left under it. `unit` says what its eps counts; "" stands for pixel values in [0, 1]."""

    label: str
    norm: str
    eps: float
    kind: str
    unit: str = ""
    config: Config
    robust_accuracy: Interval | None
    broken_by: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VerdictsRecord:
    """``verdicts.json``: the summary of an evaluation; what happened to each image is in ``verdicts.npz``.

    Costs are counts of gradients and of forward passes, of the suite and of the flags. `width` is how many images a
    judged batch had, and `protocol` the whole `Protocol`; None if they are not known. `network_sha256` is what the
    weights state of themselves, `arrays_sha256` the digest of the arrays, and `finished` when the evaluation ended; ""
    in what was written before.
    """

    FILE: ClassVar[str] = "verdicts.json"
    status: str
    reason: str
    images: int
    suite: SuiteRecord
    flags: tuple[FlagRecord, ...] = ()
    draws: int
    draws_if_stochastic: int
    width: int | None = None
    clean_accuracy: Interval
    qte: float | None = None
    threats: tuple[ThreatRecord, ...]
    gradient_evaluations: int = 0
    gradient_evaluations_per_image: float | None = None
    forward_evaluations_per_image: float | None = None
    gradient_evaluations_of_flags: int = 0
    forward_evaluations_of_flags: int = 0
    data: Config
    resplit: bool = False
    part: str
    seed: int = 0
    protocol: Config | None = None
    fingerprint: str = ""
    network_sha256: str = ""
    arrays_sha256: str = ""
    finished: str = ""
    seconds: float = 0.0
    environment: Environment = Environment()


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A choice with its short name."""

    label: str = ""
    config: Config


class Harms(NamedTuple):
    """What the attack does, what random noise of the same size does, and the difference."""

    adversarial: float
    random: float
    gap: float


class Sparsity(NamedTuple):
    """Means over images: shares of the gradient's entries that are not exactly 0, and large; its l1 norm."""

    nonzero_share: float
    above_1_percent_share: float
    l1: float


class Course(NamedTuple):
    """Root mean square over images, neurons and draws of a layer's potential perturbation, one number a time step."""

    adversarial: tuple[float, ...]
    random: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Clean:
    """Cross-entropy and accuracy before anything is done to the images."""

    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class ProbesRecord:
    """``probes.json``: why a network holds, or not."""

    FILE: ClassVar[str] = "probes.json"
    images: int
    draws: int
    threat: Labelled
    attack: Labelled
    clean: Clean
    gradient: Sparsity
    loss_rise: Harms
    accuracy_drop: Harms
    potential_perturbation: dict[str, Course]
    data: Config
    resplit: bool = False
    part: str
    seed: int = 0
    fingerprint: str = ""
    seconds: float = 0.0
    environment: Environment = Environment()


@dataclass(frozen=True, kw_only=True)
class CertificatesRecord:
    """``certificates.json``: the summary of a certification; what holds for each image is in ``certificates.npz``.

    Radii are sizes of the threat `norm`; `unit` says what they count, "" stands for pixel values in [0, 1]. `voted` is
    whether a majority over noise is certified, and `own` whether that noise is the network's own. Images have `pixels`
    values each. `least` is the radius below which images were given up, and of `refuted` images one of another class
    within the size that was looked at is known. `mean_radius` counts wrong classes as 0.
    """

    FILE: ClassVar[str] = "certificates.json"
    certificate: Labelled
    norm: str
    unit: str = ""
    voted: bool
    own: bool
    images: int
    pixels: int
    least: float
    accuracy: Interval
    abstained: int
    given_up: int
    refuted: int = 0
    mean_radius: float
    largest_radius: float
    passes: int
    data: Config
    resplit: bool = False
    part: str
    seed: int = 0
    fingerprint: str = ""
    network_sha256: str = ""
    arrays_sha256: str = ""
    seconds: float = 0.0
    environment: Environment = Environment()


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a pass takes, a mean over images. `dense` counts all weights and inputs, the effective ones those not 0.

    In those named spikewise, spikes that a mean pooling joins are handed on one by one, each an accumulation. Layers
    that see the same at every step count once; `macs_of_further_steps` would be added if they were computed at each.
    """

    effective_macs: float
    effective_acs: float
    dense: float
    macs_spikewise: float
    acs_spikewise: float
    macs_of_further_steps: float
    activation_sparsity: float
    nanojoules: float
    nanojoules_spikewise: float


@dataclass(frozen=True, kw_only=True)
class EnergyRecord:
    """``energy.json``: operations and energy of a pass, clean and, where there is a threat, under attack.

    `random` is noise of the size of the threat, `kept` the share of images whose class the attack left, `footprint` the
    bytes of all parameters and buffers.
    """

    FILE: ClassVar[str] = "energy.json"
    images: int
    footprint: int
    connection_sparsity: float
    clean: Spent
    threat: Labelled | None = None
    attack: Labelled | None = None
    random: Spent | None = None
    attacked: Spent | None = None
    kept: float | None = None
    data: Config
    resplit: bool = False
    part: str
    seed: int = 0
    fingerprint: str = ""
    seconds: float = 0.0
    environment: Environment = Environment()


Record = (
    RunRecord
    | VerdictsRecord
    | ProbesRecord
    | CertificatesRecord
    | EnergyRecord
    | BuiltRecord
    | FactoryRecord
    | GraphRecord
)
AnyRecord = TypeVar(
    "AnyRecord",
    RunRecord,
    VerdictsRecord,
    ProbesRecord,
    CertificatesRecord,
    EnergyRecord,
    BuiltRecord,
    FactoryRecord,
    GraphRecord,
)
