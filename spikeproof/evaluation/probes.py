"""Why does a network hold, or not? Sparsity of its gradient, harm beyond random noise, potentials off their course.

Three quantities of the literature, measured on the same images:

- how sparse the input gradient is, which bounds what an attack can do beyond random noise (Liu et al., ICML 2024,
  arXiv 2405.20355)
- that gap itself
- how far the currents move the potentials over time (Ding et al., ICML 2024, arXiv 2405.20694)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.attacks import PGD, Attack, Threat
from spikeproof.attacks.losses import pairwise_probability, strongest_rival
from spikeproof.attacks.query import per_image
from spikeproof.calling import (
    as_evaluated,
    check_network,
    check_targets,
    checked_logits,
    in_full_precision,
    is_stochastic,
    mean_of,
)
from spikeproof.choices import UserError, short, whole_number
from spikeproof.configs import to_config
from spikeproof.evaluation.predictions import Given, taken
from spikeproof.randomness import seed_from, seeded
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import Clean, Course, Harms, Labelled, ProbesRecord, Sparsity
from spikeproof.snn import Internals, adapt, attack_view, potential_perturbation, record

__all__ = ["Probes", "probe"]

LARGE = 0.01  # of an image's largest entry: what is smaller counts as nearly zero
POTENTIAL = "potential "


class Harm(NamedTuple):
    """By how much a perturbation raises the mean cross-entropy and lowers the accuracy."""

    loss_rise: float
    accuracy_drop: float


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What was measured on `images` images; `draws` passes are averaged in every judgement and gradient.

    `adversarial` is the harm of `attack` inside `threat`, `random` that of noise of the same size. `potentials` has the
    spiking layers in the order of their call, and is empty where there are none.
    """

    images: int
    draws: int
    threat: Threat
    attack: Attack
    clean_loss: float
    clean_accuracy: float
    gradient: Sparsity
    adversarial: Harm
    random: Harm
    potentials: dict[str, Course]

    @property
    def gap(self) -> Harm:
        """What the attack does beyond random noise of the same size."""
        return Harm(*(a - r for a, r in zip(self.adversarial, self.random, strict=True)))

    def summary(self) -> dict[str, Any]:
        """The JSON-able record of all probes."""
        return as_json(self._found())

    def record(self, **made: Any) -> ProbesRecord:
        """What ``probes.json`` holds; `made` says of what, where and how the probes were made."""
        return ProbesRecord(**self._found(), **made)

    def _found(self) -> dict[str, Any]:
        """The fields of a `ProbesRecord` that the probes themselves know."""
        harms = (self.adversarial, self.random, self.gap)
        return {
            "images": self.images,
            "draws": self.draws,
            "threat": Labelled(label=str(self.threat), config=to_config(self.threat)),
            "attack": Labelled(label=short(self.attack), config=to_config(self.attack)),
            "clean": Clean(loss=self.clean_loss, accuracy=self.clean_accuracy),
            "gradient": self.gradient,
            "loss_rise": Harms(*(harm.loss_rise for harm in harms)),
            "accuracy_drop": Harms(*(harm.accuracy_drop for harm in harms)),
            "potential_perturbation": self.potentials,
        }


def probe(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    attack: Attack = PGD(steps=10),
    *,
    batch: int = 256,
    draws: int | None = None,
    seed: int = 0,
) -> Probes:
    """Probes of `model` on images `x` ``[N, C, H, W]`` in [0, 1] and labels `y` ``[N]``, in eval mode.

    The gradient is that of the label's probability against its strongest rival, sigmoid(z_y - z_j). The random
    perturbation is the threat's own step, eps long, along normal noise (for Linf a random corner). A stochastic model
    is judged by mean logits of `draws` passes (default 1, or 16 where the model declares itself stochastic). Its noise
    is the same for clean and perturbed images. Leaves the model as it was; `batch` bounds memory. Raises
    `UserError` for bad images, labels, threats or logits, and for a network that answers NaN.
    """
    pool, model = Given(x, y), adapt(model)
    check_network(model)
    if not isinstance(threat, Threat):
        raise UserError(f"a probe takes one threat, for example Linf(8/255), not {threat!r}")
    if draws is None:
        draws = 16 if is_stochastic(model) else 1
    for name, value, least in (("batch", batch, 1), ("draws", draws, 1), ("seed", seed, 0)):
        whole_number(name, value, least)
    attacked, sums = attack_view(model), dict[str, Tensor]()
    for indices in torch.arange(len(pool)).split(batch):
        chunk, labels = taken(model, pool, indices)
        drawn = seed_from(seed, int(indices[0]))
        _add(sums, _gradient(attacked, chunk, labels, draws, drawn))
        moved = _perturbed(attacked, chunk, labels, threat, attack.averaging(draws), drawn)
        _add(sums, _watched(model, chunk, labels, moved, draws, drawn + 1))
    means = _checked({name: total / len(pool) for name, total in sums.items()})
    return Probes(
        images=len(pool),
        draws=draws,
        threat=threat,
        attack=attack,
        clean_loss=means["clean loss"].item(),
        clean_accuracy=means["clean right"].item(),
        gradient=Sparsity(*(means[f"gradient {name}"].item() for name in Sparsity._fields)),
        adversarial=_harm(means, "adversarial"),
        random=_harm(means, "random"),
        potentials=_courses(means),
    )


