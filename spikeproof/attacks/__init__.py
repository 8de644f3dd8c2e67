"""How is a network attacked? Threats (what is allowed), losses (what is maximised), attacks (how)."""

from spikeproof.attacks.adaptive import Along
from spikeproof.attacks.annealing import Annealing
from spikeproof.attacks.apgd import APGD
from spikeproof.attacks.attack import Attack, Outcome
from spikeproof.attacks.carlini_wagner import CarliniWagner
from spikeproof.attacks.deepfool import DeepFool
from spikeproof.attacks.energy import EnergyAttack
from spikeproof.attacks.events import *  # noqa: F403
from spikeproof.attacks.events import __all__ as _events
from spikeproof.attacks.fab import FAB
from spikeproof.attacks.fgsm import FGSM, RFGSM
from spikeproof.attacks.hop_skip_jump import HopSkipJump
from spikeproof.attacks.losses import (
    DLR,
    AttackLoss,
    CrossEntropy,
    KullbackLeibler,
    Margin,
    TargetedCrossEntropy,
    TargetedDLR,
    TargetedLoss,
    TargetedMargin,
)
from spikeproof.attacks.noise import NormalNoise, UniformNoise
from spikeproof.attacks.pgd import PGD
from spikeproof.attacks.sa_pgd import SAPGD
from spikeproof.attacks.square import Square
from spikeproof.attacks.targeted import Targeted
from spikeproof.attacks.threats import L1, L2, Linf, Threat
from spikeproof.attacks.transfer import Transfer, TwinTransfer

__all__ = [
    *_events,
    "APGD",
    "DLR",
    "FAB",
    "FGSM",
    "L1",
    "L2",
    "PGD",
    "RFGSM",
    "SAPGD",
    "Along",
    "Annealing",
    "Attack",
    "AttackLoss",
    "CarliniWagner",
    "CrossEntropy",
    "DeepFool",
    "EnergyAttack",
    "NormalNoise",
    "HopSkipJump",
    "KullbackLeibler",
    "Linf",
    "Margin",
    "Outcome",
    "Square",
    "Targeted",
    "TargetedCrossEntropy",
    "TargetedDLR",
    "TargetedLoss",
    "TargetedMargin",
    "Threat",
    "Transfer",
    "TwinTransfer",
    "UniformNoise",
]
