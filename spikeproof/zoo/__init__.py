"""Which trained networks are there to take? Run folders that an index names, each file with its digest."""

from spikeproof.zoo.cards import Card
from spikeproof.zoo.indexes import cards
from spikeproof.zoo.taking import load
from spikeproof.zoo.writing import write_zoo

__all__ = ["Card", "cards", "load", "write_zoo"]
