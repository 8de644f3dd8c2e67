"""E-RSCT: a spiking network learns from an ANN teacher, by its answers and by what reaches its neurons."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeproof.calling import as_evaluated
from spikeproof.choices import NonNegative, Positive, Share, UserError
from spikeproof.objectives.objective import Objective, Terms
from spikeproof.snn import Internals, record


@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """CE(z(x), y) + a tau^2 KL(q_tau || p_tau) + b mean_l ||I_l - J_l||^2 / n_l, with a = `logit_weight`, b =
    `feature_weight`.

    q and p are the teacher's and the student's softmax at `temperature` tau. J_l is what reaches layer l of the
    teacher's units. I_l is the mean over time of the currents that reach the student's. These are pre-synaptic
    features, of the last layer or of all. The teacher is in eval mode and sees x itself, the student codes x with its
    own noise. Source: Wu et al., RSC-SNN, ACM MM 2024, arXiv 2407.20099 (E-RSCT): a KL term and a pre-synaptic loss are
    theirs. The form of that loss, the weights and the temperature are not published, and are our choices. The
    divergence: Hinton et al., 2015. The teacher is the `ann` of the recipe.
    """

    logit_weight: NonNegative = 1.0
    feature_weight: NonNegative = 1.0
    temperature: Positive = 2.0
    layers: Literal["last", "all"] = "last"
    label_smoothing: Share = 0.0

    @property
    def needs_ann(self) -> bool:
        return True

    def prepared(self, ann: nn.Module | None) -> Terms:
        if ann is None:
            raise UserError("Distillation learns from an ANN: give the recipe one under ann")
        return functools.partial(self.taught, ann)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        raise UserError("Distillation has no teacher: call what prepared(ann) returns, as train does")

    def taught(self, teacher: nn.Module, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The terms of `model` as it learns from `teacher`."""
        with record(model) as inside:
            logits = model(x)
        terms = {"cross_entropy": F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)}
        if self.logit_weight == self.feature_weight == 0:
            return terms
        with torch.no_grad(), as_evaluated(teacher), record(teacher) as shown:
            answer = teacher(x)
        if answer.shape != logits.shape:
            raise UserError(f"the teacher tells {answer.shape[1]} classes apart, the network {logits.shape[1]}")
        if self.logit_weight > 0:
            terms["teacher_logits"] = self.logit_weight * divergence(answer, logits, self.temperature)
        if self.feature_weight > 0:
            terms["teacher_features"] = self.feature_weight * self._distance(shown, inside)
        return terms

    def _distance(self, taught: Internals, learned: Internals) -> Tensor:
        """The mean squared difference of pre-synaptic features, a scalar."""
        pairs = list(zip(taught.currents.values(), learned.currents.values(), strict=False))
        same = len(taught.currents) == len(learned.currents) and all(j.shape[1:] == i.shape[1:] for j, i in pairs)
        if not same or not pairs:
            raise UserError(
                "the features of teacher and network are compared layer by layer, and their layers differ: "
                "give both the same architecture, or set feature_weight to 0"
            )
        chosen = pairs[-1:] if self.layers == "last" else pairs
        return torch.stack([F.mse_loss(i.mean(0), j.mean(0)) for j, i in chosen]).mean()


def divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)), the mean over images."""
    q, p = (
        F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, 1)
        for logits in (teacher, student)
    )
    return temperature**2 * F.kl_div(p, q, reduction="batchmean", log_target=True)
