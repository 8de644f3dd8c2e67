"""Can this network be measured at all? What makes gradient attacks fail without making a network robust."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from spikeproof.attacks.inputs import check_input, laid_out
from spikeproof.calling import as_evaluated, check_labels, check_network, checked_logits, in_full_precision
from spikeproof.evaluation.flags import Flag
from spikeproof.evaluation.flags.inspection import along, blind
from spikeproof.randomness import seeded
from spikeproof.runs.weights import tensors_of
from spikeproof.snn import GradientPath, adapt, record
from spikeproof.snn.layer_names import layer_names

Status = Literal["ok", "silent", "constant", "nan", "zero_gradient", "unreliable"]

MOST = 0.5  # a share of images above which a failure is the network's and not the images'


class Diagnosis(NamedTuple):
    """A status and, unless it is "ok", a sentence that says what was seen."""

    status: Status
    reason: str = ""


def judged(flags: Sequence[Flag]) -> Diagnosis:
    """Unreliable, and why, where a raised flag spoils the number; else "ok"."""
    said = [flag.said() for flag in flags if flag.raised and flag.spoils]
    return Diagnosis("unreliable", " ".join(said)) if said else Diagnosis("ok")


def diagnose(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    paths: Sequence[GradientPath] = (),
    *,
    batch: int = 256,
    seed: int = 0,
) -> Diagnosis:
    """What is wrong with `model` on images `x` ``[B, C, H, W]`` that keeps attacks from telling anything.

    Looks at weights and logits that are not finite, at layers that never fire, and at logits that are the same for all
    images. Looks at input gradients of the margin that are exactly zero along the network's own path and all of
    `paths`. `batch` bounds memory alone.
    """
    model = adapt(model)
    check_network(model)
    check_input(x)
    check_labels(y, x)
    x = laid_out(x)
    for name, tensor in tensors_of(model).items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return Diagnosis("nan", f"{name} holds NaN or infinite numbers")
    logits, silent = _watched(model, x, batch, seed)
    if broken := int((~logits.isfinite()).any(1).sum()):
        return Diagnosis("nan", f"logits are NaN or infinite for {broken} of {len(x)} images")
    if len(x) > 1 and (logits - logits[:1]).abs().max() <= 1e-6 * logits.abs().max().clamp(min=1e-6):
        if silent:
            return Diagnosis(
                "silent",
                f"layer {layer_names(model)[silent[0]]} never fires on {len(x)} images: the output is constant",
            )
        return Diagnosis("constant", f"the logits are the same for all {len(x)} images")
    zero = int(blind(along(model, paths), x, y, batch, seed).sum())
    if zero > MOST * len(x):
        return Diagnosis(
            "zero_gradient",
            f"the input gradient is exactly zero for {zero} of {len(x)} images: gradient attacks see nothing, "
            "which says nothing about robustness",
        )
    return Diagnosis("ok")


def _watched(model: nn.Module, x: Tensor, batch: int, seed: int) -> tuple[Tensor, list[str]]:
    """Logits, and the layers that never fire, in order."""
    logits: list[Tensor] = []
    fires: dict[str, bool] = {}
    with torch.no_grad(), seeded(seed, x.device), as_evaluated(model), in_full_precision():
        for chunk in x.split(batch):
            with record(model) as inside:
                logits.append(checked_logits(model, chunk))
            fires |= {name: fires.get(name, False) or bool(s.any()) for name, s in inside.spikes.items()}
    return torch.cat(logits), [name for name, ever in fires.items() if not ever]
