"""What can the values inside a network be, for all images between bounds? Intervals, spike trains, linear programs."""

from spikeproof.bounds import layers as layers  # with the rules of all layers that we have
from spikeproof.bounds import neurons as neurons
from spikeproof.bounds.networks import margins, prepared
from spikeproof.bounds.rules import How, bounded, rule
from spikeproof.bounds.signals import Box, Range, Signal

__all__ = ["Box", "How", "Range", "Signal", "bounded", "margins", "prepared", "rule"]
