"""What does a certification know? Per image: the class, the radius in the threat's unit, and the votes behind it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeproof.attacks import Threat
from spikeproof.certificates.certificate import Certificate
from spikeproof.choices import UserError, short
from spikeproof.configs import to_config
from spikeproof.runs.inscribed import inscribed
from spikeproof.runs.intervals import Interval
from spikeproof.runs.records import CertificatesRecord, Labelled

__all__ = ["Certificates"]


@dataclass(frozen=True)
class Certificates:
    """Arrays ``[N]``, one entry an image, of a `certificate` whose threat radii are sizes of.

    `prediction` is the class that a first sample names. `radius` is the largest size of the threat at which it is
    certified, 0 where it is abstained from; below `least`, the radius that was asked for, some images were given up,
    and have 0 too. `p` is the lower bound on the probability of the class, `votes` of `draws` passes named it. Images
    have `pixels` values each. `own` says whether the noise is a part of the network that was handed in: then an attack
    on that network is one on what is certified.
    """

    certificate: Certificate
    least: float
    pixels: int
    own: bool
    label: np.ndarray
    prediction: np.ndarray
    radius: np.ndarray
    p: np.ndarray
    votes: np.ndarray
    draws: np.ndarray
    limit: np.ndarray

    def accuracy(self) -> Interval:
        """The share of images that the first sample names right: that of what is certified, as a sample shows it."""
        return Interval.of(int((self.prediction == self.label).sum()), len(self.label))

    def within(self, threat: type[Threat] | Threat) -> np.ndarray:
        """The radius ``[N]`` as a size of another norm on pixels: of the largest such ball inside the certified one."""
        return self.radius * inscribed(self.certificate.threat.norm, threat.norm, self.pixels)

    def holds(self, threat: Threat) -> np.ndarray:
        """Which images ``[N]`` are right, and certified against `threat`."""
        return (self.prediction == self.label) & (self.radius > 0) & (self.within(threat) >= threat.eps)

    def certified_accuracy(self, threat: Threat) -> Interval:
        """The share of images that are right and certified against `threat`; abstentions do not count."""
        return Interval.of(int(self.holds(threat).sum()), len(self.label))

    def abstained(self) -> np.ndarray:
        """Which images ``[N]`` have no certificate, of those that were not given up."""
        return (self.radius == 0) & ~self.given_up()

    def given_up(self) -> np.ndarray:
        """For which images ``[N]`` the votes were counted no further, as they could not reach the radius asked for."""
        asked = getattr(self.certificate, "n", 0)
        return (self.draws < asked) if self.least else np.zeros(len(self.label), dtype=bool)

    def refuted(self) -> np.ndarray:
        """For which images ``[N]`` an image of another class was found within the size that was looked at."""
        return np.isfinite(self.limit)

    def mean_radius(self) -> float:
        """The mean over all images of the radius, 0 where the class is wrong or none is certified."""
        return float(np.where(self.prediction == self.label, self.radius, 0.0).mean())

    def arrays(self) -> dict[str, np.ndarray]:
        names = ("label", "prediction", "radius", "p", "votes", "draws", "limit")
        return {name: getattr(self, name) for name in names}

    def record(self, **made: Any) -> CertificatesRecord:
        """What ``certificates.json`` holds; `made` says of what, where and how they were made."""
        return CertificatesRecord(
            certificate=Labelled(label=short(self.certificate), config=to_config(self.certificate)),
            norm=self.certificate.threat.norm,
            unit=self.certificate.threat().unit,
            voted=self.certificate.votes,
            own=self.own,
            images=len(self.label),
            pixels=self.pixels,
            least=self.least,
            accuracy=self.accuracy(),
            abstained=int(self.abstained().sum()),
            given_up=int(self.given_up().sum()),
            refuted=int(self.refuted().sum()),
            mean_radius=self.mean_radius(),
            largest_radius=float(self.radius.max()),
            passes=int(self.draws.sum()),
            **made,
        )


def length_of(threat: Threat, certificate: Certificate, pixels: int) -> float:
    """The radius of `certificate` that holds all of `threat`; raises `UserError` for a norm that says nothing of it."""
    factor = inscribed(certificate.threat.norm, threat.norm, pixels)
    if not factor:
        raise UserError(f"{short(certificate)} is about {certificate.threat.norm}, and says nothing of {threat.norm}")
    return threat.eps / factor
