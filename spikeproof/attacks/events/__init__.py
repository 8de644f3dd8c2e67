"""How are recordings of event cameras attacked? Threats on event frames, and attacks that change whole events."""

from spikeproof.attacks.events.cell_threats import EventEdits, EventFlips
from spikeproof.attacks.events.frame_threats import FrameL2, FrameLinf
from spikeproof.attacks.events.gumbel import Gumbel
from spikeproof.attacks.events.patterns import CornerPattern, DashPattern, FramePattern
from spikeproof.attacks.events.retiming import Retiming
from spikeproof.attacks.events.scg import SCG
from spikeproof.attacks.events.sda import SDA
from spikeproof.attacks.events.sparse_adam import SparseAttack
from spikeproof.attacks.events.spike_fool import SpikeFool
from spikeproof.attacks.events.spike_retiming import SpikeRetiming, SteepestRetiming

__all__ = [
    "SCG",
    "SDA",
    "CornerPattern",
    "DashPattern",
    "EventEdits",
    "EventFlips",
    "FrameL2",
    "FrameLinf",
    "FramePattern",
    "Gumbel",
    "Retiming",
    "SparseAttack",
    "SpikeFool",
    "SpikeRetiming",
    "SteepestRetiming",
]
