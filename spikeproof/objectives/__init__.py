"""What does training minimise? One method, one small file."""

from spikeproof.objectives.adversarial import Adversarial
from spikeproof.objectives.gaussian_noise import GaussianNoise
from spikeproof.objectives.mart import MART
from spikeproof.objectives.objective import Objective
from spikeproof.objectives.standard import Standard
from spikeproof.objectives.trades import TRADES

__all__ = ["MART", "TRADES", "Adversarial", "GaussianNoise", "Objective", "Standard"]