def _gradient(model: nn.Module, x: Tensor, y: Tensor, draws: int, seed: int) -> dict[str, Tensor]:
    """Sums over the images of what `Sparsity` holds."""
    x = x.detach().clone().requires_grad_()
    slope = torch.zeros_like(x)  # what stays where the model cuts the graph
    with seeded(seed, x.device), as_evaluated(model), torch.enable_grad():
        logits = _logits(model, x, y, draws)
        sure = pairwise_probability(logits, y, strongest_rival(logits, y))
        if sure.requires_grad:
            (slope,) = torch.autograd.grad(sure.sum(), x, materialize_grads=True)
    size = slope.abs().flatten(1).double()
    found = {
        "nonzero_share": (size != 0).double().mean(1),
        "above_1_percent_share": (size > LARGE * size.amax(1, keepdim=True)).double().mean(1),
        "l1": size.sum(1),
    }
    return {f"gradient {name}": values.sum().cpu() for name, values in found.items()}


def _logits(model: nn.Module, x: Tensor, y: Tensor, draws: int) -> Tensor:
    """Mean logits ``[B, K]`` of `draws` passes, checked."""
    logits = mean_of([checked_logits(model, x) for _ in range(draws)])
    check_targets(y, x, logits.shape[1])
    return logits


def _perturbed(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, attack: Attack, seed: int) -> dict[str, Tensor]:
    """The images after the attack, and after random noise of the same size; an illegal image counts as unmoved."""
    found = threat.project(attack.run(model, x, y, threat, seed=seed).x, x)
    legal = per_image(threat.contains(found, x), x)
    with seeded(seed, x.device):
        noisy = threat.project(x + threat.eps * threat.ascent(torch.randn_like(x), x), x)
    return {"adversarial": torch.where(legal, found, x), "random": noisy}


def _watched(
    model: nn.Module, x: Tensor, y: Tensor, moved: dict[str, Tensor], draws: int, seed: int
) -> dict[str, Tensor]:
    """Sums over the images of loss, right answers and squared potential perturbations, clean and moved."""
    passes: dict[str, list[Tensor]] = {kind: [] for kind in ("clean", *moved)}
    sums: dict[str, Tensor] = {}
    with torch.no_grad(), as_evaluated(model), in_full_precision():
        for draw in range(draws):
            run = _same_noise(model, seed_from(seed, draw))
            answer, clean = run(x)
            passes["clean"].append(answer)
            for kind, images in moved.items():
                answer, squares = _off_course(run(images), clean)
                passes[kind].append(answer)
                _add(sums, {f"{POTENTIAL}{kind} {name}": value / draws for name, value in squares.items()})
    for kind, answers in passes.items():
        mean = mean_of(answers)
        sums[f"{kind} loss"] = F.cross_entropy(mean.double(), y, reduction="sum")
        sums[f"{kind} right"] = (mean.argmax(1) == y).double().sum()
    return {name: total.cpu() for name, total in sums.items()}


def _same_noise(model: nn.Module, seed: int) -> Callable[[Tensor], tuple[Tensor, Internals]]:
    """A pass of `model`, watched, whose noise is drawn from `seed` in every call."""

    def run(x: Tensor) -> tuple[Tensor, Internals]:
        with seeded(seed, x.device), record(model) as inside:
            logits = model(x.clone())  # a model that writes into its input must not change the caller's
        inside.spikes.clear()  # only currents are looked at: half the memory
        return logits, inside

    return run


def _off_course(passed: tuple[Tensor, Internals], clean: Internals) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits of a pass and, by layer, Y[t]^2: its mean over neurons, summed over images ``[T]``."""
    logits, moved = passed
    squares = {name: potential_perturbation(clean, moved, name).square() for name in moved.layers}
    return logits, {n: s.reshape(*s.shape[:2], -1).mean(2, dtype=torch.float64).sum(1) for n, s in squares.items()}


def _add(sums: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    for name, value in new.items():
        sums[name] = sums[name] + value if name in sums else value


def _checked(means: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, value in means.items():
        if not value.isfinite().all():
            raise UserError(f"the network cannot be probed: its {name} is NaN or infinite; diagnose() says more")
    return means


def _harm(means: dict[str, Tensor], kind: str) -> Harm:
    rise = means[f"{kind} loss"] - means["clean loss"]
    return Harm(rise.item(), (means["clean right"] - means[f"{kind} right"]).item())


def _courses(means: dict[str, Tensor]) -> dict[str, Course]:
    prefix = f"{POTENTIAL}{Course._fields[0]} "
    layers = [name.removeprefix(prefix) for name in means if name.startswith(prefix)]
    rms = {name: tuple(value.sqrt().tolist()) for name, value in means.items() if name.startswith(POTENTIAL)}
    return {layer: Course(*(rms[f"{POTENTIAL}{kind} {layer}"] for kind in Course._fields)) for layer in layers}
