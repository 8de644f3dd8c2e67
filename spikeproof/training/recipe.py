"""What has to be chosen to train a network? A recipe; with its seed it determines every weight."""

from dataclasses import dataclass, replace
from typing import Annotated

from spikeproof.attacks import PGD, Attack, Linf, Threat
from spikeproof.choices import AtLeast, Choice, Count, NonNegative, Positive, Seed, UserError, Within, short, within
from spikeproof.conversion import Conversion
from spikeproof.data import DataSet, Digits
from spikeproof.objectives import Objective, Standard
from spikeproof.snn import Network, SpikingNetwork
from spikeproof.training.optimisers import SGD, Cosine, Optimiser, Schedule
from spikeproof.training.weights import Weights
from spikeproof.untrusted.words import told

__all__ = ["Recipe", "Selection", "Training"]


@dataclass(frozen=True, kw_only=True)
class Selection(Choice):
    """How the epoch to keep is chosen: by accuracy on the first `images` validation images under `attack`.

    Ties are broken by clean accuracy on the same images, then for the later epoch. The test set chooses nothing.
    """

    threat: Threat = Linf()
    attack: Attack = PGD(steps=7)
    images: Count = 512


@dataclass(frozen=True, kw_only=True)
class Training(Choice):
    """The training loop's settings.

    `warm_up` is in epochs, linear from 0. `average` is the decay of an exponential moving average of the weights, which
    is then what is validated and kept (0: none). `gradient_clip` bounds the gradient's L2 norm (None: no bound).
    `mixed_precision` is bfloat16 autocast (None: where the accelerator has it, never on a CPU). With several ranks
    `batch` is what all take together. `synchronised_batch_norm` then takes statistics over all of it, and not over each
    rank's share.
    """

    epochs: Annotated[int, AtLeast(0)] = 30
    batch: Annotated[int, AtLeast(2)] = 128
    optimiser: Optimiser = SGD()
    schedule: Schedule = Cosine()
    warm_up: NonNegative = 0.0
    average: Annotated[float, Within(0, 1, "[)")] = 0.0
    gradient_clip: Positive | None = None
    mixed_precision: bool | None = None
    synchronised_batch_norm: bool = False
    selection: Selection = Selection()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.warm_up < max(1, self.epochs):
            raise UserError(f"warm_up is a number of epochs below {self.epochs}, not {self.warm_up}")

    def learning_rate(self, epoch: float) -> float:
        """The rate after `epoch` epochs, a fraction inside an epoch."""
        rate = self.optimiser.learning_rate * self.schedule.factor(epoch, self.epochs)
        return rate * min(1.0, epoch / self.warm_up) if self.warm_up else rate


@dataclass(frozen=True, kw_only=True)
class Recipe(Choice):
    """All choices. `name` is the row in a comparison; runs of one name that differ in `seed` belong together.

    `ann` is trained first. `conversion` makes the spiking network from it, which `objective` then fine-tunes for
    `training.epochs` (0: not at all). Objectives that learn from a teacher are taught by it. `weights` from a file may
    take the place of random ones.
    """

    name: str
    data: DataSet = Digits()
    network: Network = Network()
    objective: Objective = Standard()
    training: Training = Training()
    ann: "Recipe | None" = None
    conversion: Conversion | None = None
    weights: Weights | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < len(self.name) <= 100 or not self.name.isprintable() or set(self.name) & set("/\\"):
            raise UserError(f"a name becomes a folder's: it cannot be {told(self.name)}")
        if self.name.startswith("."):
            raise UserError(f"a name becomes a folder's: it cannot begin with a dot, as {told(self.name)} does")
        if self.data.train_images == 1:
            raise UserError("batch norm needs at least 2 training images: set train_images to more than 1")
        if self.training.epochs == 0 and self.conversion is None and self.weights is None:
            raise UserError(
                "epochs must be at least 1 without a conversion or weights: after 0 there is nothing to keep"
            )
        if self.conversion is not None and self.weights is not None:
            raise UserError("a network begins with a conversion or with weights, not both: give the weights to the ANN")
        self._check_threats()
        self._check_ann()

    def _check_threats(self) -> None:
        """Refuse to attack event frames as images, and images as event frames."""
        for part in within((self.training.selection, self.objective), Choice):
            threat, attack = getattr(part, "threat", None), getattr(part, "attack", None)
            if threat is None or attack is None:
                continue
            attack.check(threat)
            if (len(self.data.shape) == 4) == (threat.kind == "images"):
                what, right = ("event frames", "FrameLinf") if threat.kind == "images" else ("images", "Linf")
                raise UserError(
                    f"{short(self.data)} holds {what}, and {type(part).__name__} attacks them under {threat}: choose a "
                    f"threat on {what}, {right} for example"
                )

    def _check_ann(self) -> None:
        if self.ann is None:
            if self.conversion is not None:
                raise UserError("a conversion needs an ANN: give the recipe one under ann")
            if self.objective.needs_ann:
                raise UserError(f"{short(self.objective)} learns from an ANN: give the recipe one under ann")
            return
        if not self.ann.network.is_ann:
            raise UserError("the network under ann spikes: give it neuron: ReLU (or QCFS) and steps: 1")
        if (self.ann.data.shape, self.ann.data.classes) != (self.data.shape, self.data.classes):
            raise UserError(
                f"the ANN sees images {self.ann.data.shape} of {len(self.ann.data.classes)} classes, the network "
                f"{self.data.shape} of {len(self.data.classes)}: train both on the same kind of data"
            )

    def build(self) -> SpikingNetwork:
        """The freshly initialised network."""
        data = self.data
        return self.network.build(data.shape, len(data.classes), mean=data.mean, std=data.std, seed=self.seed)

    def seeded(self, seed: int) -> "Recipe":
        """The same with another seed, for its ANN too, and on another split where the data have none of their own."""
        ann = None if self.ann is None else self.ann.seeded(self.ann.seed + seed - self.seed)
        return replace(self, seed=seed, ann=ann, data=self.data.seeded(seed - self.seed))
