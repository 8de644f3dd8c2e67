"""What is certified of each network, beside what attacks left of it?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikeproof.reports.reading.contenders import Contender
from spikeproof.reports.reading.evidence import Evidence, Judged
from spikeproof.reports.wording import counted, listed, percent, plain, size
from spikeproof.runs.inscribed import inscribed
from spikeproof.runs.records import CertificatesRecord

HEADINGS = (
    "Certificate",
    "Radii",
    "Right",
    "Abstained",
    "Mean radius",
    "Median radius",
    "Certified at",
    "Contradicted",
)


@dataclass(frozen=True, eq=False)
class Proved:
    """The certificates of one seed. `radius` ``[N]`` is a size of `norm`, 0 where the class is wrong or not certified.

    `norm` is that of the attacks, if a ball of it lies inside the certified one, and `scale` how large it is. `faults`
    are the images that are certified and were broken all the same, by the label of the threat.
    """

    seed: int
    record: CertificatesRecord
    norm: str
    scale: float
    radius: np.ndarray
    judged: Judged | None
    faults: dict[str, list[int]]

    def certified(self, eps: float) -> float:
        """The share of images that are right and certified at `eps`."""
        return float(((self.radius > 0) & (self.radius >= eps)).mean())

    @property
    def contradicted(self) -> list[int]:
        """The images that are certified and broken at some eps."""
        return sorted({image for images in self.faults.values() for image in images})


def proved(contender: Contender) -> list[Proved]:
    """One for each seed that was certified."""
    return [_of_one(one) for one in contender.seeds if one.certificates]


def _of_one(one: Evidence) -> Proved:
    assert one.certificates
    record, arrays = one.certificates.record, one.certificates.arrays
    judged = _beside(one)
    norm = judged.conditions.threats[0].norm if judged else record.norm
    scale = inscribed(record.norm, norm, record.pixels)
    if not scale:
        norm, scale, judged = record.norm, 1.0, None
    radius = np.where(arrays["prediction"] == arrays["label"], arrays["radius"], 0.0) * scale
    return Proved(one.seed, record, norm, scale, radius, judged, _faults(record, radius, judged))


def _beside(one: Evidence) -> Judged | None:
    """The verdicts on the same images; None where there are none, and where they are of other ones."""
    judged, found = one.verdicts, one.certificates
    if judged is None or found is None or judged.conditions.recordings or not judged.conditions.threats:
        return None
    common = min(judged.record.images, found.record.images)
    same = np.array_equal(found.arrays["label"][:common], judged.label[:common])
    alike = (judged.record.data, judged.record.part) == (found.record.data, found.record.part)
    return judged if same and alike else None


def _faults(record: CertificatesRecord, radius: np.ndarray, judged: Judged | None) -> dict[str, list[int]]:
    if judged is None or not record.own or judged.record.status != "ok":
        return {}
    common = min(len(radius), len(judged.broken_at))
    found = {}
    for at, threat in enumerate(judged.conditions.threats):
        wrong = (radius[:common] > 0) & (radius[:common] >= threat.eps) & ~judged.holds(at)[:common]
        if wrong.any():
            found[threat.label] = np.flatnonzero(wrong).tolist()
    return found


def cells(found: Proved) -> list[str]:
    """The row under `HEADINGS`."""
    record, write = found.record, plain if found.record.unit else size
    sizes = [threat.eps for threat in found.judged.conditions.threats] if found.judged else _quarters(found)
    shares = ", ".join(f"{write(eps)}: {percent(found.certified(eps))}" for eps in sizes)
    return [
        record.certificate.label,
        found.norm if found.norm == record.norm else f"{found.norm}, inside {record.norm}",
        percent(record.accuracy.value),
        percent(record.abstained / record.images),
        f"{found.radius.mean():.4g}",
        f"{np.median(found.radius):.4g}",
        shares,
        str(len(found.contradicted)) if found.judged and record.own else "–",
    ]


def _quarters(found: Proved) -> list[float]:
    """Where no attack names sizes: parts of the largest radius."""
    return [float(f"{part * found.radius.max():.2g}") for part in (0.25, 0.5, 0.75)]


def remarks(name: str, found: Proved) -> list[str]:
    """What a reader has to know of the row, in sentences."""
    record, said = found.record, []
    if found.norm != record.norm:
        said.append(
            f"{name} is certified in {record.norm}, and was attacked in {found.norm}. The largest {found.norm} ball "
            f"inside the certified one has {found.scale:.3g} of its radius on {counted(record.pixels, 'value')}: that "
            f"is shown. A certificate of {found.norm} itself might say more."
        )
    if found.judged is None:
        said.append(f"{name} has no verdicts on the same images under a threat that the certificate says something of.")
    elif not record.own:
        said.append(
            f"{name} was attacked without the noise of its certificate. The attacked network and the smoothed one are "
            "two classifiers: their curves do not bound each other."
        )
    elif record.voted and found.judged.record.suite.judged_by != "vote":
        said.append(
            f"{name} was attacked as the mean of {found.judged.record.draws} passes, and is certified as the majority "
            "of all: near a tie the two may differ."
        )
    if record.refuted:
        said.append(
            f"Of {counted(record.refuted, 'image')} of {name} one of another class was found within the size that was "
            "looked at: no certificate of this network can hold there."
        )
    if record.given_up:
        said.append(
            f"{counted(record.given_up, 'image')} of {name} could not reach {record.least:.4g} in {record.norm}, and "
            "were given up: below that size its certified shares are too small."
        )
    return said


def faults(name: str, found: Proved) -> list[str]:
    """What contradicts: shown in red."""
    return [
        f"{name}, {label}: {counted(len(images), 'image')} ({_few(images)}) certified, and broken by an attack. A "
        f"certificate cannot be above what attacks leave: one of the two is wrong, and that is a fault of spikeproof"
        f"{_or_chance(found)}."
        for label, images in found.faults.items()
    ]


def _or_chance(found: Proved) -> str:
    judged = found.judged
    if judged is None or not found.record.voted:
        return ""
    return f", unless the {judged.record.draws} passes that judged the attack missed the majority by chance"


def _few(images: Sequence[int], most: int = 8) -> str:
    return listed([str(image) for image in images[:most]]) + (
        f" and {len(images) - most} more" if images[most:] else ""
    )


def promise(found: Sequence[Proved]) -> str:
    """What a certified share means, for all rows together."""
    asked = [(one.record.certificate.config.get("init_args") or {}).get("alpha") for one in found if one.record.voted]
    alphas = sorted({alpha for alpha in asked if alpha})
    wrong = (
        f" Each bound is wrong with a probability of {listed([f'{a:g}' for a in alphas])} at most." if alphas else ""
    )
    return (
        "A certified image is right, and no image within the radius is named otherwise, whatever the attack. What is "
        f"certified is the network of the certificate: with noise, the class that most passes name.{wrong} Abstentions "
        f"count as not certified. Radii are in pixel values from 0 to 1; 8/255 is 0.031."
    )
