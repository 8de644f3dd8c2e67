"""How does a network go to other libraries and to hardware, and come from there? As a NIR graph."""

from spikeproof.exchange.exporting import Exported, export_nir
from spikeproof.exchange.importing import import_nir
from spikeproof.exchange.simulations import Simulation

__all__ = ["Exported", "Simulation", "export_nir", "import_nir"]
