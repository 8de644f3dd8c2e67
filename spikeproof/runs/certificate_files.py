"""What do ``certificates.json`` and ``certificates.npz`` say together? The summary is counted again from the arrays."""

import numpy as np

from spikeproof.runs import Run
from spikeproof.runs.digests import digest_of_arrays
from spikeproof.runs.intervals import Interval
from spikeproof.runs.records import CertificatesRecord

ARRAYS = "certificates.npz"
WHOLE, REAL = ("label", "prediction", "votes", "draws"), ("radius", "p")


def read_certificates(run: Run) -> tuple[CertificatesRecord, dict[str, np.ndarray]]:
    """The summary of a certification, and its arrays [N].

    Raises `UserError` for what no certification finds, and where the summary is not that of the arrays.
    """
    record, arrays = run.read(CertificatesRecord), run.read_arrays(ARRAYS)
    with run.understood(record.FILE):
        _refuse_impossible(record, arrays)
        _refuse_other_sums(record, arrays)
    return record, arrays


def _refuse_impossible(record: CertificatesRecord, arrays: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` for arrays of another certification, and for values out of their range."""
    if record.arrays_sha256 != digest_of_arrays(arrays):
        raise ValueError(f"{ARRAYS} is that of another certification, or was changed")
    if (sizes := {arrays[name].shape for name in (*WHOLE, *REAL)}) != {(record.images,)}:
        raise ValueError(f"{record.images} images, but {ARRAYS} holds {sorted(sizes)}")
    for name in WHOLE:
        if arrays[name].dtype.kind not in "iu" or (arrays[name] < 0).any():
            raise ValueError(f"{name} of {ARRAYS} holds other values than whole numbers from 0 on")
    if not (arrays["radius"] >= 0).all() or not ((arrays["p"] >= 0) & (arrays["p"] <= 1)).all():
        raise ValueError(f"radius or p of {ARRAYS} is out of range")
    if (arrays["votes"] > arrays["draws"]).any():
        raise ValueError(f"{ARRAYS} holds more votes than draws")


def _refuse_other_sums(record: CertificatesRecord, arrays: dict[str, np.ndarray]) -> None:
    """Raise `ValueError` that names what the arrays do not add up to."""
    right, radius = arrays["prediction"] == arrays["label"], arrays["radius"]
    counted = Interval.of(int(right.sum()), record.images)
    if not np.allclose(record.accuracy, counted, rtol=0, atol=1e-9):
        raise ValueError(f"accuracy is {record.accuracy.value:.4f}, where {ARRAYS} makes {counted.value:.4f}")
    sums = {
        "mean_radius": float(np.where(right, radius, 0.0).mean()),
        "largest_radius": float(radius.max()),
        "passes": int(arrays["draws"].sum()),
        "abstained": int((radius == 0).sum()) - record.given_up,
    }
    for name, value in sums.items():
        if not np.isclose(getattr(record, name), value, rtol=1e-9, atol=1e-12):
            raise ValueError(f"{name} is {getattr(record, name)}, where {ARRAYS} makes {value}")
