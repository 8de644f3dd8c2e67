"""What can no attack break? Certificates: radii that are proved, image by image."""

from spikeproof.certificates.branch_and_bound import BranchAndBound
from spikeproof.certificates.certificate import Certificate
from spikeproof.certificates.certificates import Certificates
from spikeproof.certificates.certification import certify
from spikeproof.certificates.certified_runs import certify_run
from spikeproof.certificates.frame_smoothing import CellAblation, DeletionSmoothing, FlipSmoothing
from spikeproof.certificates.gaussian_smoothing import GaussianSmoothing
from spikeproof.certificates.interval_bounds import IntervalBounds
from spikeproof.certificates.rate_coding import RateCodingL1, RateCodingLinf
from spikeproof.certificates.recording_smoothing import GaussianRetiming, RecordingDeletion, UniformRetiming
from spikeproof.certificates.recording_threats import DelayL1, DelayL2, RecordingEdits
from spikeproof.certificates.recordings import Framed
from spikeproof.certificates.shared_thresholds import SharedThresholds
from spikeproof.certificates.smoothed import Smoothed

__all__ = [
    "BranchAndBound",
    "CellAblation",
    "Certificate",
    "Certificates",
    "DelayL1",
    "DelayL2",
    "DeletionSmoothing",
    "FlipSmoothing",
    "Framed",
    "GaussianRetiming",
    "GaussianSmoothing",
    "IntervalBounds",
    "RateCodingL1",
    "RateCodingLinf",
    "RecordingDeletion",
    "RecordingEdits",
    "SharedThresholds",
    "Smoothed",
    "UniformRetiming",
    "certify",
    "certify_run",
]
