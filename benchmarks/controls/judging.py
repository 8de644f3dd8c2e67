"""What does the evaluation say of one control, and what did it take?"""

import time
from typing import Any

from spikeproof.configs import to_config
from spikeproof.controls import Control, Trained, judged_by
from spikeproof.evaluation import suite_named
from spikeproof.runs import environment
from spikeproof.runs.digests import digest_of_json

IMAGES = 60
SUITE = "standard"


def asked() -> str:
    """What tells whether a kept row is of the same question: a digest of the suite's attacks."""
    return digest_of_json(to_config(suite_named(SUITE)))


def row(control: Control, trained: Trained) -> dict[str, Any]:
    """The verdict on the control under `standard`: numbers of all flags, processor seconds, gradients of all images."""
    control.network(trained)  # so that no training is timed
    began = time.process_time()
    found = judged_by(suite_named(SUITE), control, trained, IMAGES)
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
        "asked": asked(),
        "commit": environment().versions.get("commit"),
    }


def numbers(flag: dict[str, Any]) -> dict[str, Any]:
    return {name: flag[name] for name in ("number", "threshold", "raised")}
