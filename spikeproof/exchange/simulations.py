"""What does a NIR graph not say, though it has to be known to run it on images? A `Simulation`."""

from dataclasses import dataclass
from typing import Literal

from spikeproof.choices import Choice, Positive, Steps
from spikeproof.snn import Direct, Encoder, MeanCurrent, Readout


@dataclass(frozen=True, kw_only=True)
class Simulation(Choice):
    """How a NIR graph is run on images: Euler steps of `dt` seconds, `steps` of them, from encoder to readout.

    NIR neurons fire where the potential is "above" the threshold. A graph that was written for a library which lets
    them fire "at" it says so here.
    """

    dt: Positive = 1e-4
    steps: Steps = 4
    fires: Literal["above", "at"] = "above"
    encoder: Encoder = Direct()
    readout: Readout = MeanCurrent()
