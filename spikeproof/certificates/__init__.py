"""What can no attack break? Certificates: radii that are proved, image by image."""

from spikeproof.certificates.certificate import Certificate
from spikeproof.certificates.certificates import Certificates
from spikeproof.certificates.certification import certify
from spikeproof.certificates.certified_runs import certify_run
from spikeproof.certificates.gaussian_smoothing import GaussianSmoothing
from spikeproof.certificates.rate_coding import RateCodingL1, RateCodingLinf
from spikeproof.certificates.shared_thresholds import SharedThresholds
from spikeproof.certificates.smoothed import Smoothed

__all__ = [
    "Certificate",
    "Certificates",
    "GaussianSmoothing",
    "RateCodingL1",
    "RateCodingLinf",
    "SharedThresholds",
    "Smoothed",
    "certify",
    "certify_run",
]
