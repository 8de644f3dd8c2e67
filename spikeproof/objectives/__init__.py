"""What does training minimise? One method, one small file."""

from spikeproof.objectives.adversarial import Adversarial
from spikeproof.objectives.distillation import Distillation
from spikeproof.objectives.gaussian_noise import GaussianNoise
from spikeproof.objectives.interval_training import IntervalTraining
from spikeproof.objectives.mart import MART
from spikeproof.objectives.objective import Objective
from spikeproof.objectives.rat import RAT
from spikeproof.objectives.sparse_gradient import SparseGradient
from spikeproof.objectives.stable_potential import StablePotential
from spikeproof.objectives.standard import Standard
from spikeproof.objectives.threshold_guarding import ThresholdGuarding
from spikeproof.objectives.trades import TRADES

__all__ = [
    "MART",
    "RAT",
    "TRADES",
    "Adversarial",
    "Distillation",
    "GaussianNoise",
    "IntervalTraining",
    "Objective",
    "SparseGradient",
    "StablePotential",
    "Standard",
    "ThresholdGuarding",
]
