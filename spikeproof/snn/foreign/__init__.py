"""How does a network take part that SpikingJelly, snnTorch or Norse built? It forgets round each call; paths change.

None of them is imported: a module belongs to a library if its class, or one that it derives from, is defined there.
"""

from spikeproof.snn.foreign.network import Foreign, adapt, detach_reset, exchange, fires, libraries
from spikeproof.snn.foreign.spikes import ForeignSpike, takes

__all__ = ["Foreign", "ForeignSpike", "adapt", "detach_reset", "exchange", "fires", "libraries", "takes"]
