"""How do the recordings of event cameras become frames? Readers of their files, framings, and data sets."""

from spikeproof.data.events.augmentations import NDA, EventDrop
from spikeproof.data.events.data_sets import NMNIST, SHD, SSC, DVS128Gesture
from spikeproof.data.events.files import read_events
from spikeproof.data.events.filters import background_activity, hot_pixels, quantised_activity
from spikeproof.data.events.folders import ASLDVS, CIFAR10DVS, EventFolder, NCaltech101
from spikeproof.data.events.framing import Framing
from spikeproof.data.events.gestures import read_gestures
from spikeproof.data.events.hdf5 import SpikeFile
from spikeproof.data.events.noise import EventDeletion, FrameFlips
from spikeproof.data.events.npz import write_npz as write_events
from spikeproof.data.events.rewriting import rewritten, told_apart
from spikeproof.data.events.streams import Events, Sensor

__all__ = [
    "ASLDVS",
    "CIFAR10DVS",
    "DVS128Gesture",
    "EventDeletion",
    "EventDrop",
    "EventFolder",
    "Events",
    "FrameFlips",
    "Framing",
    "NCaltech101",
    "NDA",
    "NMNIST",
    "SHD",
    "SSC",
    "Sensor",
    "SpikeFile",
    "background_activity",
    "hot_pixels",
    "quantised_activity",
    "read_events",
    "read_gestures",
    "rewritten",
    "told_apart",
    "write_events",
]
