"""What does the evaluation say of one control, and what did it take?"""

import time
from typing import Any

from spikeproof.controls import Control, Trained, judged_by
from spikeproof.evaluation import suite_named
from spikeproof.runs import environment

IMAGES = 60


def row(control: Control, trained: Trained) -> dict[str, Any]:
    """The verdict on the control under `standard`: numbers of all flags, processor seconds, gradients of all images."""
    control.network(trained)  # so that no training is timed
    began = time.process_time()
    found = judged_by(suite_named("standard"), control, trained, IMAGES)
    verdicts, robust = found.verdicts, found.verdicts.robust_accuracy(0)
    return {
        "honest": control.honest,
        "right": found.right,
        "status": verdicts.diagnosis.status,
        "reason": verdicts.diagnosis.reason,
        "clean_accuracy": verdicts.clean_accuracy().value,
        "robust_accuracy": robust and robust.value,
        "unbroken": float((verdicts.broken_at > 0).mean()),
        "flags": {flag["key"]: numbers(flag) for flag in (each.summary() for each in verdicts.flags)},
        "seconds": time.process_time() - began,
        "gradients": int(verdicts.gradients.sum()),
        "gradients_of_flags": verdicts.spent_on_flags[0],
        "commit": environment().versions.get("commit"),
    }


def numbers(flag: dict[str, Any]) -> dict[str, Any]:
    return {name: flag[name] for name in ("number", "threshold", "raised")}
