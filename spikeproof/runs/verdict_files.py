"""What do ``verdicts.json`` and ``verdicts.npz`` say together? The summary is counted again from the arrays."""

import math

import numpy as np

from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.folder import Folder
from spikeproof.runs.intervals import Interval
from spikeproof.runs.records import VerdictsRecord

ARRAYS = "verdicts.npz"
NAMES = ("label", "clean_prediction", "broken_at", "broken_by", "gradients", "forwards")


def read_verdicts(folder: Folder) -> tuple[VerdictsRecord, dict[str, np.ndarray]]:
    """The summary of the evaluation in `folder`, and its arrays [N].

    Raises `UserError` for what no evaluation finds, and where the summary is not that of the arrays.
    """
    record, arrays = folder.read(VerdictsRecord), folder.read_arrays(ARRAYS)
    with folder.understood(record.FILE):
        _refuse_impossible(record, arrays)
        _refuse_other_sums(record, arrays)
    return record, arrays


def _refuse_impossible(record: VerdictsRecord, arrays: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` for arrays of another evaluation, and for values out of their range."""
    if record.arrays_sha256 and record.arrays_sha256 != digest_of_arrays(arrays):
        raise ValueError(f"{ARRAYS} is that of another evaluation, or was changed")
    sizes = {name: arrays[name].shape for name in NAMES}
    if set(sizes.values()) != {(record.images,)}:
        raise ValueError(f"{record.images} images, but {ARRAYS} holds {sorted(set(sizes.values()))}")
    ends = {"broken_at": len(record.threats), "broken_by": len(record.suite.attacks) - 1}
    for name in NAMES:
        least, most = -1 if name in ends else 0, ends.get(name, math.inf)
        values = arrays[name]
        if values.dtype.kind not in "iu" or not ((values >= least) & (values <= most)).all():
            raise ValueError(f"{name} of {ARRAYS} holds other values than whole numbers from {least} to {most}")


def _refuse_other_sums(record: VerdictsRecord, arrays: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` that names what the arrays do not add up to."""
    total, at, by = record.images, arrays["broken_at"], arrays["broken_by"]
    right = int((arrays["clean_prediction"] == arrays["label"]).sum())
    _same("clean_accuracy", record.clean_accuracy, Interval.of(right, total))
    for index, threat in enumerate(record.threats):
        where = f"threats[{index}]"
        if record.status == "ok":
            _same(f"{where}.robust_accuracy", threat.robust_accuracy, Interval.of(int((at > index).sum()), total))
        elif threat.robust_accuracy is not None:
            raise ValueError(
                f"{where}.robust_accuracy is {threat.robust_accuracy.value}, and the status {record.status}"
            )
        for number, attack in enumerate(record.suite.attacks):
            broken = int(((at >= 0) & (at <= index) & (by == number)).sum())
            if threat.broken_by.get(attack.name, broken) != broken:
                raise ValueError(f"{where}.broken_by.{attack.name} is {threat.broken_by[attack.name]}, not {broken}")
    if record.gradient_evaluations != int(arrays["gradients"].sum()):
        raise ValueError(f"gradient_evaluations is {record.gradient_evaluations}, not {int(arrays['gradients'].sum())}")
    for flag in record.flags:
        if flag.raised != (flag.number is None or not flag.number <= flag.threshold):
            raise ValueError(f"the flag {flag.key} is {'' if flag.raised else 'not '}raised at {flag.number}")


def _same(name: str, said: Interval | None, counted: Interval) -> None:
    if said is None:
        raise ValueError(f"{name} is missing, and the status is ok")
    if not np.allclose(said, counted, rtol=0, atol=1e-9):
        raise ValueError(f"{name} is {_told(said)}, where {ARRAYS} makes {_told(counted)}")


def _told(share: Interval) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f}-{100 * share.high:.1f})"
