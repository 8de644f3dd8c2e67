"""What does an evaluation know? Per image: classified right, broken by which attack, from which eps, at what cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeproof.attacks import Threat
from spikeproof.choices import UserError, short
from spikeproof.configs import to_config
from spikeproof.evaluation.diagnosis import Diagnosis
from spikeproof.evaluation.flags import Flag
from spikeproof.evaluation.suites import Suite
from spikeproof.evaluation.told import as_frame, as_html, as_plot, as_text
from spikeproof.evaluation.trade_off import qte
from spikeproof.runs.attack_names import attack_names
from spikeproof.runs.intervals import Interval
from spikeproof.runs.json_forms import as_json
from spikeproof.runs.records import AttackRecord, FlagRecord, SuiteRecord, ThreatRecord, VerdictsRecord

NEVER = -1


@dataclass(frozen=True)
class Verdicts:
    """Arrays ``[N]``, one entry an image, for `threats` of growing eps.

    `broken_at` is the index of the smallest threat that breaks the image: ``len(threats)`` where none does, -1 where
    the clean prediction is wrong already. `broken_by` is the index of the suite's member that did it, -1 where none
    did; `broken_as` is the class that it was then taken for. `draws` passes are averaged in every judgement and
    gradient; a stochastic network in its place would have had `draws_if_stochastic`. `gradients` and `forwards` count
    evaluations of the suite; `spent_on_flags` those of all images together that red flags took. Judged batches had
    `width` images. `adversarial` ``[N, C, H, W]`` holds the image that broke each, inside ``threats[broken_at]``, and
    the image itself where none did: only where `evaluate` was asked to keep them, else None.
    """

    threats: Sequence[Threat]
    suite: Suite
    draws: int
    draws_if_stochastic: int
    width: int
    diagnosis: Diagnosis
    label: np.ndarray
    clean_prediction: np.ndarray
    broken_at: np.ndarray
    broken_by: np.ndarray
    broken_as: np.ndarray
    gradients: np.ndarray
    forwards: np.ndarray
    flags: tuple[Flag, ...] = ()
    spent_on_flags: tuple[int, int] = (0, 0)
    adversarial: np.ndarray | None = field(default=None, repr=False)

    def clean_accuracy(self) -> Interval:
        return Interval.of(int((self.clean_prediction == self.label).sum()), len(self.label))

    def robust_accuracy(self, threat: int) -> Interval | None:
        """The share of images that no attack breaks at `threats[threat]` or below; None unless diagnosed "ok".

        Raises `UserError` for a number that no threat has.
        """
        if not 0 <= threat < len(self.threats):
            raise UserError(f"threat must be from 0 to {len(self.threats) - 1}, in order of eps, not {threat}")
        if self.diagnosis.status != "ok":
            return None
        return Interval.of(int((self.broken_at > threat).sum()), len(self.label))

    def qte(self) -> float | None:
        """The area under accuracy against eps, from the clean accuracy at 0 on; None unless diagnosed "ok"."""
        robust = [interval.value for index in range(len(self.threats)) if (interval := self.robust_accuracy(index))]
        strengths = [threat.eps for threat in self.threats]
        if len(robust) < len(strengths) or strengths[0] == 0:
            return None
        return qte([0.0, *strengths], [self.clean_accuracy().value, *robust])

    def __str__(self) -> str:
        """Accuracies in % with 95 % intervals, and what must be said beside them."""
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def to_frame(self) -> Any:
        """A pandas data frame, one line for clean images and each threat; raises `UserError` without pandas."""
        return as_frame(self)

    def plot(self, axes: Any = None) -> Any:
        """Accuracy against eps with its intervals; returns matplotlib's axes (None: those of a new figure)."""
        return as_plot(self, axes)

    def arrays(self) -> dict[str, np.ndarray]:
        names = ("label", "clean_prediction", "broken_at", "broken_by", "broken_as", "gradients", "forwards")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> dict[str, Any]:
        """The JSON-able record of the whole evaluation."""
        return as_json(self._found())

    def record(self, **made: Any) -> VerdictsRecord:
        """What ``verdicts.json`` holds; `made` says of what, where and how the verdicts were made."""
        return VerdictsRecord(**self._found(), **made)

    def _found(self) -> dict[str, Any]:
        """The fields of a `VerdictsRecord` that the evaluation itself knows."""
        configs = [to_config(member) for member in self.suite.members]
        attacks = tuple(
            AttackRecord(name=name, label=short(member), config=config)
            for name, member, config in zip(attack_names(configs), self.suite.members, configs, strict=True)
        )
        suite = SuiteRecord(
            name=self.suite.name, judged_by=self.suite.judged_by, examined=self.suite.examined, attacks=attacks
        )
        return {
            "status": self.diagnosis.status,
            "reason": self.diagnosis.reason,
            "images": len(self.label),
            "suite": suite,
            "flags": tuple(FlagRecord(**flag.summary()) for flag in self.flags),
            "draws": self.draws,
            "draws_if_stochastic": self.draws_if_stochastic,
            "width": self.width,
            "clean_accuracy": self.clean_accuracy(),
            "qte": self.qte(),
            "threats": tuple(self._at(index, threat, suite) for index, threat in enumerate(self.threats)),
            "gradient_evaluations": int(self.gradients.sum()),
            "gradient_evaluations_per_image": float(self.gradients.mean()),
            "forward_evaluations_per_image": float(self.forwards.mean()),
            "gradient_evaluations_of_flags": self.spent_on_flags[0],
            "forward_evaluations_of_flags": self.spent_on_flags[1],
        }

    def _at(self, index: int, threat: Threat, suite: SuiteRecord) -> ThreatRecord:
        broken = (self.broken_at >= 0) & (self.broken_at <= index)
        return ThreatRecord(
            label=str(threat),
            norm=type(threat).__name__,
            eps=threat.eps,
            kind=threat.kind,
            unit=threat.unit,
            config=to_config(threat),
            robust_accuracy=self.robust_accuracy(index),
            broken_by={a.name: int((broken & (self.broken_by == i)).sum()) for i, a in enumerate(suite.attacks)},
        )
