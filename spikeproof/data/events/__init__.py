"""How do the recordings of event cameras become frames? Readers of their files, framings, and data sets."""

from spikeproof.data.events.data_sets import NMNIST, EventFolder
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.streams import Events, Sensor

__all__ = ["NMNIST", "EventFolder", "Events", "Framing", "Sensor"]
