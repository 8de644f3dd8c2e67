"""How does an ANN become a spiking network? The same body and weights, other neurons, thresholds set from images."""

from spikeproof.conversion.balancing import LearnedBounds, Quantisation, ThresholdBalancing
from spikeproof.conversion.calibration import Calibration
from spikeproof.conversion.conversion import Conversion, convert

__all__ = ["Calibration", "Conversion", "LearnedBounds", "Quantisation", "ThresholdBalancing", "convert"]
